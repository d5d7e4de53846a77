"""A loop that is late begins few sagas, whoever is waited for comes first, and the door can ask how many wait."""

import asyncio

import pytest
from saga_cast import Depot, Traveller, opened

from archstone.resilience import OverloadedError, Retry
from archstone.sagas import SagaSettings, StepFailedError, backlog

SETTINGS = SagaSettings(max_running=10, max_running_busy=3, max_waiting=12, timeout_s=1000)


class Loop:
    late_s = 0.1

    def __call__(self) -> float:
        return self.late_s


async def started(sagas, traveller: Traveller, count: int, *, name: str = "thing") -> list[asyncio.Event]:
    """Start so many sagas that wait in their first step; return what lets each go on."""
    things = [f"{name} {n}" for n in range(count)]
    gates = [traveller.depot.hold(f"take {thing}") for thing in things]
    async with sagas._db.transaction() as tx:
        for thing in things:
            await sagas.start(tx, traveller.journey, (thing,), id=thing)
    await asyncio.sleep(1)
    return gates


async def test_a_busy_loop_begins_few_and_the_others_wait_on_disk(tmp_path):
    traveller, loop = Traveller(Depot()), Loop()
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        gates = await started(sagas, traveller, 8)
        counted = sagas.statistics()
        assert (counted.running, counted.waiting) == (3, 5)
        for done, gate in enumerate(gates):
            assert sagas.statistics().running == min(3, 8 - done)
            gate.set()
            await asyncio.sleep(1)
        counted = sagas.statistics()
        assert (counted.running, counted.waiting, counted.finished) == (0, 0, 8)


async def test_peace_brings_all_of_them_in(tmp_path):
    traveller, loop = Traveller(Depot()), Loop()
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        gates = await started(sagas, traveller, 8)
        loop.late_s = 0.0
        running = []
        for _ in range(20):  # none ends: they wait for the depot
            await asyncio.sleep(0.1)
            running.append(sagas.statistics().running)
        assert running == sorted(running)
        assert running[0] < 8, "not all at once"
        assert running[-1] == 8
        for gate in gates:
            gate.set()
        await asyncio.sleep(1)
        assert sagas.statistics().finished == 8


async def test_somebody_who_waits_is_not_kept_behind_those_whom_nobody_waits_for(tmp_path):
    traveller, loop = Traveller(Depot()), Loop()
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        gates = await started(sagas, traveller, 8)
        assert await sagas.run(traveller.journey, ("hat",), id="mine") == ["1 hat"]
        assert await sagas.run(traveller.journey, ("coat",)) == ["1 coat"]
        assert sagas.statistics().waiting == 5
        for gate in gates:
            gate.set()
        await asyncio.sleep(1)


async def test_the_door_is_told_when_too_many_wait(tmp_path):
    traveller, loop = Traveller(Depot()), Loop()
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        gates = await started(sagas, traveller, 3 + 11)
        sagas.check_room()
        gates += await started(sagas, traveller, 1, name="last")
        with pytest.raises(OverloadedError, match=r"sagas of trip.*waiting 12 against a limit of 12") as full:
            sagas.check_room()
        assert full.value.retry_after_s == 5.0
        gates += await started(sagas, traveller, 1, name="already accepted")  # `start` itself never refuses
        for gate in gates:
            gate.set()
        await asyncio.sleep(5)
        sagas.check_room()
        assert sagas.statistics().finished == 16


async def test_what_waited_is_counted_after_a_restart(tmp_path):
    traveller, loop = Traveller(Depot()), Loop()
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        await started(sagas, traveller, 8)
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        await asyncio.sleep(1)
        counted = sagas.statistics()
        assert (counted.running, counted.waiting) == (3, 5)
        for gate in traveller.depot.gates.values():
            gate.set()
        await asyncio.sleep(5)
        assert (sagas.statistics().waiting, sagas.statistics().finished) == (0, 8)


@pytest.mark.parametrize(("late_s", "given_up_s"), [(0.04, 2.0), (0.06, 10.0)])
async def test_an_attempt_that_begins_while_the_loop_is_late_has_five_times_its_time(tmp_path, late_s, given_up_s):
    traveller, loop = Traveller(Depot()), Loop()
    loop.late_s = late_s
    traveller.depot.hold("take hat")
    settings = SagaSettings(timeout_s=2.0, step_retry=Retry(1, on=(Exception,)))
    async with opened(tmp_path, traveller, settings=settings, lag=loop) as sagas:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(StepFailedError):
            await sagas.run(traveller.journey, ("hat",), id="t1")
        assert asyncio.get_running_loop().time() - begun == pytest.approx(given_up_s, abs=0.1)


async def test_those_that_find_no_place_in_memory_wait_in_the_table_and_all_go_on_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(backlog, "_NEXT", 2)
    traveller, loop = Traveller(Depot()), Loop()
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        gates = await started(sagas, traveller, 9)
        assert sagas.statistics().waiting == 6
        assert len(sagas._runner.backlog) == 2
        for gate in gates:
            gate.set()
            await asyncio.sleep(1)
        begun = [line for line in traveller.depot.log if line.startswith("take")]
        assert begun == [f"take thing {n}" for n in range(9)]
        assert (sagas.statistics().waiting, sagas.statistics().finished) == (0, 9)


async def test_one_that_waits_for_a_place_is_cancelled_and_does_not_begin(tmp_path):
    traveller, loop = Traveller(Depot()), Loop()
    async with opened(tmp_path, traveller, settings=SETTINGS, lag=loop) as sagas:
        gates = await started(sagas, traveller, 5)
        await sagas.cancel("thing 4", by="ann")
        for gate in gates:
            gate.set()
        await asyncio.sleep(5)
        assert "take thing 4" not in traveller.depot.log
        assert (sagas.statistics().waiting, sagas.statistics().running, sagas.statistics().finished) == (0, 0, 4)
