"""One load for everybody: stampedes, cancellation, failure, and what a value near or past its end calls for."""

import asyncio

import pytest

from archstone import context, simulation, world
from archstone.cache import Cache, CacheBusyError, CacheClosedError, CacheStoreError
from archstone.cache.life import Verdict
from archstone.cache.stores.memory import MemoryStore
from archstone.context import Call, Principal, Trace
from archstone.resilience import OutOfTimeError


class Origin:
    """Counts its loads; each takes `takes_s` and brings the value of the moment it began."""

    def __init__(self, takes_s: float = 1.0) -> None:
        self.takes_s = takes_s
        self.loads = self.now = self.most = 0
        self.value: str | None = "v1"
        self.error: Exception | None = None

    async def load(self) -> str | None:
        self.loads += 1
        self.now += 1
        self.most = max(self.most, self.now)
        value = self.value
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.now -= 1
        if self.error is not None:
            raise self.error
        return value


@pytest.fixture
def origin():
    return Origin()


def asking(cache, origin, **life):
    @cache.aside("k:{key}", tags=["t:{key}"], **life)
    async def ask(key: str) -> str | None:
        return await origin.load()

    return ask


async def test_a_thousand_misses_make_one_load(origin):
    async with Cache() as cache:
        ask = asking(cache, origin)
        assert await asyncio.gather(*(ask("a") for _ in range(1000))) == ["v1"] * 1000
        assert origin.loads == 1
        assert await ask("a") == "v1"
        assert (origin.loads, cache.statistics().loaded, cache.statistics().hits) == (1, 1, 1)


async def test_when_the_first_is_cancelled_the_others_are_served(origin):
    async with Cache() as cache:
        ask = asking(cache, origin)
        first = asyncio.create_task(ask("a"))
        await asyncio.sleep(0)
        others = [asyncio.create_task(ask("a")) for _ in range(999)]
        await asyncio.sleep(0.5)
        first.cancel()
        assert await asyncio.gather(*others) == ["v1"] * 999
        assert origin.loads == 1
        assert first.cancelled()


async def test_when_all_are_cancelled_the_load_is_too_and_the_next_begins_anew(origin):
    async with Cache() as cache:
        ask = asking(cache, origin)
        tasks = [asyncio.create_task(ask("a")) for _ in range(3)]
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
        assert origin.now == 0
        assert await ask("a") == "v1"
        assert origin.loads == 2


async def test_a_failure_goes_to_all_who_waited_and_is_not_kept(origin):
    async with Cache() as cache:
        ask = asking(cache, origin)
        origin.error = OSError("the origin is down")
        came = await asyncio.gather(*(ask("a") for _ in range(1000)), return_exceptions=True)
        assert {type(each) for each in came} == {OSError}
        assert origin.loads == 1
        origin.error = None
        assert await ask("a") == "v1"
        assert cache.statistics().failed == 1


async def test_a_load_that_takes_too_long_is_given_up(origin):
    async with Cache(load_limit_s=2.0) as cache:
        origin.takes_s = 60
        with pytest.raises(OutOfTimeError):
            await asking(cache, origin)("a")
        assert origin.now == 0


async def test_loads_at_the_origin_are_bounded_and_so_are_those_that_wait(origin):
    async with Cache(max_loads=2, max_waiting=3) as cache:
        ask = asking(cache, origin)
        came = await asyncio.gather(*(ask(str(n)) for n in range(6)), return_exceptions=True)
        assert [type(each) for each in came] == [str] * 5 + [CacheBusyError]
        assert origin.most == 2


async def test_a_load_runs_as_nobody_without_the_deadline_of_who_began_it():
    seen: list[Call] = []
    async with Cache() as cache:

        async def load() -> str:
            seen.append(context.current())
            return "v"

        trace = Trace(1, 2)
        with context.enter(Call(principal=Principal("ann"), deadline_s=world.monotonic() + 1, trace=trace, key="k")):
            await cache.load("k", load, str)
    (call,) = seen
    assert (call.principal, call.trace, call.key, call.tx) == (Principal(), trace, None, None)
    assert call.deadline_s is not None  # the limit of the load itself
    assert call.deadline_s > world.monotonic() + 5


async def test_closing_ends_loads_and_those_who_wait_hear_of_it(origin):
    cache = Cache()
    ask = asking(cache, origin)
    async with cache:
        waiting = asyncio.create_task(ask("a"))
        await asyncio.sleep(0.5)
    with pytest.raises(CacheClosedError):
        await waiting
    assert origin.now == 0
    for use in (ask("a"), cache.get("k", str), cache.set("k", "v"), cache.invalidate(key="k")):
        with pytest.raises(CacheClosedError, match="use it inside `async with cache:`"):
            await use


def test_a_cache_is_opened_again_on_another_loop(origin):
    cache = Cache(max_loads=1)
    ask = asking(cache, origin)

    async def run() -> None:
        async with cache:
            await asyncio.gather(*(ask(str(n)) for n in range(3)))
            assert cache.statistics().loaded == 3

    for _ in range(2):
        with simulation.Stage() as stage:
            stage.run(run())


# What a value near or past its end calls for


async def test_an_expired_value_is_loaded_again(origin):
    async with Cache(ttl_s=10, jitter_ratio=0) as cache:
        ask = asking(cache, origin)
        await ask("a")
        origin.value = "v2"
        await asyncio.sleep(9.9)
        assert await ask("a") == "v1"
        await asyncio.sleep(0.1)
        assert await ask("a") == "v2"


async def test_jitter_spreads_the_end_over_its_part_of_the_time(origin):
    origin.takes_s = 0
    async with Cache(ttl_s=100, jitter_ratio=0.5) as cache:
        ask = asking(cache, origin)
        for n in range(200):
            await ask(str(n))
        ends = sorted([entry.fresh_s for n in range(200) if (entry := cache._store.find(f"k:{n}"))])
        assert 50 <= ends[0] < 55
        assert 95 < ends[-1] <= 100


async def test_stale_while_revalidate_serves_at_once_and_loads_once_behind(origin):
    async with Cache(ttl_s=10, jitter_ratio=0, stale_while_revalidate_s=5) as cache:
        ask = asking(cache, origin)
        await ask("a")
        origin.value = "v2"
        await asyncio.sleep(12)
        begun = world.monotonic()
        assert await asyncio.gather(*(ask("a") for _ in range(100))) == ["v1"] * 100
        assert world.monotonic() == begun
        await asyncio.sleep(1.1)
        assert await ask("a") == "v2"
        assert origin.loads == 2


async def test_beyond_its_stale_time_it_is_waited_for(origin):
    async with Cache(ttl_s=10, jitter_ratio=0, stale_while_revalidate_s=5) as cache:
        ask = asking(cache, origin)
        await ask("a")
        origin.value = "v2"
        await asyncio.sleep(15)
        assert await ask("a") == "v2"


async def test_stale_if_error_serves_only_if_the_load_fails(origin):
    async with Cache(ttl_s=10, jitter_ratio=0, stale_if_error_s=20) as cache:
        ask = asking(cache, origin)
        await ask("a")
        await asyncio.sleep(11)
        origin.error = OSError()
        assert await asyncio.gather(*(ask("a") for _ in range(10))) == ["v1"] * 10
        assert (origin.loads, cache.statistics().stale) == (2, 10)
        origin.error, origin.value = None, "v2"
        assert await ask("a") == "v2"
        origin.error = OSError()
        await asyncio.sleep(31)
        with pytest.raises(OSError):
            await ask("a")


async def test_refresh_ahead_loads_before_the_end_so_that_nobody_waits(origin):
    async with Cache(ttl_s=10, jitter_ratio=0, refresh_ahead_ratio=0.8) as cache:
        ask = asking(cache, origin)
        await ask("a")
        slept = world.monotonic()
        for _ in range(100):
            await asyncio.sleep(0.5)
            begun = world.monotonic()
            assert await ask("a") == "v1"
            assert world.monotonic() == begun
        assert world.monotonic() - slept == pytest.approx(50)
        assert origin.loads == 1 + 5


async def test_a_refresh_that_fails_leaves_the_value(origin):
    async with Cache(ttl_s=10, jitter_ratio=0, refresh_ahead_ratio=0.8) as cache:
        ask = asking(cache, origin)
        await ask("a")
        origin.error = OSError()
        await asyncio.sleep(8.5)
        assert await ask("a") == "v1"
        await asyncio.sleep(1.1)
        assert (await ask("a"), origin.loads, cache.statistics().failed) == ("v1", 2, 1)
        origin.error = None
        await asyncio.sleep(1)  # the refresh of the last hit has ended, and with it the value's time
        assert await ask("a") == "v1"


async def test_early_refresh_comes_by_chance_the_likelier_the_nearer_the_end(origin):
    early = []
    async with Cache(ttl_s=100, jitter_ratio=0, early_beta=1.0) as cache:
        ask = asking(cache, origin)
        await ask("0")
        for at in (90, 98, 99.99):
            entry = cache._store.find("k:0")
            verdicts = [cache.life.verdict(entry._replace(age_s=at)) for _ in range(100)]
            early.append(verdicts.count(Verdict.REFRESH))
    assert early[0] == 0
    assert 3 < early[1] < 30  # e^-2 of them
    assert early[2] > 90


async def test_an_early_refresh_loads_behind(origin):
    async with Cache(ttl_s=100, jitter_ratio=0, early_beta=1.0) as cache:
        ask = asking(cache, origin)
        await ask("a")
        await asyncio.sleep(99.99)
        assert await ask("a") == "v1"
        await asyncio.sleep(1.1)
        await ask("a")
        assert origin.loads == 2


async def test_there_is_none_is_kept_only_if_asked_for(origin):
    origin.value = None
    async with Cache(ttl_s=100, jitter_ratio=0) as cache:
        plain, negative = asking(cache, origin), asking(cache, origin, negative_ttl_s=5)
        assert [await plain("a"), await plain("a")] == [None, None]
        assert origin.loads == 2
        assert [await negative("b"), await negative("b")] == [None, None]
        assert origin.loads == 3
        await asyncio.sleep(5)
        await negative("b")
        assert origin.loads == 4


# Invalidation against loads


@pytest.mark.parametrize("what", [{"key": "k:a"}, {"tag": "t:a"}, {"tag": ["t:z", "t:a"], "key": ["k:z"]}])
async def test_what_was_invalidated_is_loaded_again(origin, what):
    async with Cache() as cache:
        ask = asking(cache, origin)
        assert [await ask("a"), await ask("b"), await ask("a")] == ["v1"] * 3
        origin.value = "v2"
        await cache.invalidate(**what)
        assert [await ask("a"), await ask("b")] == ["v2", "v1"]


@pytest.mark.parametrize("what", [{"key": "k:a"}, {"tag": "t:a"}])
async def test_a_load_begun_before_an_invalidation_is_not_kept_and_not_given_to_who_came_after(origin, what):
    async with Cache() as cache:
        ask = asking(cache, origin)
        early = asyncio.create_task(ask("a"))
        await asyncio.sleep(0.5)
        origin.value = "v2"
        await cache.invalidate(**what)
        late = asyncio.create_task(ask("a"))
        assert (await early, await late) == ("v1", "v2")
        assert await ask("a") == "v2"
        assert origin.loads == 2


async def test_a_set_during_a_load_wins(origin):
    async with Cache() as cache:
        ask = asking(cache, origin)
        early = asyncio.create_task(ask("a"))
        await asyncio.sleep(0.5)
        await cache.set("k:a", "newer", tags=["t:a"])
        assert await ask("a") == "newer"
        await early
        assert await ask("a") == "newer"


async def test_a_refresh_that_is_invalidated_is_not_kept(origin):
    async with Cache(ttl_s=10, jitter_ratio=0, refresh_ahead_ratio=0.5) as cache:
        ask = asking(cache, origin)
        await ask("a")
        await asyncio.sleep(6)
        assert await ask("a") == "v1"  # begins the refresh
        await asyncio.sleep(0.5)
        origin.value = "v2"
        await cache.invalidate(tag="t:a")
        await asyncio.sleep(1)
        assert await ask("a") == "v2"


# A store that is away


class Away(MemoryStore):
    """A store that fails when told to."""

    away = False
    asked = 0

    def _check(self):
        self.asked += 1
        if self.away:
            raise CacheStoreError("away:", "asking it")

    near = None  # type: ignore[assignment]

    async def read(self, keys, codec):
        self._check()
        return await super().read(keys, codec)

    async def claim(self, key, codec, *, lease_s, refresh=False):
        self._check()
        return await super().claim(key, codec, lease_s=lease_s, refresh=refresh)

    async def fill(self, lease, write):
        self._check()
        return await super().fill(lease, write)

    async def invalidate(self, *, keys=(), tags=()):
        self._check()
        await super().invalidate(keys=keys, tags=tags)


async def test_a_store_that_is_away_costs_speed_and_no_answers(origin):
    store = Away()
    async with Cache(store, max_loads=4) as cache:
        ask = asking(cache, origin)
        store.away = True
        assert await asyncio.gather(*(ask(str(n % 8)) for n in range(800))) == ["v1"] * 800
        assert (origin.loads, origin.most) == (8, 4)
        assert await cache.get("k:1", str) is None
        with pytest.raises(CacheStoreError):
            await cache.invalidate(tag="t:1")
        store.away = False
        await asyncio.sleep(1.1)
        await ask("a")
        await ask("a")
        assert origin.loads == 9


async def test_a_store_that_went_away_is_left_alone_for_a_second(origin):
    store = Away()
    async with Cache(store) as cache:
        ask = asking(cache, origin)
        store.away = True
        origin.takes_s = 0
        for n in range(100):
            await ask(str(n))
        assert store.asked == 1


async def test_a_store_that_goes_away_during_a_load_loses_only_the_keeping(origin):
    store = Away()
    async with Cache(store) as cache:
        asked = asyncio.create_task(asking(cache, origin)("a"))
        await asyncio.sleep(0.5)
        store.away = True
        assert await asked == "v1"
