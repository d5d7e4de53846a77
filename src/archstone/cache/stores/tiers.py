"""A near store in memory before a far one that processes share: `Cache(["memory:", "redis://..."])`.

What is read from afar is kept near, under the same tags. Whatever is written or invalidated through one process is told
to the others by the far store's announcements. How stale a near entry can be: normally as long as a message takes; if
messages are lost, at most about two seconds while the connection looks alive (then it is given up, and nothing is kept
near until it is back), and in no case longer than `near_s`.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol, Self, cast

from archstone.cache.codec import Codec
from archstone.cache.errors import CacheConfigError
from archstone.cache.store import Busy, Entry, Lease, Store, StoreCounts, Write
from archstone.cache.stores.memory import MemoryStore, parameters

__all__ = ["Announcing", "Tiers"]

_NEAR_S: Final = 10.0


class Announcing(Store, Protocol):
    """A store that tells this process what others write or invalidate."""

    def listen(
        self, heard: Callable[[Sequence[str], Sequence[str]], None], *, live: Callable[[bool], None]
    ) -> asyncio.Task[None]:
        """Call `heard(keys, tags)` for each, and `live` with whether all of them arrive."""
        ...


class Tiers:
    """A near store before a far one."""

    def __init__(
        self,
        far: Store,
        *,
        max_entries: int = 10_000,
        max_bytes: int | None = None,
        max_tags: int = 100_000,
        near_s: float = _NEAR_S,
    ) -> None:
        """Describe the tiers.

        Args:
            far: The store that processes share.
            max_entries: Entries kept near; see `MemoryStore`.
            max_bytes: Bytes kept near.
            max_tags: Invalidated tags remembered near.
            near_s: Seconds after which a near entry is read from afar again, whatever was or was not heard. Above 0.

        Raises:
            CacheConfigError: A bound is out of range, or the far store announces nothing.
        """
        self.label = f"memory: before {far.label}"
        if not hasattr(far, "listen"):
            raise CacheConfigError(self.label, f"{far.label} does not announce what others change: put it alone")
        self._near = MemoryStore(max_entries=max_entries, max_bytes=max_bytes, max_tags=max_tags, max_s=near_s)
        self._far = cast("Announcing", far)
        self._live = False
        self._beside: dict[tuple[str, int], Lease] = {}
        """The near leases of far ones, by key and token."""

    @classmethod
    def from_url(cls, near: str, far: Store) -> Self:
        """Return the tiers of a `memory:` URL (whose parameters bound what is kept near) and a store."""
        return cls(far, **parameters(near))

    def __repr__(self) -> str:
        return f"Tiers({self._near!r}, {self._far!r})"

    @property
    def hits(self) -> int:
        """How often an entry was found near."""
        return self._near.hits

    async def open(self) -> None:
        """Open both. Nothing is kept near until announcements arrive."""
        await self._near.open()
        await self._far.open()
        self._far.listen(self._heard, live=self._went)

    async def close(self) -> None:
        """Close both."""
        await self._far.close()
        await self._near.close()

    def _heard(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        self._near.expel(keys=keys, tags=tags)

    def _went(self, live: bool) -> None:  # noqa: FBT001 - as `listen` calls it
        self._live = live
        self._near.clear()
        self._beside.clear()

    @property
    def near(self) -> MemoryStore:
        """The entries that are in this process."""
        return self._near

    def _lease(self, key: str) -> Lease | None:
        """Return the right to keep near what is on its way here: what is heard meanwhile breaks it."""
        lease = self._near.lease(key, _NEAR_S) if self._live else None
        return lease if isinstance(lease, Lease) else None

    async def _keep(self, lease: Lease | None, entry: Entry | None, codec: Codec) -> None:
        if lease is None:
            return
        if entry is None:
            await self._near.release(lease)
            return
        value, age_s, fresh_s, keep_s, soon_s, load_s, tags = entry
        self._near.settle(lease, Write(value, codec, tags, fresh_s, keep_s, soon_s, load_s, age_s))

    async def read(self, keys: Sequence[str], codec: Codec) -> list[Entry | None]:
        """Return the entries of `keys`, from near where they are."""
        found = {key: self._near.find(key) for key in keys}
        absent = [key for key, entry in found.items() if entry is None]
        if absent:
            leases = {key: self._lease(key) for key in absent}
            entries: list[Entry | None] = [None] * len(absent)
            try:
                entries = await self._far.read(absent, codec)
            finally:
                for key, entry in zip(absent, entries, strict=True):
                    await self._keep(leases[key], entry, codec)
            found.update(zip(absent, entries, strict=True))
        return [found[key] for key in keys]

    async def claim(self, key: str, codec: Codec, *, lease_s: float, refresh: bool = False) -> Entry | Lease | Busy:
        """Claim afar."""
        near = self._lease(key)
        try:
            claim = await self._far.claim(key, codec, lease_s=lease_s, refresh=refresh)
        except BaseException:
            await self._keep(near, None, codec)
            raise
        if not isinstance(claim, Lease):
            await self._keep(near, claim if isinstance(claim, Entry) else None, codec)
        elif near is not None:
            self._beside[key, claim.token] = near
        return claim

    async def fill(self, lease: Lease, write: Write) -> bool:
        """Fill afar, and keep it near."""
        near = self._beside.pop((lease.key, lease.token), None)
        kept = False
        try:
            kept = await self._far.fill(lease, write)
        finally:
            if near is not None and (not kept or not self._near.settle(near, write)):
                await self._near.release(near)
        return kept

    async def release(self, lease: Lease) -> None:
        """Give the right back."""
        near = self._beside.pop((lease.key, lease.token), None)
        if near is not None:
            await self._near.release(near)
        await self._far.release(lease)

    async def write(self, writes: Mapping[str, Write]) -> None:
        """Write afar, then near."""
        self._near.expel(keys=writes.keys())
        leases = {key: self._lease(key) for key in writes}
        written = False
        try:
            await self._far.write(writes)
            written = True
        finally:
            for key, lease in leases.items():
                if lease is not None and not (written and self._near.settle(lease, writes[key])):
                    await self._near.release(lease)

    async def invalidate(self, *, keys: Collection[str] = (), tags: Collection[str] = ()) -> None:
        """Invalidate afar, which tells the others, and near."""
        try:
            await self._far.invalidate(keys=keys, tags=tags)
        finally:
            self._near.expel(keys=keys, tags=tags)

    def counts(self) -> StoreCounts:
        """Return what is near."""
        return self._near.counts()
