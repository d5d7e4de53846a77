"""Steps that wait for the answer of another saga: no drain waits for them."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from saga_cast import Depot, Traveller

from archstone import world
from archstone.data import Database
from archstone.sagas import Sagas, SagasClosedError, current_step, saga


class Agency:
    """Has somebody else travel: the engine of the traveller, or its own."""

    def __init__(self) -> None:
        self.travels: Sagas | None = None
        self.traveller: Traveller | None = None

    async def send(self, thing: str) -> list[str]:
        return await self.travels.run(self.traveller.journey, (thing, "map"), id=f"sent for {thing}")

    @saga()
    async def outing(self, thing: str) -> list[str]:
        return await current_step()(self.send, thing)


async def opened_engines(stack: AsyncExitStack, tmp_path: Path, agency: Agency, depot: Depot) -> tuple[Sagas, Sagas]:
    db = await stack.enter_async_context(Database(f"sqlite:///{tmp_path / 'sagas.db'}"))
    agency.traveller = Traveller(depot)
    travels = await stack.enter_async_context(Sagas(db, owner=agency.traveller, name="travels"))
    agency.travels = travels
    return await stack.enter_async_context(Sagas(db, owner=agency, name="agency")), travels


async def test_a_drain_does_not_wait_for_the_answer_of_a_saga_that_cannot_go_on(tmp_path):
    agency, depot = Agency(), Depot()
    async with AsyncExitStack() as stack:
        outings, travels = await opened_engines(stack, tmp_path, agency, depot)
        gate = depot.hold("take hat")
        running = asyncio.create_task(outings.run(agency.outing, "hat", id="o1"))
        await asyncio.sleep(0.5)
        for engine in (outings, travels):
            engine.hold()
        gate.set()
        begun_s = world.monotonic()
        for engine in (outings, travels):
            await engine.drain()
        assert world.monotonic() - begun_s < 0.01
        with pytest.raises(SagasClosedError):
            await running
    async with AsyncExitStack() as stack:
        outings, travels = await opened_engines(stack, tmp_path, agency, depot)
        assert await outings.result("o1") == ["1 hat", "1 map"]
        assert (await outings.inspect("o1")).attempts == 0
    assert depot.log == ["take hat", "take map"]


async def test_who_asks_for_the_answer_of_a_saga_while_its_engine_holds_is_told_at_once(tmp_path):
    agency, depot = Agency(), Depot()
    async with AsyncExitStack() as stack:
        _, travels = await opened_engines(stack, tmp_path, agency, depot)
        travels.hold()
        with pytest.raises(SagasClosedError, match="saga 't1' goes on when they open again"):
            await travels.run(agency.traveller.journey, ("hat",), id="t1")


async def test_a_saga_in_its_last_step_still_answers_those_who_wait_while_its_engine_drains(tmp_path):
    agency, depot = Agency(), Depot()
    async with AsyncExitStack() as stack:
        outings, travels = await opened_engines(stack, tmp_path, agency, depot)
        gate = depot.hold("take map")
        running = asyncio.create_task(travels.run(agency.traveller.journey, ("hat", "map"), id="t1"))
        await asyncio.sleep(0.5)
        travels.hold()
        gate.set()
        assert await running == ["1 hat", "1 map"]
        assert await outings.list() == []
