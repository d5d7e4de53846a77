"""Write-behind: a value is durable and readable at once, and reaches the origin a little later, with others.

    async with Database("sqlite:///behind.db") as buffer, Cache() as cache:
        async with WriteBehind(cache, buffer, save_views, int, name="views") as views:
            await views.put("page:7", 41)           # on disk in the buffer; the origin hears within a second
            await views.load("page:7", read_views)  # 41, before and after

What `put` has answered is saved at the origin at least once, killed or not, in the order of its key; of several values
of one key in the same second only the last is saved. So `save` writes values, not differences. Do not use it where
others read the origin and must see the change at once, or where the origin may refuse it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, NamedTuple, Self, TypeVar
from zlib import crc32

from archstone import world
from archstone.cache.cache import Cache
from archstone.cache.codec import Codec, codec_for
from archstone.cache.errors import CacheClosedError, WriteBehindFullError
from archstone.cache.points import AFTER_SAVE
from archstone.data import Database, Schema
from archstone.observability import gauge, get_logger
from archstone.resilience import Deadline, Exponential, check, within

__all__ = ["Pace", "WriteBehind", "WriteBehindStatistics"]

T = TypeVar("T")

_log = get_logger("archstone.cache")
_pending = gauge("archstone_cache_behind", "Values written behind that the origin does not have yet.", ("name",))

_SCHEMA: Final = Schema(
    "cache",
    (
        (
            """CREATE TABLE _archstone_cache_behind (
                name TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL,
                value BLOB NOT NULL, PRIMARY KEY (name, key)
            )""",
        ),
    ),
)
_PUT: Final = (
    "INSERT INTO _archstone_cache_behind (name, key, version, at, value) VALUES (:name, :key, :version, :at, :value)"
    " ON CONFLICT (name, key) DO UPDATE SET version = excluded.version, value = excluded.value"
)
_READ: Final = "SELECT key, version, value FROM _archstone_cache_behind WHERE name = :name ORDER BY at, key"
_FORGET: Final = "DELETE FROM _archstone_cache_behind WHERE name = :name AND key = :key AND version = :version"
_LANES: Final = 64
_BACKOFF: Final = Exponential(0.1, cap_s=30.0)


class _Row(NamedTuple):
    key: str
    version: int
    value: bytes


class _Waiting(NamedTuple, Generic[T]):
    value: T
    version: int
    attempts: int
    due_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBehindStatistics:
    """Counts since it was opened."""

    pending: int
    """Keys whose last value the origin does not have yet."""
    saved: int
    """Values saved."""
    coalesced: int
    """Values that a later one of their key replaced before they were saved."""
    failed: int
    """Attempts to save that raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When values written behind are saved, how many together, and how long it may take."""

    every_s: float = 1.0
    """Seconds that values are gathered before they are saved. Above 0."""
    batch: int = 500
    """Values saved together. At least 1."""
    max_pending: int = 10_000
    """Keys that may wait, in memory too. At least 1."""
    wait_s: float = 5.0
    """Seconds that `put` waits for room when so many do. At least 0."""
    save_limit_s: float = 10.0
    """Seconds that saving may take. Above 0."""
    drain_s: float = 10.0
    """Seconds that closing takes to save the rest; what is left is saved after the next start. At least 0."""

    def __post_init__(self) -> None:
        check(
            self,
            every_s=(self.every_s > 0, "above 0"),
            batch=(self.batch >= 1, "at least 1"),
            max_pending=(self.max_pending >= 1, "at least 1"),
            wait_s=(self.wait_s >= 0, "at least 0"),
            save_limit_s=(self.save_limit_s > 0, "above 0"),
            drain_s=(self.drain_s >= 0, "at least 0"),
        )


_PACE: Final = Pace()


class WriteBehind(Generic[T]):
    """Values of one kind on their way to the origin, opened by `async with`, one at a time for each `name`."""

    def __init__(
        self,
        cache: Cache,
        buffer: Database,
        save: Callable[[Mapping[str, T]], Awaitable[object]],
        kind: type[T],
        *,
        name: str,
        codec: Codec | None = None,
        pace: Pace = _PACE,
    ) -> None:
        """Describe it.

        Args:
            cache: Where readers find the values.
            buffer: The database that keeps them until they are saved; open while this is.
            save: Writes values by key at the origin, at most `pace.batch`; repeated after a failure or a crash. Where
                several fail together they are saved one by one, so that one that cannot be saved holds up no other.
            kind: Their type.
            name: Parts the buffers of one database; errors and metrics say it.
            codec: For the buffer. None: by `kind`.
            pace: When, how many, and how long.
        """
        self.name = name
        self.pace = pace
        self._cache = cache
        self._buffer = buffer
        self._save = save
        self._kind = kind
        self._codec = codec or codec_for(kind)
        self._waiting: dict[str, _Waiting[T]] = {}
        self._version = 0
        self._room = asyncio.Condition()
        self._wake = asyncio.Event()
        self._saving = asyncio.Lock()
        self._lanes = [asyncio.Lock() for _ in range(_LANES)]
        self._puts: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._saved = self._coalesced = self._failed = 0

    async def __aenter__(self) -> Self:
        """Read what an earlier run has left, and begin to save."""
        await self._buffer.ensure(_SCHEMA)
        for row in await self._buffer.all(_Row, _READ, name=self.name):
            self._waiting[row.key] = _Waiting(self._codec.decode(row.value), row.version, 0, 0.0)
            self._version = max(self._version, row.version)
        _pending.labels(self.name).watch(lambda: len(self._waiting))
        self._task = asyncio.create_task(self._work(), name=f"cache: writing behind {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take no more, and save what waits for at most `drain_s`. The rest stays in the buffer."""
        task, self._task = self._task, None
        if self._puts:
            await asyncio.wait(self._puts)
        _pending.labels(self.name).watch(None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        end = Deadline.after(self.pace.drain_s)
        while self._waiting and (left_s := end.remaining_s()):
            try:
                async with within(left_s, name=f"draining {self.name}"):
                    if not await self.flush():
                        await asyncio.sleep(self._pause_s())
            except TimeoutError:
                break
        if self._waiting:
            _log.warning("cache_behind_left", name=self.name, pending=len(self._waiting))

    async def put(self, key: str, value: T, *, tags: Sequence[str] = ()) -> None:
        """Keep `value` durably, for the origin and for readers. Puts of a key keep their order. Cancelled, it goes on.

        Raises:
            WriteBehindFullError: `max_pending` keys wait, and none was saved within `wait_s`. Nothing was done.
            CacheStoreError: It is durable and will be saved, but readers may get the old value.
        """
        if self._task is None:
            raise CacheClosedError(self.name)
        # In a task of its own: half a put, on disk and not in memory, would be saved by the next start only.
        task = asyncio.create_task(self._put(key, value, tags), name=f"cache: put {self.name}")
        self._puts.add(task)
        task.add_done_callback(self._put_ended)
        await asyncio.shield(task)

    def _put_ended(self, task: asyncio.Task[None]) -> None:
        self._puts.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where the caller was cancelled

    async def _put(self, key: str, value: T, tags: Sequence[str]) -> None:
        # Puts of a key go one after another, on disk, in memory and in the cache.
        async with self._lanes[crc32(key.encode()) % _LANES]:
            await self._find_room(key)
            self._version += 1
            version = self._version
            await self._buffer.execute(
                _PUT, name=self.name, key=key, version=version, at=world.now_us(), value=self._codec.encode(value)
            )
            self._coalesced += key in self._waiting
            self._waiting[key] = _Waiting(value, version, 0, world.monotonic() + self.pace.every_s)
            if len(self._waiting) >= self.pace.batch:
                self._wake.set()
            await self._cache.set(key, value, tags=tags)

    async def _find_room(self, key: str) -> None:
        if key in self._waiting or len(self._waiting) < self.pace.max_pending:
            return
        self._wake.set()
        try:
            async with within(self.pace.wait_s, name=self.name), self._room:
                await self._room.wait_for(lambda: len(self._waiting) < self.pace.max_pending)
        except TimeoutError:
            raise WriteBehindFullError(self.name, len(self._waiting), self._pause_s()) from None

    async def load(self, key: str, load: Callable[[], Awaitable[T]], *, tags: Sequence[str] = ()) -> T:
        """Return the value of `key`: of the cache, else what waits to be saved, else what `load` brings."""

        async def newest() -> T:
            waiting = self._waiting.get(key)
            return await load() if waiting is None else waiting.value

        return await self._cache.load(key, newest, self._kind, tags=tags)

    async def flush(self) -> int:
        """Save one batch of the oldest values now, due or not; return how many were saved."""
        return await self._save_batch(list(self._waiting)[: self.pace.batch])

    def statistics(self) -> WriteBehindStatistics:
        """Return the counts so far."""
        return WriteBehindStatistics(
            pending=len(self._waiting), saved=self._saved, coalesced=self._coalesced, failed=self._failed
        )

    async def _work(self) -> None:
        while True:
            now_s = world.monotonic()
            full = len(self._waiting) >= self.pace.batch
            due = [key for key, each in self._waiting.items() if each.due_s <= now_s or (full and not each.attempts)]
            if due:
                await self._save_batch(due[: self.pace.batch])
                continue
            self._wake.clear()
            try:
                async with within(self._pause_s(), name=self.name):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _pause_s(self) -> float:
        """Return the seconds until something is due, at most `every_s`."""
        now_s = world.monotonic()
        return max(0.001, min((each.due_s - now_s for each in self._waiting.values()), default=self.pace.every_s))

    async def _save_batch(self, keys: Sequence[str]) -> int:
        async with self._saving:
            batch = {key: self._waiting[key] for key in keys if key in self._waiting}
            if not batch:
                return 0
            done = await self._try(batch)
            if not done and len(batch) > 1:
                done = [one for key, each in batch.items() for one in await self._try({key: each})]
            return len(done)

    async def _try(self, batch: dict[str, _Waiting[T]]) -> list[str]:
        """Save values, and forget those that no later one has replaced; return the keys, none if it failed."""
        try:
            async with within(self.pace.save_limit_s, name=f"saving {self.name}"):
                await self._save({key: each.value for key, each in batch.items()})
        except Exception as error:  # noqa: BLE001 - whatever it is, the value stays and is saved again
            self._failed += 1
            if len(batch) == 1:
                self._postpone(batch, error)
            return []
        world.point(AFTER_SAVE)
        await self._buffer.many(
            _FORGET, [{"name": self.name, "key": key, "version": each.version} for key, each in batch.items()]
        )
        for key, each in batch.items():
            if self._waiting[key].version == each.version:
                del self._waiting[key]
        self._saved += len(batch)
        async with self._room:
            self._room.notify_all()
        return list(batch)

    def _postpone(self, batch: dict[str, _Waiting[T]], error: Exception) -> None:
        for key, each in batch.items():
            attempts = each.attempts + 1
            due_s = world.monotonic() + _BACKOFF.longest_s(attempts)
            _log.warning("cache_behind_failed", name=self.name, key=key, attempts=attempts, error=repr(error))
            if self._waiting[key].version == each.version:
                self._waiting[key] = each._replace(attempts=attempts, due_s=due_s)
