"""A saga is forked from a step: what was before is copied, what follows runs again, and nothing is undone twice."""

import asyncio
from pathlib import Path

import pytest
from saga_cast import Depot, NoneLeft, Traveller, opened

from archstone.resilience import Retry
from archstone.sagas import (
    SagaExistsError,
    SagaNotForkableError,
    Sagas,
    SagaSettings,
    SagaStuckError,
    SagaUnknownError,
    StepCodecError,
    saga,
)


class Planner(Traveller):
    broken = False

    @saga()
    async def trip(self) -> list[str]:
        """Three steps that can be undone."""
        return [await self.step(self.depot.take, thing, undo=(self.depot.put_back, thing)) for thing in "abc"]

    @saga()
    async def look(self) -> str:
        """Steps without an undo, the time, a signal, then one with an undo."""
        seen = await self.step(self.depot.take, f"a view of {self.step.now:%Y}")
        await self.step.sleep(10)
        told = await self.step.receive("told", str)
        await self.step(self.depot.take, "rope", undo=(self.depot.put_back, "rope"))
        if self.broken:
            raise ZeroDivisionError
        return f"{seen}, {told}"

    @saga()
    async def outer(self) -> None:
        await self.step.child(self.trip, id="inner")
        await self.step(self.depot.take, "rope")
        await self.step(self.depot.take, "map")


@pytest.fixture
def planner() -> Planner:
    return Planner(Depot())


async def start(sagas: Sagas, method, id: str = "t1") -> None:
    async with sagas._db.transaction() as tx:
        await sagas.start(tx, method, id=id)
    await asyncio.sleep(20)


B = "main/depot.take#2"


async def test_the_steps_before_are_copied_and_the_rest_runs_again(tmp_path: Path, planner: Planner) -> None:
    async with opened(tmp_path, planner) as sagas:
        await sagas.run(planner.trip, id="t1")
        planner.depot.log.clear()
        planner.depot.calls.clear()
        assert await sagas.fork("t1", from_step=B, as_id="t2") is True
        assert await sagas.result("t2") == ["1 a", "1 b", "1 c"]
        assert planner.depot.log == ["take b", "take c"]
        assert [call.key for call in planner.depot.calls] == [f"t2/{B}", "t2/main/depot.take#3"]
        seen = await sagas.inspect("t2")
        assert (seen.status, seen.forked_from, len(seen.steps)) == ("done", "t1", 3)
        assert seen.started_at == (await sagas.inspect("t1")).started_at
        assert await sagas.fork("t1", from_step=B, as_id="t2") is False, "the same again changes nothing"


async def test_a_fork_that_fails_undoes_what_was_copied_too(tmp_path: Path, planner: Planner) -> None:
    async with opened(tmp_path, planner) as sagas:
        await sagas.run(planner.trip, id="t1")
        planner.depot.log.clear()
        planner.depot.fail("take c", NoneLeft("c", 1))
        await sagas.fork("t1", from_step=B, as_id="t2")
        with pytest.raises(NoneLeft):
            await sagas.result("t2")
        assert planner.depot.log == ["take b", "take c", "put back c", "put back b", "put back a"]
        assert (await sagas.inspect("t1")).status == "done"


async def test_a_fork_outlives_its_engine_and_time_and_signals_are_what_they_were(
    tmp_path: Path, planner: Planner
) -> None:
    planner.broken = True
    settings = SagaSettings(body_retry=Retry(1))
    async with opened(tmp_path, planner, settings=settings) as sagas:
        await start(sagas, planner.look)
        await sagas.signal("t1", "told", "go")
        with pytest.raises(SagaStuckError):
            await sagas.result("t1")
    planner.broken = False
    planner.depot.log.clear()
    async with opened(tmp_path, planner) as sagas:
        sagas.hold()
        await sagas.fork("t1", from_step="main/depot.take#2", as_id="t2")
    async with opened(tmp_path, planner) as sagas:
        assert str(await sagas.result("t2")).endswith(", go")
        assert planner.depot.log == ["take rope"]
        assert (await sagas.inspect("t1")).status == "stuck"


async def test_another_version_can_go_on_with_what_an_old_one_began(tmp_path: Path, planner: Planner) -> None:
    class Later(Traveller):
        @saga(version=2)
        async def look(self) -> str:
            return await self.step(self.depot.take, f"a view of {self.step.now:%Y}") + ", and no more"

    async with opened(tmp_path, planner) as sagas:
        await start(sagas, planner.look)
    async with opened(tmp_path, Later(planner.depot)) as sagas:
        with pytest.raises(SagaStuckError, match="needs version 1"):
            await sagas.result("t1")
        await sagas.fork("t1", from_step="main/sleep#1", as_id="t2", version=2)
        assert str(await sagas.result("t2")).endswith("and no more")


async def test_what_both_would_undo_is_not_copied(tmp_path: Path, planner: Planner) -> None:
    planner.depot.fail("put back b", *[OSError()] * 9)
    planner.depot.fail("take c", NoneLeft("c", 1))
    async with opened(tmp_path, planner, settings=SagaSettings(undo_retry=Retry(1))) as sagas:
        await start(sagas, planner.trip)
        assert (await sagas.inspect("t1")).status == "stuck"
        with pytest.raises(SagaNotForkableError, match="a saga that is stuck may make it"):
            await sagas.fork("t1", from_step=B, as_id="t2")
        assert await sagas.fork("t1", from_step="main/depot.take#1", as_id="t3") is True
        await sagas.result("t3")


async def test_two_forks_cannot_both_undo(tmp_path: Path, planner: Planner) -> None:
    async with opened(tmp_path, planner) as sagas:
        await sagas.run(planner.trip, id="t1")
        await sagas.fork("t1", from_step=B, as_id="t2")
        with pytest.raises(SagaNotForkableError, match="saga 't2' is forked from it and may make them"):
            await sagas.fork("t1", from_step=B, as_id="t3")
        await sagas.fork("t1", from_step="main/depot.take#1", as_id="t4")


async def test_what_runs_and_what_is_undone_and_what_is_unknown_is_refused(tmp_path: Path, planner: Planner) -> None:
    async with opened(tmp_path, planner) as sagas:
        await start(sagas, planner.look)
        for step, why in (("main/sleep#1", "it has not ended"), ("main/nothing#1", "it has not ended")):
            with pytest.raises(SagaNotForkableError, match=why):
                await sagas.fork("t1", from_step=step, as_id="t2")
        planner.depot.fail("take c", NoneLeft("c", 1))
        await start(sagas, planner.trip, id="f1")
        with pytest.raises(SagaNotForkableError, match=r"main/depot.take#1 is undone, so its answer does not stand"):
            await sagas.fork("f1", from_step=B, as_id="t2")
        with pytest.raises(SagaNotForkableError, match=r"it has no such step, but main/depot.take#1"):
            await sagas.fork("f1", from_step="main/nothing#1", as_id="t2")
        with pytest.raises(SagaUnknownError):
            await sagas.fork("nobody", from_step=B, as_id="t2")
        with pytest.raises(SagaExistsError):
            await sagas.fork("f1", from_step="main/depot.take#1", as_id="t1")
        with pytest.raises(StepCodecError, match="1 to 200 characters"):
            await sagas.fork("f1", from_step="main/depot.take#1", as_id="")
        assert [each.id for each in await sagas.list()] == ["f1", "t1"]


async def test_a_saga_that_is_a_step_is_not_copied_and_not_forked_while_its_parent_may_undo_it(
    tmp_path: Path, planner: Planner
) -> None:
    gate = planner.depot.hold("take rope")
    async with opened(tmp_path, planner, settings=SagaSettings(timeout_s=100)) as sagas:
        await start(sagas, planner.outer)
        with pytest.raises(SagaNotForkableError, match="it is undone with saga 't1', if that is"):
            await sagas.fork("inner", from_step=B, as_id="t2")
        gate.set()
        await sagas.result("t1")
        with pytest.raises(SagaNotForkableError, match="main/trip#1 is a saga of its own"):
            await sagas.fork("t1", from_step="main/depot.take#1", as_id="t2")
        await sagas.fork("inner", from_step=B, as_id="t2")
        await sagas.result("t2")


async def test_lists_choose_by_status_name_and_age(tmp_path: Path, planner: Planner) -> None:
    async with opened(tmp_path, planner) as sagas:
        await sagas.run(planner.trip, id="old")
        await asyncio.sleep(100)
        await start(sagas, planner.look, id="looking")
        await sagas.run(planner.trip, id="new")

        async def ids(*args: object, **chosen: object) -> list[str]:
            return [each.id for each in await sagas.list(*args, **chosen)]

        assert await ids() == ["new", "looking", "old"]
        assert await ids(method="trip") == ["new", "old"]
        assert await ids(older_than_s=60) == ["old"]
        assert await ids("running", method="look") == ["looking"]
        assert await ids("running", method="trip") == []
        assert await ids(method="trip", older_than_s=0.0, limit=1) == ["new"]
