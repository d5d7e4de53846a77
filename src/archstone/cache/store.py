"""The port behind a cache: where entries are kept, who may load, and what makes entries wrong.

A store keeps entries with the tags they carry and the *stamp* they were loaded under. Each invalidation of a tag takes
the next number of one sequence; an entry is wrong as soon as one of its tags was invalidated under a later number than
its stamp. So invalidating costs the same for one entry and for a million, and there is no list to keep in step.

Who wants to load asks for a lease first, which notes the stamp. `fill` keeps what was loaded only if the lease still
stands and no tag has moved on, in one step: "A claims, A reads the old row, B changes the row and invalidates, A
fills" is refused. Anything that writes or removes a key breaks its lease.

What every store must promise is executable: `archstone.cache.testing.StoreConformance`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from archstone.cache.codec import Codec

__all__ = ["Busy", "Entry", "Lease", "Store", "StoreCounts", "Write"]


class Write(NamedTuple):
    """A value on its way into a store, with how long it is good for. Durations are seconds from when it was loaded."""

    value: Any
    codec: Codec
    tags: tuple[str, ...] = ()
    fresh_s: float = 300.0
    """Up to this age it is fresh. Above 0."""
    keep_s: float = 300.0
    """Up to this age it may be served at all, as a stale value. At least `fresh_s`."""
    soon_s: float = 300.0
    """From this age on a hit wants more than the value: a refresh, say. At most `fresh_s`."""
    load_s: float = 0.0
    """How long the load took."""
    age_s: float = 0.0
    """How old it is already."""


class Entry(NamedTuple):
    """A value as it was found: none of its tags has been invalidated, and it is younger than `keep_s`."""

    value: Any
    age_s: float
    """Seconds since it was loaded, by the clock of the store."""
    fresh_s: float
    keep_s: float
    soon_s: float
    load_s: float
    tags: tuple[str, ...]


class Lease(NamedTuple):
    """The right to load one key, until it is filled, released, broken, or taken over after its time."""

    key: str
    token: int
    """Never given twice for a key; a later lease has a greater one. The fence."""
    stamp: int
    """The number of the last invalidation when it was given."""


class Busy(NamedTuple):
    """Somebody else is loading."""

    left_s: float
    """After so many seconds its lease can be taken over."""


class StoreCounts(NamedTuple):
    """What a store holds now. None: it cannot say cheaply."""

    entries: int | None
    bytes: int | None


class Store(Protocol):
    """Keeps entries. Bounded: what does not fit is dropped, and an entry may be gone at any time.

    Every coroutine raises `CacheStoreError` if the backend fails; then its effect is unknown. Cancelled, too.
    """

    label: str
    """How errors name it: the URL without password."""

    async def open(self) -> None:
        """Connect. A server that is away is no error here: the cache goes on without it."""
        ...

    async def close(self) -> None:
        """Let go of everything. Leases held stay until their time."""
        ...

    async def read(self, keys: Sequence[str], codec: Codec) -> list[Entry | None]:
        """Return the entries of `keys`, in their order; None where there is none, or it cannot be decoded."""
        ...

    async def claim(self, key: str, codec: Codec, *, lease_s: float, refresh: bool = False) -> Entry | Lease | Busy:
        """Return the fresh entry of `key`, else the right to load it, else that somebody else has that right.

        Args:
            lease_s: Seconds after which somebody else may take the right over. Above 0.
            refresh: True: also where there is a fresh entry.
        """
        ...

    async def fill(self, lease: Lease, write: Write) -> bool:
        """Keep what was loaded under `lease` and end the lease.

        Returns:
            False, and nothing is kept, if the lease was broken or taken over, or one of the tags was invalidated
            since it was given.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give the right back unused. Nothing happens if it is not held any more."""
        ...

    async def write(self, writes: Mapping[str, Write]) -> None:
        """Keep each value under its key, and break leases of these keys. Each key is atomic; the whole need not be."""
        ...

    async def invalidate(self, *, keys: Collection[str] = (), tags: Collection[str] = ()) -> None:
        """Make entries wrong: those of `keys`, and all that carry one of `tags`, whenever they were loaded till now.

        When it has returned no read gives them any more, and no load begun before is kept. The cost does not depend on
        how many entries carry a tag.
        """
        ...

    def counts(self) -> StoreCounts:
        """Return what it holds, without waiting."""
        ...
