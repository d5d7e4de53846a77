"""Sagas that fail, are stopped, or cannot go on."""

import asyncio

import pytest
from saga_cast import Depot, NoneLeft, Traveller, lost, opened

from archstone import world
from archstone.errors import BackendError
from archstone.resilience import Exponential, Retry
from archstone.sagas import (
    SagasClosedError,
    SagaSettings,
    SagaStuckError,
    SagaUnknownError,
    StepFailedError,
    StepInfo,
    saga,
)

ONCE = Retry(1, on=(Exception,))


def states(steps: tuple[StepInfo, ...]) -> list[str]:
    return [each.state for each in steps]


async def test_a_declared_error_undoes_everything_begun_newest_first_the_failed_step_too(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.fail("take map", NoneLeft("map", 1))
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(NoneLeft, match="1 of map wanted"):
            await sagas.run(traveller.journey, ("hat", "map", "tent"), id="t1")
        seen = await sagas.inspect("t1")
        assert sagas.statistics().failed == 1
    assert traveller.depot.log == ["take hat", "take map", "put back map", "put back hat"]
    assert (seen.status, states(seen.steps)) == ("failed", ["undone", "undone"])
    assert [call.key for call in traveller.depot.calls[2:]] == [
        "t1/main/depot.take#2/undo",
        "t1/main/depot.take#1/undo",
    ]


async def test_the_error_is_the_same_type_with_the_same_arguments_after_a_restart(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.fail("take map", NoneLeft("map", 3))
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(NoneLeft):
            await sagas.run(traveller.journey, ("map",), id="t1")
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(NoneLeft) as caught:
            await sagas.result("t1")
    assert (caught.value.thing, caught.value.wanted) == ("map", 3)


async def test_a_step_that_fails_now_and_then_is_tried_again_under_the_same_key(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.fail("take hat", *[lost() for _ in range(4)])
    async with opened(tmp_path, traveller) as sagas:
        assert await sagas.run(traveller.journey, ("hat",), id="t1") == ["1 hat"]
    assert traveller.depot.log == ["take hat"] * 5
    assert {call.key for call in traveller.depot.calls} == {"t1/main/depot.take#1"}


async def test_a_step_whose_attempts_are_used_up_undoes_the_saga(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.fail("take hat", *[lost() for _ in range(9)])
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(StepFailedError, match=r"step main/depot.take#1: failed for good after 5 attempt\(s\)"):
            await sagas.run(traveller.journey, ("hat",), id="t1")
        with pytest.raises(StepFailedError) as caught:
            await sagas.result("t1")
    assert (caught.value.attempts, caught.value.cause) == (5, "RemoteError: the line is dead")
    assert traveller.depot.log == ["take hat"] * 5 + ["put back hat"]


async def test_each_attempt_ends_after_two_seconds(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.hold("take hat")
    retry = Retry(3, backoff=Exponential(0.001, cap_s=0.001), on=(Exception,))
    async with opened(tmp_path, traveller, settings=SagaSettings(step_retry=retry)) as sagas:
        begun_s = world.monotonic()
        with pytest.raises(StepFailedError, match="OutOfTimeError"):
            await sagas.run(traveller.journey, ("hat",))
        assert world.monotonic() - begun_s == pytest.approx(6, abs=0.1)
    assert traveller.depot.log == ["take hat"] * 3 + ["put back hat"]


class Impatient(Traveller):
    @saga()
    async def hurry(self) -> str:
        return await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"), retry=Retry(2), timeout_s=0.5)


async def test_a_step_brings_its_own_patience(tmp_path):
    impatient = Impatient(Depot())
    impatient.depot.hold("take hat")
    async with opened(tmp_path, impatient) as sagas:
        with pytest.raises(StepFailedError) as caught:
            await sagas.run(impatient.hurry)
    assert caught.value.attempts == 2
    assert "not done after 0.500 s" in caught.value.cause


async def test_an_error_that_a_retry_does_not_name_ends_the_step_at_once(tmp_path):
    impatient = Impatient(Depot())
    impatient.depot.fail("take hat", KeyError("bug in the depot"))
    async with opened(tmp_path, impatient) as sagas:
        with pytest.raises(StepFailedError, match="KeyError"):
            await sagas.run(impatient.hurry)
    assert impatient.depot.log == ["take hat", "put back hat"]


class Stubborn(Traveller):
    @saga()
    async def carry_on(self) -> str:
        seen: list[Exception] = []
        for thing in ("hat", "map", "tent"):
            try:
                await self.step(self.depot.take, thing, undo=(self.depot.put_back, thing))
            except NoneLeft as error:
                seen.append(error)
        assert len({id(error) for error in seen}) == 1
        return "never mind"


async def test_a_body_that_swallows_a_failure_meets_it_again_and_is_undone_all_the_same(tmp_path):
    stubborn = Stubborn(Depot())
    stubborn.depot.fail("take map", NoneLeft("map", 1))
    async with opened(tmp_path, stubborn) as sagas:
        with pytest.raises(NoneLeft):
            await sagas.run(stubborn.carry_on)
    assert stubborn.depot.log == ["take hat", "take map", "put back map", "put back hat"]


@pytest.mark.parametrize("method", ["at_once", "grouped"])
async def test_steps_in_flight_are_settled_before_anything_is_undone(tmp_path, method):
    traveller = Traveller(Depot())
    depot = traveller.depot
    gate = depot.hold("take hat")
    depot.fail("take map", NoneLeft("map", 1))
    async with opened(tmp_path, traveller) as sagas, asyncio.TaskGroup() as group:
        failing = group.create_task(_outcome(sagas.run(getattr(traveller, method), "hat", "map", id="t1")))
        await asyncio.sleep(1)
        assert sorted(depot.log) == ["take hat", "take map"]
        gate.set()
        assert isinstance(await failing, NoneLeft)
        begun = [each.undo.split('"')[3] for each in (await sagas.inspect("t1")).steps]
    assert depot.log[2:] == [f"put back {thing}" for thing in reversed(begun)]
    assert sorted(begun) == ["hat", "map"]


async def _outcome(waiting):
    try:
        return await waiting
    except Exception as error:
        return error


async def test_an_undo_is_tried_again_until_it_works(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.fail("take map", NoneLeft("map", 1))
    traveller.depot.fail("put back map", *[lost() for _ in range(9)])
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(NoneLeft):
            await sagas.run(traveller.journey, ("hat", "map"))
    assert traveller.depot.log == ["take hat", "take map", *["put back map"] * 10, "put back hat"]


async def test_an_undo_that_fails_for_good_makes_the_saga_stuck_until_it_is_resumed_by_hand(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.fail("take map", NoneLeft("map", 1))
    traveller.depot.fail("put back hat", lost())
    async with opened(tmp_path, traveller, settings=SagaSettings(undo_retry=ONCE)) as sagas:
        with pytest.raises(SagaStuckError, match=r"undo of main/depot.take#1 by depot.put_back failed") as caught:
            await sagas.run(traveller.journey, ("hat", "map"), id="t1")
        with pytest.raises(SagaStuckError, match="mend the cause, then resume it by hand"):
            await sagas.result("t1")
        (seen,) = await sagas.list("stuck")
        assert (seen.id, seen.why) == ("t1", caught.value.why)
        assert sagas.statistics().stuck == 1
    async with opened(tmp_path, traveller) as sagas:
        assert sagas.statistics().stuck == 1
        await sagas.resume("t1")
        with pytest.raises(NoneLeft):
            await sagas.result("t1")
        assert (sagas.statistics().stuck, await sagas.list("stuck")) == (0, [])
        assert states((await sagas.inspect("t1")).steps) == ["undone", "undone"]
    assert traveller.depot.log == ["take hat", "take map", "put back map", "put back hat", "put back hat"]


async def test_only_a_stuck_saga_can_be_resumed(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        await sagas.run(traveller.journey, (), id="t1")
        with pytest.raises(SagaUnknownError, match="no saga 't1' in stuck"):
            await sagas.resume("t1")


class Buggy(Traveller):
    mended = False
    bugs = 0

    @saga()
    async def stumble(self) -> str:
        hat = await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        if not self.mended:
            self.bugs += 1
            raise KeyError("bug")
        return hat

    @saga()
    async def refuse(self) -> str:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        raise NoneLeft("patience", 1)


async def test_a_bug_in_the_body_runs_again_with_its_answers_kept_then_is_stuck_and_undoes_nothing(tmp_path):
    buggy = Buggy(Depot())
    async with opened(tmp_path, buggy) as sagas:
        with pytest.raises(SagaStuckError, match=r"its body failed 5 time\(s\), KeyError: 'bug'"):
            await sagas.run(buggy.stumble, id="t1")
        seen = await sagas.inspect("t1")
        assert (seen.status, seen.attempts, states(seen.steps)) == ("stuck", 5, ["done"])
        buggy.mended = True
        await sagas.resume("t1")
        assert await sagas.result("t1") == "1 hat"
        assert (await sagas.inspect("t1")).attempts == 0
    assert (buggy.bugs, buggy.depot.log) == (5, ["take hat"])


async def test_attempts_of_a_buggy_body_are_counted_across_restarts(tmp_path):
    buggy = Buggy(Depot())
    retry = Retry(3, backoff=Exponential(1000.0, cap_s=1000.0), on=(Exception,))
    for _ in range(2):
        async with opened(tmp_path, buggy, settings=SagaSettings(body_retry=retry)) as sagas:
            running = asyncio.create_task(_outcome(sagas.run(buggy.stumble, id="t1")))
            await asyncio.sleep(0.01)
        assert isinstance(await running, SagasClosedError)
    async with opened(tmp_path, buggy, settings=SagaSettings(body_retry=retry)) as sagas:
        with pytest.raises(SagaStuckError, match="failed 3 time"):
            await sagas.result("t1")
    assert buggy.bugs == 3


async def test_a_declared_error_raised_by_the_body_itself_is_a_bug_and_undoes_nothing(tmp_path):
    buggy = Buggy(Depot())
    async with opened(tmp_path, buggy) as sagas:
        with pytest.raises(SagaStuckError, match="NoneLeft"):
            await sagas.run(buggy.refuse)
    assert buggy.depot.log == ["take hat"]


async def test_closing_leaves_a_saga_running_and_opening_goes_on_with_it(tmp_path):
    traveller = Traveller(Depot())
    gate = traveller.depot.hold("take map")
    async with opened(tmp_path, traveller) as sagas:
        running = asyncio.create_task(_outcome(sagas.run(traveller.journey, ("hat", "map"), id="t1")))
        await asyncio.sleep(0.5)
    assert isinstance(await running, SagasClosedError)
    gate.set()
    async with opened(tmp_path, traveller) as sagas:
        assert await sagas.result("t1") == ["1 hat", "1 map"]
        assert (await sagas.inspect("t1")).attempts == 0
    assert traveller.depot.log == ["take hat", "take map", "take map"]
    assert traveller.depot.calls[1].key == traveller.depot.calls[2].key


@pytest.mark.parametrize("method", ["journey", "at_once", "grouped"])
async def test_draining_waits_for_effects_in_flight_keeps_their_answers_and_begins_nothing(tmp_path, method):
    traveller = Traveller(Depot())
    depot = traveller.depot
    gate = depot.hold("take hat")
    arguments = (("hat", "map"),) if method == "journey" else ("hat", "map")
    async with opened(tmp_path, traveller) as sagas:
        running = asyncio.create_task(_outcome(sagas.run(getattr(traveller, method), *arguments, id="t1")))
        await asyncio.sleep(0.5)
        draining = asyncio.create_task(sagas.drain())
        await asyncio.sleep(0.5)
        assert not draining.done()
        gate.set()
        await draining
        before = list(depot.log)
    await running
    depot.gates.clear()
    async with opened(tmp_path, traveller) as sagas:
        await sagas.result("t1")
    assert depot.log.count("take hat") == 1
    assert len(depot.log) == len(set(depot.log))
    assert "take hat again" not in before


async def test_an_effect_that_fails_while_the_engine_drains_is_no_failure_of_the_saga(tmp_path):
    traveller = Traveller(Depot())
    gate = traveller.depot.hold("take hat")
    traveller.depot.fail("take hat", lost())
    async with opened(tmp_path, traveller, settings=SagaSettings(step_retry=ONCE)) as sagas:
        running = asyncio.create_task(_outcome(sagas.run(traveller.journey, ("hat",), id="t1")))
        await asyncio.sleep(0.5)
        draining = asyncio.create_task(sagas.drain())
        await asyncio.sleep(0.1)
        gate.set()
        await draining
        await asyncio.sleep(10)
    assert isinstance(await running, SagasClosedError)
    async with opened(tmp_path, traveller) as sagas:
        assert await sagas.result("t1") == ["1 hat"]
    assert traveller.depot.log == ["take hat", "take hat"]


async def test_a_callee_that_was_cancelled_is_a_failed_attempt_and_no_bug_of_the_body(tmp_path):
    traveller = Traveller(Depot())
    traveller.depot.fail("take hat", asyncio.CancelledError())
    async with opened(tmp_path, traveller) as sagas:
        assert await sagas.run(traveller.journey, ("hat",), id="t1") == ["1 hat"]
        assert (await sagas.inspect("t1")).attempts == 0
    assert traveller.depot.log == ["take hat", "take hat"]


async def test_a_callee_that_is_cancelled_while_the_engine_holds_does_not_count(tmp_path):
    traveller = Traveller(Depot())
    gate = traveller.depot.hold("take hat")
    traveller.depot.fail("take hat", asyncio.CancelledError())
    async with opened(tmp_path, traveller, settings=SagaSettings(step_retry=ONCE)) as sagas:
        running = asyncio.create_task(_outcome(sagas.run(traveller.journey, ("hat",), id="t1")))
        await asyncio.sleep(0.5)
        sagas.hold()
        gate.set()
        await asyncio.sleep(10)
    assert isinstance(await running, SagasClosedError)
    async with opened(tmp_path, traveller) as sagas:
        assert await sagas.result("t1") == ["1 hat"]


async def test_a_saga_started_while_the_engine_is_closed_begins_when_it_opens(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        await sagas.close()
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, traveller.journey, ("hat",), id="t1")
        with pytest.raises(SagasClosedError, match="sagas 'trip' are closed: saga 't1' goes on when they open again"):
            await sagas.result("t1")
        await sagas.open()
        assert await sagas.result("t1") == ["1 hat"]


async def test_a_journal_that_cannot_be_written_for_a_while_stops_nothing(tmp_path, monkeypatch):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        for verb in ("append", "finish"):
            _break_once(monkeypatch, sagas._table, verb)
        assert await sagas.run(traveller.journey, ("hat", "map"), id="t1") == ["1 hat", "1 map"]
        assert (await sagas.inspect("t1")).attempts == 0
    assert traveller.depot.log[-1] == "take map"


def _break_once(monkeypatch, table, verb):
    works, broken = getattr(table, verb), []

    async def break_once(*args, **kwargs):
        if not broken:
            broken.append(verb)
            raise BackendError("the disk is full")
        return await works(*args, **kwargs)

    monkeypatch.setattr(table, verb, break_once)


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("how", ["run", "start"])
async def test_a_saga_whose_starter_is_cancelled_runs_if_it_is_on_disk(tmp_path, how, turns):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:

        async def start() -> None:
            if how == "run":
                await sagas.run(traveller.journey, ("hat",), id="t1")
                return
            async with sagas._db.transaction() as tx:
                await sagas.start(tx, traveller.journey, ("hat",), id="t1")

        starter = asyncio.create_task(start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starter.cancel()
        await asyncio.wait([starter])
        await asyncio.sleep(1)
        assert len(traveller.depot.log) == len(await sagas.list()) == len(await sagas.list("done"))


async def test_a_failure_that_cannot_be_written_for_a_while_is_written_later_and_the_body_does_not_run_again(
    tmp_path, monkeypatch
):
    traveller = Traveller(Depot())
    traveller.depot.fail("take hat", NoneLeft("hat", 1))
    async with opened(tmp_path, traveller) as sagas:
        works, calls = sagas._table.append, []

        async def break_twice(*args, **kwargs):
            calls.append(args)
            if len(calls) in (2, 3):
                raise BackendError("the disk is full")
            return await works(*args, **kwargs)

        monkeypatch.setattr(sagas._table, "append", break_twice)
        with pytest.raises(NoneLeft):
            await sagas.run(traveller.journey, ("hat",), id="t1")
        assert states((await sagas.inspect("t1")).steps) == ["undone"]
    assert (traveller.bodies, traveller.depot.log) == (1, ["take hat", "put back hat"])
