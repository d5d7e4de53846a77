"""Sagas that are steps of other sagas: they begin, fail, are cancelled and undone with them."""

import asyncio
from pathlib import Path

import pytest
from saga_cast import Depot, NoneLeft, Traveller, lost, opened

from archstone.data import Database
from archstone.resilience import Retry
from archstone.sagas import (
    SagaCancelledError,
    SagaExistsError,
    Sagas,
    SagaSettings,
    SagaStuckError,
    StepFailedError,
    saga,
)

ONCE = SagaSettings(step_retry=Retry(1), body_retry=Retry(1))


class Guide(Traveller):
    """Has sagas made of sagas."""

    @saga()
    async def bag(self, one: str, other: str) -> str:
        await self.step(self.depot.take, one, undo=(self.depot.put_back, one))
        await self.step(self.depot.take, other, undo=(self.depot.put_back, other))
        return f"{one} and {other}"

    @saga()
    async def trip(self, last: str = "tent") -> str:
        packed = await self.step.child(self.bag, "hat", "map")
        await self.step(self.depot.take, last, undo=(self.depot.put_back, last))
        return packed

    @saga()
    async def named(self) -> str:
        return await self.step.child(self.bag, "hat", "map", id="the bag")

    @saga()
    async def deep(self) -> str:
        await self.step.child(self.trip)
        await self.step(self.depot.take, "rope", undo=(self.depot.put_back, "rope"))
        return "deep"

    @saga()
    async def many(self, count: int) -> list[str]:
        steps = [self.step.branch(f"b{n}").child(self.bag, f"{n}a", f"{n}b") for n in range(count)]
        return list(await asyncio.gather(*steps))

    @saga()
    async def beside(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.step.branch("left").child(self.bag, "hat", "map"))
            group.create_task(self.step.branch("right")(self.depot.take, "rope"))


@pytest.fixture
def guide() -> Guide:
    return Guide(Depot())


async def start(sagas: Sagas, method, *args: object, id: str = "t") -> None:
    async with sagas._db.transaction() as tx:
        await sagas.start(tx, method, *args, id=id)
    await asyncio.sleep(1)


BAG = "t/main/bag#1"


async def test_the_answer_of_a_child_is_the_answer_of_the_step_and_both_are_seen(tmp_path: Path, guide: Guide) -> None:
    gate = guide.depot.hold("take map")
    async with opened(tmp_path, guide, settings=SagaSettings(timeout_s=100)) as sagas:
        await start(sagas, guide.trip)
        parent, child = await sagas.inspect("t"), await sagas.inspect(BAG)
        assert [(step.id, step.operation, step.child, step.state) for step in parent.steps] == [
            ("main/bag#1", "bag", BAG, "begun")
        ]
        assert (parent.parent, child.parent) == (None, "t")
        assert child.trace_id == parent.trace_id
        assert child.correlation_id == "t"
        gate.set()
        assert await sagas.result("t") == "hat and map"
        assert (await sagas.inspect("t")).steps[0].answer == '"hat and map"'
    assert guide.depot.log == ["take hat", "take map", "take tent"]


async def test_a_parent_goes_on_after_a_restart_wherever_its_child_was(tmp_path: Path, guide: Guide) -> None:
    guide.depot.hold("take map")
    async with opened(tmp_path, guide, settings=SagaSettings(timeout_s=100)) as sagas:
        await start(sagas, guide.trip)
    guide.depot.gates.clear()
    guide.depot.hold("take tent")
    async with opened(tmp_path, guide) as sagas:
        await asyncio.sleep(1)
        assert (await sagas.inspect(BAG)).status == "done"
    guide.depot.gates.clear()
    async with opened(tmp_path, guide) as sagas:
        assert await sagas.result("t") == "hat and map"
        assert len(await sagas.list()) == 2
    assert guide.depot.log == ["take hat", "take map", "take map", "take tent", "take tent"]


async def test_a_declared_error_of_a_child_is_that_of_the_step(tmp_path: Path, guide: Guide) -> None:
    guide.depot.fail("take map", NoneLeft("map", 1))
    async with opened(tmp_path, guide) as sagas:
        await start(sagas, guide.deep)
        with pytest.raises(NoneLeft):
            await sagas.result("t")
        seen = [(each.id, each.status) for each in await sagas.list()]
    assert {status for _, status in seen} == {"failed"}
    assert guide.depot.log == ["take hat", "take map", "put back map", "put back hat"]


async def test_another_failure_of_a_child_fails_the_step(tmp_path: Path, guide: Guide) -> None:
    guide.depot.fail("take map", lost())
    async with opened(tmp_path, guide, settings=ONCE) as sagas:
        await start(sagas, guide.trip)
        with pytest.raises(StepFailedError, match=r"saga 't', step main/bag#1: .*main/depot.take#2") as failed:
            await sagas.result("t")
        assert failed.value.saga == "t"


async def test_a_child_that_was_done_is_undone_with_its_parent_newest_first(tmp_path: Path, guide: Guide) -> None:
    guide.depot.fail("take rope", NoneLeft("rope", 1))
    async with opened(tmp_path, guide) as sagas:
        await start(sagas, guide.deep)
        with pytest.raises(NoneLeft):
            await sagas.result("t")
        assert guide.depot.log == [
            "take hat", "take map", "take tent", "take rope",
            "put back rope", "put back tent", "put back map", "put back hat",
        ]  # fmt: skip
        assert [step.state for step in (await sagas.inspect("t")).steps] == ["undone", "undone"]
        child = await sagas.inspect("t/main/trip#1")
        assert (child.status, [step.state for step in child.steps]) == ("failed", ["undone", "undone"])
        with pytest.raises(SagaCancelledError, match="cancelled by saga t"):
            await sagas.result("t/main/trip#1")
        counted = sagas.statistics()
        assert (counted.running, counted.waiting) == (0, 0)


async def test_cancelling_the_parent_cancels_a_child_that_runs(tmp_path: Path, guide: Guide) -> None:
    gate = guide.depot.hold("take map")
    async with opened(tmp_path, guide, settings=SagaSettings(timeout_s=100)) as sagas:
        await start(sagas, guide.deep)
        await sagas.cancel("t", by="ann")
        await asyncio.sleep(30)
        assert guide.depot.log == ["take hat", "take map"], "what is in flight ends first"
        gate.set()
        with pytest.raises(SagaCancelledError, match="cancelled by ann"):
            await sagas.result("t")
        assert {each.status for each in await sagas.list()} == {"failed"}
    assert guide.depot.log == ["take hat", "take map", "put back map", "put back hat"]


async def test_a_child_that_is_cancelled_by_hand_fails_its_step(tmp_path: Path, guide: Guide) -> None:
    guide.depot.hold("take map").set()
    gate = guide.depot.hold("take map")
    async with opened(tmp_path, guide, settings=SagaSettings(timeout_s=100)) as sagas:
        await start(sagas, guide.trip)
        cancelling = asyncio.create_task(sagas.cancel(BAG, by="ann"))
        await asyncio.sleep(1)
        gate.set()
        with pytest.raises(Exception, match="it has ended"):  # its last step was in flight: it has done all it wanted
            await cancelling
        assert await sagas.result("t") == "hat and map"
        gate = guide.depot.hold("take hat")
        await start(sagas, guide.trip, id="u")
        cancelling = asyncio.create_task(sagas.cancel("u/main/bag#1", by="ann"))
        await asyncio.sleep(1)
        gate.set()
        await cancelling
        with pytest.raises(StepFailedError, match="cancelled by ann"):
            await sagas.result("u")


async def test_a_stuck_child_keeps_its_parent_waiting_until_a_person_has_mended_it(tmp_path: Path) -> None:
    class Buggy(Guide):
        broken = True

        @saga()
        async def bag(self, one: str, other: str) -> str:
            if self.broken:
                raise ZeroDivisionError
            return await super().bag(one, other)

    guide = Buggy(Depot())
    async with opened(tmp_path, guide, settings=ONCE) as sagas:
        await start(sagas, guide.trip)
        with pytest.raises(SagaStuckError):
            await sagas.result(BAG)
        assert (await sagas.inspect("t")).status == "running"
        guide.broken = False
        await sagas.resume(BAG)
        assert await sagas.result("t") == "hat and map"


async def test_an_id_that_is_taken_fails_the_step_and_leaves_the_other_saga_alone(tmp_path: Path, guide: Guide) -> None:
    async with opened(tmp_path, guide) as sagas:
        await start(sagas, guide.bag, "hat", "map", id="the bag")
        await start(sagas, guide.named)
        with pytest.raises(StepFailedError, match=SagaExistsError.__name__):
            await sagas.result("t")
        assert (await sagas.inspect("the bag")).status == "done"
        assert (await sagas.inspect("t")).steps[0].child is None
    assert guide.depot.log == ["take hat", "take map"]


@pytest.mark.parametrize("settings", [SagaSettings(max_running=1), SagaSettings(max_running=1, max_sleeping=0)])
async def test_parents_that_wait_hold_no_place(tmp_path: Path, guide: Guide, settings: SagaSettings) -> None:
    async with opened(tmp_path, guide, settings=settings) as sagas:
        async with sagas._db.transaction() as tx:
            for n in range(10):
                await sagas.start(tx, guide.deep, id=f"t{n}")
        assert [await sagas.result(f"t{n}") for n in range(10)] == ["deep"] * 10
        await asyncio.sleep(1)
        counted = sagas.statistics()
        assert (counted.running, counted.waiting, counted.finished) == (0, 0, 30)


async def test_children_in_branches_run_at_once_and_wait_on_disk_together(tmp_path: Path, guide: Guide) -> None:
    async with opened(tmp_path, guide, settings=SagaSettings(max_running=2, max_sleeping=0)) as sagas:
        assert await sagas.run(guide.many, 5, id="t") == [f"{n}a and {n}b" for n in range(5)]


async def test_a_failure_beside_a_child_undoes_it(tmp_path: Path, guide: Guide) -> None:
    guide.depot.fail("take rope", NoneLeft("rope", 1))
    gate = guide.depot.hold("take map")
    async with opened(tmp_path, guide, settings=SagaSettings(timeout_s=100, max_running=2)) as sagas:
        await start(sagas, guide.beside)
        gate.set()
        with pytest.raises(NoneLeft):
            await sagas.result("t")
        assert sagas._shared.places.taken == 0
        assert sagas._shared.sleepers.taken == 0
    assert sorted(guide.depot.log) == ["put back hat", "put back map", "take hat", "take map", "take rope"]


async def test_a_child_is_kept_as_long_as_its_parent_needs_it(tmp_path: Path, guide: Guide) -> None:
    guide.depot.hold("take tent")
    settings = SagaSettings(timeout_s=1000, keep_s=10)
    async with opened(tmp_path, guide, settings=settings) as sagas:
        await start(sagas, guide.trip)
        await asyncio.sleep(100)
        assert await sagas.sweep() == 0
    guide.depot.gates.clear()
    async with opened(tmp_path, guide, settings=settings) as sagas:
        await sagas.result("t")
        await asyncio.sleep(100)
        assert await sagas.sweep() == 2
        assert await sagas.list() == []


async def test_a_child_whose_undo_fails_keeps_its_parent_from_failing(tmp_path: Path, guide: Guide) -> None:
    guide.depot.fail("take tent", NoneLeft("tent", 1))
    guide.depot.fail("put back map", lost())
    settings = SagaSettings(undo_retry=Retry(1))
    async with opened(tmp_path, guide, settings=settings) as sagas:
        await start(sagas, guide.trip)
        assert (await sagas.inspect(BAG)).status == "stuck"
        assert (await sagas.inspect("t")).status == "running"
        await sagas.resume(BAG)
        with pytest.raises(NoneLeft):
            await sagas.result("t")
    assert guide.depot.log[-2:] == ["put back map", "put back hat"]


async def test_only_a_saga_can_be_a_child(tmp_path: Path, guide: Guide) -> None:
    class Wrong(Guide):
        @saga()
        async def wrong(self) -> None:
            await self.step.child(self.depot.take, "hat")

    owner = Wrong(guide.depot)
    async with opened(tmp_path, owner, settings=ONCE) as sagas:
        with pytest.raises(SagaStuckError, match="is not a saga; write @saga"):
            await sagas.run(owner.wrong, id="t")


async def test_the_old_tables_are_brought_up(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path / 'sagas.db'}") as db:
        await Sagas(db).prepare()
        assert await db.one(int, "SELECT version FROM _archstone_ledger WHERE block = 'sagas'") == 6
