"""A saga is cancelled by hand: what it began is undone, whatever it was at, or it is left alone."""

import asyncio
from pathlib import Path

import pytest
from saga_cast import Depot, Traveller, lost, opened

from archstone.errors import DeadlineError
from archstone.resilience import Exponential, Retry, within
from archstone.sagas import (
    SagaCancelledError,
    SagaNotCancellableError,
    Sagas,
    SagasClosedError,
    SagaSettings,
    SagaUnknownError,
    current_step,
    saga,
)

LATER = Retry(5, backoff=Exponential(1000, factor=1, cap_s=1000), on=(Exception,))


class Planner(Traveller):
    """More journeys, each with a place where somebody may want to cancel it."""

    broken = False

    @saga()
    async def patient(self) -> None:
        await self.step(self.depot.take, "tent", undo=(self.depot.put_back, "tent"))
        await self.step(self.depot.take, "rope", undo=(self.depot.put_back, "rope"), retry=LATER)

    @saga()
    async def slow(self) -> None:
        await self.step(self.depot.take, "tent", undo=(self.depot.put_back, "tent"))
        await self.step.sleep(1000)
        await self.step(self.depot.take, "rope", undo=(self.depot.put_back, "rope"))

    @saga()
    async def one_way(self) -> None:
        await self.step(self.depot.take, "tent")
        await self.step.sleep(1000)

    @saga()
    async def buggy(self) -> None:
        await self.step(self.depot.take, "tent", undo=(self.depot.put_back, "tent"))
        if self.broken:
            raise RuntimeError("a bug")

    @saga()
    async def thoughtful(self, seconds: float) -> None:
        await current_step()(self.depot.take, "tent", undo=(self.depot.put_back, "tent"))
        await asyncio.sleep(seconds)
        await current_step()(self.depot.take, "rope", undo=(self.depot.put_back, "rope"))


@pytest.fixture
def depot() -> Depot:
    return Depot()


async def begun(sagas: Sagas, method, *args: object, id: str = "s1") -> asyncio.Task[object]:
    waiting = asyncio.create_task(sagas.run(method, *args, id=id))
    await asyncio.sleep(0.1)
    return waiting


async def cancelled(waiting: asyncio.Task[object]) -> str:
    with pytest.raises(SagaCancelledError) as caught:
        await waiting
    return str(caught.value)


async def test_what_is_in_flight_ends_first_and_then_everything_is_undone(tmp_path: Path, depot: Depot) -> None:
    gate, owner = depot.hold("take rope"), Planner(depot)
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.journey, ("tent", "rope", "map"))
        cancelling = asyncio.create_task(sagas.cancel("s1", by="ann"))
        await asyncio.sleep(0.1)
        assert not cancelling.done()
        assert depot.log == ["take tent", "take rope"]
        gate.set()
        await cancelling
        assert (await sagas.inspect("s1")).failure is not None
        assert "cancelled by ann" in await cancelled(waiting)
        info = await sagas.inspect("s1")
    assert depot.log == ["take tent", "take rope", "put back rope", "put back tent"]
    assert info.status == "failed"
    assert [step.state for step in info.steps] == ["undone", "undone"]


async def test_a_step_in_flight_that_fails_is_not_tried_again_and_is_undone_too(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    depot.fail("take rope", lost())
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.patient)
        await sagas.cancel("s1", by="ann")
        await cancelled(waiting)
    assert depot.log == ["take tent", "take rope", "put back rope", "put back tent"]


async def test_a_sleeper_is_cancelled_in_its_sleep(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.slow)
        await sagas.cancel("s1", by="ann")
        await cancelled(waiting)
    assert depot.log == ["take tent", "put back tent"]


async def test_branches_come_to_rest_before_anything_is_undone(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    left, right = depot.hold("take a"), depot.hold("take b")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.at_once, "a", "b")
        cancelling = asyncio.create_task(sagas.cancel("s1", by="ann"))
        await asyncio.sleep(0.1)
        left.set()
        await asyncio.sleep(0.1)
        assert not cancelling.done(), "the other branch is still in flight"
        right.set()
        await cancelling
        await cancelled(waiting)
    assert sorted(depot.log[:2]) == ["take a", "take b"]
    assert sorted(depot.log[2:]) == ["put back a", "put back b"]


async def test_a_stuck_saga_is_undone_from_its_journal(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    owner.broken = True
    async with opened(tmp_path, owner, settings=SagaSettings(body_retry=Retry(1))) as sagas:
        waiting = await begun(sagas, owner.buggy)
        assert waiting.exception() is not None
        assert sagas.statistics().stuck == 1
        await sagas.cancel("s1", by="ann")
        with pytest.raises(SagaCancelledError):
            await sagas.result("s1")
        assert sagas.statistics().stuck == 0
    assert depot.log == ["take tent", "put back tent"]


async def test_a_saga_whose_body_waits_to_run_again_after_a_bug_is_cancelled_at_once(
    tmp_path: Path, depot: Depot
) -> None:
    owner = Planner(depot)
    owner.broken = True
    async with opened(tmp_path, owner, settings=SagaSettings(body_retry=LATER)) as sagas:
        waiting = await begun(sagas, owner.buggy)
        await sagas.cancel("s1", by="ann")
        await cancelled(waiting)
    assert depot.log == ["take tent", "put back tent"]


async def test_a_saga_that_waits_for_a_place_is_cancelled_without_one(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    gate = depot.hold("take a")
    async with opened(tmp_path, owner, settings=SagaSettings(max_running=1)) as sagas:
        first = await begun(sagas, owner.journey, ("a",))
        second = await begun(sagas, owner.journey, ("b", "c"), id="s2")
        assert depot.log == ["take a"]
        await sagas.cancel("s2", by="ann")
        gate.set()
        assert await first == ["1 a"]
        await cancelled(second)
    assert depot.log == ["take a"], "nothing was begun, so nothing was undone"


async def test_one_that_ends_before_it_asks_for_another_step_is_left_as_it_is(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    gate = depot.hold("take rope")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.journey, ("tent", "rope"))
        cancelling = asyncio.create_task(sagas.cancel("s1", by="ann"))
        await asyncio.sleep(0.1)
        gate.set()
        with pytest.raises(SagaNotCancellableError, match="it has ended: it is done"):
            await cancelling
        assert await waiting == ["1 tent", "1 rope"]
    assert depot.log == ["take tent", "take rope"]


async def test_one_that_goes_back_already_is_left_to_it(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    depot.fail("take rope", *[lost() for _ in range(9)])
    gate = depot.hold("put back rope")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.journey, ("tent", "rope"))
        await asyncio.sleep(2)
        with pytest.raises(SagaNotCancellableError, match="goes back already"):
            await sagas.cancel("s1", by="ann")
        gate.set()
        with pytest.raises(Exception, match="failed for good"):
            await waiting


async def test_one_that_can_only_go_forward_is_refused_and_goes_on(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.one_way)
        with pytest.raises(SagaNotCancellableError, match="nothing that it did has an undo"):
            await sagas.cancel("s1", by="ann")
        await waiting
    assert depot.log == ["take tent"]


async def test_one_that_comes_to_no_step_in_time_is_refused_and_goes_on(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.thoughtful, 1000.0)
        with pytest.raises(SagaNotCancellableError, match="no step within 5 s"):
            await sagas.cancel("s1", by="ann", limit_s=5)
        assert await waiting is None
    assert depot.log == ["take tent", "take rope"]


async def test_a_step_that_waited_while_the_saga_was_held_begins_when_it_is_let_go(
    tmp_path: Path, depot: Depot
) -> None:
    owner = Planner(depot)
    gate = depot.hold("take b")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.at_once, "a", "b")  # the left branch has both of its steps done
        cancelling = asyncio.create_task(sagas.cancel("s1", by="ann", limit_s=1))
        with pytest.raises(SagaNotCancellableError, match="no step within 1 s"):
            await cancelling
        gate.set()
        assert await waiting == ["1 a", "1 b"]


async def test_two_cannot_cancel_at_once(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    gate = depot.hold("take rope")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.journey, ("tent", "rope", "map"))
        first = asyncio.create_task(sagas.cancel("s1", by="ann"))
        await asyncio.sleep(0.1)
        with pytest.raises(SagaNotCancellableError, match="already"):
            await sagas.cancel("s1", by="bob")
        gate.set()
        await first
        assert "cancelled by ann" in await cancelled(waiting)


async def test_who_gives_up_waiting_has_cancelled_it_all_the_same(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    gate = depot.hold("take rope")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.journey, ("tent", "rope", "map"))
        with pytest.raises(DeadlineError):
            async with within(1):
                await sagas.cancel("s1", by="ann")
        gate.set()
        await cancelled(waiting)


async def test_unknown_and_ended_ones_and_a_closed_engine_are_refused(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    async with opened(tmp_path, owner) as sagas:
        with pytest.raises(SagaUnknownError):
            await sagas.cancel("nobody", by="ann")
        await sagas.run(owner.journey, ("tent",), id="s1")
        with pytest.raises(SagaNotCancellableError, match="it is done"):
            await sagas.cancel("s1", by="ann")
        sagas.hold()
        with pytest.raises(SagasClosedError):
            await sagas.cancel("s1", by="ann")


async def test_an_engine_that_closes_meanwhile_says_so_and_the_saga_goes_on_later(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    gate = depot.hold("take rope")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.journey, ("tent", "rope", "map"))
        cancelling = asyncio.create_task(sagas.cancel("s1", by="ann"))
        await asyncio.sleep(0.1)
        sagas.hold()
        with pytest.raises(SagasClosedError):
            await cancelling
        gate.set()
        await sagas.drain()
    with pytest.raises(SagasClosedError):
        await waiting
    async with opened(tmp_path, owner) as sagas:
        assert await sagas.result("s1") == ["1 tent", "1 rope", "1 map"]


async def test_a_cancellation_outlives_the_engine(tmp_path: Path, depot: Depot) -> None:
    owner = Planner(depot)
    gate = depot.hold("put back tent")
    async with opened(tmp_path, owner) as sagas:
        waiting = await begun(sagas, owner.slow)
        await sagas.cancel("s1", by="ann")
        await asyncio.sleep(0.1)
    with pytest.raises(SagasClosedError):
        await waiting
    gate.set()
    async with opened(tmp_path, owner) as sagas:
        with pytest.raises(SagaCancelledError, match="cancelled by ann"):
            await sagas.result("s1")
    assert depot.log == ["take tent", "put back tent", "put back tent"]
