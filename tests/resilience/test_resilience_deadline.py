import asyncio
import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import context, world
from archstone.context import Call, Principal
from archstone.errors import DeadlineError
from archstone.resilience import Deadline, OutOfTimeError, deadline_from_context, within


async def test_a_block_in_time_is_left_alone() -> None:
    async with within(1.0):
        await asyncio.sleep(0.999)
    assert world.monotonic() == pytest.approx(0.999)
    assert asyncio.current_task().cancelling() == 0


async def test_a_block_that_takes_longer_is_cut() -> None:
    cancelled = False
    with pytest.raises(OutOfTimeError) as raised:
        async with within(2.0, name="charge"):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                cancelled = True
                raise
    error = raised.value
    assert cancelled
    assert world.monotonic() == 2.0
    assert (error.name, error.limit_s, error.begun) == ("charge", 2.0, True)
    assert isinstance(error, DeadlineError)
    assert isinstance(error, TimeoutError)
    assert str(error) == (
        "'charge' ran out of time: not done after 2.000 s; "
        "it may have taken effect, so look before repeating it without a key, or allow more time"
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(1)  # and the task goes on


async def test_what_runs_inside_knows_the_deadline_and_nothing_else_changes() -> None:
    call = Call(Principal("ann"), None, None, "key", "correlation", "cause", "tx", "step")
    with context.enter(call):
        async with within(2.0):
            assert context.current() == call._replace(deadline_s=2.0)
            assert deadline_from_context() == Deadline(2.0)
        assert context.current() is call
    assert deadline_from_context() is None


async def test_an_inner_block_never_outlives_an_outer_one() -> None:
    with pytest.raises(OutOfTimeError) as raised:
        async with within(1.0, name="outer"), within(5.0, name="inner"):
            assert context.current().deadline_s == 1.0
            await asyncio.sleep(3)
    assert world.monotonic() == 1.0
    assert raised.value.limit_s == 1.0


async def test_an_inner_block_ends_alone_and_the_outer_one_goes_on() -> None:
    async with within(5.0):
        with pytest.raises(OutOfTimeError):
            async with within(1.0):
                await asyncio.sleep(3)
        await asyncio.sleep(3)
        assert context.current().deadline_s == 5.0
    assert world.monotonic() == 4.0


async def test_a_block_is_bounded_by_the_deadline_of_its_call() -> None:
    with context.enter(Call(deadline_s=1.0)), pytest.raises(OutOfTimeError):
        async with within(None):
            await asyncio.sleep(3)
    assert world.monotonic() == 1.0


async def test_no_limit_at_all_is_no_limit() -> None:
    async with within(None):
        assert context.current().deadline_s is None
        await asyncio.sleep(3000)


@pytest.mark.parametrize("deadline_s", [0.0, -1.0])
async def test_a_block_whose_time_was_up_is_not_begun(deadline_s: float) -> None:
    begun = False
    with context.enter(Call(deadline_s=deadline_s)), pytest.raises(OutOfTimeError) as raised:
        async with within(5.0, name="charge"):
            begun = True
    assert not begun
    assert raised.value.begun is False
    assert str(raised.value) == (
        "'charge' was not begun: the deadline of its caller had passed; nothing was done, allow more time"
    )
    assert context.current().deadline_s is None


async def test_no_time_at_all_is_not_begun() -> None:
    with pytest.raises(OutOfTimeError):
        async with within(0):
            pytest.fail("begun")


@pytest.mark.parametrize("seconds", [-0.001, math.nan, -math.inf])
def test_a_limit_is_not_negative(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be at least 0 seconds"):
        within(seconds)


async def test_cancellation_from_outside_passes_through_as_itself() -> None:
    async def work() -> None:
        async with within(10):
            await asyncio.sleep(20)

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_cancellation_at_the_very_end_of_the_time_still_wins() -> None:
    async def work() -> None:
        async with within(1):
            await asyncio.sleep(20)

    task = asyncio.create_task(work())
    asyncio.get_running_loop().call_later(1, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(KeyError):
        async with within(1):
            raise KeyError
    with pytest.raises(KeyError):
        async with within(1):
            try:
                await asyncio.sleep(2)
            finally:
                raise KeyError
    assert asyncio.current_task().cancelling() == 0


async def test_a_block_that_finishes_in_spite_of_its_end_counts_as_done() -> None:
    async with within(1):
        try:
            await asyncio.sleep(2)
        except asyncio.CancelledError:
            done = True
    assert done
    assert asyncio.current_task().cancelling() == 0


async def test_a_timer_left_by_a_finished_block_does_nothing() -> None:
    async with within(1):
        pass
    await asyncio.sleep(5)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), st.floats(0.05, 12))
async def test_nested_blocks_end_at_the_shortest_limit(limits: list[float], work_s: float) -> None:
    async def nest(left: list[float]) -> None:
        if not left:
            await asyncio.sleep(work_s)
            return
        async with within(left[0]):
            await nest(left[1:])

    shortest = min(limits)
    if abs(shortest - work_s) < 1e-6:
        return
    try:
        await nest(limits)
        done = True
    except OutOfTimeError:
        done = False
    assert done == (work_s < shortest)
    assert world.monotonic() == pytest.approx(min(shortest, work_s))
    assert asyncio.current_task().cancelling() == 0
    assert context.current().deadline_s is None


async def test_a_deadline_counts_down_to_zero_and_says_what_was_not_begun() -> None:
    deadline = Deadline.after(2)
    await asyncio.sleep(0.5)
    assert deadline.remaining_s() == 1.5
    deadline.check("charge")
    await asyncio.sleep(1.5)
    assert deadline.remaining_s() == 0
    with pytest.raises(OutOfTimeError, match="'charge' was not begun"):
        deadline.check("charge")
