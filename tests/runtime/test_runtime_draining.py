"""Shutdowns that come too late: whatever is cut off, a healthy saga neither counts a failure nor undoes anything."""

import asyncio
from pathlib import Path

import pytest

from archstone.errors import RejectedError
from archstone.runtime import Embedded, Settings, running
from archstone.sagas import SagaInfo, saga
from archstone.services import ANYONE, Contract, Service, System, command

HASTY = Settings(drain_s=0.2)


class Steady(Contract, version="1.0"):
    @command("/quick", requires=ANYONE)
    async def quick(self, number: int) -> str:
        """Answer at once."""
        ...

    @command("/slow", requires=ANYONE)
    async def slow(self) -> str:
        """Answer after twenty seconds, unless told otherwise."""
        ...


class Buying(Contract, version="1.0"):
    @command("/many", requires=ANYONE)
    async def many(self) -> str:
        """Take many quick steps."""
        ...

    @command("/long", requires=ANYONE)
    async def long(self) -> str:
        """Take one slow step."""
        ...


class Dawdling(Contract, version="1.0"):
    @command("/dawdle", requires=ANYONE)
    async def dawdle(self) -> str:
        """Take long, and long to be cancelled."""
        ...


class BuyingService(Service, Buying, name="buying"):
    steady: Steady

    @saga(version=1)
    async def many(self) -> str:
        await self.step(self.begin, undo=(self.undo,))
        for number in range(200):
            await self.step(self.steady.quick, number)
            await self.step.sleep(0.05)
        return "many"

    @saga(version=1)
    async def long(self) -> str:
        await self.step(self.begin, undo=(self.undo,))
        return await self.step(self.steady.slow, timeout_s=30)

    async def begin(self) -> None:
        """Do what would have to be undone."""

    async def undo(self) -> None:
        """Undo it."""


class DawdlingService(Service, Dawdling, name="dawdling"):
    async def dawdle(self) -> str:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(4)
        return ""


class SteadyService(Service, Steady, name="steady"):
    seconds = 20.0
    cleaning_s = 0.0

    async def quick(self, number: int) -> str:
        await self.tx.execute("SELECT 1")
        return str(number)

    async def slow(self) -> str:
        try:
            await asyncio.sleep(self.seconds)
        finally:
            await asyncio.sleep(self.cleaning_s)
        return "slow"


SYSTEM = System("hasty", services=[BuyingService, DawdlingService, SteadyService])


async def the_saga(run: Embedded) -> SagaInfo:
    engine = run.parts.services["buying"].dispatcher.sagas
    assert engine is not None
    [only] = await engine.list()
    return only


async def test_a_drain_that_comes_too_late_undoes_no_healthy_saga(tmp_path: Path) -> None:
    async with running(SYSTEM, data=tmp_path, settings=HASTY) as run:
        callers = [
            asyncio.create_task(run.client(Buying, as_="ann").many()),
            asyncio.create_task(run.client(Dawdling, as_="ann").dawdle()),
        ]
        await asyncio.sleep(0.5)
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(each) for each in told] == [RejectedError, RejectedError], told
    async with running(SYSTEM, data=tmp_path) as run:
        assert (await the_saga(run)).status == "running"
        await asyncio.sleep(60)
        found = await the_saga(run)
    assert (found.status, found.attempts) == ("done", 0)


async def test_the_wait_for_a_saga_does_not_hold_up_a_drain(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with running(SYSTEM, data=tmp_path) as run:
        caller = asyncio.create_task(run.client(Buying, as_="ann").many())
        await asyncio.sleep(0.5)
        begun = loop.time()
        await run.drain()
        assert loop.time() - begun < 1
    with pytest.raises(RejectedError):
        await caller


@pytest.mark.parametrize("cleaning_s", [0.0, 3.0])
async def test_late_shutdowns_leave_a_healthy_saga_as_it_was(
    tmp_path: Path, cleaning_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SteadyService, "cleaning_s", cleaning_s)
    async with running(SYSTEM, data=tmp_path, settings=HASTY) as run:
        caller = asyncio.create_task(run.client(Buying, as_="ann").long())
        await asyncio.sleep(0.5)
    with pytest.raises(RejectedError, match=r"Buying\.long: its service is closing"):
        await caller
    for _ in range(6):
        async with running(SYSTEM, data=tmp_path, settings=HASTY) as run:
            await asyncio.sleep(0.5)
            found = await the_saga(run)
            assert (found.status, found.attempts) == ("running", 0), found
    monkeypatch.setattr(SteadyService, "seconds", 0.1)
    async with running(SYSTEM, data=tmp_path) as run:
        await asyncio.sleep(10)
        assert (await the_saga(run)).status == "done"
