"""Entries in a SQLite file of one process: warm after a restart, and larger than memory.

    sqlite:///cache.db?max_entries=100000

Each step is a transaction of `archstone.data`, so it is durable, and costs what that costs: worth it where a load takes
milliseconds or costs money. Processes that share a cache take Redis.
"""

import re
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import orjson

from archstone import world
from archstone.cache.codec import Codec
from archstone.cache.errors import CacheConfigError, CacheStoreError
from archstone.cache.store import Busy, Entry, Lease, StoreCounts, Write
from archstone.data import Database, Schema, Transaction
from archstone.errors import BackendError, ConflictError, RejectedError
from archstone.observability import get_logger

__all__ = ["SqliteStore"]

_log = get_logger("archstone.cache")

_US: Final = 1_000_000
_NUMBER: Final = re.compile(r"0*[1-9][0-9]{0,17}").fullmatch
_SWEEP_EVERY: Final = 1_000
"""Entries written between two sweeps."""

_SCHEMA: Final = Schema(
    "cache_store",
    (
        (
            """CREATE TABLE _archstone_cache (
                key TEXT PRIMARY KEY, stamp INTEGER NOT NULL, born INTEGER NOT NULL, gone INTEGER NOT NULL,
                fresh INTEGER NOT NULL, keep INTEGER NOT NULL, soon INTEGER NOT NULL, load INTEGER NOT NULL,
                tags TEXT NOT NULL, value BLOB NOT NULL
            )""",
            "CREATE INDEX _archstone_cache_gone ON _archstone_cache (gone)",
            """CREATE TABLE _archstone_cache_leases (
                key TEXT PRIMARY KEY, token INTEGER NOT NULL, ends INTEGER NOT NULL
            )""",
            "CREATE TABLE _archstone_cache_tags (tag TEXT PRIMARY KEY, number INTEGER NOT NULL)",
            "CREATE INDEX _archstone_cache_tags_number ON _archstone_cache_tags (number)",
            "CREATE TABLE _archstone_cache_numbers (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
            "INSERT INTO _archstone_cache_numbers (name, number) VALUES ('last', 0), ('floor', 0)",
        ),
    ),
)
_READ: Final = (
    "SELECT stamp, born, fresh, keep, soon, load, tags, value FROM _archstone_cache WHERE key = :key AND gone > :now"
)
_KEEP: Final = (
    "INSERT INTO _archstone_cache (key, stamp, born, gone, fresh, keep, soon, load, tags, value)"
    " VALUES (:key, :stamp, :born, :gone, :fresh, :keep, :soon, :load, :tags, :value)"
    " ON CONFLICT (key) DO UPDATE SET stamp = excluded.stamp, born = excluded.born, gone = excluded.gone,"
    " fresh = excluded.fresh, keep = excluded.keep, soon = excluded.soon, load = excluded.load, tags = excluded.tags,"
    " value = excluded.value"
)
_NEXT: Final = "UPDATE _archstone_cache_numbers SET number = number + 1 WHERE name = 'last'"
_LAST: Final = "SELECT number FROM _archstone_cache_numbers WHERE name = 'last'"
# Of a tag that is not there, the floor. Numbers only grow, so looking after the entry was read errs on the safe side.
_MOVED: Final = (
    "SELECT coalesce((SELECT number FROM _archstone_cache_tags WHERE tag = :tag),"
    " (SELECT number FROM _archstone_cache_numbers WHERE name = 'floor'))"
)
_TAG: Final = (
    "INSERT INTO _archstone_cache_tags (tag, number) VALUES (:tag, :number)"
    " ON CONFLICT (tag) DO UPDATE SET number = excluded.number"
)
_LEASE: Final = (
    "INSERT INTO _archstone_cache_leases (key, token, ends) VALUES (:key, :token, :ends)"
    " ON CONFLICT (key) DO UPDATE SET token = excluded.token, ends = excluded.ends"
)
_END: Final = "DELETE FROM _archstone_cache_leases WHERE key = :key AND token = :token"
_BREAK: Final = "DELETE FROM _archstone_cache_leases WHERE key = :key"
_FORGET: Final = "DELETE FROM _archstone_cache WHERE key = :key"
_SWEEP: Final = (
    "DELETE FROM _archstone_cache WHERE gone <= :now",
    "DELETE FROM _archstone_cache_leases WHERE ends <= :now",
)
_OLDEST: Final = (
    "DELETE FROM _archstone_cache WHERE key IN (SELECT key FROM _archstone_cache ORDER BY gone LIMIT"
    " max(0, (SELECT count(*) FROM _archstone_cache) - :most))"
)
_FLOOR: Final = (
    "UPDATE _archstone_cache_numbers SET number = max(number, coalesce((SELECT number FROM _archstone_cache_tags"
    " ORDER BY number DESC LIMIT 1 OFFSET :most), number)) WHERE name = 'floor'"
)
_TRIM: Final = (
    "DELETE FROM _archstone_cache_tags WHERE number <="
    " (SELECT number FROM _archstone_cache_numbers WHERE name = 'floor')"
)


class _Row(NamedTuple):
    stamp: int
    born: int
    fresh: int
    keep: int
    soon: int
    load: int
    tags: str
    value: bytes


class SqliteStore:
    """A store in a SQLite file."""

    def __init__(self, url: str, *, max_entries: int = 100_000, max_tags: int = 100_000) -> None:
        """Describe a store; nothing is opened.

        Args:
            url: `sqlite:///cache.db`; its parameters `max_entries` and `max_tags` win over those here.
            max_entries: Entries kept, give or take the thousand written since the last sweep; the next to end go first.
                At least 1.
            max_tags: Invalidated tags remembered. At least 1.

        Raises:
            CacheConfigError: A bound is out of range.
        """
        place, _, query = url.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        bounds = {"max_entries": str(max_entries), "max_tags": str(max_tags)} | given
        wrong = [f"{name}={value}" for name, value in bounds.items() if not _NUMBER(value)]
        wrong += [name for name in given if name not in {"max_entries", "max_tags"}]
        if wrong:
            raise CacheConfigError(url, f"{', '.join(wrong)} must be max_entries or max_tags, at least 1")
        self.label = place
        self._max_entries, self._max_tags = int(bounds["max_entries"]), int(bounds["max_tags"])
        self._url = place
        self._db: Database | None = None
        self._until_sweep = 0

    def __repr__(self) -> str:
        return f"SqliteStore({self.label!r})"

    async def open(self) -> None:
        """Open the file, which no other process may have open, and make the tables."""
        db = Database(self._url)
        await db.__aenter__()
        self._db = db
        await db.ensure(_SCHEMA)
        await db.run(self._sweep)

    async def close(self) -> None:
        """Close the file."""
        db, self._db = self._db, None
        if db is not None:
            await db.__aexit__(None, None, None)

    async def read(self, keys: Sequence[str], codec: Codec) -> list[Entry | None]:
        """Return the entries of `keys`, without waiting for writers."""
        async with self._translated("reading") as db:
            return [await _entry(db, key, codec) for key in keys]

    async def claim(self, key: str, codec: Codec, *, lease_s: float, refresh: bool = False) -> Entry | Lease | Busy:
        """Return the fresh entry, or the right to load it, or that somebody has it."""

        async def claim(tx: Transaction) -> Entry | Lease | Busy:
            if not refresh and (entry := await _entry(tx, key, codec)) is not None and entry.age_s < entry.fresh_s:
                return entry
            now = world.now_us()
            held = await tx.first(int, "SELECT ends FROM _archstone_cache_leases WHERE key = :key", key=key)
            if held is not None and held > now:
                return Busy((held - now) / _US)
            await tx.execute(_NEXT)
            token = await tx.one(int, _LAST)
            await tx.execute(_LEASE, key=key, token=token, ends=now + round(lease_s * _US))
            return Lease(key, token, token)

        async with self._translated("claiming") as db:
            return await db.run(claim)

    async def fill(self, lease: Lease, write: Write) -> bool:
        """Keep what was loaded under `lease`, if it still stands and no tag has moved."""
        values = _packed(lease.key, write)

        async def fill(tx: Transaction) -> bool:
            if not await tx.execute(_END, key=lease.key, token=lease.token):
                return False
            if await _overtaken(tx, write.tags, lease.stamp):
                return False
            await tx.execute(_KEEP, stamp=lease.stamp, **values)
            await self._sweep_in_time(tx, 1)
            return True

        async with self._translated("filling") as db:
            return await db.run(fill)

    async def release(self, lease: Lease) -> None:
        """Give the right back."""
        async with self._translated("releasing") as db:
            await db.execute(_END, key=lease.key, token=lease.token)

    async def write(self, writes: Mapping[str, Write]) -> None:
        """Keep values, and break leases of their keys, all in one transaction."""
        values = [_packed(key, write) for key, write in writes.items()]

        async def keep(tx: Transaction) -> None:
            stamp = await tx.one(int, _LAST)
            for each in values:
                await tx.execute(_BREAK, key=each["key"])
                await tx.execute(_KEEP, stamp=stamp, **each)
            await self._sweep_in_time(tx, len(values))

        async with self._translated("writing") as db:
            await db.run(keep)

    async def invalidate(self, *, keys: Collection[str] = (), tags: Collection[str] = ()) -> None:
        """Make entries wrong, all in one transaction."""
        async with self._translated("invalidating") as db:
            await db.run(partial(self._invalidate, keys=keys, tags=tags))

    async def _invalidate(self, tx: Transaction, *, keys: Collection[str], tags: Collection[str]) -> None:
        for key in keys:
            await tx.execute(_BREAK, key=key)
            await tx.execute(_FORGET, key=key)
        if tags:
            await tx.execute(_NEXT)
            number = await tx.one(int, _LAST)
            for tag in tags:
                await tx.execute(_TAG, tag=tag, number=number)
            await tx.execute(_FLOOR, most=self._max_tags)
            await tx.execute(_TRIM)

    async def _sweep_in_time(self, tx: Transaction, written: int) -> None:
        self._until_sweep -= written
        if self._until_sweep <= 0:
            await self._sweep(tx)

    async def _sweep(self, tx: Transaction) -> None:
        self._until_sweep = min(_SWEEP_EVERY, self._max_entries)
        for statement in _SWEEP:
            await tx.execute(statement, now=world.now_us())
        await tx.execute(_OLDEST, most=self._max_entries)

    def counts(self) -> StoreCounts:
        """Return that it cannot say cheaply."""
        return StoreCounts(None, None)

    @asynccontextmanager
    async def _translated(self, what: str) -> AsyncGenerator[Database]:
        if self._db is None:
            raise CacheConfigError(self.label, "it is not open")
        try:
            yield self._db
        except (BackendError, RejectedError, ConflictError) as error:
            raise CacheStoreError(self.label, what) from error


async def _overtaken(db: Database | Transaction, tags: Sequence[str], stamp: int) -> bool:
    for tag in tags:
        if await db.one(int, _MOVED, tag=tag) > stamp:
            return True
    return False


async def _entry(db: Database | Transaction, key: str, codec: Codec) -> Entry | None:
    now = world.now_us()
    row = await db.first(_Row, _READ, key=key, now=now)
    if row is None:
        return None
    tags: tuple[str, ...] = tuple(orjson.loads(row.tags))
    if await _overtaken(db, tags, row.stamp):
        return None
    try:
        value = codec.decode(row.value)
    except Exception as error:  # noqa: BLE001 - whatever a codec raises: it was written by another release
        _log.info("cache_value_unreadable", error=repr(error))
        return None
    age_s = max(0, now - row.born) / _US
    return Entry(value, age_s, row.fresh / _US, row.keep / _US, row.soon / _US, row.load / _US, tags)


def _packed(key: str, write: Write) -> dict[str, object]:
    born = world.now_us() - round(write.age_s * _US)
    keep = round(write.keep_s * _US)
    return {
        "key": key,
        "born": born,
        "gone": born + keep,
        "fresh": round(write.fresh_s * _US),
        "keep": keep,
        "soon": round(write.soon_s * _US),
        "load": round(write.load_s * _US),
        "tags": orjson.dumps(write.tags).decode(),
        "value": write.codec.encode(write.value),
    }
