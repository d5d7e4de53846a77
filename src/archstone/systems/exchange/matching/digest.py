"""Whether two books are the same: 64 bits over all that decides about what they will do.

Each number is mixed in by the finalizer of splitmix64. Source: Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", figure 17, and for its constants Stafford's variant 13. It tells apart what differs by
mistake; it is no protection against who wants two books to look the same.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from archstone.systems.exchange.matching.book import Order

__all__ = ["digest_of"]

_MASK: Final = 2**64 - 1


def digest_of(words: Iterable[int], queues: Sequence[Iterable[Order]]) -> int:
    """Return the digest of numbers and of queues, whose order counts."""
    state = 0
    for word in words:
        state = _mixed(state, word)
    for queue in queues:
        for order in queue:
            for word in _words(order):
                state = _mixed(state, word)
        state = _mixed(state, 0)
    return state


def _words(order: Order) -> tuple[int, ...]:
    kind = order.side | order.type << 8 | order.tif << 16 | order.flags << 24 | order.stp << 32
    return (order.id, order.account, kind, order.price, order.left, order.shown, order.display, order.trigger)


def _mixed(state: int, word: int) -> int:
    state = (state + 0x9E3779B97F4A7C15 ^ word) & _MASK
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
    return state ^ state >> 31
