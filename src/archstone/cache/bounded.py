"""What to forget when memory is full: keeps what is asked for often, ignores scans, follows changes of taste.

A new item waits in a small *window* (a fiftieth). When it leaves that, it takes a place on the *ring* only from
somebody who was asked for less; the hand goes round the ring and takes a hit from each it passes, so old fame fades.
Of items let go the number of hits is remembered for a while (one capacity), and they come back with it. A hit costs
one addition; nothing moves. An item let go stays under its key, empty, until it comes back or is the longest remembered
and becomes the item of a new key: where memory is full nothing is made.

Source: window and contest from Einziger, Friedman and Manes 2017, "TinyLFU", section 4; the hand that takes a hit from
Yang et al. 2023, "FIFO queues are all you need for cache eviction", section 4. We keep exact counts of a bounded past
instead of a sketch, and let go of whoever loses at once.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

__all__ = ["NEVER", "Bounded", "Item"]

_MOST_HITS: Final = 3
"""More hits do not count in the contest."""

_WINDOW_PART: Final = 50
_LOOKS: Final = 8
NEVER: Final = -math.inf
"""Before any instant: `soon_s` of an item let go."""

_WAITS: Final = -1
_PAST: Final = -2
_GONE: Final = -3


class Item:
    """What is kept under a key. Whoever hits it adds 1 to `hits`; `Bounded` empties it when it is let go."""

    __slots__ = ("hits", "key", "place", "soon_s", "value", "weight", "write")

    key: str
    hits: int
    """Of an item let go: those that it comes back with."""
    weight: int
    """In the unit of `max_weight`. At least 0."""
    value: Any
    """None of an item let go."""
    write: Any
    """None of an item let go."""
    soon_s: float
    """The instant from which on a hit calls for more. `NEVER` of an item let go."""
    place: int
    """Where it is on the ring, or that it waits, is let go, or forgotten. Negative: it is not on the ring."""


ItemT = TypeVar("ItemT", bound=Item)


class Bounded(Generic[ItemT]):
    """Items by key, at most so many and so heavy."""

    __slots__ = (
        "_free", "_hand", "_heaviest", "_make", "_past", "_ring", "_window", "count", "faded", "known",
        "max_entries", "max_weight", "weight",
    )  # fmt: skip

    def __init__(self, make: Callable[[], ItemT], max_entries: int, max_weight: int | None = None) -> None:
        """Make an empty one.

        Args:
            make: Returns a new item.
            max_entries: Items kept. At least 1.
            max_weight: Sum of their weights. None: no limit.
        """
        self._make = make
        self.max_entries = max_entries
        self.max_weight = max_weight
        self._heaviest: float = math.inf if max_weight is None else max_weight
        self.count = self.weight = 0
        """Items kept, and the sum of their weights."""
        self.faded = 0
        """Hits that were taken from items, less those that were given back. With those of the items: all hits."""
        self.known: dict[str, ItemT] = {}
        """What is kept, and what was let go and is remembered (see `kept`). For reading; the methods write it."""
        self._window: deque[ItemT] = deque()
        self._ring: list[ItemT | None] = []
        self._free: list[int] = []
        self._hand = 0
        self._past: deque[ItemT] = deque()

    def kept(self, key: str) -> ItemT | None:
        """Return what is kept under `key`."""
        item = self.known.get(key)
        return None if item is None or item.place == _PAST else item

    def admit(self, key: str, item: ItemT | None) -> ItemT:  # noqa: C901 - each miss comes here: calls would cost more
        """Make room for `key`, under which nothing is kept, and return the item to fill, at once.

        Args:
            key: Its key.
            item: What `known` has under it: what was let go, or None.
        """
        past, known, blank = self._past, self.known, None
        if len(past) > self.max_entries and (oldest := past.popleft()) is not item and oldest.place == _PAST:
            # Forgotten. Others have come back since, or were forgotten before: who was let go twice is there twice.
            self.faded += oldest.hits
            oldest.place = _GONE
            del known[oldest.key]
            blank = oldest
        if item is None:
            item = blank or self._make()
            item.key = key
            item.hits = 0
            known[key] = item
        elif item.hits < _MOST_HITS:
            item.hits += 1
            self.faded -= 1
        item.weight = 0
        item.place = _WAITS
        window = self._window
        window.append(item)
        if self.count < self.max_entries:
            self._grow()
            return item
        old = window.popleft()
        if old.place != _WAITS or old is item:
            if old is item:
                window.append(item)
            self.count += 1
            self.shrink()
        elif old.hits:
            self._contest(old)
        else:  # `_let_go`, of what most often goes, without calling it
            old.place = _PAST
            old.value = old.write = None
            old.soon_s = NEVER
            self._past.append(old)
            if old.weight:
                self.weight -= old.weight
        return item

    def _grow(self) -> None:
        """Count the item that has just come to wait; the oldest of the window takes a place if there are too many."""
        self.count += 1
        window = self._window
        if len(window) > (self.count // _WINDOW_PART or 1):
            old = window.popleft()
            if old.place == _WAITS:
                self._take_place(old)

    def drop(self, item: ItemT) -> None:
        """Take `item`, which is kept, out; it is not remembered."""
        del self.known[item.key]
        self.faded += item.hits
        self.count -= 1
        self.weight -= item.weight
        if item.place >= 0:
            self._ring[item.place] = None
            self._free.append(item.place)
        item.place = _GONE

    def reweigh(self, item: ItemT, weight: int) -> None:
        """Change the weight of `item`, which is kept; others, or it, may be let go for that."""
        self.weight += weight - item.weight
        item.weight = weight
        if self.full():
            self.shrink()

    def clear(self) -> None:
        """Forget everything, the past too, except how many hits there were."""
        self.faded += sum(item.hits for item in self.known.values())
        self.known.clear()
        self._window.clear()
        self._ring.clear()
        self._free.clear()
        self._past.clear()
        self._hand = self.count = self.weight = 0

    def full(self) -> bool:
        """Return whether it holds more than it may."""
        return self.count > self.max_entries or self.weight > self._heaviest

    def shrink(self) -> None:
        """Let go until it holds no more than it may: from the ring while others are on it, then of the oldest new."""
        while self.full():
            victim = self._victim(0, len(self._ring) * (_MOST_HITS + 1))
            if victim is None:
                victim = self._window.popleft()
                if victim.place != _WAITS:
                    continue
            elif victim.place >= 0:
                self._free.append(victim.place)
                self._ring[victim.place] = None
            self._let_go(victim)

    def _contest(self, item: ItemT) -> None:
        """Let `item`, which has left the window, take the place of one with fewer hits; or let it go."""
        hits = item.hits
        victim = self._victim(min(hits, _MOST_HITS), _LOOKS)
        self.count += 1
        if victim is None:
            self._let_go(item)
            return
        item.place = victim.place
        self._ring[item.place] = item
        self.faded += hits
        item.hits = 0
        self._let_go(victim)

    def _take_place(self, item: ItemT) -> None:
        if self._free:
            item.place = self._free.pop()
            self._ring[item.place] = item
        else:
            item.place = len(self._ring)
            self._ring.append(item)

    def _victim(self, hits: int, looks: int) -> ItemT | None:
        """Return the next on the ring with fewer than `hits`, or none, taking a hit from each that the hand passes."""
        ring = self._ring
        if not ring:
            return None
        hand, last = self._hand, len(ring)
        for _ in range(looks):
            hand += 1
            if hand >= last:
                hand = 0
            found = ring[hand]
            if found is None:
                continue
            has = found.hits
            if has == 0 or has < hits:
                self._hand = hand
                return found
            left = has - 1 if has <= _MOST_HITS else _MOST_HITS - 1
            self.faded += has - left
            found.hits = left
        self._hand = hand
        return None

    def _let_go(self, item: ItemT) -> None:
        """Empty `item`, whose place is somebody else's already, and remember it."""
        if item.hits > _MOST_HITS:
            self.faded += item.hits - _MOST_HITS
            item.hits = _MOST_HITS
        item.place = _PAST
        item.value = item.write = None
        item.soon_s = NEVER
        self.count -= 1
        self.weight -= item.weight
        self._past.append(item)
