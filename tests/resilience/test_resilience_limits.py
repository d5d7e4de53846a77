"""The kinds of `RateLimit` beyond the bucket, and limits around functions."""

import asyncio
import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import world
from archstone.resilience import (
    Limiter,
    LimiterStatistics,
    OutOfTimeError,
    RateLimit,
    RateLimitedError,
    SettingsError,
    Signal,
    add_listener,
    remove_listener,
    within,
)


def takes(limiter: Limiter, key: str = "ann", cost: float = 1.0) -> bool:
    try:
        limiter.take(key, cost)
    except RateLimitedError:
        return False
    return True


async def test_a_window_lets_so_many_through_and_fades_in_the_next() -> None:
    limiter = RateLimit.sliding_window(10, seconds=60.0).bind("minute")
    assert sum(takes(limiter) for _ in range(20)) == 10
    await asyncio.sleep(59.9)
    assert not takes(limiter)  # the guide's fixed window would begin again a moment later, and let 20 through
    await asyncio.sleep(6.1)
    assert [takes(limiter) for _ in range(2)] == [True, False]
    await asyncio.sleep(120)
    assert sum(takes(limiter) for _ in range(20)) == 10
    assert limiter.statistics() == LimiterStatistics(keys=1, refused=22)


class Windows:
    """Two counters in exact numbers."""

    def __init__(self, limit: int, length: Fraction) -> None:
        self.limit, self.length = limit, length
        self.counts: dict[int, Fraction] = {}

    def used(self, at: Fraction) -> Fraction:
        number, into = divmod(at / self.length, 1)
        return self.counts.get(number - 1, Fraction(0)) * (1 - into) + self.counts.get(number, Fraction(0))

    def take(self, at: Fraction, cost: Fraction) -> bool:
        if self.used(at) + cost > self.limit:
            return False
        number = at // self.length
        self.counts[number] = self.counts.get(number, Fraction(0)) + cost
        return True


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 8),
    st.sampled_from([Fraction(1), Fraction(4), Fraction(1, 2)]),
    st.lists(st.tuples(st.integers(0, 64).map(lambda n: Fraction(n, 32)), st.sampled_from([1, 1, 2])), max_size=60),
)
async def test_it_decides_as_two_counters_in_exact_numbers_do(
    limit: int, length: Fraction, steps: list[tuple[Fraction, int]]
) -> None:
    limiter, windows = RateLimit.sliding_window(limit, seconds=float(length)).bind("m"), Windows(limit, length)
    now = Fraction(0)
    for pause, cost in steps:
        if cost > limit:
            continue
        now += pause
        await asyncio.sleep(float(now) - world.monotonic())
        expected = windows.take(now, Fraction(cost))
        try:
            limiter.take("key", cost)
            taken = True
        except RateLimitedError as error:
            taken = False
            wait = Fraction(error.retry_after_s)
            assert windows.used(now + wait) + cost <= limit + Fraction(1, 10**5)
            assert windows.used(now + wait - Fraction(1, 1000)) + cost > limit - Fraction(1, 10**5)
        assert taken == expected


async def test_whoever_waits_as_long_as_a_window_says_is_let_in() -> None:
    limiter = RateLimit.sliding_window(3, seconds=10.0).bind("wait")
    for _ in range(40):
        try:
            limiter.take("ann")
        except RateLimitedError as error:
            assert 0 < error.retry_after_s <= 20  # noqa: PT017
            await asyncio.sleep(error.retry_after_s)
            assert takes(limiter)


async def test_windows_forget_the_key_that_has_rested_longest() -> None:
    limiter = RateLimit(1, burst=2, kind="window", max_keys=2).bind("bounded")
    for key in ("a", "b", "c"):
        limiter.take(key, 2)
    assert len(limiter) == 2
    assert takes(limiter, "a", 2)
    assert not takes(limiter, "c")


async def test_a_leaky_limit_spaces_calls_evenly_and_bounds_the_line() -> None:
    went: list[float] = []

    @RateLimit.leaky(10, waiting=4)
    async def send() -> None:
        went.append(world.monotonic())

    answers = await asyncio.gather(*[send() for _ in range(8)], return_exceptions=True)
    assert went == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    refused = [answer for answer in answers if isinstance(answer, RateLimitedError)]
    assert len(refused) == 3
    assert [error.retry_after_s for error in refused] == pytest.approx([0.1] * 3)  # then there is room in the line


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 0.3), max_size=60), st.integers(0, 5))
async def test_leaky_turns_come_in_order_and_never_closer_than_the_rate(pauses: list[float], waiting: int) -> None:
    limiter = RateLimit.leaky(10, waiting=waiting).bind("leaky")
    went: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        try:
            await limiter.turn("key")
        except RateLimitedError:
            return
        went.append((number, world.monotonic()))

    tasks = []
    for number, pause in enumerate(pauses):
        await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    assert [number for number, _ in went] == sorted(number for number, _ in went)
    assert all(later - sooner >= 0.1 - 1e-6 for (_, sooner), (_, later) in itertools.pairwise(went))


async def test_a_turn_that_the_deadline_would_cut_is_refused_at_once_and_costs_nothing() -> None:
    limiter = RateLimit(1, max_wait_s=10.0).bind("deadline")
    limiter.take("ann")
    with pytest.raises(RateLimitedError):
        async with within(0.5):
            await limiter.turn("ann")
    assert world.monotonic() == 0
    await limiter.turn("ann")
    assert world.monotonic() == pytest.approx(1.0)
    with pytest.raises(OutOfTimeError):  # it was time enough when it began to wait
        async with within(1.0 + 1e-7):
            await limiter.turn("ann")
            await asyncio.sleep(1)


async def test_a_cancelled_turn_is_lost_and_nobody_comes_too_early() -> None:
    limiter = RateLimit(1, max_wait_s=10.0).bind("cancelled")
    limiter.take("ann")
    second = asyncio.create_task(limiter.turn("ann"))
    third = asyncio.create_task(limiter.turn("ann"))
    await asyncio.sleep(0.5)
    second.cancel()
    await third
    assert world.monotonic() == pytest.approx(2.0)


async def test_functions_are_limited_by_a_key_of_their_arguments() -> None:
    calls = []

    @RateLimit(1, key=lambda user, **_: user)
    async def page(user: str, *, number: int = 1) -> int:
        calls.append((user, number))
        return number

    assert await page("ann", number=7) == 7
    assert await page("bob") == 1
    with pytest.raises(RateLimitedError, match="'ann'"):
        await page("ann")

    @RateLimit(1)
    def plain(number: int) -> int:
        return number

    assert plain(3) == 3
    with pytest.raises(RateLimitedError):
        plain(4)
    with pytest.raises(SettingsError, match="a plain function, which cannot wait"):
        RateLimit.leaky(1, waiting=1)(plain)


async def test_refusals_are_told() -> None:
    told: list[Signal] = []
    add_listener(told.append)
    try:
        limiter = RateLimit(1).bind("told")
        assert [takes(limiter), takes(limiter)] == [True, False]
    finally:
        remove_listener(told.append)
    assert [(signal.kind, signal.layer, signal.name) for signal in told] == [("limited", "ratelimit", "told")]
    assert told[0].wait_s == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "other"},
        {"max_wait_s": -1},
        {"max_wait_s": math.inf},
        {"max_wait_s": math.nan},
        {"kind": "window", "max_wait_s": 1.0},
    ],
)
def test_settings_out_of_bounds_are_refused(wrong: dict) -> None:
    with pytest.raises(SettingsError):
        RateLimit(1, **wrong)
    with pytest.raises(SettingsError):
        RateLimit.sliding_window(1, seconds=0)
    with pytest.raises(SettingsError):
        RateLimit.leaky(0, waiting=1)
    with pytest.raises(SettingsError):
        RateLimit.leaky(1, waiting=-1)
