"""An account as its desk shows it: orders, fills, positions at average cost, cash, fees, limits."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.venue import order_of

__all__ = ["KEEP_ENDED", "KEEP_FILLS", "Account", "Fill", "Order", "Position", "Role", "Status"]

KEEP_ENDED: Final = 200
"""Orders of an account that have ended and can still be asked for."""
KEEP_FILLS: Final = 500
"""Fills of an account that can still be asked for."""

Status = Literal["working", "sleeping", "filled", "canceled"]
Role = Literal["taker", "maker", "auction"]


@dataclass(slots=True)
class Order:
    """An order, from when it was accepted on."""

    id: int
    book: int
    side: int
    type: int
    tif: int
    flags: int
    price: int
    quantity: int
    """Lots that it was for; after a replacement what was filled and what is to be open."""
    display: int
    trigger: int
    at_ns: int
    left: int = 0
    filled: int = 0
    status: Status = "working"
    reason: int = 0

    @property
    def number(self) -> int:
        """What its account calls it."""
        return order_of(self.id)[1]


class Fill(NamedTuple):
    """One trade, as one of its two sides has it."""

    sequence: int
    at_ns: int
    book: int
    number: int
    side: int
    price: int
    lots: int
    role: Role


@dataclass(slots=True)
class Position:
    """What is held in one book, or owed."""

    lots: int = 0
    cost: int = 0
    """Cents that was paid for what is held; below 0: what was got for what is owed."""
    realised: int = 0
    """Cents that were made with what is held no more."""

    def trade(self, lots: int, worth: int) -> None:
        """Book a trade of `lots`, sold ones below 0, each worth that many cents."""
        closing = 0
        if self.lots and (self.lots > 0) != (lots > 0):
            closing = min(abs(lots), abs(self.lots)) * (1 if lots > 0 else -1)
            released = self.cost * abs(closing) // abs(self.lots)
            self.realised -= closing * worth + released
            self.cost -= released
        self.cost += (lots - closing) * worth
        self.lots += lots

    def open_profit(self, worth: int) -> int:
        """Return what would be made, cents, if all of it went for `worth` cents a lot."""
        return self.lots * worth - self.cost


@dataclass(slots=True)
class Account:
    """One account."""

    number: int
    cash: int = 0
    paid_in: int = 0
    fees: int = 0
    """What trading has cost so far; `cash` does not know of it. Below 0: rebates."""
    killed: bool = False
    sequence: int = 0
    """Of a command that is in it, with all before, whatever the board that it is in says: see `Board.dump`."""
    limits: dict[int, int] = field(default_factory=dict[int, int])
    positions: dict[int, Position] = field(default_factory=dict[int, Position])
    """By book."""
    live: dict[int, Order] = field(default_factory=dict[int, Order])
    """By number."""
    ended: deque[Order] = field(default_factory=lambda: deque[Order](maxlen=KEEP_ENDED))
    fills: deque[Fill] = field(default_factory=lambda: deque[Fill](maxlen=KEEP_FILLS))

    def order(self, number: int) -> Order | None:
        """Return an order. None: there was none, or it ended long ago."""
        return self.live.get(number) or next((each for each in self.ended if each.number == number), None)

    def trade(self, order: Order, *, lots: int, worth: int, fee: int) -> None:
        """Book a trade of one of its orders, each lot worth that many cents."""
        signed = lots if order.side == Side.BUY else -lots
        self.cash -= signed * worth
        self.fees += fee
        self.positions.setdefault(order.book, Position()).trade(signed, worth)
        order.filled += lots
