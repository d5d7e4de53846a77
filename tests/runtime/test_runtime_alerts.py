"""What is behind in a running system, or waits for a person, is told within seconds."""

import asyncio
import re
from collections.abc import AsyncIterator
from functools import cached_property
from pathlib import Path

import pytest

from archstone.context import Principal
from archstone.data import Envelope, Event, Transaction
from archstone.eventsourcing import EVENTS_SCHEMA, EventStore, Projection, Projector, when
from archstone.observability import Alert, render
from archstone.resilience import Retry
from archstone.runtime import running
from archstone.runtime.embedded import Embedded
from archstone.sagas import saga
from archstone.services import ANYONE, Contract, Service, System, command


class Chimed(Event, name="clock.chimed", version=1, key="hour"):
    hour: int


class Clock(Contract, version="1.0"):
    @command("/chimes", public=True, requires=ANYONE, key_required=False)
    async def chime(self, hour: int) -> int:
        """Chime."""
        ...

    @command("/windings", public=True, requires=ANYONE, key_required=False)
    async def wind(self, hour: int) -> int:
        """Wind it up, which gets stuck."""
        ...


class Hours(Projection, name="hours"):
    broken = False

    async def create(self, tx: Transaction) -> None:
        await tx.execute(f"CREATE TABLE {self.table('hours')} (hour INTEGER)")

    @when
    async def chimed(self, tx: Transaction, event: Chimed) -> None:
        if Hours.broken:
            raise OSError("the dial is gone")
        await tx.execute(f"INSERT INTO {self.table('hours')} VALUES (:hour)", hour=event.hour)


class ClockService(Service, Clock, name="clock"):
    schemas = (EVENTS_SCHEMA,)
    reads_hours = True

    @cached_property
    def store(self) -> EventStore:
        return EventStore(self.db)

    def projectors(self) -> tuple[Projector, ...]:
        return (Projector(self.store, Hours()),) if self.reads_hours else ()

    async def chime(self, hour: int) -> int:
        await self.store.append("clock", [Chimed(hour=hour)], tx=self.tx, publish=True)
        return hour

    async def wind(self, hour: int) -> int:
        await self.tx.start(self.winding, hour, id=f"w{hour}")
        return hour

    @saga(version=1)
    async def winding(self, hour: int) -> None:
        await self.step(self.turn, hour, undo=(self.turn_back, hour), retry=Retry(100 if hour > 12 else 1))

    async def turn(self, hour: int) -> None:
        raise OSError("the spring is gone")

    async def turn_back(self, hour: int) -> None:
        raise OSError("the spring is gone")


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with running(System("tower", services=[ClockService]), data=tmp_path / "tower") as run:
        yield run


ADMIN = Principal("a" * 32, frozenset({"admin"}))


async def until_told(run: Embedded, name: str, *, within_s: float) -> Alert:
    async with asyncio.timeout(within_s):
        while True:
            for alert in run.alerts.firing():
                if alert.name == name:
                    return alert
            await asyncio.sleep(0.5)


async def test_a_relay_that_cannot_send_is_told_within_seconds_and_so_is_its_recovery(run: Embedded) -> None:
    send, sent = run.bus.send, list[str]()

    async def refuse(*envelopes: Envelope) -> None:
        raise OSError("the bus is gone")

    run.bus.send = refuse  # type: ignore[method-assign]
    await run.client(Clock).chime(3)
    alert = await until_told(run, "relay of clock", within_s=20)
    assert "an event has been in the outbox for" in alert.why
    assert "the bus is gone" in alert.why
    run.alerts.hooks.append(lambda alert: sent.append(f"{alert.name} {alert.firing}"))
    run.bus.send = send  # type: ignore[method-assign]
    await asyncio.sleep(20)
    assert run.alerts.firing() == []
    assert sent == ["relay of clock False"]


async def test_a_stuck_saga_is_told_within_seconds(run: Embedded) -> None:
    await run.client(Clock).wind(3)
    async with asyncio.timeout(600):
        while run.parts.services["clock"].dispatcher.sagas.statistics().stuck == 0:  # type: ignore[union-attr]
            await asyncio.sleep(0.5)
    alert = await until_told(run, "sagas of clock", within_s=6)
    assert alert.why == "1 saga(s) wait for a person; archstone sagas shows why"


async def test_a_step_that_is_tried_in_vain_is_told_before_it_gives_up(run: Embedded) -> None:
    await run.client(Clock).wind(13)
    alert = await until_told(run, "sagas of clock", within_s=30)
    assert re.fullmatch(r"\S*turn\S* of saga w13 has failed for \d+ s and is tried on", alert.why)
    assert "archstone sagas" in alert.todo


async def test_a_projection_that_fails_is_told_within_seconds_and_so_is_its_recovery(
    run: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hours, "broken", True)
    await run.client(Clock).chime(3)
    alert = await until_told(run, "projection hours v1 of clock", within_s=6)
    assert re.match(r"it does not move, \d+ s behind \(.*OSError: the dial is gone", alert.why)
    assert [each.name for each in (await run.console.figures(ADMIN)).alerts] == [alert.name]
    monkeypatch.setattr(Hours, "broken", False)
    await asyncio.sleep(20)
    assert run.alerts.firing() == []


async def test_a_projection_that_nobody_runs_any_more_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = System("tower", services=[ClockService])
    async with running(system, data=tmp_path / "tower") as run:
        await asyncio.sleep(10)
        assert run.alerts.firing() == []
    monkeypatch.setattr(ClockService, "reads_hours", False)
    async with running(system, data=tmp_path / "tower") as run:
        await until_told(run, "projection hours v1 of clock", within_s=6)
        assert 'archstone_projection_not_run{projection="hours",version="1"} 1' in render()


async def test_a_healthy_system_tells_nothing(run: Embedded) -> None:
    await run.client(Clock).chime(3)
    await asyncio.sleep(60)
    assert run.alerts.firing() == []
