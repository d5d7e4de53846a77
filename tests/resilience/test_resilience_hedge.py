import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.resilience import Hedge, SettingsError, Signal, add_listener, remove_listener


class Replica:
    """Answers after the given seconds, one call after another; a negative time fails after as long."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.calls = 0
        self.cancelled = 0

    async def read(self) -> int:
        self.calls += 1
        number, seconds = self.calls, self.seconds.pop(0) if self.seconds else 0.1
        try:
            await asyncio.sleep(abs(seconds))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if seconds < 0:
            raise ConnectionError(number)
        return number


async def warm(replica: Replica, hedges, calls: int = 20):
    read = hedges(replica.read)
    replica.seconds[:0] = [0.1] * calls
    for _ in range(calls):
        await read()
    return read


async def test_a_slow_call_gets_a_second_one_and_the_first_answer_counts() -> None:
    replica, hedges = Replica(5.0, 0.1), Hedge(0.9).bind("replicas")
    read = await warm(replica, hedges)
    before = world.monotonic()
    assert await read() == 22
    assert world.monotonic() - before == pytest.approx(0.2)
    await asyncio.sleep(0)
    assert (replica.calls, replica.cancelled) == (22, 1)
    statistics = hedges.statistics()
    assert (statistics.calls, statistics.hedged, statistics.won) == (21, 1, 1)
    assert statistics.delay_s == pytest.approx(0.1)


async def test_the_first_call_may_still_win() -> None:
    replica, hedges = Replica(0.15, 5.0), Hedge().bind("replicas")
    read = await warm(replica, hedges)
    assert await read() == 21
    await asyncio.sleep(0)
    assert (hedges.statistics().won, replica.cancelled) == (0, 1)


async def test_nothing_is_hedged_before_enough_is_known() -> None:
    replica, hedges = Replica(), Hedge(min_calls=20).bind("replicas")
    read = await warm(replica, hedges, 19)
    replica.seconds[:] = [50.0]
    await read()
    assert replica.calls == 20
    assert hedges.statistics().hedged == 0


async def test_hedges_are_a_tenth_of_the_calls_when_all_is_slow() -> None:
    replica, hedges = Replica(), Hedge(budget_ratio=0.1).bind("replicas")
    read = await warm(replica, hedges)

    async def slow() -> int:
        replica.calls += 1
        await asyncio.sleep(10)
        return 1

    slow_read, before = hedges(slow), replica.calls
    hedges._sorted = [0.1] * 256  # so that slowness is never learnt
    hedges._recent.clear()
    await asyncio.gather(*[slow_read() for _ in range(200)])
    assert 200 <= replica.calls - before <= 200 + 20 + 3
    assert await read()


async def test_a_failure_before_the_delay_comes_out_at_once() -> None:
    replica, hedges = Replica(-0.05), Hedge().bind("replicas")
    read = await warm(replica, hedges)
    with pytest.raises(ConnectionError):
        await read()
    assert replica.calls == 21


async def test_one_that_fails_leaves_the_other_to_answer() -> None:
    replica, hedges = Replica(-0.2, 0.5), Hedge().bind("replicas")
    read = await warm(replica, hedges)
    assert await read() == 22
    replica.seconds[:] = [-0.3, -0.1]
    hedges._budget = 5.0
    with pytest.raises(ConnectionError, match="23"):  # both fail: the error of the first
        await read()


async def test_a_cancelled_caller_cancels_both_calls() -> None:
    replica, hedges = Replica(50.0, 50.0), Hedge().bind("replicas")
    task = asyncio.create_task((await warm(replica, hedges))())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert (task.cancelled(), replica.cancelled) == (True, 2)


async def test_hedges_are_told() -> None:
    told: list[Signal] = []
    replica, hedges = Replica(5.0), Hedge().bind("told")
    read = await warm(replica, hedges)
    add_listener(told.append)
    try:
        await read()
    finally:
        remove_listener(told.append)
    assert [(signal.kind, signal.layer, signal.name) for signal in told] == [("hedged", "hedge", "told")]
    assert told[0].wait_s == pytest.approx(0.1)


@given(st.lists(st.floats(0.001, 100), min_size=20, max_size=600), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_delay_is_the_percentile_of_the_last_durations(durations: Sequence[float], percentile: float) -> None:
    hedges = Hedge(percentile, shortest_s=0.01).bind("model")
    for duration in durations:
        hedges._learn(duration)
    last = sorted(durations[-256:])
    assert hedges.delay_s() == max(0.01, last[int(len(last) * percentile)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"percentile": 0.0},
        {"percentile": 1.0},
        {"percentile": float("nan")},
        {"shortest_s": 0.0},
        {"min_calls": 0},
        {"min_calls": 257},
        {"budget_ratio": 0.0},
        {"budget_ratio": 1.1},
    ],
)
def test_settings_out_of_bounds_are_refused(wrong: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Hedge(**wrong)
    Hedge(0.999, min_calls=256, budget_ratio=1.0)
