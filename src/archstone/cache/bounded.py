"""What to forget when memory is full: keeps what is asked for often, ignores scans, follows changes of taste.

A new item waits in a small *window* (a fiftieth). When it leaves that, it takes a place on the *ring* only from
somebody who was asked for less; the hand goes round the ring and takes a hit from each it passes, so old fame fades.
Of items let go the number of hits is remembered for a while (two capacities of hashes), and they come back with it. A
hit costs one addition; nothing moves.

Source: window and contest from Einziger, Friedman and Manes 2017, "TinyLFU", section 4; the hand that takes a hit from
Yang et al. 2023, "FIFO queues are all you need for cache eviction", section 4. We keep exact counts of a bounded past
instead of a sketch, and let go of whoever loses at once.
"""

import math
from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

__all__ = ["Bounded", "Item"]

_MOST_HITS: Final = 3
"""More hits do not count in the contest."""

_WINDOW_PART: Final = 50
_PAST: Final = 2
_LOOKS: Final = 16
_WAITS: Final = -1
_GONE: Final = -2


class Item:
    """What is kept under a key. Subclass it with what you keep; whoever hits it adds 1 to `hits`."""

    __slots__ = ("hits", "key", "place", "weight")

    key: str
    hits: int
    weight: int
    """In the unit of `max_weight`. At least 0."""
    place: int
    """Where it is on the ring; written by `Bounded` only."""


ItemT = TypeVar("ItemT", bound=Item)


class Bounded(Generic[ItemT]):
    """Items by key, at most so many and so heavy."""

    __slots__ = (
        "_free",
        "_hand",
        "_heaviest",
        "_past",
        "_ring",
        "_window",
        "faded",
        "items",
        "max_entries",
        "max_weight",
        "weight",
    )

    def __init__(self, max_entries: int, max_weight: int | None = None) -> None:
        """Make an empty one.

        Args:
            max_entries: Items kept. At least 1.
            max_weight: Sum of their weights. None: no limit.
        """
        self.max_entries = max_entries
        self.max_weight = max_weight
        self._heaviest: float = math.inf if max_weight is None else max_weight
        self.weight = 0
        self.faded = 0
        """Hits that were taken from items, less those that were given back. With those of the items: all hits."""
        self.items: dict[str, ItemT] = {}
        """For reading; `add` and `drop` write it."""
        self._window: deque[ItemT] = deque()
        self._ring: list[ItemT | None] = []
        self._free: list[int] = []
        self._hand = 0
        self._past: OrderedDict[int, int] = OrderedDict()

    def add(self, item: ItemT) -> None:
        """Keep `item`, whose key is not there yet; others, or in the end it, may be let go for it."""
        past = self._past.pop(hash(item.key), -1)
        item.hits = past + 1 if past < _MOST_HITS else _MOST_HITS
        self.faded -= item.hits
        item.place = _WAITS
        items = self.items
        items[item.key] = item
        self.weight += item.weight
        window = self._window
        window.append(item)
        allowed = len(items) // _WINDOW_PART or 1
        while len(window) > allowed:
            self._leave_window(window.popleft())
        if len(items) > self.max_entries or self.weight > self._heaviest:
            self.shrink()

    def drop(self, item: ItemT) -> None:
        """Take `item`, which is there, out; it is not remembered."""
        del self.items[item.key]
        self.weight -= item.weight
        self.faded += item.hits
        if item.place >= 0:
            self._ring[item.place] = None
            self._free.append(item.place)
        item.place = _GONE

    def reweigh(self, item: ItemT, weight: int) -> None:
        """Change the weight of `item`, which is there; others, or it, may be let go for that."""
        self.weight += weight - item.weight
        item.weight = weight
        if self.full():
            self.shrink()

    def clear(self) -> None:
        """Forget everything, the past too, except how many hits there were."""
        self.faded += sum(item.hits for item in self.items.values())
        self.items.clear()
        self._window.clear()
        self._ring.clear()
        self._free.clear()
        self._past.clear()
        self._hand = self.weight = 0

    def full(self) -> bool:
        """Return whether it holds more than it may."""
        return len(self.items) > self.max_entries or self.weight > self._heaviest

    def shrink(self) -> None:
        """Let go until it holds no more than it may: from the ring while others are on it, then of the oldest new."""
        while self.full():
            victim = self._victim(_MOST_HITS + 1, len(self._ring) * (_MOST_HITS + 1))
            if victim is None:
                victim = self._window.popleft()
                if victim.place == _GONE:
                    continue
            self._let_go(victim)

    def _leave_window(self, item: ItemT) -> None:
        if item.place == _GONE:
            return
        if len(self.items) <= self.max_entries and self.weight <= self._heaviest:
            self._take_place(item)
            return
        hits = item.hits
        victim = self._victim(min(hits, _MOST_HITS), _LOOKS) if hits else None
        if victim is None:
            self._let_go(item)
            return
        self._let_go(victim)
        self.faded += item.hits
        item.hits = 0
        self._take_place(item)

    def _take_place(self, item: ItemT) -> None:
        if self._free:
            item.place = self._free.pop()
            self._ring[item.place] = item
        else:
            item.place = len(self._ring)
            self._ring.append(item)

    def _victim(self, hits: int, looks: int) -> ItemT | None:
        """Return the next on the ring with fewer than `hits`, taking a hit from each that the hand passes."""
        ring = self._ring
        if not ring:
            return None
        hand = self._hand
        for _ in range(looks):
            hand = hand + 1 if hand + 1 < len(ring) else 0
            found = ring[hand]
            if found is None:
                continue
            if found.hits == 0 or found.hits < hits <= _MOST_HITS:
                self._hand = hand
                return found
            left = found.hits - 1 if found.hits <= _MOST_HITS else _MOST_HITS - 1
            self.faded += found.hits - left
            found.hits = left
        self._hand = hand
        return None

    def _let_go(self, item: ItemT) -> None:
        self.drop(item)
        past = self._past
        past[hash(item.key)] = min(_MOST_HITS, item.hits)
        if len(past) > _PAST * self.max_entries:
            past.popitem(last=False)
