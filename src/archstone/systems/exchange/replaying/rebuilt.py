"""A book put together from messages alone, in the plainest way: what a replay is compared with."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

from archstone.systems.exchange.matching import Side

__all__ = ["Rebuilt", "Resting"]


@dataclass(slots=True)
class Resting:
    """A visible order."""

    key: int
    """As the file calls it; below 0: the file has never told of it."""
    side: Side
    price: int
    left: int
    id: int = 0
    """As the replayed exchange calls it."""


class Rebuilt:
    """The visible orders of one book."""

    def __init__(self) -> None:
        self.orders: dict[int, Resting] = {}
        # By the number of the side, since an enumeration hashes by its name, which takes as long as all the rest.
        self._queues: tuple[dict[int, dict[int, Resting]], ...] = ({}, {}, {})
        self._prices: tuple[list[int], ...] = ([], [], [])
        """Ascending, of buys with the sign turned: the best is the first."""

    def add(self, order: Resting) -> None:
        """Put an order at the end of its queue."""
        self.orders[order.key] = order
        queue = self._queues[order.side].get(order.price)
        if queue is None:
            queue = self._queues[order.side][order.price] = {}
            insort(self._prices[order.side], _rank(order.side, order.price))
        queue[order.key] = order

    def reduce(self, order: Resting, lots: int) -> None:
        """Take lots off an order, no more than are left; without any it is gone."""
        order.left -= lots
        if order.left:
            return
        del self.orders[order.key]
        queue = self._queues[order.side][order.price]
        del queue[order.key]
        if not queue:
            del self._queues[order.side][order.price]
            ranks = self._prices[order.side]
            del ranks[bisect_left(ranks, _rank(order.side, order.price))]

    def is_next(self, order: Resting) -> bool:
        """Return whether the next trade with that side is with this order."""
        if self._prices[order.side][0] != _rank(order.side, order.price):
            return False
        return next(iter(self._queues[order.side][order.price])) == order.key

    def best(self, side: Side) -> int | None:
        """Return the best price of a side. None: nobody is there."""
        return abs(self._prices[side][0]) if self._prices[side] else None

    def at(self, side: Side, price: int) -> Iterator[Resting]:
        """Give the orders at a price, oldest first."""
        yield from self._queues[side].get(price, {}).values()

    def prices(self, side: Side) -> Iterator[int]:
        """Give the prices at which orders are, the best first."""
        return (abs(rank) for rank in self._prices[side])

    def lots_at(self, side: Side, price: int) -> int:
        """Return how many lots are at a price."""
        return sum(order.left for order in self.at(side, price))

    def depth(self, side: Side, levels: int) -> list[tuple[int, int]]:
        """Return the best `levels` prices of a side with their lots."""
        return [(price, self.lots_at(side, price)) for price, _ in zip(self.prices(side), range(levels), strict=False)]


def _rank(side: Side, price: int) -> int:
    return -price if side == Side.BUY else price
