"""What an account can still order, by the rules of `venue/risk.py`: its buying power, and the most lots of an order.

Made of what the board shows, so that nobody is asked; the venue has the last word. Promise: as things are, an order of
`most` lots passes all of the venue's checks but that of its price, and one lot more does not. A stop, and a book that
has never traded, may be allowed somewhat more than is told here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from archstone.systems.exchange.desk.board import Board
from archstone.systems.exchange.desk.ledger import Account, Position
from archstone.systems.exchange.instruments import Instrument, Instruments
from archstone.systems.exchange.matching import MAX_PRICE, MAX_QUANTITY, Limit, Side

__all__ = ["Asked", "Means", "Power", "collar"]

_BASIS: Final = 10_000
_NO_POSITION: Final = Position()


class Power(NamedTuple):
    """Money of an account, cents."""

    reserved: int
    """What open buys cost at worst."""
    payable: int
    """What buys may cost that only close a position."""
    available: int
    """What all other orders may cost, or need as margin: less what all that is owed would cost now. May be below 0."""


class Asked(NamedTuple):
    """An order that somebody thinks of."""

    about: Instrument
    side: Side
    price: int
    """The worst that it takes."""
    highest: int
    """The most that it may get, if it is a sale; else its price."""


@dataclass(frozen=True)
class Means:
    """What one account has, at one moment."""

    owner: Account
    board: Board
    instruments: Instruments

    @cached_property
    def power(self) -> Power:
        """Return what its money is good for."""
        books = self.board.books
        buys = (each for each in self.owner.live.values() if each.side == Side.BUY)
        reserved = sum(each.price * each.left * books[each.book].value for each in buys)
        payable = self.owner.cash + self.owner.limits.get(Limit.CREDIT, 0) - reserved
        bound = 0
        for number in {*self.owner.positions, *(number for number, _ in self._opened)}:
            book, about = books[number], self.instruments.of(number)
            bound += max(0, -self._position(number)) * book.last * book.value
            bound += 0 if about is None else _margin(about, self._short(number), book.last)
        return Power(reserved, payable, payable - bound)

    def most(self, asked: Asked) -> int:
        """Return how many lots of an order it may have at most; 0: none."""
        owner, about, limits = self.owner, asked.about, self.owner.limits
        if owner.killed or self.board.killed or len(owner.live) >= limits.get(Limit.ORDERS, MAX_QUANTITY):
            return 0
        each = asked.highest * about.value
        signed = self._position(about.book) * (1 if asked.side == Side.BUY else -1)
        return max(0, min(
            about.most_lots or MAX_QUANTITY,
            limits.get(Limit.QUANTITY, MAX_QUANTITY),
            limits.get(Limit.VALUE, MAX_QUANTITY * each) // each,
            limits.get(Limit.POSITION, MAX_QUANTITY) - signed - self._open(about.book, asked.side),
            self._affordable(asked),
        ))  # fmt: skip

    def _affordable(self, asked: Asked) -> int:
        """Return the lots for which there is money: those that close a position, or more if it suffices for all."""
        about, power = asked.about, self.power
        position, opened = self._position(about.book), self._open(about.book, asked.side)
        closing = max(0, (-position if asked.side == Side.BUY else position) - opened)
        if asked.side == Side.BUY:
            each = asked.price * about.value
            return max(min(closing, max(0, power.payable) // each), power.available // each)
        spare = power.available + _margin(about, self._short(about.book), self.board.books[about.book].last)
        if spare < 0:
            return closing
        if not about.margin_bp:
            return MAX_QUANTITY
        # The most n of which n * price * value * margin // _BASIS is at most what is spare.
        short = ((spare + 1) * _BASIS - 1) // (asked.highest * about.value * about.margin_bp)
        return max(closing, short + position - opened)

    def _position(self, book: int) -> int:
        return self.owner.positions.get(book, _NO_POSITION).lots

    @cached_property
    def _opened(self) -> Mapping[tuple[int, int], int]:
        """Return the lots of open orders by book and side."""
        lots: dict[tuple[int, int], int] = {}
        for each in self.owner.live.values():
            lots[each.book, each.side] = lots.get((each.book, each.side), 0) + each.left
        return lots

    def _open(self, book: int, side: int) -> int:
        return self._opened.get((book, side), 0)

    def _short(self, book: int) -> int:
        """Return the lots that would be owed once all open sales were done."""
        return max(0, self._open(book, Side.SELL) - self._position(book))


def collar(about: Instrument, base: int) -> tuple[int, int]:
    """Return the lowest and the highest price that are taken around `base`; as `Market.bounds`."""
    if not about.collar_bp:
        return 1, MAX_PRICE
    away = base * about.collar_bp // _BASIS
    return max(1, base - away), min(MAX_PRICE, base + away)


def _margin(about: Instrument, lots: int, price: int) -> int:
    return lots * price * about.value * about.margin_bp // _BASIS
