"""A saga finishes on the version of its function with which it began, or says which one it needs."""

import asyncio
from pathlib import Path

import pytest
from saga_cast import Depot, Traveller, opened

from archstone.data import Database
from archstone.sagas import Sagas, SagaStuckError, SagaVersionError, StepCodecError, saga, saga_mark


class May(Traveller):
    @saga()
    async def trip(self, first: str) -> str:
        await self.step(self.depot.take, first, undo=(self.depot.put_back, first))
        await self.step(self.depot.take, "map")
        return "arrived"

    @saga()
    async def outer(self) -> str:
        return await self.step.child(self.trip, "hat")


class June(Traveller):
    """Another trip, with other arguments and another answer; the old one is kept beside it."""

    @saga(version=2)
    async def trip(self, how_many: int, where: str) -> int:
        await self.step(self.depot.take, f"{how_many} tickets to {where}")
        return how_many

    @saga(name="trip", version=1)
    async def trip_of_may(self, first: str) -> str:
        await self.step(self.depot.take, first, undo=(self.depot.put_back, first))
        await self.step(self.depot.take, "map")
        return "arrived"

    @saga()
    async def outer(self) -> str:
        return await self.step.child(self.trip_of_may, "hat")


class July(Traveller):
    @saga(version=2)
    async def trip(self, how_many: int, where: str) -> int:
        return how_many

    @saga(version=3, name="trip")
    async def newest(self) -> None: ...


@saga(name="errand", version=1)
async def first_errand(thing: str) -> str:
    return f"old {thing}"


@saga(version=2)
async def errand(thing: str) -> str:
    return f"new {thing}"


async def stopped_at_the_map(tmp_path: Path, depot: Depot, method: str = "trip", *args: object) -> None:
    depot.hold("take map")
    owner = May(depot)
    async with opened(tmp_path, owner) as sagas:
        async with sagas._db.transaction() as tx:
            await sagas.start(tx, getattr(owner, method), *args, id="t1")
        await asyncio.sleep(0.5)
    assert depot.log == ["take hat", "take map"]
    depot.log.clear()
    depot.gates.clear()


async def test_one_that_runs_finishes_on_its_own_version_and_new_ones_begin_on_theirs(tmp_path: Path) -> None:
    depot = Depot()
    await stopped_at_the_map(tmp_path, depot, "trip", "hat")
    june = June(depot)
    async with opened(tmp_path, june) as sagas:
        assert await sagas.result("t1") == "arrived"
        assert await sagas.run(june.trip, 2, "Rome", id="t2") == 2
        assert await sagas.run(june.trip_of_may, "cap", id="t3") == "arrived"
        assert [(each.id, each.method, each.version) for each in await sagas.list()] == [
            ("t3", "trip", 1),
            ("t2", "trip", 2),
            ("t1", "trip", 1),
        ]
        assert await sagas.result("t1") == "arrived", "the answer is read by its own version"


async def test_one_whose_version_is_gone_is_stuck_and_says_which_it_needs_and_which_are_there(tmp_path: Path) -> None:
    depot = Depot()
    await stopped_at_the_map(tmp_path, depot, "trip", "hat")
    async with opened(tmp_path, July(depot)) as sagas:
        with pytest.raises(SagaStuckError) as stuck:
            await sagas.result("t1")
    assert stuck.value.why == (
        "it needs version 1 of trip, the code has version 2, 3: put the function with which it began back beside the "
        "newer one, as @saga(name='trip', version=1), then resume it"
    )
    assert depot.log == []
    async with opened(tmp_path, June(depot)) as sagas:
        await sagas.resume("t1")
        assert await sagas.result("t1") == "arrived"


async def test_a_parent_finds_its_child_under_the_name_of_the_saga(tmp_path: Path) -> None:
    depot = Depot()
    await stopped_at_the_map(tmp_path, depot, "outer")
    async with opened(tmp_path, June(depot)) as sagas:
        assert await sagas.result("t1") == "arrived"


async def test_functions_of_a_module_have_versions_too(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as sagas:
        assert await sagas.run(first_errand, "milk", id="t1") == "old milk"
        assert await sagas.run(errand, "milk", id="t2") == "new milk"
        assert [each.method for each in await sagas.list()] == [f"{__name__}:errand"] * 2
        found = sagas._versions.find(f"{__name__}:errand", 1)
        assert found.call is first_errand
        with pytest.raises(SagaVersionError, match=r"needs version 7 of .*:errand, the code has version 1, 2"):
            sagas._versions.find(f"{__name__}:errand", 7)


async def test_an_answer_whose_version_is_gone_is_read_by_the_newest(tmp_path: Path) -> None:
    depot = Depot()
    owner = May(depot)
    async with opened(tmp_path, owner) as sagas:
        await sagas.run(owner.trip, "hat", id="t1")

    class Later(Traveller):
        @saga(version=2)
        async def trip(self) -> str | None:
            return None

    async with opened(tmp_path, Later(depot)) as sagas:
        assert await sagas.result("t1") == "arrived"


async def test_two_functions_cannot_be_the_same_version() -> None:
    class Twice(Traveller):
        @saga()
        async def trip(self) -> None: ...

        @saga(name="trip")
        async def other(self) -> None: ...

    with pytest.raises(StepCodecError, match="trip: other and trip are both its version 1; give one of them another"):
        Sagas(Database("sqlite:///none.db"), owner=Twice(Depot()))


async def test_two_names_of_one_function_are_one_saga() -> None:
    class Named(Traveller):
        @saga(name="walk")
        async def trip(self) -> None: ...

        stroll = trip

    owner = Named(Depot())
    sagas = Sagas(Database("sqlite:///none.db"), owner=owner)
    assert sagas._versions.find("walk", 1).call == owner.stroll
    assert saga_mark(owner.trip).name == "walk"


@pytest.mark.parametrize(
    ("options", "fault"),
    [({"version": 0}, "version=0 must be at least 1"), ({"name": "a trip"}, "name='a trip' must be a Python name")],
)
def test_a_mark_that_cannot_be_is_refused(options: dict, fault: str) -> None:
    async def trip() -> None: ...

    with pytest.raises(StepCodecError, match=fault):
        saga(**options)(trip)
    saga(version=1, name="trip")(trip)
