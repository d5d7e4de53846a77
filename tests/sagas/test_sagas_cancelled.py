"""Branches of a saga that are cancelled while the journal waits for the writer: nothing is forgotten."""

import asyncio
from pathlib import Path

import pytest
from saga_cast import Depot, NoneLeft, Traveller

from archstone.data import Database
from archstone.sagas import Sagas, saga


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
        assert await running == "1 map"
        seen = await sagas.inspect("t1")
    assert [(each.id, each.state) for each in seen.steps] == [("first/depot.take#1", "done")]
