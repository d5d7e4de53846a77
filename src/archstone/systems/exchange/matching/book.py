"""One side of a book: prices, best first, and at each price the orders that wait there, oldest first."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

from archstone.systems.exchange.matching.commands import Side

__all__ = ["Half", "Order", "Sleeping"]


@dataclass(slots=True)
class Order:
    """A live order."""

    id: int
    account: int
    side: int
    type: int
    tif: int
    flags: int
    stp: int
    price: int
    left: int
    """Lots that are still open, the hidden ones too."""
    display: int
    trigger: int
    shown: int = 0
    """Lots in the queue. The rest of an iceberg comes when they are gone."""

    def show(self) -> None:
        """Show as much as it shows at a time."""
        self.shown = min(self.display or self.left, self.left)


class Half:
    """The orders of one side."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._toward = -1 if side == Side.BUY else 1
        self._prices: list[int] = []
        """Ascending, as `toward * price`: the best is the first."""
        self._queues: dict[int, dict[int, Order]] = {}
        self.market: dict[int, Order] = {}
        """Orders without a price, which wait for an auction. They come before all others."""

    def __iter__(self) -> Iterator[Order]:
        """Give all orders in the order in which they trade."""
        yield from self.market.values()
        for price in self.prices():
            yield from self._queues[price].values()

    def prices(self) -> Iterator[int]:
        """Give the prices at which orders wait, the best first."""
        for key in self._prices:
            yield key * self._toward

    @property
    def best(self) -> int | None:
        """The best price. None: no order with a price is there."""
        return self._prices[0] * self._toward if self._prices else None

    def first(self, price: int) -> Order:
        """Return the oldest order at a price at which orders wait."""
        return next(iter(self._queues[price].values()))

    def at(self, price: int) -> Iterator[Order]:
        """Give the orders at a price, oldest first."""
        yield from self._queues.get(price, {}).values()

    def add(self, order: Order) -> None:
        """Put an order at the end of its queue."""
        self._queue(order)[order.id] = order

    def remove(self, order: Order) -> None:
        """Take an order out."""
        queue = self._queue(order)
        del queue[order.id]
        if not queue and order.price:
            del self._queues[order.price]
            del self._prices[bisect_left(self._prices, order.price * self._toward)]

    def _queue(self, order: Order) -> dict[int, Order]:
        if not order.price:
            return self.market
        if order.price not in self._queues:
            self._queues[order.price] = {}
            insort(self._prices, order.price * self._toward)
        return self._queues[order.price]

    def crosses(self, price: int, limit: int) -> bool:
        """Return whether an order of the other side with that limit trades at `price`; limit 0 takes any."""
        return not limit or price * self._toward <= limit * self._toward


class Sleeping:
    """The stops of one side, in the order in which they wake: nearest trigger first, then oldest."""

    def __init__(self, side: Side) -> None:
        self._toward = 1 if side == Side.BUY else -1
        self._keys: list[tuple[int, int]] = []
        self._orders: dict[tuple[int, int], Order] = {}
        self._key_of: dict[int, tuple[int, int]] = {}
        self._count = 0

    def __iter__(self) -> Iterator[Order]:
        """Give all, the next to wake first."""
        for key in self._keys:
            yield self._orders[key]

    def add(self, order: Order) -> None:
        """Let an order sleep."""
        self._count += 1
        key = (order.trigger * self._toward, self._count)
        insort(self._keys, key)
        self._orders[key] = order
        self._key_of[order.id] = key

    def remove(self, order: Order) -> None:
        """Take an order out."""
        key = self._key_of.pop(order.id)
        del self._orders[key]
        del self._keys[bisect_left(self._keys, key)]

    def wakes(self, order: Order, price: int) -> bool:
        """Return whether a trade at `price` wakes `order`."""
        return order.trigger * self._toward <= price * self._toward

    def woken(self, price: int) -> list[Order]:
        """Return and take out all that a trade at `price` wakes."""
        found: list[Order] = []
        while self._keys and self.wakes(self._orders[self._keys[0]], price):
            found.append(self._orders[self._keys[0]])
            self.remove(found[-1])
        return found
