"""Branches of a saga that are cancelled while the journal waits for the writer: nothing is forgotten."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from saga_cast import Depot, NoneLeft, Traveller

from archstone.data import Database
from archstone.resilience import Retry
from archstone.sagas import Sagas, SagasClosedError, SagaSettings, SagaStuckError, StepCodecError, saga


class Hurried(Traveller):
    """Loses its patience: with a step that waits, or with one that it had only asked for."""

    @saga()
    async def asked_early(self) -> None:
        late = self.step.branch("late")(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))

        async def begin_late() -> None:
            await self.depot.gates["take map"].wait()
            while self.depot.errors["take map"]:
                await asyncio.sleep(0)
            await late  # the failure is known, and this branch is not cancelled yet

        async with asyncio.TaskGroup() as group:
            group.create_task(self.step.branch("first")(self.depot.take, "map", undo=(self.depot.put_back, "map")))
            group.create_task(begin_late())

    @saga()
    async def dozed_early(self) -> None:
        nap = self.step.branch("late").sleep(1)
        try:
            await self.step(self.depot.take, "map")
        finally:
            await nap

    @saga()
    async def impatient(self) -> str:
        found = await self.step.branch("first")(self.depot.take, "map")
        try:
            async with asyncio.timeout(0.5):
                await self.step.branch("late")(self.depot.take, "hat")
        except TimeoutError:
            return found
        return "both"


class Cutting(Traveller):
    """Cuts a step short, or forgets it, and goes on."""

    def __init__(self, depot: Depot) -> None:
        super().__init__(depot)
        self.tasks: list[asyncio.Task[object]] = []

    @saga()
    async def in_the_body(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        await self.step(self.depot.take, "tent")
        return "gone on"

    @saga()
    async def in_a_branch(self) -> str:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.step.branch("side")(self.depot.take, "hat"), 0.5)
        await self.step(self.depot.take, "tent")
        return "gone on"

    @saga()
    async def asleep(self) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self.step.sleep(100)
        return "gone on"

    @saga()
    async def asleep_and_forgotten(self) -> str:
        self.tasks.append(asyncio.create_task(self.step.branch("side").sleep(100)))
        await asyncio.sleep(0.5)
        return "gone on"

    @saga()
    async def unreadable(self) -> str:
        with suppress(StepCodecError):
            await self.step(self.count)
        with suppress(StepCodecError):
            await self.step(self.depot.take, "tent")
        return "gone on"

    async def count(self) -> int:
        await self.depot.take("count")
        return "many"

    @saga()
    async def forgetful(self) -> str:
        self.tasks.append(asyncio.create_task(self.step.branch("side")(self.depot.take, "hat")))
        await asyncio.sleep(0.1)
        return "gone on"


async def hold_writer(db: Database, traveller: Traveller, act: str) -> None:
    """Hold the writer for a second as soon as `act` has begun, and let it end then."""
    gate = traveller.depot.hold(act)
    while act not in traveller.depot.log:
        await asyncio.sleep(0.01)
    async with db.transaction() as tx:
        await tx.execute("UPDATE _archstone_sagas SET why = why WHERE 0")
        gate.set()
        await asyncio.sleep(1)


def opened_file(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'sagas.db'}")


async def test_a_failure_is_not_forgotten_when_a_branch_that_would_write_it_is_cancelled(tmp_path):
    traveller = Hurried(Depot())
    traveller.depot.fail("take map", NoneLeft("map", 1))
    async with opened_file(tmp_path) as db, Sagas(db, owner=traveller, name="trip") as sagas:
        running = asyncio.create_task(sagas.run(traveller.asked_early, id="t1"))
        await hold_writer(db, traveller, "take map")
        with pytest.raises(NoneLeft):
            await running
        seen = await sagas.inspect("t1")
    assert seen.status == "failed"
    assert traveller.depot.log == ["take map", "put back map"]


async def test_a_sleep_that_was_asked_for_before_the_failure_does_not_begin_after_it(tmp_path):
    traveller = Hurried(Depot())
    traveller.depot.fail("take map", NoneLeft("map", 1))
    async with opened_file(tmp_path) as db, Sagas(db, owner=traveller, name="trip") as sagas:
        with pytest.raises(NoneLeft):
            await sagas.run(traveller.dozed_early, id="t1")
        seen = await sagas.inspect("t1")
    assert [each.id for each in seen.steps] == ["main/depot.take#1"]


async def test_an_answer_is_not_forgotten_when_the_step_that_would_write_it_is_cancelled(tmp_path):
    traveller = Hurried(Depot())
    async with opened_file(tmp_path) as db, Sagas(db, owner=traveller, name="trip") as sagas:
        running = asyncio.create_task(sagas.run(traveller.impatient, id="t1"))
        await hold_writer(db, traveller, "take map")
        assert await running == "both"
        seen = await sagas.inspect("t1")
    assert [(each.id, each.state) for each in seen.steps] == [
        ("first/depot.take#1", "done"),
        ("late/depot.take#1", "done"),
    ]
    assert traveller.depot.log == ["take map", "take hat"]


@pytest.mark.parametrize("method", ["in_the_body", "asleep", "asleep_and_forgotten"])
async def test_a_body_that_cuts_a_step_short_is_a_bug_and_its_saga_is_never_done(tmp_path, method):
    traveller = Cutting(Depot())
    traveller.depot.hold("take hat")
    settings = SagaSettings(timeout_s=5, body_retry=Retry(2, on=(Exception,)))
    async with opened_file(tmp_path) as db, Sagas(db, owner=traveller, name="trip", settings=settings) as sagas:
        with pytest.raises(SagaStuckError, match=r"its body failed 2 time\(s\), StepCutError: .* cut step .* short"):
            await sagas.run(getattr(traveller, method), id="t1")
    for task in traveller.tasks:
        task.cancel()
    assert "take tent" not in traveller.depot.log
    assert not [act for act in traveller.depot.log if act.startswith("put back")]


async def test_a_body_that_swallows_an_answer_that_cannot_be_journaled_is_never_done(tmp_path):
    traveller = Cutting(Depot())
    settings = SagaSettings(body_retry=Retry(2, on=(Exception,)))
    async with opened_file(tmp_path) as db, Sagas(db, owner=traveller, name="trip", settings=settings) as sagas:
        with pytest.raises(SagaStuckError, match=r"its body failed 2 time\(s\), StepCodecError: count: a value"):
            await sagas.run(traveller.unreadable, id="t1")
    assert "take tent" not in traveller.depot.log


@pytest.mark.parametrize("method", ["in_the_body", "in_a_branch"])
async def test_a_step_that_was_cut_short_is_made_again_under_its_key_and_can_work_then(tmp_path, method):
    traveller = Cutting(Depot())
    gate = traveller.depot.hold("take hat")
    async with opened_file(tmp_path) as db, Sagas(db, owner=traveller, name="trip") as sagas:
        running = asyncio.create_task(sagas.run(getattr(traveller, method), id="t1"))
        await asyncio.sleep(0.55)
        gate.set()
        assert await running == "gone on"
        seen = await sagas.inspect("t1")
    assert {each.state for each in seen.steps} == {"done"}
    assert len({call.key for call in traveller.depot.calls[:-1]}) == 1


@pytest.mark.parametrize("method", ["in_the_body", "in_a_branch"])
async def test_a_body_that_loses_patience_while_the_engine_drains_has_no_bug(tmp_path, method):
    traveller = Cutting(Depot())
    gate = traveller.depot.hold("take hat")
    async with opened_file(tmp_path) as db:
        async with Sagas(db, owner=traveller, name="trip") as sagas:
            running = asyncio.create_task(sagas.run(getattr(traveller, method), id="t1"))
            await asyncio.sleep(0.1)
            sagas.hold()
            await asyncio.sleep(10)
        with pytest.raises(SagasClosedError):
            await running
        gate.set()
        async with Sagas(db, owner=traveller, name="trip") as sagas:
            assert await sagas.result("t1") == "gone on"
            assert (await sagas.inspect("t1")).attempts == 0


async def test_a_step_in_a_task_that_the_body_forgets_is_settled_before_the_saga_is_done(tmp_path):
    traveller = Cutting(Depot())
    gate = traveller.depot.hold("take hat")
    async with opened_file(tmp_path) as db, Sagas(db, owner=traveller, name="trip") as sagas:
        running = asyncio.create_task(sagas.run(traveller.forgetful, id="t1"))
        await asyncio.sleep(1)
        assert not running.done()
        gate.set()
        assert await running == "gone on"
        (step,) = (await sagas.inspect("t1")).steps
    assert step.state == "done"
