"""A journal meets code that is not the code that wrote it."""

import asyncio

import pytest
from saga_cast import Depot, Traveller, opened

from archstone.sagas import SagaStuckError, saga
from archstone.sagas.codec import Codec, same_arguments


class Before(Traveller):
    """Takes a hat, then waits for the map until it is stopped."""

    @saga()
    async def trip(self) -> str:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        await self.step(self.depot.take, "map", undo=(self.depot.put_back, "map"))
        return "arrived"


class OtherName(Before):
    @saga()
    async def trip(self) -> str:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        await self.step(self.depot.put_back, "map", undo=(self.depot.put_back, "map"))
        return "arrived"


class OtherArguments(Before):
    @saga()
    async def trip(self) -> str:
        await self.step(self.depot.take, "cap", undo=(self.depot.put_back, "hat"))
        return "arrived"


class OtherUndo(Before):
    @saga()
    async def trip(self) -> str:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "cap"))
        return "arrived"


class NoUndo(Before):
    @saga()
    async def trip(self) -> str:
        await self.step(self.depot.take, "hat")
        return "arrived"


class Fewer(Before):
    @saga()
    async def trip(self) -> str:
        await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
        return "arrived"


class Swallowing(Before):
    @saga()
    async def trip(self) -> str:
        try:
            await self.step(self.depot.put_back, "hat")
        except Exception:
            return "what change?"
        return "arrived"


class Sleeping(Before):
    @saga()
    async def trip(self) -> str:
        await self.step.sleep(1)
        return "arrived"


class Gone(Traveller):
    pass


class OtherSignature(Before):
    @saga()
    async def trip(self, how: str) -> str:
        return how


class OtherAnswer(Before):
    def __init__(self, depot: Depot) -> None:
        super().__init__(depot)
        self.depot = Counting(depot)


class Counting:
    def __init__(self, depot: Depot) -> None:
        self.depot = depot

    async def take(self, thing: str, count: int = 1) -> int:
        await self.depot.take(thing, count)
        return count

    async def put_back(self, thing: str) -> None:
        await self.depot.put_back(thing)


async def stopped_at_the_map(tmp_path, depot: Depot) -> None:
    depot.hold("take map")
    before = Before(depot)
    async with opened(tmp_path, before) as sagas:
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, before.trip, id="t1")
        await asyncio.sleep(0.5)
    assert depot.log == ["take hat", "take map"]
    depot.log.clear()
    depot.gates.clear()


@pytest.mark.parametrize(
    ("code", "journal", "says"),
    [
        (OtherName, "main/depot.take#2", "the code has main/depot.put_back#1"),
        (OtherArguments, 'main/depot.take#1 with ["hat"]', 'the code has ["cap"]'),
        (OtherUndo, 'with undo ["depot.put_back",["hat"]]', 'the code has ["depot.put_back",["cap"]]'),
        (NoUndo, 'with undo ["depot.put_back",["hat"]]', "the code has null"),
        (Fewer, "main/depot.take#2", "the code has the end of the body"),
        (Swallowing, "main/depot.take#1", "the code has main/depot.put_back#1"),
        (Sleeping, "main/depot.take#1", "the code has main/sleep#1"),
        (Gone, "trip with []", "the code no longer has it"),
        (OtherSignature, "trip with []", "the arguments in the journal do not fit its annotations: 0: Field required"),
        (OtherAnswer, "main/depot.take#1 with an answer", "another type of answer"),
    ],
)
async def test_changed_code_stops_the_saga_as_stuck_and_the_old_code_can_finish_it(tmp_path, code, journal, says):
    depot = Depot()
    await stopped_at_the_map(tmp_path, depot)
    async with opened(tmp_path, code(depot)) as sagas:
        with pytest.raises(SagaStuckError) as caught:
            await sagas.result("t1")
        (seen,) = await sagas.list("stuck")
    assert caught.value.why.startswith("code changed: the journal of saga 't1' has ")
    assert journal in caught.value.why
    assert says in caught.value.why
    assert seen.why == caught.value.why
    assert depot.log == []
    async with opened(tmp_path, Before(depot)) as sagas:
        await sagas.resume("t1")
        assert await sagas.result("t1") == "arrived"
    assert depot.log == ["take map"]


async def test_another_version_stops_the_saga_before_its_body_runs(tmp_path):
    depot = Depot()
    await stopped_at_the_map(tmp_path, depot)

    class Later(Before):
        @saga(version=2)
        async def trip(self) -> str:
            return "never"

    async with opened(tmp_path, Later(depot)) as sagas:
        with pytest.raises(SagaStuckError, match="it needs version 1 of trip, the code has version 2:"):
            await sagas.result("t1")


async def test_more_steps_after_where_the_journal_ends_are_no_change(tmp_path):
    depot = Depot()
    await stopped_at_the_map(tmp_path, depot)

    class Longer(Before):
        @saga()
        async def trip(self) -> str:
            await self.step(self.depot.take, "hat", undo=(self.depot.put_back, "hat"))
            await self.step(self.depot.take, "map", undo=(self.depot.put_back, "map"))
            return await self.step(self.depot.take, "tent")

    async with opened(tmp_path, Longer(depot)) as sagas:
        assert await sagas.result("t1") == "1 tent"
    assert depot.log == ["take map", "take tent"]


async def test_an_undo_that_the_code_no_longer_has_makes_the_saga_stuck(tmp_path):
    depot = Depot()
    depot.fail("take map", *[OSError("gone") for _ in range(9)])
    depot.hold("put back map")
    before = Before(depot)
    async with opened(tmp_path, before) as sagas:
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, before.trip, id="t1")
        await asyncio.sleep(20)
    assert depot.log[-1] == "put back map"

    class Forgetful:
        async def take(self, thing: str) -> str:
            return thing

    traveller = Before(depot)
    traveller.depot = Forgetful()
    async with opened(tmp_path, traveller) as sagas:
        with pytest.raises(SagaStuckError, match=r"cannot undo main/depot.take#2 by depot.put_back"):
            await sagas.result("t1")


async def test_a_set_of_arguments_has_no_order(tmp_path):
    async def pick(things: frozenset[str]) -> None: ...

    codec = Codec("pick", pick)
    assert same_arguments(codec, b'[["a","b"]]', b'[["b","a"]]')
    assert not same_arguments(codec, b'[["a","b"]]', b'[["b","c"]]')
