"""What a bot sees, and the words in which it answers: no more than any participant has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archstone.systems.exchange.matching import Command, Kind, SelfTrade, Side, TimeInForce

__all__ = ["Bot", "Level", "Market", "Open", "View", "change", "place", "withdraw"]

Level = tuple[int, int, int]
"""Price, lots shown, orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A book, as bots need to know it."""

    book: int
    price: int
    """Ticks around which its fair value walks. Above 0; from about 1,000 on a tick is small enough."""
    value: int = 1
    """What a lot is worth per tick, in the smallest unit of money."""
    hourly_ratio: float = 0.01
    """How far the fair value goes in an hour, as the standard deviation over the price. In [0, 0.1]."""


@dataclass(frozen=True, slots=True)
class Open:
    """An order of one's own that is open."""

    id: int
    side: Side
    price: int
    left: int
    """Lots, the hidden ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known when a bot decides."""

    at_s: float
    """Seconds since 1970."""
    bids: Sequence[Level] = ()
    """Best first."""
    asks: Sequence[Level] = ()
    position: int = 0
    """Lots held; below 0: owed."""
    open: Sequence[Open] = field(default_factory=tuple[Open, ...])
    """Oldest first."""

    def touch(self, side: Side) -> int | None:
        """Return the best price of a side. None: nobody is there."""
        levels = self.bids if side == Side.BUY else self.asks
        return levels[0][0] if levels else None

    @property
    def middle(self) -> float | None:
        """The middle between the best prices. None: a side is empty."""
        return (self.bids[0][0] + self.asks[0][0]) / 2 if self.bids and self.asks else None


class Bot(Protocol):
    """Who decides. It knows what it is told and what it remembers; the same views give the same commands."""

    @property
    def every_s(self) -> float:
        """Seconds between two decisions, about. Above 0."""
        ...

    @property
    def most_held(self) -> int:
        """Lots that it holds or owes at most, give or take what trades while it decides."""
        ...

    def decide(self, view: View) -> list[Command]:
        """Return what is to be done; who runs it adds account and, for new orders, the id."""
        ...


def place(side: Side, price: int, lots: int, *, tif: TimeInForce = TimeInForce.GTC, display: int = 0) -> Command:
    """Return a new order, which rather is cancelled than trades with an order of the same account."""
    return Command(
        Kind.NEW, side=side, tif=tif, stp=SelfTrade.CANCEL_TAKER, price=price, quantity=lots, display=display
    )


def change(order: Open, price: int, lots: int) -> Command:
    """Return what gives an open order another price, and so many lots from now on."""
    return Command(Kind.REPLACE, order.id, price=price, quantity=lots)


def withdraw(order: Open) -> Command:
    """Return what cancels an order."""
    return Command(Kind.CANCEL, order.id)
