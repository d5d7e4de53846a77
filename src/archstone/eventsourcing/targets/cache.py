"""A cache as the target of a projection: documents that are ready before anybody asks for them.

    async with Cache("redis://cache:6379", name="users") as cache:
        users = CacheTarget(cache, "user:")
        async with Projector(store, UserPages(users)):
            match await users.get("7"):
                case None:                      # not there yet, or dropped: ask the aggregate
                case Document(body=None):       # there is no such user any more
                case Document(body=page): ...

A cache may drop an entry at any time, and with it forgets its version: a projection that hung and wakes up then could
put an old document there, which stands until its next event or until `keep_s`. Where a document is dear to make and
seldom asked for, let readers load it and have the event forget it instead: `archstone.cache.invalidates`.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import orjson

from archstone import world
from archstone.cache import BYTES, Cache, CacheStoreError, Entry, Lease, Write
from archstone.eventsourcing.errors import TargetError
from archstone.eventsourcing.external import Document

__all__ = ["CacheTarget"]

_LEASE_S: Final = 5.0
"""A writer of one document that died is waited for so long."""
_TRIES: Final = 20
"""How often a document is tried while others write it."""
_WAIT_S: Final = 0.01
_WAIT_CAP_S: Final = 0.5
_AT_ONCE: Final = 32
"""Documents on their way at once."""


class CacheTarget:
    """Documents in an open cache, each under `prefix` and its id, with its version.

    A write is a compare by version under a lease of the cache: of two runners at once the newer document stays.
    """

    def __init__(self, cache: Cache, prefix: str, *, keep_s: float = 30 * 86_400.0) -> None:
        """Describe it.

        Args:
            cache: Where they are kept; it is to be open when the projection runs. Its `life` is not used.
            prefix: Begins the keys. A projection of another version needs another one.
            keep_s: Seconds from its last event on that a document stays, a deleted one's version too. Above 0.
        """
        self._cache = cache
        self._prefix = prefix
        self._keep_s = keep_s

    async def get(self, id: str) -> Document | None:
        """Return a document, its body None if it was deleted. None: the cache does not have it, or is away."""
        try:
            [entry] = await self._cache.store.read((self._prefix + id,), BYTES)
        except CacheStoreError:
            return None
        return None if entry is None else Document(id, *orjson.loads(entry.value))

    async def write(self, documents: Sequence[Document]) -> None:
        """Write documents, each in a step of its own.

        Raises:
            TargetError: The cache is away, a document is no JSON, or others keep writing it. Some may be written.
        """
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(document: Document) -> None:
            async with turns:
                await self._write(document)

        try:
            async with asyncio.TaskGroup() as group:
                for each in documents:
                    group.create_task(one(each), name=f"cache target: {self._prefix}{each.id}")
        except* TargetError as failed:
            raise failed.exceptions[0] from failed

    async def _write(self, document: Document) -> None:
        key, wait_s = self._prefix + document.id, _WAIT_S
        try:
            value = orjson.dumps((document.version, document.body))
            for _ in range(_TRIES):
                if await self._settled(key, document.version, value):
                    return
                await asyncio.sleep(wait_s * (0.5 + world.random().random()))
                wait_s = min(wait_s * 2, _WAIT_CAP_S)
        except TypeError as error:
            raise TargetError(self._prefix, f"document {document.id!r} is no JSON: {error}") from error
        except CacheStoreError as error:
            raise TargetError(self._prefix, f"the cache {error.store!r} failed at {error.what}") from error
        raise TargetError(self._prefix, f"others keep writing document {document.id!r}")

    async def _settled(self, key: str, version: int, value: bytes) -> bool:
        """Return whether the cache has that version or a later one now; False: somebody else is writing the key."""
        store = self._cache.store
        lease = await store.claim(key, BYTES, lease_s=_LEASE_S, refresh=True)
        if not isinstance(lease, Lease):
            return False
        # Asked by a claim and not by a read: of two tiers it is the far one that answers.
        found = await store.claim(key, BYTES, lease_s=_LEASE_S)
        if isinstance(found, Entry) and orjson.loads(found.value)[0] >= version:
            await store.release(lease)
            return True
        if isinstance(found, Lease):  # the first was broken or has run out: another writer was here
            await store.release(found)
            return False
        return await store.fill(lease, Write(value, BYTES, (), self._keep_s, self._keep_s, self._keep_s))
