"""Those who trade with the market maker: with the trend, for no reason, and slowly in large."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

from archstone.systems.exchange.bots.view import View, change, place, withdraw
from archstone.systems.exchange.matching import Command, Side, TimeInForce

__all__ = ["Momentum", "Noise", "Slow"]


@dataclass(slots=True, kw_only=True)
class Momentum:
    """Buys what has risen and sells what has fallen; gives it up when the move is over."""

    lots: int = 5
    """At a time."""
    window: int = 20
    """Decisions over which it looks back."""
    threshold_ratio: float = 0.001
    """Of the price: how far from its mean over the window it must be."""
    most_held: int = 60
    every_s: float = 5.0
    _seen: deque[float] = field(default_factory=deque[float])

    def decide(self, view: View) -> list[Command]:
        """Return one order, or none."""
        if (middle := view.middle) is None:
            return []
        self._seen.append(middle)
        if len(self._seen) <= self.window:
            return []
        self._seen.popleft()
        mean = sum(self._seen) / len(self._seen)
        move = (middle - mean) / mean
        if move > self.threshold_ratio and view.position < self.most_held:
            return _take(view, Side.BUY, min(self.lots, self.most_held - view.position))
        if move < -self.threshold_ratio and view.position > -self.most_held:
            return _take(view, Side.SELL, min(self.lots, self.most_held + view.position))
        if abs(move) < self.threshold_ratio / 2 and view.position:
            return _take(view, _reducing(view.position), min(self.lots, abs(view.position)))
        return []


@dataclass(slots=True, kw_only=True)
class Noise:
    """Trades for no reason that anybody sees: takes a little, or leaves an order near the best price for a while."""

    random: Random
    lots: int = 8
    """At most, at a time."""
    take_ratio: float = 0.6
    """Of its decisions that take; the others leave an order."""
    most_open: int = 3
    """Orders that it leaves; the oldest goes for the next."""
    most_held: int = 100
    every_s: float = 2.0

    def decide(self, view: View) -> list[Command]:
        """Return one order, and the cancel of one for which there is no room."""
        held = view.position
        side = self.random.choice([*Side]) if abs(held) < self.most_held - self.lots else _reducing(held)
        lots = self.random.randint(1, self.lots)
        if self.random.random() < self.take_ratio:
            return _take(view, side, lots)
        old = view.open[: max(0, len(view.open) - self.most_open + 1)]
        return [*map(withdraw, old), *self._left(view, side, lots)]

    def _left(self, view: View, side: Side, lots: int) -> list[Command]:
        near, far = view.touch(side), view.touch(Side(3 - side))
        if near is None or far is None:
            return []
        # Between the best prices, or behind the own side's.
        span = max(1, abs(far - near))
        away = self.random.randint(1 - span, 2 * span)
        return [place(side, max(1, near - away if side == Side.BUY else near + away), lots)]


@dataclass(slots=True, kw_only=True)
class Slow:
    """Has much to buy, and then as much to sell: an iceberg at the best price of its side, a little of it shown."""

    random: Random
    lots: int = 200
    """In all, of one order."""
    shown: int = 10
    pause_ratio: float = 0.8
    """Of its decisions in which it waits, once an order is through."""
    every_s: float = 10.0

    @property
    def most_held(self) -> int:
        """The lots of one order."""
        return self.lots

    def decide(self, view: View) -> list[Command]:
        """Return a new order, or one that goes where the market has gone."""
        if view.open:
            order = view.open[0]
            touch = view.touch(order.side)
            return [] if touch in {None, order.price} else [change(order, touch or order.price, order.left)]
        if self.random.random() < self.pause_ratio:
            return []
        side = _reducing(view.position) if view.position else self.random.choice([*Side])
        touch = view.touch(side)
        lots = abs(view.position) or self.lots
        return [] if touch is None else [place(side, touch, lots, display=min(self.shown, lots))]


def _reducing(position: int) -> Side:
    return Side.SELL if position > 0 else Side.BUY


def _take(view: View, side: Side, lots: int) -> list[Command]:
    """Return an order that takes at the best price what is there, and no more."""
    price = view.touch(Side(3 - side))
    return [] if price is None else [place(side, price, lots, tif=TimeInForce.IOC)]
