"""What is behind in a running system, or waits for a person, is told within seconds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archstone.data import Envelope, Event
from archstone.observability import Alert
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


class ClockService(Service, Clock, name="clock"):
    async def chime(self, hour: int) -> int:
        self.tx.publish(Chimed(hour=hour))
        return hour

    async def wind(self, hour: int) -> int:
        await self.tx.start(self.winding, hour, id=f"w{hour}")
        return hour

    @saga(version=1)
    async def winding(self, hour: int) -> None:
        await self.step(self.turn, hour, undo=(self.turn_back, hour), retry=Retry(1))

    async def turn(self, hour: int) -> None:
        raise OSError("the spring is gone")

    async def turn_back(self, hour: int) -> None:
        raise OSError("the spring is gone")


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Embedded]:
    async with running(System("tower", services=[ClockService]), data=tmp_path / "tower") as run:
        yield run


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


async def test_a_healthy_system_tells_nothing(run: Embedded) -> None:
    await run.client(Clock).chime(3)
    await asyncio.sleep(60)
    assert run.alerts.firing() == []
