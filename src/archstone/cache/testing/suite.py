"""What the parts of the suite have in common."""

import asyncio
from typing import ClassVar

from archstone import world
from archstone.cache.codec import Codec, TypedCodec
from archstone.cache.store import Entry, Lease, Store, Write

__all__ = ["Suite", "fresh_key", "text"]

CODEC: Codec = TypedCodec(str)


def fresh_key(word: str) -> str:
    """Return a key, or a tag, that no other test uses."""
    return f"{word}-{world.new_id()}"


def text(value: str, *, fresh_s: float = 60.0, keep_s: float | None = None, tags: tuple[str, ...] = ()) -> Write:
    """Return how to keep a text."""
    return Write(value, CODEC, tags, fresh_s, fresh_s if keep_s is None else keep_s, fresh_s)


class Suite:
    """How a store is asked in these tests."""

    unit_s: ClassVar[float] = 1.0
    """Seconds that the tests take for a short while."""

    async def pass_time(self, units: float) -> None:
        """Let so many units pass on the store's clock."""
        await asyncio.sleep(units * self.unit_s)

    async def find(self, store: Store, key: str) -> Entry | None:
        """Return the entry of one key."""
        (entry,) = await store.read((key,), CODEC)
        return entry

    async def value(self, store: Store, key: str) -> str | None:
        """Return the value of one key."""
        entry = await self.find(store, key)
        return None if entry is None else entry.value

    async def lease(self, store: Store, key: str, *, units: float = 100.0, refresh: bool = False) -> Lease:
        """Return the right to load `key`, which must be free."""
        claim = await store.claim(key, CODEC, lease_s=units * self.unit_s, refresh=refresh)
        assert isinstance(claim, Lease), claim
        return claim
