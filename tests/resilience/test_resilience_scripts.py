"""The scripts of a real server decide as the store in memory does: the same steps at the same instants, compared.

Only here the scripts read their time from a key, so that it can be set.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archstone import world
from archstone.resilience import Breaker, RateLimit, Ratio, Store
from archstone.resilience.stores import redis as module
from archstone.resilience.stores import scripts
from archstone.resilience.stores.memory import MemoryStore
from archstone.resilience.stores.redis import RedisStore
from archstone.resilience.testing import StoreConformance

redis = pytest.importorskip("redis")

POLICIES = [
    Breaker(2, open_s=4.0, trials=2),
    Breaker(Ratio(0.5, over_calls=3, min_calls=2), open_s=4.0),
    Breaker(Ratio(0.5, over_s=10.0, min_calls=2), open_s=4.0, trials=2),
]
LIMITS = [
    RateLimit(2, burst=3),
    RateLimit(0.5, max_wait_s=5.0),
    RateLimit.sliding_window(4, seconds=8.0),
]
QUICK = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Clock(world.World):
    """The time of the store in memory: that of the key."""

    def __init__(self, client: "redis.Redis") -> None:
        super().__init__()
        self.client = client
        self.now_us = 0
        self.add(1_000_000_000)

    def add(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)
        self.client.hset("clock", mapping={"s": self.now_us // 1_000_000, "us": self.now_us % 1_000_000})

    def monotonic(self) -> float:
        return self.now_us / 1e6


@pytest.fixture
def clock(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    for name in ("TAKE", "CIRCUIT"):
        text = getattr(scripts, name)
        assert "redis.call('TIME')" in text
        monkeypatch.setattr(module, name, text.replace("redis.call('TIME')", "redis.call('HMGET', 'clock', 's', 'us')"))
    client = redis.Redis.from_url(redis_url)
    yield Clock(client)
    client.close()


@pytest.mark.real_time
class TestRedisOnAClock(StoreConformance):
    """The suite with all its borders of time, which a server's own clock cannot meet."""

    @pytest.fixture(autouse=True)
    def on_the_clock(self, clock: Clock) -> None:
        self.clock = clock

    @pytest.fixture
    async def stores(self, clock: Clock, redis_url: str) -> AsyncIterator[tuple[Store, Store]]:
        one, other = (RedisStore(redis_url, timeout_s=10.0) for _ in range(2))
        await one.open()
        await other.open()
        yield one, other
        await one.close()
        await other.close()

    async def pass_time(self, units: float) -> None:
        self.clock.add(units * self.unit_s)


FAIL = ("fail", 0)
"""A call that fails at once."""
Steps = st.lists(
    st.one_of(
        st.just(("begin", 0)),
        st.just(("fail", 0)),
        st.tuples(st.sampled_from(["worked", "failed", "neither"]), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 4.0, 9.0])),
        st.tuples(st.sampled_from(["open", "close", "open for"]), st.just(0)),
    ),
    min_size=10,
    max_size=40,
)


@pytest.mark.real_time
@QUICK
@given(steps=Steps, number=st.integers(0, len(POLICIES) - 1))
def test_circuits(steps: list, number: int, clock: Clock, redis_url: str) -> None:
    asyncio.run(compare_circuits(steps, POLICIES[number], clock, redis_url))


def plain(steps: list) -> list:
    return [one for step in steps for one in ([("begin", 0), ("failed", -1)] if step == FAIL else [step])]


async def compare_circuits(steps: list, policy: Breaker, clock: Clock, url: str) -> None:
    memory, store, name = MemoryStore(), RedisStore(url, timeout_s=10.0), world.new_id()
    await store.open()
    under_way: list[tuple[int, int]] = []
    with world.use(clock):
        for step, which in plain(steps):
            if step == "wait":
                clock.add(which)
            elif step == "begin":
                wanted, got = await memory.begin(name, policy), await store.begin(name, policy)
                assert (got.moved, got.refused is None) == (wanted.moved, wanted.refused is None)
                if wanted.refused is None:
                    under_way.append((wanted.epoch, got.epoch))
                else:
                    assert got.refused.reason == wanted.refused.reason
                    assert got.refused.retry_after_s == pytest.approx(wanted.refused.retry_after_s, abs=1e-5)
            elif step in {"open", "close", "open for"}:
                for_s = {"open": float("inf"), "close": None, "open for": 2.0}[step]
                await memory.force(name, policy, for_s)
                await store.force(name, policy, for_s)
            elif under_way:
                wanted_epoch, got_epoch = under_way.pop(which % len(under_way))
                outcome = ["worked", "failed", "neither"].index(step)
                moved = await memory.end(name, policy, wanted_epoch, outcome)
                assert await store.end(name, policy, got_epoch, outcome) == moved
            wanted, got = (await memory.look(name, policy))[0], (await store.look(name, policy))[0]
            assert (got.name, got.failures, got.free, got.worked) == (
                wanted.name, wanted.failures, wanted.free, wanted.worked,
            )  # fmt: skip
            assert (got.window.calls, got.window.failures) == (wanted.window.calls, wanted.window.failures)
    await store.close()


Takes = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.25, 0.5, 2.0, 9.0]), st.sampled_from([1, 1, 1, 0.5])), max_size=40
)


@pytest.mark.real_time
@QUICK
@given(steps=Takes, number=st.integers(0, len(LIMITS) - 1))
def test_limits(steps: list, number: int, clock: Clock, redis_url: str) -> None:
    asyncio.run(compare_limits(steps, LIMITS[number], clock, redis_url))


async def compare_limits(steps: list, policy: RateLimit, clock: Clock, url: str) -> None:
    memory, store, name = MemoryStore(), RedisStore(url, timeout_s=10.0), world.new_id()
    await store.open()
    with world.use(clock):
        for pause, cost in steps:
            clock.add(pause)
            wanted = await memory.take(name, policy, "ann", cost, policy.max_wait_s)
            got = await store.take(name, policy, "ann", cost, policy.max_wait_s)
            assert got.taken == wanted.taken
            assert got.wait_s == pytest.approx(wanted.wait_s, abs=1e-5)
    await store.close()


@pytest.fixture
async def store(clock: Clock, redis_url: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_url, timeout_s=10.0)
    await store.open()
    yield store
    await store.close()


@pytest.mark.real_time
async def test_keys_live_as_long_as_they_say_something_and_no_longer(store: RedisStore, clock: Clock) -> None:
    bucket, window = RateLimit(0.5, burst=50), RateLimit.sliding_window(4, seconds=100)
    for policy, cost, lives_s in ((bucket, 50, 100.0), (bucket, 5, 10.0), (window, 1, 200.0)):
        name = world.new_id()
        await store.take(name, policy, "ann", cost, 0.0)
        assert lives_s * 0.9 < clock.client.pttl(f"archstone:limit:{{{name}}}:ann") / 1000 <= lives_s
    name, policy = world.new_id(), Breaker(1, open_s=1000.0)
    begun = await store.begin(name, policy)
    await store.end(name, policy, begun.epoch, 1)
    assert 87_300 < clock.client.pttl(f"archstone:circuit:{{{name}}}") / 1000 <= 87_400  # a day after its time


@pytest.mark.real_time
async def test_a_clock_that_is_set_back_makes_a_key_owe_a_burst_and_a_line_at_most(
    store: RedisStore, clock: Clock
) -> None:
    name, policy = world.new_id(), RateLimit(1, burst=3, max_wait_s=2.0)
    assert (await store.take(name, policy, "ann", 3, 0.0)).taken
    clock.add(-10_000)
    refused = await store.take(name, policy, "ann", 1, 0.0)
    assert not refused.taken
    assert refused.wait_s <= 3.0


@pytest.mark.real_time
async def test_a_window_of_time_is_a_few_numbers_however_many_calls_it_holds(store: RedisStore, clock: Clock) -> None:
    name, policy = world.new_id(), Breaker(Ratio(0.5, over_s=10.0))
    for _ in range(200):
        begun = await store.begin(name, policy)
        await store.end(name, policy, begun.epoch, 0)
        clock.add(0.2)
    assert clock.client.hstrlen(f"archstone:circuit:{{{name}}}", "window") < 200
