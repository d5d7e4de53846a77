"""A cache: where values come from, how long they live, and what makes them wrong.

    profiles = Cache("memory:", ttl_s=300)

    @profiles.aside("user:{user_id}", tags=["user:{user_id}"])
    async def load_profile(user_id: str) -> Profile: ...

    async with profiles:
        profile = await load_profile("7")                 # the database once, then memory
        await profiles.invalidate(tag="user:7")           # after the change has been committed

However many ask for a key that is not there, it is loaded once, in a process and, on Redis, across processes. What
was invalidated is not served any more when `invalidate` has returned, and a load begun before does not bring it back.
A store that is away costs speed, not answers. Do not cache what must be right at every instant (a balance that is
about to be spent): read that from the database.
"""

import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, get_type_hints

from archstone.cache.codec import Codec, codec_for
from archstone.cache.errors import CacheClosedError, CacheConfigError
from archstone.cache.hits import near_first
from archstone.cache.keys import compile_key, only_field
from archstone.cache.life import Life, LifeChanges, Verdict
from archstone.cache.loading import Loading, Plan
from archstone.cache.registry import find_store, find_stores
from archstone.cache.store import Store, Write
from archstone.observability import gauge

if TYPE_CHECKING:
    from archstone.cache.stores.memory import MemoryStore

__all__ = ["Cache", "CacheStatistics"]

P = ParamSpec("P")
T = TypeVar("T")

_hits = gauge("archstone_cache_hits", "Hits of a cache in memory since it was opened.", ("cache",))
_loads = gauge("archstone_cache_loads", "Loads at the origin since a cache was opened.", ("cache",))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """Counts of one cache since it was opened, in this process."""

    hits: int
    """Values served from memory without more ado."""
    loaded: int
    """Loads at the origin that brought a value."""
    failed: int
    """Loads that raised."""
    refreshed: int
    """Loads in the background, begun because a value was near or past its end."""
    stale: int
    """Times that a value past its end was served because the load failed."""
    refused: int
    """Loads whose value was invalidated meanwhile, and that were made again."""
    store_failed: int
    """Errors of the store."""
    loading: int
    """Loads under way."""
    entries: int | None
    """Entries in the store; None if it cannot say cheaply."""
    bytes: int | None
    """Their bytes, where the store counts them."""


class Cache:
    """A cache, opened by `async with`. Nothing connects before that. For one event loop."""

    def __init__(
        self,
        store: str | Store | Sequence[str | Store] = "memory:",
        *,
        name: str | None = None,
        codec: Codec | None = None,
        load_limit_s: float = 10.0,
        max_loads: int = 64,
        max_waiting: int = 10_000,
        **life: Unpack[LifeChanges],
    ) -> None:
        """Describe a cache.

        Args:
            store: `memory:` (`memory:?max_entries=10000&max_bytes=64000000`), the URL of another store, a store, or
                tiers of them: `["memory:", "redis://..."]`.
            name: How errors and metrics name it. None: the store's label.
            codec: Turns values into bytes, for stores that need them. None: by type, see `codec_for`.
            load_limit_s: Seconds that a load may take, its wait for a turn included. Above 0.
            max_loads: Loads at the origin at once, in this process. At least 1.
            max_waiting: Loads that wait for their turn; more are refused with CacheBusyError. At least 1.
            **life: How long values are good for; the fields of `Life`.

        Raises:
            SettingsError: A setting of `life` is out of range; all faults at once.
            CacheConfigError: A bound is out of range.
            UnknownStoreError: No store answers to the URL.
        """
        if isinstance(store, str):
            self._store = find_store(store)
        else:
            self._store = find_stores(store) if isinstance(store, Sequence) else store
        self.name = name or self._store.label
        """How errors and metrics name it."""
        self.life = Life(**life)
        """How long values are good for, unless a function or a call says otherwise."""
        for label, value in (("load_limit_s", load_limit_s), ("max_loads", max_loads), ("max_waiting", max_waiting)):
            if not 0 < value < float("inf"):
                raise CacheConfigError(self.name, f"{label}={value} must be above 0 and finite")
        self._codec = codec
        self._near: MemoryStore | None = getattr(self._store, "near", None)
        self._loading = Loading(
            self.name, self._store, load_limit_s=load_limit_s, max_loads=max_loads, max_waiting=max_waiting
        )

    def __repr__(self) -> str:
        return f"Cache({self._store.label!r}, name={self.name!r})"

    async def __aenter__(self) -> Self:
        """Open the store. One that is away is tried again with each use."""
        await self._store.open()
        self._loading.start()
        _hits.labels(self.name).watch(lambda: self.statistics().hits)
        _loads.labels(self.name).watch(lambda: self._loading.counts.loaded)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what is being loaded (whoever waits for it gets CacheClosedError), and close the store."""
        _hits.labels(self.name).watch(None)
        _loads.labels(self.name).watch(None)
        try:
            await self._loading.stop()
        finally:
            await self._store.close()

    @property
    def store(self) -> Store:
        """Where the entries are: for what is built on the port itself. CacheClosedError if the cache is not open."""
        self._check_open()
        return self._store

    def aside(
        self, key: str, *, tags: Sequence[str] = (), codec: Codec | None = None, **life: Unpack[LifeChanges]
    ) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """Return a decorator: the function is called only for what the cache does not have (cache-aside).

        The arguments that the key names, and nothing else, decide which value a caller gets: name all that the result
        depends on, who asks for it included. The function runs as nobody, in a task of its own.

        Args:
            key: Template over the function's parameters, such as `user:{user_id}`; see `archstone.cache.keys`.
            tags: Templates of the tags that the values carry.
            codec: For this function's values. None: the cache's, or by the type that the function returns.
            **life: Where these values differ from the cache's `life`.

        Raises (when applied):
            KeyTemplateError: A template names what is no parameter.
            CacheConfigError: It is no coroutine function, or says no return type that can be written down.
        """

        def decorate(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
            if not inspect.iscoroutinefunction(function):
                raise CacheConfigError(self.name, f"{function!r} must be a coroutine function (async def)")
            plan = Plan(replace(self.life, **life) if life else self.life, codec or self._codec_of(function))
            make_key, make_tags = compile_key(key, function), [compile_key(tag, function) for tag in tags]

            def miss(made: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> Coroutine[Any, Any, T]:
                carried = tuple(make(args, named) for make in make_tags)
                return self._loading.value(made, plan, lambda: function(*args, **named), carried)

            if self._near is not None:
                return near_first(function, self._near, make_key, miss, only_field(key))

            @wraps(function)
            async def cached(*args: P.args, **kwargs: P.kwargs) -> T:
                return await miss(make_key(args, kwargs), args, kwargs)

            return cached

        return decorate

    def _codec_of(self, function: Callable[..., Any]) -> Codec:
        if self._codec is not None:
            return self._codec
        kind = get_type_hints(function, include_extras=True).get("return", inspect.Parameter.empty)
        if kind is inspect.Parameter.empty:
            name = getattr(function, "__qualname__", repr(function))
            raise CacheConfigError(self.name, f"{name} must say its return type, or be given a codec")
        return codec_for(kind)

    async def load(
        self,
        key: str,
        load: Callable[[], Awaitable[T]],
        kind: type[T],
        *,
        tags: Sequence[str] = (),
        **life: Unpack[LifeChanges],
    ) -> T:
        """Return the value of `key`; where there is none, `load` it and keep it under `tags`.

        Of all who ask for a key at once, one loads; the others wait, and are served even if the first is cancelled. A
        failure goes to all who waited and is not kept. A value that is invalidated while it is loaded is not kept.

        Raises:
            OutOfTimeError: The load took longer than `load_limit_s`.
            CacheBusyError: Too many loads wait for their turn.
            CacheClosedError: The cache is not open, or was closed meanwhile.
        """
        return await self._loading.value(key, self._plan(kind, life), load, tuple(tags))

    async def get(self, key: str, kind: type[T]) -> T | None:
        """Return the value of `key` as a `kind`; None if there is none that may be served, or the store is away."""
        return (await self.get_many((key,), kind)).get(key)

    async def get_many(self, keys: Sequence[str], kind: type[T]) -> dict[str, T]:
        """Return the values of `keys` that may be served, in one round trip. Empty if the store is away."""
        plan = self._plan(kind, {})
        found = await self._loading.look_many(keys, plan.codec)
        usable = {key: entry for key, entry in zip(keys, found, strict=True) if entry is not None}
        return {key: entry.value for key, entry in usable.items() if plan.life.verdict(entry) is not Verdict.LOAD}

    async def set(self, key: str, value: object, *, tags: Sequence[str] = (), **life: Unpack[LifeChanges]) -> None:
        """Keep `value` under `key` with `tags`, in place of what is there. None without `negative_ttl_s` is not kept.

        Two who set a key at once: either may be last. So after a change prefer `invalidate`, and let the next reader
        load; `aside` and `load` cannot bring an old value back, `set` can.

        Raises:
            CacheStoreError: The store is away; the old value may still be there.
        """
        await self.set_many({key: value}, tags=tags, **life)

    async def set_many(
        self, values: Mapping[str, object], *, tags: Sequence[str] = (), **life: Unpack[LifeChanges]
    ) -> None:
        """Keep several values, all with `tags`; each is atomic, the whole is not. See `set`."""
        self._check_open()
        writes: dict[str, Write] = {}
        for key, value in values.items():
            plan = self._plan(type(value), life)
            if (write := plan.life.write(value, plan.codec, tags=tuple(tags))) is not None:
                writes[key] = write
        self._loading.flights.detach(values.keys(), ())
        await self._store.write(writes)
        if gone := values.keys() - writes.keys():
            await self._store.invalidate(keys=gone)

    async def write_through(
        self,
        key: str,
        value: T,
        save: Callable[[T], Awaitable[object]],
        *,
        tags: Sequence[str] = (),
        **life: Unpack[LifeChanges],
    ) -> None:
        """Save `value` at the origin, then keep it: when it has returned, readers get it (write-through).

        If saving fails, the key is forgotten, since it may have taken effect all the same. Of several who write one key
        at once none is kept unless it was alone: the cache rather has nothing than what the origin does not have.

        Raises:
            CacheStoreError: The store is away: nothing was saved, or, if it went away meanwhile, the value is saved and
                readers may get the old one; invalidate the key.
            OutOfTimeError: Saving took longer than `load_limit_s`; it may have taken effect.
        """
        self._check_open()
        plan = self._plan(type(value), life)
        await self._loading.write_through(key, value, plan, save, tuple(tags))

    async def delete(self, *keys: str) -> None:
        """Forget `keys`: the same as `invalidate(key=keys)`."""
        await self.invalidate(key=keys)

    async def invalidate(self, *, key: str | Collection[str] = (), tag: str | Collection[str] = ()) -> None:
        """Make entries wrong: those of `key`, and all that carry `tag`; of each, one or several.

        When it has returned they are not served any more, and a load begun before is not kept. The cost of a tag does
        not depend on how many carry it. Call it after the change has been committed: a load between the two would keep
        the old value.

        Raises:
            CacheStoreError: The store is away, and entries may be served when it is back: say it again.
        """
        self._check_open()
        keys = (key,) if isinstance(key, str) else key
        tags = (tag,) if isinstance(tag, str) else tag
        try:
            await self._store.invalidate(keys=keys, tags=tags)
        finally:
            self._loading.flights.detach(keys, tags)

    def statistics(self) -> CacheStatistics:
        """Return the counts so far."""
        counts, held = self._loading.counts, self._store.counts()
        return CacheStatistics(
            hits=getattr(self._store, "hits", 0),
            loaded=counts.loaded,
            failed=counts.failed,
            refreshed=counts.refreshed,
            stale=counts.stale,
            refused=counts.refused,
            store_failed=counts.store_failed,
            loading=len(self._loading.flights),
            entries=held.entries,
            bytes=held.bytes,
        )

    def _plan(self, kind: Any, changes: LifeChanges) -> Plan:
        life = replace(self.life, **changes) if changes else self.life
        return Plan(life, self._codec or codec_for(kind))

    def _check_open(self) -> None:
        if not self._loading.open:
            raise CacheClosedError(self.name)
