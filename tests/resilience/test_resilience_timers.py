import asyncio
import gc
import weakref

import pytest

from archstone import world
from archstone.resilience import OutOfTimeError, within
from archstone.resilience.timers import timers_of


@pytest.mark.parametrize("limit_s", [0.001, 0.249, 0.25, 0.26, 0.375, 1.0, 1.13, 59.99, 60.0, 60.01, 3000.0])
@pytest.mark.parametrize("begin_s", [0.0, 0.07, 0.125])
async def test_a_limit_ends_exactly_at_its_time(limit_s: float, begin_s: float) -> None:
    await asyncio.sleep(begin_s)
    with pytest.raises(OutOfTimeError):
        async with within(limit_s):
            await asyncio.sleep(3500)
    assert world.monotonic() == pytest.approx(begin_s + limit_s, abs=1e-9)


async def test_limits_of_one_instant_are_kept_in_the_order_in_which_they_began() -> None:
    begun: list[within] = []

    async def work() -> None:
        with pytest.raises(OutOfTimeError):
            async with within(2.0) as limit:
                begun.append(limit)
                await asyncio.sleep(10)

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(work())
        await asyncio.sleep(1)
        (slot,) = timers_of(asyncio.get_running_loop())._slots.values()
        assert list(slot) == begun
    assert world.monotonic() == 2.0


async def test_what_has_left_is_forgotten_at_once_and_shared_timers_are_bounded() -> None:
    timers = timers_of(asyncio.get_running_loop())
    for number in range(5000):
        async with within(0.3 + number % 60 - 0.001 * (number % 7)):
            pass
        await asyncio.sleep(0.01)
        assert not any(timers._slots.values())
        assert len(timers._slots) <= 60 * 8 + 1
    await asyncio.sleep(61)
    assert timers._slots == {}


async def test_a_limit_that_left_after_its_slot_was_opened_does_nothing() -> None:
    async with within(1.0):
        await asyncio.sleep(0.9999)
    await asyncio.sleep(5)


async def test_a_limit_that_begins_when_its_slot_has_been_opened_ends_all_the_same() -> None:
    async with within(1.1):
        await asyncio.sleep(1.05)
        with pytest.raises(OutOfTimeError):
            async with within(0.04):
                await asyncio.sleep(1)
        assert world.monotonic() == pytest.approx(1.09)


@pytest.mark.real_time
def test_each_loop_has_its_own_and_keeps_it_no_longer_than_itself() -> None:
    async def which() -> object:
        async with within(1.0):
            loop = asyncio.get_running_loop()
            assert timers_of(loop) is timers_of(loop)
            return weakref.ref(loop), id(timers_of(loop))

    first, second = asyncio.Runner(), asyncio.Runner()
    (loop, one), (_, two) = first.run(which()), second.run(which())
    assert one != two
    assert first.run(which())[1] == one
    first.close()
    second.close()
    del first, second
    gc.collect()
    assert loop() is None
