import asyncio
import pickle
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import world
from archstone.resilience import Limiter, RateLimit, RateLimitedError, SettingsError


def takes(limiter: Limiter, key: str = "ann", cost: float = 1.0) -> bool:
    try:
        limiter.take(key, cost)
    except RateLimitedError:
        return False
    return True


async def test_a_rested_key_may_take_its_burst_and_then_the_rate() -> None:
    limiter = RateLimit(10, burst=5).bind("api")
    assert [takes(limiter) for _ in range(7)] == [True] * 5 + [False] * 2
    await asyncio.sleep(0.1)
    assert [takes(limiter) for _ in range(2)] == [True, False]
    await asyncio.sleep(100)
    assert sum(takes(limiter) for _ in range(100)) == 5


async def test_keys_do_not_share() -> None:
    limiter = RateLimit(1).bind("api")
    assert takes(limiter, "ann")
    assert takes(limiter, "bob")
    assert not takes(limiter, "ann")


async def test_what_is_refused_says_when_it_can_work_and_then_it_does() -> None:
    limiter = RateLimit(3, burst=2).bind("api")
    limiter.take("ann", 2)
    with pytest.raises(RateLimitedError) as raised:
        limiter.take("ann", 1.5)
    error = raised.value
    assert error.retry_after_s == pytest.approx(0.5)
    assert str(error) == ("limiter 'api' refused 'ann': above 3 per second, nothing was done, free again in 0.500 s")
    assert (error.status, error.code) == (429, "resilience.rate-limited")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    await asyncio.sleep(error.retry_after_s - 0.001)
    assert not takes(limiter, "ann", 1.5)
    await asyncio.sleep(0.001)
    assert takes(limiter, "ann", 1.5)


@pytest.mark.parametrize("cost", [0, -1, 2.001, float("nan")])
def test_a_cost_that_could_never_work_is_a_fault_of_the_code(cost: float) -> None:
    limiter = RateLimit(1, burst=2).bind("api")
    with pytest.raises(SettingsError, match="must be above 0 and at most the burst 2"):
        limiter.take("ann", cost)
    assert takes(limiter, cost=2)


class Bucket:
    """A token bucket in exact numbers: the same limit, told the other way round."""

    def __init__(self, rate: Fraction, burst: Fraction) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.at = burst, Fraction(0)

    def take(self, at: Fraction, cost: Fraction) -> bool:
        self.tokens = min(self.burst, self.tokens + (at - self.at) * self.rate)
        self.at = at
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def wait(self, cost: Fraction) -> Fraction:
        return (cost - self.tokens) / self.rate


EIGHTHS = st.integers(1, 32).map(lambda n: Fraction(n, 8))


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 50),
    st.integers(1, 10),
    st.lists(st.tuples(st.integers(0, 64).map(lambda n: Fraction(n, 64)), EIGHTHS), max_size=60),
)
async def test_it_decides_as_a_token_bucket_in_exact_numbers_does(
    rate: int, burst: int, steps: list[tuple[Fraction, Fraction]]
) -> None:
    limiter = RateLimit(rate, burst=burst).bind("model")
    bucket = Bucket(Fraction(rate), Fraction(burst))
    now = Fraction(0)
    for pause, cost in steps:
        if cost > burst:
            continue
        now += pause
        await asyncio.sleep(float(now) - world.monotonic())
        expected = bucket.take(now, cost)
        try:
            limiter.take("key", float(cost))
            taken = True
        except RateLimitedError as error:
            taken = False
            assert error.retry_after_s == pytest.approx(float(bucket.wait(cost)), abs=1e-6)  # noqa: PT017
        assert taken == expected


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 100), st.floats(1, 20), st.lists(st.floats(0, 0.3), max_size=150))
async def test_no_interval_holds_more_than_burst_and_rate_allow(rate: float, burst: float, pauses: list[float]) -> None:
    limiter = RateLimit(rate, burst=burst).bind("model")
    taken: list[float] = []
    for pause in pauses:
        await asyncio.sleep(pause)
        if takes(limiter):
            taken.append(world.monotonic())
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) * rate + 1e-6


async def test_keys_are_bounded_and_the_longest_rested_makes_room() -> None:
    limiter = RateLimit(1, max_keys=3).bind("bounded")
    for key in ("a", "b", "c"):
        limiter.take(key)
    await asyncio.sleep(1)
    limiter.take("a")
    limiter.take("d")  # forgets b, which had rested longest and loses nothing
    assert len(limiter) == 3
    assert not takes(limiter, "a")
    assert takes(limiter, "b")


async def test_a_table_full_of_busy_keys_stays_bounded_and_says_so() -> None:
    from archstone.observability import default_registry

    limiter = RateLimit(1, max_keys=10).bind("crowded")
    for number in range(100):
        limiter.take(str(number))
    assert len(limiter) == 10
    forgotten = default_registry.counter("archstone_rate_limit_forgotten", "", ("limiter",))
    assert forgotten.labels("crowded").value == 90


async def test_a_refused_key_takes_no_place() -> None:
    limiter = RateLimit(1, max_keys=2).bind("api")
    limiter.take("a")
    assert not takes(limiter, "a")
    assert len(limiter) == 1
