"""Entries on a Redis or Valkey server, alone or a cluster: shared by processes, each step one script on the server.

    redis://user:password@host:6379/0?prefix=shop&slots=1&max_tags=100000      rediss:// with TLS
    redis://host:6379?cluster=1&slots=16

`prefix` parts caches that share a server. In a cluster all entries of a cache live in `slots` slots: more slots spread
its load over more nodes; a tag is then invalidated in each of them, one after another. Other parameters are those of
the client, redis-py (`max_connections`, `socket_timeout`, ...). The server needs no settings; let it drop what is least
used when its memory is full (`maxmemory-policy allkeys-lru`), or memory is bounded by the time of the entries only.

Reads of one turn of the loop travel together: a thousand callers who look for keys at once make one round trip.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from zlib import crc32

import orjson

from archstone import world
from archstone.cache.codec import Codec
from archstone.cache.errors import CacheConfigError, CacheStoreError
from archstone.cache.store import Busy, Entry, Lease, StoreCounts, Write
from archstone.cache.stores.redis_scripts import CLAIM, FILL, INVALIDATE, READ, RELEASE, WRITE
from archstone.observability import get_logger

__all__ = ["RedisStore"]

_log = get_logger("archstone.cache")

_US: Final = 1_000_000
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 3.0
_CONNECTIONS: Final = 16
_LIMITS: Final = {"socket_connect_timeout": _CONNECT_S, "socket_timeout": _ANSWER_S}
_TOGETHER: Final = 512
"""Keys in one round trip."""
_CHECK_S: Final = 1.0
"""A listener asks so often whether it is still connected, and gives up on it after as long again."""
_MAX_TAGS: Final = 100_000


class _Client(Protocol):
    """What is used of the client."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...
    def pubsub(self, **options: Any) -> Any: ...
    def aclose(self) -> Awaitable[None]: ...


class _Batch:
    """Reads that travel together."""

    __slots__ = ("keys", "task")

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.task: asyncio.Task[tuple[int, dict[str, bytes | None]]]


class RedisStore:
    """A store on Redis or Valkey."""

    def __init__(
        self, url: str, *, client: object | None = None, prefix: str | None = None, slots: int | None = None
    ) -> None:
        """Describe a store; nothing connects.

        Args:
            url: As the module says.
            client: A client of redis.asyncio to use instead of one made from the URL; it is not closed.
            prefix: Begins all its keys. None: that of the URL, else `archstone`.
            slots: Slots of a cluster that it spreads over. At least 1. None: that of the URL, else 1.

        Raises:
            CacheConfigError: redis-py is not installed, or a setting is out of range.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise CacheConfigError("redis:", "the URL cannot be read: write redis://host:port/database") from None
        given = dict(parse_qsl(parts.query))
        self.label = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._prefix = prefix or given.pop("prefix", "archstone")
        self._slots = _whole(self.label, "slots", slots or given.pop("slots", "1"))
        self._max_tags = _whole(self.label, "max_tags", given.pop("max_tags", str(_MAX_TAGS)))
        if set("{}") & set(self._prefix):
            raise CacheConfigError(self.label, f"prefix={self._prefix!r} must not contain braces: they name the slot")
        self._cluster = given.pop("cluster", "0") == "1"
        self._url = urlunsplit(parts._replace(query=urlencode(given)))
        self._own = client is None
        self._given = cast("_Client | None", client)
        self._client: _Client | None = None
        self._redis: Any = _module(self.label)
        self._scripts = {script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest() for script in _ALL}
        self._channel = f"{self._prefix}:invalidated"
        self._origin = ""
        self._leaving: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"RedisStore({self.label!r}, prefix={self._prefix!r})"

    async def open(self) -> None:
        """Make the client; it connects when it is used, and again whenever a connection is lost."""
        self._origin = world.new_id()
        self._client = self._given or self._connect()

    def _connect(self) -> _Client:
        if self._cluster:
            return cast("_Client", self._redis.asyncio.cluster.RedisCluster.from_url(self._url, **_LIMITS))
        # A caller waits for a connection instead of opening one more: a thousand misses make no thousand connections.
        pool = self._redis.asyncio.BlockingConnectionPool.from_url(
            self._url, max_connections=_CONNECTIONS, timeout=_ANSWER_S, **_LIMITS
        )
        return cast("_Client", self._redis.asyncio.Redis(connection_pool=pool))

    async def close(self) -> None:
        """End listeners and disconnect."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        client, self._client = self._client, None
        if client is not None and self._own:
            await client.aclose()
            if not self._cluster:
                await cast("Any", client).connection_pool.disconnect()

    async def read(self, keys: Sequence[str], codec: Codec) -> list[Entry | None]:
        """Return the entries of `keys`: one round trip for each slot they are in, shared with other callers."""
        batches = {key: self._batch(key) for key in keys}
        waiting = {batch.task for batch in batches.values()}
        if waiting:
            await asyncio.wait(waiting)  # a caller who is cancelled takes nobody with it
        found: dict[str, Entry | None] = {}
        for key, batch in batches.items():
            now_us, values = batch.task.result()
            found[key] = None if (value := values[key]) is None else _entry(value, now_us, codec)
        return [found[key] for key in keys]

    def _batch(self, key: str) -> "_Batch":
        """Return the round trip that will ask for `key`: one that has not left yet, or a new one."""
        home = self._home(key)
        batch = self._leaving.get(home)
        if batch is None or len(batch.keys) >= _TOGETHER:
            batch = self._leaving[home] = _Batch()
            batch.task = asyncio.create_task(self._read_together(home, batch), name=f"cache: reading {self.label}")
            self._tasks.add(batch.task)
            batch.task.add_done_callback(self._ended)
        batch.keys[key] = None
        return batch

    async def _read_together(self, home: str, batch: "_Batch") -> tuple[int, dict[str, bytes | None]]:
        await asyncio.sleep(0)
        if self._leaving.get(home) is batch:
            del self._leaving[home]
        keys = list(batch.keys)
        now, *values = await self._run(READ, [f"{home}:t", *(f"{home}:v:{key}" for key in keys)])
        return int(now), dict(zip(keys, values, strict=True))

    async def claim(self, key: str, codec: Codec, *, lease_s: float, refresh: bool = False) -> Entry | Lease | Busy:
        """Return the fresh entry, or the right to load it, or that somebody has it."""
        answer = await self._run(CLAIM, self._names(key), max(1, round(lease_s * 1000)), int(refresh))
        if answer[0] == b"e":
            entry = _entry(answer[2], int(answer[1]), codec)
            if entry is not None:
                return entry
            # A value that cannot be decoded is as good as none.
            return await self.claim(key, codec, lease_s=lease_s, refresh=True)
        if answer[0] == b"b":
            return Busy(max(1, int(answer[1])) / 1000)
        return Lease(key, int(answer[1]), int(answer[1]))

    async def fill(self, lease: Lease, write: Write) -> bool:
        """Keep what was loaded under `lease`, if it still stands and no tag has moved."""
        message = self._message((lease.key,), ())
        arguments = (lease.token, *_packed(write), self._channel, message)
        return bool(await self._run(FILL, self._names(lease.key), *arguments))

    async def release(self, lease: Lease) -> None:
        """Give the right back."""
        await self._run(RELEASE, [self._names(lease.key)[2]], lease.token)

    async def write(self, writes: Mapping[str, Write]) -> None:
        """Keep values, and break leases of their keys: a round trip for each, all at once."""
        tasks = [
            self._run(WRITE, self._names(key), *_packed(write), self._channel, self._message((key,), ()))
            for key, write in writes.items()
        ]
        await asyncio.gather(*tasks)

    async def invalidate(self, *, keys: Collection[str] = (), tags: Collection[str] = ()) -> None:
        """Make entries wrong: a round trip, or with tags one for each slot, and tell who listens when all is done."""
        gone: dict[str, list[str]] = {home: [] for home in self._homes()} if tags else {}
        for key in keys:
            _, value, lease = self._names(key)
            gone.setdefault(self._home(key), []).extend((value, lease))
        last = len(gone)
        for number, (home, names) in enumerate(gone.items(), start=1):
            message = self._message(keys, tags) if number == last else b""
            await self._run(INVALIDATE, [f"{home}:t", *names], self._max_tags, self._channel, message, *tags)

    def counts(self) -> StoreCounts:
        """Return that it cannot say."""
        return StoreCounts(None, None)

    def listen(
        self, heard: Callable[[Sequence[str], Sequence[str]], None], *, live: Callable[[bool], None]
    ) -> asyncio.Task[None]:
        """Call `heard(keys, tags)` for what others write or invalidate, until the task ends or the store is closed.

        Args:
            heard: Called on the loop.
            live: Called with True when messages begin to arrive, and with False as soon as some may be lost.
        """
        task = asyncio.create_task(self._listen(heard, live), name=f"cache: listening to {self.label}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where all who read were cancelled

    async def _listen(
        self, heard: Callable[[Sequence[str], Sequence[str]], None], live: Callable[[bool], None]
    ) -> None:
        while True:
            try:
                await self._hear(heard, live)
            except (CacheStoreError, TimeoutError) as error:
                _log.info("cache_listener_lost", store=self.label, cause=repr(error.__cause__ or error))
            finally:
                live(False)  # noqa: FBT003 - a word of its own would say no more
            await asyncio.sleep(_CHECK_S * (0.5 + world.random().random()))

    async def _hear(self, heard: Callable[[Sequence[str], Sequence[str]], None], live: Callable[[bool], None]) -> None:
        async with self._translated("listening"), self._subscribed() as pubsub:
            asked = False
            while True:
                message = await pubsub.get_message(timeout=_CHECK_S)
                if message is None:
                    if asked:
                        raise TimeoutError(f"no answer in {_CHECK_S:g} s")
                    await pubsub.ping()
                asked = message is None
                if message is not None and message["type"] == "subscribe":
                    live(True)  # noqa: FBT003 - as above
                elif message is not None and message["type"] == "message":
                    said = orjson.loads(message["data"])
                    if said["o"] != self._origin:
                        heard(said["k"], said["t"])

    @asynccontextmanager
    async def _subscribed(self) -> AsyncGenerator[Any]:
        client = self._opened()
        if self._cluster:
            # Announcements reach every node of a cluster, and its client does not listen: a connection to one does.
            client = cast("_Client", self._redis.asyncio.Redis.from_url(self._url, **_LIMITS))
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            yield pubsub
        finally:
            await pubsub.aclose()
            if self._cluster:
                await client.aclose()

    def _message(self, keys: Collection[str], tags: Collection[str]) -> bytes:
        return orjson.dumps({"k": list(keys), "t": list(tags), "o": self._origin})

    def _homes(self) -> list[str]:
        if self._slots == 1:
            return [f"{{{self._prefix}}}"]
        return [f"{{{self._prefix}/{number}}}" for number in range(self._slots)]

    def _home(self, key: str) -> str:
        if self._slots == 1:
            return f"{{{self._prefix}}}"
        return f"{{{self._prefix}/{crc32(key.encode()) % self._slots}}}"

    def _names(self, key: str) -> list[str]:
        home = self._home(key)
        return [f"{home}:t", f"{home}:v:{key}", f"{home}:l:{key}"]

    async def _run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        async with self._translated("a script"):
            client = self._opened()
            try:
                return await client.evalsha(self._scripts[script], len(keys), *keys, *arguments)
            except self._redis.exceptions.NoScriptError:
                return await client.eval(script, len(keys), *keys, *arguments)

    def _opened(self) -> _Client:
        if self._client is None:
            raise CacheConfigError(self.label, "it is not open")
        return self._client

    @asynccontextmanager
    async def _translated(self, what: str) -> AsyncGenerator[None]:
        try:
            yield
        except (self._redis.exceptions.RedisError, OSError) as error:
            raise CacheStoreError(self.label, what) from error


_ALL: Final = (READ, CLAIM, FILL, RELEASE, WRITE, INVALIDATE)


def _module(label: str) -> Any:
    try:
        import_module("redis.asyncio.cluster")
        return import_module("redis")
    except ImportError as error:
        fault = "the client is not installed: pip install 'archstone[redis]'"
        raise CacheConfigError(label, fault) from error


def _whole(label: str, name: str, value: str | int) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", str(value)):
        raise CacheConfigError(label, f"{name}={value} must be a whole number, at least 1")
    return int(value)


def _packed(write: Write) -> tuple[int, str, int, bytes, bytes]:
    """Return age, life, keep, tags and value as the scripts take them, times in microseconds."""
    fresh, keep, soon, load = (
        round(seconds * _US) for seconds in (write.fresh_s, write.keep_s, write.soon_s, write.load_s)
    )
    life = f"{fresh} {keep} {soon} {load}"
    return round(write.age_s * _US), life, keep, orjson.dumps(write.tags), write.codec.encode(write.value)


def _entry(value: bytes, now_us: int, codec: Codec) -> Entry | None:
    head, tags, encoded = value.split(b"\n", 2)
    _, written, fresh, keep, soon, load = (int(number) for number in head.split())
    try:
        decoded = codec.decode(encoded)
    except Exception as error:  # noqa: BLE001 - whatever a codec raises: it was written by another release
        _log.info("cache_value_unreadable", error=repr(error))
        return None
    age_s = max(0, now_us - written) / _US
    return Entry(decoded, age_s, fresh / _US, keep / _US, soon / _US, load / _US, tuple(orjson.loads(tags)))
