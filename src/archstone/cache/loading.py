"""How a value that is not in the store gets there: one load per key, here and across processes, and bounds on all.

The steps of a flight: claim the key (or find that somebody else has filled it meanwhile); load at the origin, within
`load_limit_s`, at most `max_loads` at a time; fill. If the fill is refused, the value was invalidated while it was
loaded: whoever joined after that must not get it, so it is loaded once more.

A store that is away is left alone for a second; meanwhile every flight goes to the origin, within the same bounds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from archstone import context, world
from archstone.cache.codec import Codec
from archstone.cache.errors import CacheBusyError, CacheClosedError, CacheStoreError
from archstone.cache.life import Life, Verdict
from archstone.cache.store import Busy, Entry, Lease, Store
from archstone.context import Call
from archstone.observability import get_logger
from archstone.resilience import within
from archstone.resilience.flight import Flight, SingleFlight

__all__ = ["Counts", "Loading", "Plan"]

_log = get_logger("archstone.cache")
T = TypeVar("T")

_AWAY_S: Final = 1.0
"""Seconds that a store which failed is left alone."""
_TRIES: Final = 3
"""Loads of one flight, if each but the last is invalidated meanwhile."""
_POLL_S: Final = 0.01
_POLL_CAP_S: Final = 0.25
_LEASE_MARGIN_S: Final = 1.0
"""A lease outlasts the load that it is for by so much."""


class _Loaded(NamedTuple, Generic[T]):
    value: T
    load_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How the values of one kind are loaded and kept."""

    life: Life
    codec: Codec


class Counts:
    """What one cache has done since it was opened."""

    __slots__ = ("failed", "loaded", "refreshed", "refused", "stale", "store_failed")

    def __init__(self) -> None:
        self.failed = self.loaded = self.refreshed = self.refused = self.stale = self.store_failed = 0


class Loading:
    """The loads of one cache."""

    def __init__(self, name: str, store: Store, *, load_limit_s: float, max_loads: int, max_waiting: int) -> None:
        self._name = name
        self._store = store
        self._load_limit_s = load_limit_s
        self._max_waiting = max_waiting
        self._max_loads = max_loads
        self.open = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._turns = asyncio.Semaphore(self._max_loads)
        self._waiting = 0
        self._away_until_s: float | None = None
        self.flights = SingleFlight()
        self.counts = Counts()

    def start(self) -> None:
        """Take loads, on the running loop, with all counts at 0."""
        self._begin_anew()
        self.open = True

    async def stop(self) -> None:
        """Take no more, and end those that run."""
        self.open = False
        await self.flights.stop()

    async def value(self, key: str, plan: Plan, load: Callable[[], Awaitable[T]], tags: tuple[str, ...]) -> T:
        """Return the value of `key` from the store, or load it; see `Cache.load`."""
        entry = await self.look(key, plan.codec)
        verdict = plan.life.verdict(entry) if entry else Verdict.LOAD
        if entry and verdict is not Verdict.LOAD:
            if verdict is Verdict.REFRESH:
                self.refresh(key, plan, load, tags)
            return entry.value
        flight = self.flights.find(key) or self._begin(key, plan, load, tags)
        try:
            return await self.flights.join(flight)
        except asyncio.CancelledError:
            if not self.open:
                raise CacheClosedError(self._name) from None
            raise
        except Exception:
            if entry is None or entry.age_s >= entry.fresh_s + plan.life.stale_if_error_s:
                raise
            self.counts.stale += 1
            return entry.value

    def refresh(self, key: str, plan: Plan, load: Callable[[], Awaitable[Any]], tags: tuple[str, ...]) -> None:
        """Load `key` in the background, unless somebody does."""
        if self.flights.find(key) is None:
            self._begin(key, plan, load, tags, refresh=True)
            self.counts.refreshed += 1

    async def look(self, key: str, codec: Codec) -> Entry | None:
        """Return the entry of `key`; None if there is none, or the store is away."""
        return (await self.look_many((key,), codec))[0]

    async def look_many(self, keys: Sequence[str], codec: Codec) -> list[Entry | None]:
        """Return the entries of `keys`, in their order; None each if the store is away."""
        if not self.open:
            raise CacheClosedError(self._name)
        if not self._is_away():
            try:
                return await self._store.read(keys, codec)
            except CacheStoreError as error:
                self._went_away(error)
        return [None] * len(keys)

    def _begin(
        self, key: str, plan: Plan, load: Callable[[], Awaitable[Any]], tags: tuple[str, ...], *, refresh: bool = False
    ) -> Flight:
        async def work(flight: Flight) -> Any:
            try:
                return await self._fly(key, flight, plan, load, tags)
            except Exception as error:
                self.counts.failed += 1
                if refresh:
                    _log.warning("cache_refresh_failed", cache=self._name, key=key, error=str(error))
                raise

        # As nobody, without the key and transaction of whoever began it: what it brings is for all who know the key.
        mine = context.current()
        call = Call(trace=mine.trace, correlation_id=mine.correlation_id)
        return self.flights.begin(key, work, name=f"cache: {key}", call=call, tags=tags, alone=refresh)

    async def _fly(
        self, key: str, flight: Flight, plan: Plan, load: Callable[[], Awaitable[T]], tags: tuple[str, ...]
    ) -> T | None:
        for attempt in range(1, _TRIES + 1):
            # What is there after an invalidation is new: only the first attempt refreshes it.
            claim = await self._claim(key, flight, plan.codec, refresh=flight.alone and attempt == 1)
            if isinstance(claim, Busy):
                return None  # somebody else refreshes it, and nobody waits here
            if isinstance(claim, Entry):
                return claim.value
            value = await self._load(claim, load)
            if await self._keep(claim, plan, value, tags) or flight.detached or attempt == _TRIES:
                return value.value
            self.counts.refused += 1
        raise AssertionError  # the last attempt returned

    async def _claim(self, key: str, flight: Flight, codec: Codec, *, refresh: bool) -> Entry | Lease | Busy | None:
        """Return what `Store.claim` says, after waiting while somebody else loads; None if the store is away."""
        lease_s = self._load_limit_s + _LEASE_MARGIN_S
        pause_s = _POLL_S
        while not self._is_away():
            try:
                claim = await self._store.claim(key, codec, lease_s=lease_s, refresh=refresh)
            except CacheStoreError as error:
                self._went_away(error)
                break
            if not isinstance(claim, Busy) or not flight.waiting:
                return claim
            refresh = False  # somebody waits for it now, and will take what another has loaded
            # Not all waiters at one instant; none waits longer than the lease lasts.
            await asyncio.sleep(min(pause_s * (0.5 + world.random().random()), claim.left_s))
            pause_s = min(2 * pause_s, _POLL_CAP_S)
        return None

    async def _load(self, lease: Lease | None, load: Callable[[], Awaitable[T]]) -> "_Loaded[T]":
        begun_s = world.monotonic()
        try:
            value = await self._at_origin(load)
        except BaseException:
            await self._release(lease)
            raise
        self.counts.loaded += 1
        return _Loaded(value, world.monotonic() - begun_s)

    async def _keep(self, lease: Lease | None, plan: Plan, loaded: "_Loaded[Any]", tags: tuple[str, ...]) -> bool:
        """Fill; False if it was invalidated meanwhile, so that those who came late must not get it."""
        if lease is None:
            return True
        try:
            write = plan.life.write(loaded.value, plan.codec, tags=tags, load_s=loaded.load_s)
            if write is not None:
                return await self._store.fill(lease, write)
        except CacheStoreError as error:
            self._went_away(error)
            return True
        except BaseException:
            await self._release(lease)
            raise
        await self._release(lease)
        return True

    async def write_through(
        self, key: str, value: T, plan: Plan, save: Callable[[T], Awaitable[object]], tags: tuple[str, ...]
    ) -> None:
        """Save and keep a value; see `Cache.write_through`."""
        lease_s = self._load_limit_s + _LEASE_MARGIN_S
        claim = await self._store.claim(key, plan.codec, lease_s=lease_s, refresh=True)
        lease = claim if isinstance(claim, Lease) else None
        write = plan.life.write(value, plan.codec, tags=tags)
        try:
            async with within(self._load_limit_s, name=f"write through cache {self._name}"):
                await save(value)
        except BaseException:
            # It may have taken effect: a load that is under way must not keep what was before, nor anybody read it.
            await self._store.invalidate(keys=(key,))
            raise
        finally:
            self.flights.detach((key,), ())
        if lease is None or write is None or not await self._store.fill(lease, write):
            await self._store.invalidate(keys=(key,))

    async def _at_origin(self, load: Callable[[], Awaitable[T]]) -> T:
        if self._waiting >= self._max_waiting:
            raise CacheBusyError(self._name, self._waiting, self._load_limit_s)
        async with within(self._load_limit_s, name=f"load of cache {self._name}"):
            self._waiting += 1
            try:
                await self._turns.acquire()
            finally:
                self._waiting -= 1
            try:
                return await load()
            finally:
                self._turns.release()

    async def _release(self, lease: Lease | None) -> None:
        if lease is not None:
            try:
                await self._store.release(lease)
            except CacheStoreError as error:
                self._went_away(error)  # the lease ends at its time

    def _is_away(self) -> bool:
        return self._away_until_s is not None and world.monotonic() < self._away_until_s

    def _went_away(self, error: CacheStoreError) -> None:
        self.counts.store_failed += 1
        if not self._is_away():
            _log.warning("cache_store_away", cache=self._name, error=str(error), cause=repr(error.__cause__))
        self._away_until_s = world.monotonic() + _AWAY_S
