import asyncio
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.errors import RejectedError
from archstone.observability import default_registry
from archstone.resilience import Gate, OverloadedError, Shed


def admits(gate: Gate, priority: int = 0) -> bool:
    try:
        gate.admit(priority)
    except OverloadedError:
        return False
    return True


def test_as_many_as_fit_are_inside_and_the_next_is_refused() -> None:
    gate = Shed(2, reserve_ratio=0).bind("front", lag=None)
    with gate.admit():
        with gate.admit():
            assert gate.in_flight == 2
            with pytest.raises(OverloadedError) as raised:
                gate.admit()
        assert admits(gate)
    assert gate.in_flight == 0
    error = raised.value
    assert str(error) == (
        "gate 'front' is shedding: in flight 2 against a limit of 2; nothing was done, try again in 1.0 s"
    )
    assert isinstance(error, RejectedError)
    assert (error.status, error.retry_after_s) == (503, 1.0)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_reserve_is_kept_for_priority() -> None:
    gate = Shed(10, reserve_ratio=0.2).bind("front")
    for _ in range(8):
        gate.admit().__enter__()
    assert not admits(gate)
    assert admits(gate, priority=1)
    for _ in range(2):
        gate.admit(1).__enter__()
    assert not admits(gate, priority=9)


def test_a_gate_of_one_admits_somebody_ordinary() -> None:
    assert admits(Shed(1, reserve_ratio=0.9).bind("narrow"))


@pytest.mark.parametrize(("lag_s", "admitted"), [(0.0, True), (0.25, True), (0.2501, False)])
def test_a_late_loop_refuses_the_ordinary_and_lets_priority_in(lag_s: float, admitted: bool) -> None:
    gate = Shed(10, max_lag_s=0.25).bind("front", lag=lambda: lag_s)
    assert admits(gate) is admitted
    assert admits(gate, priority=1)


def test_a_late_loop_is_told_as_the_reason() -> None:
    gate = Shed(10, max_lag_s=0.25).bind("lagging", lag=lambda: 0.4)
    with pytest.raises(OverloadedError) as raised:
        gate.admit()
    assert str(raised.value) == (
        "gate 'lagging' is shedding: loop lag 0.4 s against a limit of 0.25 s; nothing was done, try again in 1.0 s"
    )
    shed = default_registry.counter("archstone_shed", "", ("gate", "reason"))
    assert shed.labels("lagging", "loop_lag").value == 1


async def test_work_that_fails_or_is_cancelled_leaves_too() -> None:
    gate = Shed(5).bind("front")

    async def work() -> None:
        with gate.admit():
            await asyncio.sleep(100)

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    await asyncio.sleep(1)
    assert gate.in_flight == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(KeyError), gate.admit():
        raise KeyError
    assert gate.in_flight == 0


def test_those_inside_are_a_metric() -> None:
    gate = Shed(5).bind("measured")
    with gate.admit():
        assert 'archstone_in_flight{gate="measured"} 1' in default_registry.render()


@settings(deadline=None)
@given(st.integers(1, 20), st.floats(0, 0.99), st.lists(st.sampled_from(["in", "first in", "out"]), max_size=100))
def test_never_more_inside_than_allowed(limit: int, reserve_ratio: float, moves: list[str]) -> None:
    gate = Shed(limit, reserve_ratio=reserve_ratio).bind("model")
    inside = 0
    ordinary = max(1, limit - int(limit * reserve_ratio))
    for move in moves:
        if move == "out":
            if inside:
                gate.__exit__(None, None, None)
                inside -= 1
            continue
        priority = int(move == "first in")
        if admits(gate, priority):
            gate.__enter__()
            inside += 1
            assert inside <= (limit if priority else ordinary)
        else:
            assert inside >= (limit if priority else ordinary)
        assert gate.in_flight == inside
