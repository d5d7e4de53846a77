"""Work that is watched only while it waits."""

import asyncio

import pytest

from archstone.services.http.waiting import Ring, Watched


class Watchman:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.ring: Ring | None = None

    def __call__(self, ring: Ring):
        self.ring = ring
        self.log.append("begun")
        return lambda: self.log.append("ended")

    def raise_alarm(self, error: Exception) -> None:
        assert self.ring is not None
        self.ring(error)


async def work(seconds: float | None) -> str:
    if seconds is not None:
        await asyncio.sleep(seconds)
        await asyncio.sleep(seconds)
    return "done"


async def test_work_that_does_not_wait_is_not_watched() -> None:
    watchman = Watchman()
    assert await Watched(work(None), watchman) == "done"
    assert watchman.log == []


async def test_work_that_waits_is_watched_to_its_end() -> None:
    watchman = Watchman()
    assert await Watched(work(1), watchman) == "done"
    assert watchman.log == ["begun", "ended"]


async def test_an_alarm_cancels_the_work_and_is_what_the_caller_gets() -> None:
    watchman = Watchman()
    asyncio.get_running_loop().call_later(1.5, lambda: watchman.raise_alarm(LookupError("late")))
    with pytest.raises(LookupError, match="late"):
        await Watched(work(1), watchman)
    assert watchman.log == ["begun", "ended"]
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(1)  # nothing is left that would cancel the task later


async def test_the_failure_of_the_work_passes_through() -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError("mine")

    watchman = Watchman()
    with pytest.raises(KeyError, match="mine"):
        await Watched(fail(), watchman)
    assert watchman.log == ["begun", "ended"]


async def test_cancelling_from_outside_stays_a_cancellation() -> None:
    watchman = Watchman()

    async def wait() -> None:
        await Watched(work(1), watchman)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.5)
    watchman.raise_alarm(LookupError("late"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watchman.log == ["begun", "ended"]


async def test_work_that_finishes_although_it_was_cancelled_keeps_its_answer() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return "done all the same"

    watchman = Watchman()
    asyncio.get_running_loop().call_later(1, lambda: watchman.raise_alarm(LookupError("late")))
    assert await Watched(stubborn(), watchman) == "done all the same"
    assert asyncio.current_task().cancelling() == 0


async def test_a_timeout_inside_the_work_belongs_to_the_work() -> None:
    async def timed() -> str:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
        except TimeoutError:
            return "timed out inside"
        return "never"

    assert await Watched(timed(), Watchman()) == "timed out inside"


async def test_a_watch_that_refuses_the_wait_ends_the_work_where_it_stands() -> None:
    ended: list[str] = []

    async def long_work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("work")

    def refuse(ring: Ring):
        raise LookupError("no place to wait in")

    with pytest.raises(LookupError, match="no place") as refused:
        await Watched(long_work(), refuse)
    # While the error is kept, so is every frame it came through: nothing ends by being forgotten.
    assert (ended, refused.tb is None) == (["work"], False)
