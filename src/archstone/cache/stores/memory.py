"""Entries in the memory of this process: objects as they are, bounded by count and by bytes.

What is kept is the very object that was loaded, and every hit gives that object: do not change it, or keep immutable
values. Everything happens without suspending, so there is no moment between looking and writing.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Final, Self
from urllib.parse import parse_qsl

from archstone import world
from archstone.cache.bounded import NEVER, Bounded, Item
from archstone.cache.codec import Codec
from archstone.cache.errors import CacheConfigError
from archstone.cache.store import Busy, Entry, Lease, StoreCounts, Write

__all__ = ["Kept", "MemoryStore", "parameters"]

_OVERHEAD_BYTES: Final = 400
"""Counted for each entry beside its key and value, where bytes are bounded."""
_MAX_TAGS: Final = 100_000
_PARAMETERS: Final = ("max_entries", "max_bytes", "max_tags")
_NUMBER: Final = re.compile(r"[0-9]{1,18}").fullmatch


class Kept(Item):
    """An entry in memory. Instants are on the store's clock, in seconds."""

    __slots__ = ("born_s", "checked")

    write: Write
    born_s: float
    checked: int
    """The number of the last invalidation when its load began, or when its tags were last looked at since."""


class MemoryStore:
    """A store in memory, for one event loop."""

    def __init__(
        self,
        *,
        max_entries: int = 10_000,
        max_bytes: int | None = None,
        max_tags: int = _MAX_TAGS,
        max_s: float | None = None,
    ) -> None:
        """Make an empty store.

        Args:
            max_entries: Entries kept. At least 1.
            max_bytes: Bytes of encoded values, keys and 400 for each entry. None: not counted, and nothing is encoded.
            max_tags: Invalidated tags remembered. Above it the oldest are forgotten, and every entry that was loaded
                before such an invalidation and carries a tag that is not remembered is dropped when it is met.
                At least 1.
            max_s: Seconds after which an entry is gone whatever its life. None: as its life says.

        Raises:
            CacheConfigError: A bound is out of range.
        """
        for name, value in (("max_entries", max_entries), ("max_bytes", max_bytes), ("max_tags", max_tags)):
            if value is not None and value < 1:
                raise CacheConfigError("memory:", f"{name}={value} must be at least 1")
        if max_s is not None and not max_s > 0:
            raise CacheConfigError("memory:", f"max_s={max_s} must be above 0, or None")
        self.label = "memory:"
        self._bounded: Bounded[Kept] = Bounded(Kept, max_entries, max_bytes)
        self.known = self._bounded.known.get
        """Returns what is kept, or was let go, under a key. With `clock` and `number` for who spares calling `peek`."""
        self._weighs = max_bytes is not None
        self._max_tags = max_tags
        self._max_s = max_s
        self.clock: Callable[[], float] = world.monotonic
        self.number = 0
        """Of the last invalidation of a tag."""
        self._moved: dict[str, int] = {}
        """Tag to the number of its last invalidation, the oldest first."""
        self._floor = 0
        """The number that a tag has which is not in `_moved`."""
        self.peek = self._peek_by(self.clock)
        """Returns the entry of a key if a hit calls for nothing else; None where `read` must say more."""
        self._leases: dict[str, tuple[Lease, float]] = {}
        self._tokens = count(1)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the store of `memory:` or `memory:?max_entries=1000&max_bytes=1000000`.

        Raises:
            CacheConfigError: A parameter is unknown, no number, or out of range.
        """
        return cls(**parameters(url))

    def __repr__(self) -> str:
        return f"MemoryStore({self._bounded.count} of {self._bounded.max_entries} entries)"

    @property
    def near(self) -> Self:
        """The entries that are in this process: all of them."""
        return self

    @property
    def hits(self) -> int:
        """How often an entry was found."""
        return self._bounded.faded + sum(kept.hits for kept in self._bounded.known.values())

    async def open(self) -> None:
        """Begin empty, on the clock of the running world."""
        self.clock = world.clock()
        self.peek = self._peek_by(self.clock)
        self.clear()

    async def close(self) -> None:
        """Forget everything."""
        self.clear()

    def clear(self) -> None:
        """Forget all entries and break all leases."""
        self._bounded.clear()
        self._leases.clear()

    def _peek_by(self, clock: Callable[[], float]) -> Callable[[str], Kept | None]:
        known, stands = self.known, self._stands

        # The hot path. What it needs is bound to it: looked up in the store each would cost a tenth of it.
        def peek(key: str) -> Kept | None:
            kept = known(key)
            # What was let go has no time left.
            if kept is None or clock() >= kept.soon_s or (kept.checked != self.number and not stands(kept)):
                return None
            kept.hits += 1
            return kept

        return peek

    def find(self, key: str) -> Entry | None:
        """Return the entry of `key` that may still be served, however old; drop one that may not."""
        kept = self._bounded.kept(key)
        if kept is None:
            return None
        now_s, born_s = self.clock(), kept.born_s
        value, _, tags, fresh_s, keep_s, soon_s, load_s, age_s = kept.write
        gone_s = born_s + (keep_s if self._max_s is None else min(keep_s, age_s + self._max_s))
        if now_s >= gone_s or not self._stands(kept):
            self._bounded.drop(kept)
            return None
        kept.hits += 1
        return Entry(value, now_s - born_s, fresh_s, keep_s, soon_s, load_s, tags)

    def _stands(self, kept: Kept) -> bool:
        if self._overtaken(kept.write.tags, kept.checked):
            return False
        kept.checked = self.number
        return True

    def _overtaken(self, tags: tuple[str, ...], stamp: int) -> bool:
        """Return whether one of `tags` was invalidated after `stamp`."""
        moved, floor = self._moved, self._floor
        for tag in tags:  # noqa: SIM110 - twice as fast as any()
            if moved.get(tag, floor) > stamp:
                return True
        return False

    def put(self, key: str, write: Write, stamp: int | None = None) -> None:
        """Keep a value, loaded under `stamp` (None: now)."""
        weight = self._weight(key, write) if self._weighs else 0
        kept = self.known(key)
        if kept is None or kept.soon_s == NEVER:
            kept = self._bounded.admit(key, kept)
        value, _, _, _, _, soon_s, _, age_s = write
        now_s = self.clock()
        kept.value = value
        kept.write = write
        kept.born_s = born_s = now_s - age_s
        kept.soon_s = born_s + soon_s
        kept.checked = self.number if stamp is None else stamp
        if self._max_s is not None:
            kept.soon_s = min(kept.soon_s, now_s + self._max_s)
        if weight != kept.weight:
            self._bounded.reweigh(kept, weight)

    def _weight(self, key: str, write: Write) -> int:
        return len(write.codec.encode(write.value)) + len(key) + _OVERHEAD_BYTES

    async def read(self, keys: Sequence[str], codec: Codec) -> list[Entry | None]:
        """Return the entries of `keys`."""
        return [self.find(key) for key in keys]

    async def claim(self, key: str, codec: Codec, *, lease_s: float, refresh: bool = False) -> Entry | Lease | Busy:
        """Return the fresh entry, or the right to load it, or that somebody has it."""
        if not refresh and (entry := self.find(key)) is not None and entry.age_s < entry.fresh_s:
            return entry
        return self.lease(key, lease_s)

    def lease(self, key: str, lease_s: float) -> Lease | Busy:
        """Return the right to load `key`, or that somebody has it."""
        now_s = self.clock()
        held = self._leases.get(key)
        if held is not None and held[1] > now_s:
            return Busy(held[1] - now_s)
        lease = Lease(key, next(self._tokens), self.number)
        self._leases[key] = lease, now_s + lease_s
        return lease

    async def fill(self, lease: Lease, write: Write) -> bool:
        """Keep what was loaded under `lease`, if it still stands and no tag has moved."""
        return self.settle(lease, write)

    def settle(self, lease: Lease, write: Write) -> bool:
        """Do what `fill` does."""
        if not self._end(lease) or self._overtaken(write.tags, lease.stamp):
            return False
        self.put(lease.key, write, lease.stamp)
        return True

    async def release(self, lease: Lease) -> None:
        """Give the right back."""
        self._end(lease)

    def _end(self, lease: Lease) -> bool:
        held = self._leases.get(lease.key)
        if held is None or held[0].token != lease.token:
            return False
        del self._leases[lease.key]
        return True

    async def write(self, writes: Mapping[str, Write]) -> None:
        """Keep values, and break leases of their keys."""
        for key, write in writes.items():
            self._leases.pop(key, None)
            self.put(key, write)

    async def invalidate(self, *, keys: Collection[str] = (), tags: Collection[str] = ()) -> None:
        """Make entries wrong."""
        self.expel(keys=keys, tags=tags)

    def expel(self, *, keys: Collection[str] = (), tags: Collection[str] = ()) -> None:
        """Do what `invalidate` does."""
        for key in keys:
            self._leases.pop(key, None)
            if (kept := self._bounded.kept(key)) is not None:
                self._bounded.drop(kept)
        if not tags:
            return
        self.number += 1
        for tag in tags:
            self._moved.pop(tag, None)
            self._moved[tag] = self.number
        while len(self._moved) > self._max_tags:
            # Its number must not go back to an older one: from now on it is that of all that are not remembered.
            self._floor = self._moved.pop(next(iter(self._moved)))

    def counts(self) -> StoreCounts:
        """Return how many entries there are, and their bytes if they are bounded."""
        return StoreCounts(self._bounded.count, self._bounded.weight if self._bounded.max_weight is not None else None)


def parameters(url: str) -> dict[str, int]:
    """Return the parameters of a `memory:` URL.

    Raises:
        CacheConfigError: One is unknown or no number.
    """
    given = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    wrong = [f"{name}={value}" for name, value in given.items() if name not in _PARAMETERS or not _NUMBER(value)]
    if wrong:
        fault = f"{', '.join(wrong)} is none of its parameters: {', '.join(_PARAMETERS)}, whole numbers"
        raise CacheConfigError(url, fault)
    return {name: int(value) for name, value in given.items()}
