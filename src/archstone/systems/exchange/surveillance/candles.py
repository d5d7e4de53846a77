"""Candles: what was traded in a stretch of time, by the time of the trades, not by when somebody looks.

A candle holds the numbers of its first and last command, so that two parts of it come together in any order: a trade
that arrives late mends the candle that it belongs to. A stretch without trades has no candle; `filled` puts one there.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from archstone.systems.exchange.tape.facts import Trade

__all__ = ["Candle", "Interval", "candles_of", "filled"]

_SECOND_NS: Final = 1_000_000_000


class Interval(StrEnum):
    """How long a candle is. It begins at a multiple of that since 1970, UTC."""

    SECOND = "1s"
    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    HOUR = "1h"

    @property
    def seconds(self) -> int:
        """Its length."""
        return {"1s": 1, "1m": 60, "5m": 300, "1h": 3600}[self.value]


class Candle(NamedTuple):
    """One stretch of a book. Prices in ticks."""

    book: int
    seconds: int
    """Its length."""
    start: int
    """Seconds since 1970."""
    open: int
    high: int
    low: int
    close: int
    lots: int
    turnover: int
    """Sum of price times lots; over `lots` it is the average price, weighted by volume."""
    trades: int
    """0: nothing was traded, and the prices are the last one before."""
    first_sequence: int
    """Of the command that made its first trade."""
    last_sequence: int

    def joined(self, other: "Candle") -> "Candle":
        """Return this candle with what another part of it holds; the order does not matter."""
        first, last = sorted((self, other), key=lambda each: each.first_sequence)
        closing = max(self, other, key=lambda each: each.last_sequence)
        return first._replace(
            high=max(self.high, other.high),
            low=min(self.low, other.low),
            close=closing.close,
            lots=first.lots + last.lots,
            turnover=first.turnover + last.turnover,
            trades=first.trades + last.trades,
            last_sequence=closing.last_sequence,
        )


def candles_of(trades: Iterable[Trade], intervals: Sequence[Interval] = tuple(Interval)) -> list[Candle]:
    """Return the candles that these trades make, of each interval; trades of one command in their order."""
    found: dict[tuple[int, int, int], Candle] = {}
    for trade in trades:
        price, lots, sequence = trade.price, trade.lots, trade.sequence
        at = trade.at_ns // _SECOND_NS
        for interval in intervals:
            seconds = interval.seconds
            key = trade.book, seconds, at - at % seconds
            one = Candle(*key, price, price, price, price, lots, price * lots, 1, sequence, sequence)
            known = found.get(key)
            found[key] = one if known is None else _with(known, one)
    return list(found.values())


def _with(known: Candle, one: Candle) -> Candle:
    """Return a candle with one trade more: of two of the same command the later closes."""
    if one.first_sequence == known.last_sequence:
        return known.joined(one)._replace(close=one.close)
    return known.joined(one)


def filled(
    found: Sequence[Candle], *, book: int, seconds: int, first: int, last: int, before: int | None
) -> Iterator[Candle]:
    """Give a candle for each stretch, also where nothing was traded.

    Args:
        found: Candles of the book, oldest first.
        book: Which one.
        seconds: How long a candle is.
        first: Where to begin: the start of a candle.
        last: Where to end: the start of the last one.
        before: The last price before `first`. None: there was none, so that it begins with the first trade.
    """
    known = {each.start: each for each in found}
    price = before
    for start in range(first, last + 1, seconds):
        each = known.get(start)
        if each is None and price is not None:
            each = Candle(book, seconds, start, price, price, price, price, 0, 0, 0, 0, 0)
        if each is not None:
            yield each
            price = each.close
