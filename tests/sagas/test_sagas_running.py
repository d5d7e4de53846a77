"""Sagas that go well: what a body sees, what a step's effect sees, what one sees from outside."""

import asyncio
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from pydantic import BaseModel, NonNegativeInt
from saga_cast import Depot, Traveller, opened

from archstone import context, world
from archstone.context import NOBODY, Call, Principal, Trace
from archstone.data import Database
from archstone.errors import DeadlineError
from archstone.observability import add_recorder, remove_recorder
from archstone.sagas import (
    NoSagaError,
    SagaExistsError,
    Sagas,
    SagaSettings,
    SagaUnknownError,
    StepCodecError,
    StepTooLargeError,
    WorldInSagaError,
    current_step,
    saga,
    saga_mark,
)
from archstone.sagas.codec import Codec


async def test_a_saga_answers_what_its_body_returns_and_remembers_each_step(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        assert await sagas.run(traveller.journey, ("hat", "map"), id="t1") == ["1 hat", "1 map"]
        seen = await sagas.inspect("t1")
    assert (seen.status, seen.method, seen.version, seen.answer) == ("done", "journey", 1, '["1 hat","1 map"]')
    assert [(each.id, each.state, each.arguments, each.undo, each.answer) for each in seen.steps] == [
        ("main/depot.take#1", "done", '["hat",1]', '["depot.put_back",["hat"]]', '"1 hat"'),
        ("main/depot.take#2", "done", '["map",1]', '["depot.put_back",["map"]]', '"1 map"'),
    ]


async def test_a_saga_begins_when_its_transaction_commits_and_not_before(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        async with sagas._db.transaction() as tx:
            assert await sagas.start(tx, traveller.journey, ("hat",), id="t1") is True
            await asyncio.sleep(1)
            assert traveller.depot.log == []
        assert await sagas.result("t1") == ["1 hat"]


async def test_a_saga_of_a_transaction_that_rolls_back_never_was(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(ZeroDivisionError):
            async with sagas._db.transaction() as tx:
                await sagas.start(tx, traveller.journey, ("hat",), id="t1")
                raise ZeroDivisionError
        await asyncio.sleep(1)
        with pytest.raises(SagaUnknownError, match="no saga 't1'"):
            await sagas.result("t1")
    assert traveller.depot.log == []


async def test_starting_the_same_saga_again_changes_nothing(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        await sagas.run(traveller.journey, ("hat",), id="t1")
        async with sagas._db.transaction() as tx:
            assert await sagas.start(tx, traveller.journey, ("hat",), id="t1") is False
        assert await sagas.run(traveller.journey, ("hat",), id="t1") == ["1 hat"]
    assert traveller.depot.log == ["take hat"]


async def test_an_id_with_other_arguments_or_another_method_is_refused(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        await sagas.run(traveller.journey, ("hat",), id="t1")
        with pytest.raises(SagaExistsError, match="already started with other arguments; nothing was started"):
            await sagas.run(traveller.journey, ("map",), id="t1")
        with pytest.raises(SagaExistsError, match="already started as 'journey', not 'grouped'"):
            await sagas.run(traveller.grouped, "a", "b", id="t1")


async def test_an_effect_runs_as_the_service_with_key_deadline_and_trace_of_the_saga(tmp_path):
    traveller = Traveller(Depot())
    asked = Call(Principal("ann"), trace=Trace(7, 8), correlation_id="c1", causation_id="m1", key="k1")
    async with opened(tmp_path, traveller, principal=Principal("service:trip", frozenset({"service"}))) as sagas:
        begun_s = world.monotonic()
        with context.enter(asked):
            await sagas.run(traveller.journey, ("hat",), id="t1")
        seen = await sagas.inspect("t1")
    (call,) = traveller.depot.calls
    assert call.principal == Principal("service:trip", frozenset({"service"}))
    assert call.key == "t1/main/depot.take#1"
    assert call.deadline_s is not None
    assert call.deadline_s - begun_s == pytest.approx(2.0, abs=0.5)
    assert (call.trace, call.correlation_id, call.causation_id) == (Trace(7, 8), "c1", "m1")
    assert (call.tx, call.step) == (None, None)
    assert (seen.caused_by, seen.correlation_id, seen.trace_id) == ("ann", "c1", f"{7:032x}")


async def test_spans_of_saga_and_steps_are_found_by_the_id_of_the_saga(tmp_path):
    traveller, seen = Traveller(Depot()), []
    add_recorder(seen.append)
    try:
        async with opened(tmp_path, traveller) as sagas:
            with context.enter(Call(trace=Trace(7, 8))):
                await sagas.run(traveller.journey, ("hat",), id="t1")
    finally:
        remove_recorder(seen.append)
    found = {record.name: record for record in seen if record.ref == "t1"}
    assert set(found) == {"saga journey", "step depot.take"}
    assert found["saga journey"].parent_id == 8
    assert found["step depot.take"].parent_id == found["saga journey"].span_id
    assert {record.trace_id for record in found.values()} == {7}


class Curious(Traveller):
    """Looks at everything a body may look at."""

    @saga(version=3)
    async def look(self) -> list[str]:
        seen = [self.step.id, self.step.now.isoformat()]
        try:
            world.now()
        except WorldInSagaError as error:
            seen.append(str(error))
        seen.append(await self.step(self.clock))
        return seen

    async def clock(self) -> str:
        return world.now().isoformat()

    async def untyped(self, thing):
        return thing

    def plain(self, thing: str) -> str:
        return thing

    async def echo(self, thing: str) -> str:
        return thing

    @saga()
    async def odd(self, what: str) -> str | None:
        async def local(thing: str) -> str:
            return thing

        others = Depot()
        calls = {
            "untyped": lambda: self.step(self.untyped, "x"),
            "plain": lambda: self.step(self.plain, "x"),
            "local": lambda: self.step(local, "x"),
            "stranger": lambda: self.step(others.take, "x"),
            "count": lambda: self.step(self.echo),
            "type": lambda: self.step(self.echo, 7),
            "large": lambda: self.step(self.echo, "x" * 2000),
            "branch": lambda: self.step.branch("a/b"),
        }
        try:
            calls[what]()
        except (StepCodecError, StepTooLargeError) as error:
            return str(error)
        return None


async def test_a_body_that_asks_the_world_is_told_what_to_use_instead(tmp_path):
    curious = Curious(Depot())
    async with opened(tmp_path, curious) as sagas:
        started = world.now()
        name, now, refused, clock = await sagas.run(curious.look, id="t1")
        assert (await sagas.inspect("t1")).version == 3
    assert name == "t1"
    assert datetime.fromisoformat(now) == started
    assert "a saga body used world.now()" in refused
    assert "self.step.now" in refused
    assert datetime.fromisoformat(clock).tzinfo == UTC


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("untyped", "untyped: cannot be journaled, annotate thing, the return value"),
        ("plain", "plain: is not a coroutine function (`async def`)"),
        ("local", "local, a later process could not find it"),
        ("stranger", "is neither a method of the saga's owner, nor of one of its attributes, nor a function"),
        ("count", "echo: takes 1 positional argument(s), 0 given"),
        ("type", "echo: a value does not fit its annotation"),
        ("large", "main/echo#1: arguments take 2008 bytes in the journal, limit 1000"),
        ("branch", "branch 'a/b': must be 1 to 100 letters"),
    ],
)
async def test_what_cannot_be_journaled_is_refused_by_name_when_it_is_called(tmp_path, what, text):
    curious = Curious(Depot())
    async with opened(tmp_path, curious, settings=SagaSettings(limit_bytes=1000)) as sagas:
        assert text in (await sagas.run(curious.odd, what) or "")
    assert curious.depot.log == []


async def test_arguments_of_exactly_the_limit_are_taken(tmp_path):
    curious = Curious(Depot())
    limit = len('["hat",1]') + len('["depot.put_back",["hat"]]')
    async with opened(tmp_path, curious, settings=SagaSettings(limit_bytes=limit)) as sagas:
        assert await sagas.run(curious.journey, ("hat",)) == ["1 hat"]


class Parcel(BaseModel, frozen=True):
    weights: tuple[int, ...]
    fragile: NonNegativeInt = 0


async def pack(weights: tuple[int, ...]) -> Parcel:
    return Parcel(weights=weights)


@saga()
async def send(weight: int) -> Parcel:
    parcel = await current_step()(pack, (weight, weight))
    return parcel.model_copy(update={"weights": (*parcel.weights, 9)})


async def test_a_function_can_be_a_saga_and_a_step_without_any_owner(tmp_path):
    async with opened(tmp_path, None) as sagas:
        assert await sagas.run(send, 4, id="t1") == Parcel(weights=(4, 4, 9))
        (step,) = (await sagas.inspect("t1")).steps
    assert step.operation == f"{__name__}:pack"


async def test_calls_of_steps_can_be_made_by_somebody_else(tmp_path):
    traveller, made = Traveller(Depot()), []

    async def invoke(function, arguments):
        made.append((function.__name__, arguments))
        return await function(*arguments)

    async with opened(tmp_path, traveller, invoke=invoke) as sagas:
        await sagas.run(traveller.journey, ("hat",))
    assert made == [("take", ("hat", 1))]


async def test_branches_run_at_the_same_time(tmp_path):
    traveller = Traveller(Depot())
    gate = traveller.depot.hold("take hat")
    async with opened(tmp_path, traveller) as sagas:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(sagas.run(traveller.at_once, "hat", "map", id="t1"))
            await asyncio.sleep(1)
            assert sorted(traveller.depot.log) == ["take hat", "take map", "take map again"]
            gate.set()
        assert running.result() == ["1 hat", "1 map"]
        ids = {each.id for each in (await sagas.inspect("t1")).steps}
    assert ids == {f"{side}/depot.take#{n}" for side in ("left", "right") for n in (1, 2)}


async def test_waiting_ends_with_the_deadline_and_the_saga_goes_on(tmp_path):
    traveller = Traveller(Depot())
    gate = traveller.depot.hold("take hat")
    async with opened(tmp_path, traveller) as sagas:
        with context.enter(Call(NOBODY, world.monotonic() + 1)), pytest.raises(DeadlineError):
            await sagas.run(traveller.journey, ("hat",), id="t1")
        assert (await sagas.inspect("t1")).status == "running"
        gate.set()
        assert await sagas.result("t1") == ["1 hat"]


def test_values_that_only_the_serializer_understands_are_taken_and_others_are_not():
    class Pair(NamedTuple):
        left: int
        right: str

    async def keep(
        pair: Pair, ratio: float, parcel: Parcel, when: datetime, some: frozenset[str] = frozenset()
    ) -> None: ...

    codec = Codec("keep", keep)
    values = (Pair(1, "b"), 1, Parcel(weights=(1,)), datetime(2026, 1, 2, tzinfo=UTC))
    assert codec.arguments(codec.arguments_json(values)) == values
    assert codec.arguments(codec.arguments_json((*values, frozenset({"x"}))))[4] == {"x"}
    for wrong in (("1", 1, *values[2:]), (values[0], "1", *values[2:]), (*values[:2], {"weights": ["x"]}, values[3])):
        with pytest.raises(StepCodecError, match="keep: a value does not fit"):
            codec.arguments_json(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        Parcel(weights=(1,)).model_copy(update={"weights": ("heavy",)}),
        Parcel(weights=(1,)).model_copy(update={"weights": ("7",)}),
        Parcel(weights=(1,), fragile=2).model_copy(update={"fragile": -1}),
    ],
)
async def test_a_model_whose_fields_were_changed_without_a_check_is_not_journaled(wrong):
    async def keep(parcels: tuple[Parcel, ...]) -> Parcel: ...

    codec = Codec("keep", keep)
    for encode in (lambda: codec.arguments_json(((wrong,),)), lambda: codec.kept(wrong)):
        with pytest.raises(StepCodecError, match="keep: a value does not fit its annotation"):
            encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_a_number_that_has_no_json_is_not_journaled(number):
    async def keep(ratio: float) -> None: ...

    with pytest.raises(StepCodecError, match="keep: a value does not fit its annotation"):
        Codec("keep", keep).arguments_json((number,))


class Sleepy(Traveller):
    @saga()
    async def nap(self, seconds: float) -> float:
        before = await self.step(self.clock)
        await self.step.sleep(seconds)
        return await self.step(self.clock) - before

    async def clock(self) -> float:
        return world.now_us() / 1e6


@pytest.mark.simulated(limit_s=20_000.0)
async def test_a_sleep_lasts_as_long_as_it_says_across_a_restart(tmp_path):
    sleepy = Sleepy(Depot())
    async with opened(tmp_path, sleepy) as sagas:
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, sleepy.nap, 7200.5, id="t1")
        await asyncio.sleep(3000)
    await asyncio.sleep(2000)
    async with opened(tmp_path, sleepy) as sagas:
        with context.enter(Call(NOBODY, None)):
            assert await sagas.result("t1") == pytest.approx(7200.5, abs=0.01)


async def test_sleepers_leave_their_place_to_others(tmp_path):
    sleepy = Sleepy(Depot())
    async with opened(tmp_path, sleepy, settings=SagaSettings(max_running=1)) as sagas:
        async with asyncio.TaskGroup() as group:
            naps = [group.create_task(sagas.run(sleepy.nap, 100.0)) for _ in range(5)]
        assert [round(nap.result()) for nap in naps] == [100] * 5
        assert sagas.statistics().running == 0


async def test_no_more_sagas_run_at_once_than_allowed_and_the_others_come_in_order(tmp_path):
    traveller = Traveller(Depot())
    things = [f"thing {n}" for n in range(20)]
    gates = [traveller.depot.hold(f"take {thing}") for thing in things]
    async with opened(tmp_path, traveller, settings=SagaSettings(max_running=3)) as sagas:
        async with sagas._db.transaction() as tx:
            for thing in things:
                await sagas.start(tx, traveller.journey, (thing,), id=thing)
        for n, gate in enumerate(gates):
            await asyncio.sleep(0.5)
            assert len(traveller.depot.log) == min(n + 3, 20)
            assert sagas.statistics().running == min(3, 20 - n)
            gate.set()
        assert [await sagas.result(thing) for thing in things] == [[f"1 {thing}"] for thing in things]
    taken = [f"take {thing}" for thing in things]
    assert (sorted(traveller.depot.log[:3]), traveller.depot.log[3:]) == (sorted(taken[:3]), taken[3:])


async def test_finished_sagas_are_swept_by_age_and_others_are_not(tmp_path):
    traveller = Traveller(Depot())
    gate = traveller.depot.hold("take slow")
    async with opened(tmp_path, traveller, settings=SagaSettings(keep_s=100, sweep_batch=2, timeout_s=1000)) as sagas:
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, traveller.journey, ("slow",), id="slow")
        for n in range(5):
            await sagas.run(traveller.journey, ("hat",), id=f"old {n}")
        await asyncio.sleep(0.5)
        assert await sagas.sweep() == 0
        await asyncio.sleep(99)
        await sagas.run(traveller.journey, ("hat",), id="young")
        gate.set()
        traveller.depot.gates.clear()
        await sagas.result("slow")
        await asyncio.sleep(1)
        assert await sagas.sweep() == 5
        assert [each.id for each in await sagas.list()] == ["young", "slow"]
        assert await sagas._db.one(int, "SELECT count(DISTINCT saga) FROM _archstone_saga_journal") == 2


async def test_a_list_is_newest_first_and_continues_before_a_number(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        for n in range(5):
            await sagas.run(traveller.journey, (), id=f"t{n}")
        first = await sagas.list("done", limit=2)
        assert [each.id for each in first] == ["t4", "t3"]
        assert [each.id for each in await sagas.list(limit=2, before=first[-1].number)] == ["t2", "t1"]
        assert await sagas.list("stuck") == []
        assert sagas.statistics().finished == 5


async def test_engines_of_different_names_share_a_database(tmp_path):
    one, two = Traveller(Depot()), Traveller(Depot())
    async with (
        Database(f"sqlite:///{tmp_path / 'sagas.db'}") as db,
        Sagas(db, owner=one, name="one") as first,
        Sagas(db, owner=two, name="two") as second,
    ):
        await first.run(one.journey, ("hat",), id="t1")
        await second.run(two.journey, ("map",), id="t2")
        with pytest.raises(SagaUnknownError):
            await second.result("t1")
        with pytest.raises(SagaExistsError):
            await second.run(two.journey, ("hat",), id="t1")
    assert (one.depot.log, two.depot.log) == (["take hat"], ["take map"])


async def test_steps_outside_a_saga_are_refused(tmp_path):
    with pytest.raises(NoSagaError, match="no saga body runs here"):
        await Traveller(Depot()).journey(("hat",))


async def test_a_method_without_the_mark_cannot_be_started(tmp_path):
    curious = Curious(Depot())
    async with opened(tmp_path, curious) as sagas:
        with pytest.raises(StepCodecError, match="echo: is not a saga"):
            await sagas.run(curious.echo, "x")


def test_the_mark_is_for_coroutine_functions_and_versions_from_one_on():
    with pytest.raises(StepCodecError, match="is not a coroutine function"):
        saga()(lambda: None)
    with pytest.raises(StepCodecError, match="version=0 must be at least 1"):
        saga(version=0)(pack)
    assert saga_mark(pack) is None
    assert saga_mark(Traveller(Depot()).journey).version == 1


class Watcher:
    sagas: Sagas

    @saga()
    async def watch(self) -> list[str]:
        step = current_step()
        first = await step(self.look, undo=(self.forget, "first"))
        return [first, await step(self.look)]

    async def look(self) -> str:
        return " ".join(f"{each.id} {each.state}" for each in (await self.sagas.inspect("t1")).steps)

    async def forget(self, what: str) -> None: ...


async def test_a_step_is_on_disk_before_its_effect_and_its_answer_before_the_next_effect(tmp_path):
    watcher = Watcher()
    async with opened(tmp_path, watcher) as sagas:
        watcher.sagas = sagas
        assert await sagas.run(watcher.watch, id="t1") == [
            "main/look#1 begun",
            "main/look#1 done main/look#2 begun",
        ]


async def test_a_three_step_saga_takes_four_commits(tmp_path):
    traveller = Traveller(Depot())
    async with opened(tmp_path, traveller) as sagas:
        before = sagas._db.statistics().commits
        await sagas.run(traveller.journey, ("hat", "map", "tent"))
        assert sagas._db.statistics().commits - before == 4
