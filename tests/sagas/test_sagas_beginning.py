"""Sagas that begin at once, their row written together with their first step."""

import asyncio

import pytest
from saga_cast import Depot, Traveller, opened

from archstone.data import MisuseError
from archstone.errors import BackendError
from archstone.sagas import SagasClosedError, saga


class Idle(Traveller):
    @saga()
    async def stay(self) -> str:
        return "at home"

    @saga()
    async def stumble(self) -> str:
        raise KeyError("bug")


async def test_a_saga_of_n_steps_that_has_no_name_yet_takes_n_and_one_writes(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        await asyncio.sleep(0.1)  # it looks for older sagas first
        before = sagas._db.statistics().members
        await sagas.run(traveller.journey, ("hat", "map", "tent"))
        assert sagas._db.statistics().members - before == 4
        (seen,) = await sagas.list()
        seen = await sagas.inspect(seen.id)
    assert (seen.status, [each.state for each in seen.steps]) == ("done", ["done"] * 3)


@pytest.mark.parametrize("method", ["at_once", "grouped"])
async def test_branches_that_begin_together_with_their_saga_are_all_remembered(tmp_path, method):
    traveller = Traveller(Depot())
    gate = traveller.depot.hold("take hat")
    async with opened(tmp_path, traveller) as sagas:
        await asyncio.sleep(0.1)
        running = asyncio.create_task(sagas.run(getattr(traveller, method), "hat", "map"))
        await asyncio.sleep(0.5)
        (seen,) = await sagas.list()
        assert {"left/depot.take#1", "right/depot.take#1"} <= {each.id for each in (await sagas.inspect(seen.id)).steps}
    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], SagasClosedError)
    gate.set()
    async with opened(tmp_path, traveller) as sagas:
        await sagas.result(seen.id)
    assert len({call.key for call in traveller.depot.calls}) == len(set(traveller.depot.log))


async def test_a_saga_without_steps_is_on_disk_before_its_end(tmp_path):
    idle = Idle(Depot())
    async with opened(tmp_path, idle) as sagas:
        await asyncio.sleep(0.1)
        assert await sagas.run(idle.stay) == "at home"
        running = asyncio.create_task(sagas.run(idle.stumble))
        await asyncio.sleep(0.01)
        stumbling, stayed = await sagas.list()
        assert (stayed.status, stumbling.status) == ("done", "running")
        assert stumbling.attempts >= 1
        running.cancel()


async def test_a_saga_whose_row_cannot_be_written_is_not_started_and_its_caller_is_told(tmp_path, monkeypatch):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        await asyncio.sleep(0.1)

        async def broken(*_, **__):
            raise BackendError("the disk is full")

        with monkeypatch.context() as broken_disk:
            broken_disk.setattr(sagas._table, "insert", broken)
            with pytest.raises(BackendError, match="the disk is full"):
                await sagas.run(traveller.journey, ("hat",))
        await asyncio.sleep(1)
        assert (await sagas.list(), sagas.statistics().running, traveller.depot.log) == ([], 0, [])


@pytest.mark.parametrize("turns", range(1, 6))
async def test_a_saga_that_is_closed_while_it_begins_goes_on_when_the_engine_opens(tmp_path, turns):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        await asyncio.sleep(0.1)
        running = asyncio.create_task(sagas.run(traveller.journey, ("hat", "map")))
        for _ in range(turns):
            await asyncio.sleep(0)
    (outcome,) = await asyncio.gather(running, return_exceptions=True)
    async with opened(tmp_path, traveller) as sagas:
        (seen,) = await sagas.list()
        assert await sagas.result(seen.id) == ["1 hat", "1 map"]
    assert isinstance(outcome, SagasClosedError) or outcome == ["1 hat", "1 map"]


async def test_a_saga_cannot_be_run_inside_a_transaction_that_it_would_wait_for(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(MisuseError):
            async with sagas._db.transaction() as tx:
                await tx.execute("UPDATE _archstone_sagas SET why = why WHERE 0")
                await sagas.run(traveller.journey, ("hat",))
    assert traveller.depot.log == []
