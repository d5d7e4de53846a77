"""What `Retry` gained: a budget, decorrelated jitter, calls that must not be made twice."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.errors import BackendError, RejectedError
from archstone.observability import default_registry
from archstone.resilience import (
    Attempts,
    CircuitOpenError,
    Decorrelated,
    Exponential,
    OutOfTimeError,
    Retry,
    RetryStatistics,
    SettingsError,
    Signal,
    add_listener,
    remove_listener,
)

QUICK = Exponential(0.001, cap_s=0.001)


class Side:
    """Fails while it is down, and counts."""

    def __init__(self) -> None:
        self.down = True
        self.calls = 0

    async def ask(self) -> str:
        self.calls += 1
        if self.down:
            raise ConnectionError
        return "answer"


async def ask(attempts: Attempts, side: Side) -> bool:
    try:
        await attempts.call(side.ask)
    except ConnectionError:
        return False
    return True


async def test_while_all_fails_retries_add_a_tenth_and_no_more() -> None:
    side, attempts = Side(), Retry(3, backoff=QUICK, budget_ratio=0.1, budget_burst=10).bind("budget")
    for _ in range(1000):
        assert not await ask(attempts, side)
    assert 1000 + 100 <= side.calls <= 1000 + 100 + 10
    statistics = attempts.statistics()
    assert statistics.retried == side.calls - 1000
    assert statistics.gave_up == 1000
    assert statistics.over_budget >= 890
    assert statistics.budget < 1
    counted = default_registry.counter("archstone_retries_over_budget", "", ("function",)).labels("budget")
    assert counted.value == statistics.over_budget


async def test_calls_that_work_fill_the_budget_up_to_its_burst() -> None:
    side, attempts = Side(), Retry(2, backoff=QUICK, budget_ratio=0.5, budget_burst=2).bind("budget")
    for _ in range(4):
        await ask(attempts, side)
    assert side.calls == 4 + 3  # 2 at first, and a half by each call up to the third
    side.down = False
    for _ in range(100):
        assert await ask(attempts, side)
    assert attempts.statistics().budget == 2
    assert Retry(2).bind("none").statistics() == RetryStatistics(0, 0, 0, None)


def test_functions_of_one_bound_retry_share_its_budget_and_plain_ones_too() -> None:
    attempts = Retry(2, backoff=QUICK, budget_ratio=0.01, budget_burst=1).bind("shared")
    calls = []

    @attempts
    def one() -> None:
        calls.append(1)
        raise ConnectionError

    @attempts
    def other() -> None:
        calls.append(2)
        raise ConnectionError

    for function in (one, other):
        with pytest.raises(ConnectionError):
            function()
    assert calls == [1, 1, 2]


async def test_a_budget_has_no_place_in_a_call_that_is_not_bound() -> None:
    with pytest.raises(SettingsError, match="only what `bind` returns has a budget"):
        await Retry(2, budget_ratio=0.1).call(Side().ask)
    side, decorated = Side(), Retry(2, backoff=QUICK, budget_ratio=0.1)
    with pytest.raises(ConnectionError):
        await decorated(side.ask)()
    assert side.calls == 2


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8), st.integers(1, 4))
async def test_the_budget_is_that_of_a_model(downs: list[bool], eighths: int, burst: int) -> None:
    side = Side()
    attempts = Retry(3, backoff=QUICK, budget_ratio=eighths / 8, budget_burst=burst).bind("model")
    budget, calls = burst * 8, 0
    for down in downs:
        side.down = down
        budget = min(burst * 8, budget + eighths)
        await ask(attempts, side)
        retries = min(2, budget // 8) if down else 0
        budget -= retries * 8
        calls += 1 + retries
        assert (side.calls, attempts.statistics().budget) == (calls, budget / 8)


async def test_decorrelated_delays_begin_at_base_and_reach_three_times_as_far_each_time() -> None:
    backoff = Decorrelated(0.1, cap_s=1.0)
    for attempt, longest in ((1, 0.3), (2, 0.9), (3, 1.0), (5000, 1.0)):
        delays = [backoff.delay_s(attempt) for _ in range(2000)]
        assert backoff.longest_s(attempt) == pytest.approx(longest)
        assert min(delays) >= 0.1
        assert max(delays) <= longest + 1e-12
        assert max(delays) > longest * 0.85
    first = [backoff.delay_s(1) for _ in range(4000)]
    assert sum(first) / len(first) == pytest.approx(0.2, rel=0.05)
    assert Retry(2, backoff=backoff).delay_s(1) >= 0.1


@pytest.mark.parametrize(
    ("base_s", "cap_s"), [(0, 1), (-1, 1), (math.nan, 1), (math.inf, math.inf), (2, 1), (1, math.nan)]
)
def test_decorrelated_settings_out_of_bounds(base_s: float, cap_s: float) -> None:
    with pytest.raises(SettingsError):
        Decorrelated(base_s, cap_s=cap_s)
    Decorrelated(1, cap_s=1)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RejectedError(), True),
        (CircuitOpenError("c", "open", 1.0), True),
        (ConnectionRefusedError(), True),
        (OutOfTimeError("call", 0.0, begun=False), True),
        (OutOfTimeError("call", 1.0), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
        (BackendError(), False),
    ],
)
async def test_what_must_not_happen_twice_is_tried_again_only_after_nothing_was_done(
    error: Exception, again: bool
) -> None:
    calls = []

    async def charge() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return "charged"

    careful = Retry(3, idempotent=False)
    if again:
        assert await careful.call(charge) == "charged"
    else:
        with pytest.raises(type(error)):
            await careful.call(charge)
    assert len(calls) == 1 + again


async def test_any_error_may_say_when_to_come_back() -> None:
    class Busy(ConnectionError):
        retry_after_s = 7.0

    side = Side()

    async def ask() -> None:
        side.calls += 1
        if side.calls == 1:
            raise Busy

    await Retry(2, backoff=QUICK).call(ask)
    assert 7.0 <= world.monotonic() <= 7.001


async def test_retries_are_told() -> None:
    told: list[Signal] = []
    add_listener(told.append)
    try:
        await ask(Retry(2, backoff=QUICK).bind("told"), Side())
    finally:
        remove_listener(told.append)
    assert [(signal.kind, signal.layer, signal.name) for signal in told] == [
        ("retried", "retry", "told"),
        ("gave-up", "retry", "told"),
    ]
    assert 0 <= told[0].wait_s <= 0.001


@pytest.mark.parametrize("settings", [{"budget_ratio": 0}, {"budget_ratio": 1.01}, {"budget_burst": 0.9}])
def test_a_budget_out_of_bounds_is_refused(settings: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(settings))):
        Retry(**settings)
    Retry(budget_ratio=1.0, budget_burst=1)
