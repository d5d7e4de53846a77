"""What the venue knows of an account: its money, what it holds and owes, what of that is bound by open orders.

All of it follows from the events of the books alone, lot by lot: an order that is accepted reserves, one that trades or
is cancelled gives back. Money and lots are whole numbers, and nothing is rounded.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from archstone.systems.exchange.matching import Limit, Side

__all__ = ["NO_LIMIT", "Account", "Holding", "Open"]

NO_LIMIT: Final = 2**63 - 1
"""What an account is bound to before it is said, but for credit: there is none of that."""


@dataclass(slots=True)
class Open:
    """What of an order is open."""

    account: int
    side: int
    price: int
    """The worst at which it can trade."""
    left: int


@dataclass(slots=True)
class Holding:
    """What an account has of one book, in lots."""

    position: int = 0
    """Below 0: owed."""
    buying: int = 0
    selling: int = 0
    """Lots of open orders."""

    def __bool__(self) -> bool:
        """Return whether there is anything."""
        return bool(self.position or self.buying or self.selling)

    def open(self, side: int) -> int:
        """Return the lots of open orders of a side."""
        return self.buying if side == Side.BUY else self.selling

    @property
    def short(self) -> int:
        """Lots that are owed once all sales that are open were done."""
        return max(0, self.selling - self.position)

    def closing(self, side: int) -> int:
        """Return how many lots a side can trade before it opens a position, or enlarges one."""
        return max(0, -self.position if side == Side.BUY else self.position)


@dataclass(slots=True)
class Account:
    """One account."""

    number: int
    cash: int = 0
    paid_in: int = 0
    """All deposits, less all that was taken out."""
    reserved: int = 0
    """What open buys cost at worst."""
    limits: dict[int, int] = field(default_factory=lambda: {**dict.fromkeys(Limit, NO_LIMIT), Limit.CREDIT: 0})
    killed: bool = False
    last_number: int = 0
    """The highest number of an order so far."""
    last_deposit: int = 0
    """The highest number of a deposit so far. 0: none had one."""
    second: int = 0
    """Of the clock, in which it last sent orders."""
    sent: int = 0
    """Orders and replaces in that second."""
    orders: int = 0
    """That are live."""
    holdings: dict[int, Holding] = field(default_factory=dict[int, Holding])
    """By book."""

    def holding(self, book: int) -> Holding:
        """Return what it has of a book."""
        return self.holdings.setdefault(book, Holding())

    # What events do

    def bind(self, book: int, order: Open, lots: int, value: int) -> None:
        """Count `lots` of an order as open; below 0: no more."""
        holding = self.holding(book)
        if order.side == Side.BUY:
            holding.buying += lots
            self.reserved += order.price * lots * value
        else:
            holding.selling += lots

    def trade(self, book: int, side: int, lots: int, money: int) -> None:
        """Have `lots` bought or sold for `money`."""
        sign = 1 if side == Side.BUY else -1
        self.holding(book).position += sign * lots
        self.cash -= sign * money

    def count(self, second: int) -> int:
        """Count one more order within a second of the clock, and return how many there are."""
        if second != self.second:
            self.second, self.sent = second, 0
        self.sent += 1
        return self.sent

    # What it comes to

    @property
    def payable(self) -> int:
        """What new buys may cost, as far as money goes."""
        return self.cash + self.limits[Limit.CREDIT] - self.reserved

    def worth(self, price_of: Callable[[int], int]) -> tuple[int, int]:
        """Return what is held and what is owed come to, both at least 0, a lot being worth `price_of(book)`."""
        found = [(each.position, price_of(book)) for book, each in self.holdings.items() if each.position]
        return _sum(lots * price for lots, price in found), _sum(-lots * price for lots, price in found)


def _sum(amounts: Iterable[int]) -> int:
    return sum(amount for amount in amounts if amount > 0)
