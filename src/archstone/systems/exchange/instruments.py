"""What is traded: one table, which is all that turns whole ticks and lots into what people read.

A price is `ticks * tick` units of the last shown digit: a tick of 5 with 2 decimals is 0.05. A lot is worth
`ticks * value` cents. Nothing here is a floating point number.
"""

from dataclasses import dataclass
from typing import Final

from archstone.errors import ConfigError
from archstone.systems.exchange.matching import MAX_PRICE, Command, Kind, Phase

__all__ = ["INSTRUMENTS", "Instrument", "Instruments", "money"]

_MOST_DIGITS: Final = 18
"""Of a typed price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One thing that is traded, in one book."""

    book: int
    """Number of its book, at least 1."""
    symbol: str
    name: str
    lot: str
    """What one lot is, such as `1 share`."""
    tick: int = 1
    """Units of the last shown digit in one tick, at least 1."""
    decimals: int = 2
    """Digits of a price after the point, at least 0."""
    value: int
    """Cents that a lot is worth per tick of its price, at least 1."""
    opening: int
    """Ticks: where trading begins on the first day."""
    most_lots: int
    """Of one order."""
    collar_bp: int = 1_000
    """How far from the last price an order may be, in basis points; 0: as far as it likes."""
    halt_bp: int = 700
    """A move of the price beyond this halts trading, in basis points; 0: none does."""
    margin_bp: int = 2_000
    """What a short sale needs besides, in basis points of what it is worth; 0: nothing."""

    def price(self, ticks: int) -> str:
        """Return a price as people read it."""
        units = ticks * self.tick
        if not self.decimals:
            return f"{units:,}"
        whole, rest = divmod(units, 10**self.decimals)
        return f"{whole:,}.{rest:0{self.decimals}}"

    def entry(self, lots: int, cost: int) -> str:
        """Return what a lot of a position was bought or sold for on average, to the nearest tick; empty: there is none.

        Args:
            lots: Of the position; below 0: owed.
            cost: Cents paid for all of it; below 0: got.
        """
        each = lots * self.value
        return self.price((2 * cost + each) // (2 * each)) if lots else ""

    def ticks(self, text: str) -> int:
        """Return a typed price in ticks.

        Raises:
            ValueError: It is no price, or none of whole ticks.
        """
        whole, point, rest = text.strip().replace(",", "").partition(".")
        rest = rest.rstrip("0")
        digits = f"{whole or '0'}{rest}"
        if not (digits.isascii() and digits.isdigit()) or len(rest) > self.decimals or (point and not text.strip(" .")):
            raise ValueError(f"{text[:20]!r} is no price with at most {self.decimals} decimals")
        units = int(digits[:_MOST_DIGITS]) * 10 ** (self.decimals - len(rest))
        ticks, over = divmod(units, self.tick)
        if over:
            raise ValueError(f"{text[:20]!r} is not a multiple of {self.price(1)}")
        if not 0 < ticks <= MAX_PRICE or len(digits) > _MOST_DIGITS:
            raise ValueError(f"{text[:20]!r} is no price from {self.price(1)} to {self.price(MAX_PRICE)}")
        return ticks

    def openings(self) -> list[Command]:
        """Return what opens its book: the book itself, and the price that the first ones are compared with."""
        return [
            Command(
                Kind.OPEN, id=self.margin_bp, type=Phase.CONTINUOUS, price=self.value, quantity=self.most_lots,
                display=self.collar_bp, trigger=self.halt_bp,
            ),
            Command(Kind.REFERENCE, price=self.opening),
        ]  # fmt: skip


class Instruments:
    """All that is traded, by symbol and by book."""

    def __init__(self, *table: Instrument) -> None:
        self.all = table
        self._by_symbol = {each.symbol: each for each in table}
        self._by_book = {each.book: each for each in table}
        if not table or len(self._by_symbol) != len(table) or len(self._by_book) != len(table):
            raise ConfigError("Instruments: at least one, each with a symbol and a book of its own")

    def named(self, symbol: str) -> Instrument | None:
        """Return the one with a symbol. None: there is none."""
        return self._by_symbol.get(symbol)

    def of(self, book: int) -> Instrument | None:
        """Return the one of a book. None: it is none of ours."""
        return self._by_book.get(book)


def money(cents: int) -> str:
    """Return an amount as people read it, such as `-1,250.00`."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole:,}.{rest:02}"


INSTRUMENTS: Final = Instruments(
    Instrument(book=1, symbol="ACME", name="Acme Industrial", lot="1 share", value=1, opening=10_000, most_lots=10_000),
    Instrument(book=2, symbol="BORE", name="Borealis Energy", lot="1 share", value=1, opening=4_250, most_lots=20_000),
    Instrument(
        book=3, symbol="CUMU", name="Cumulus Cloud", lot="1 share", tick=5, value=5, opening=6_200, most_lots=5_000
    ),
    Instrument(
        book=4, symbol="COPR", name="Copper, near month", lot="10 tonnes", tick=50, value=500, opening=18_400,
        most_lots=200, collar_bp=500, halt_bp=400,
    ),
    Instrument(
        book=5, symbol="BTX", name="Bitcoin", lot="0.01 coin", decimals=0, value=1, opening=64_000, most_lots=10_000,
        collar_bp=1_500, halt_bp=1_000,
    ),
)  # fmt: skip
"""What the exchange trades by default; all of it is made up."""
