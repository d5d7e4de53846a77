"""What is told of a running system is what it did, and looking costs next to nothing."""

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from archstone import world
from archstone.data import Event
from archstone.gateway import Gateway
from archstone.observability import Registry
from archstone.resilience import OverloadedError, Shed
from archstone.runtime import running
from archstone.runtime.pulse import CLASSES, Pulse
from archstone.services import ANYONE, Contract, Service, System, command, on, query

SCHEMA = "CREATE TABLE IF NOT EXISTS seen (name TEXT)"


class Ticks(Contract, version="1.0"):
    @command("/ticks", public=True, requires=ANYONE, key_required=False)
    async def tick(self, name: str) -> None: ...

    @query("/ticks/{name}", public=True, requires=ANYONE)
    async def fails(self, name: str) -> int: ...


class Ticked(Event, name="ticks.ticked", version=1, key="name"):
    name: str


class TicksService(Service, Ticks):
    async def tick(self, name: str) -> None:
        await asyncio.sleep(0.02)
        self.tx.publish(Ticked(name=name))

    @on(Ticked)
    async def see(self, event: Ticked) -> None:
        await self.tx.execute(SCHEMA)

    async def fails(self, name: str) -> int:
        raise ZeroDivisionError(name)


ticks = System("ticks", services=[TicksService], gateway=Gateway(rate_limit=None))


async def test_requests_times_and_events_are_told_as_they_were(tmp_path: Path) -> None:
    elsewhere = Shed(1).bind("elsewhere")  # not a gateway's: what it sheds is nobody's 503
    with elsewhere.admit(), suppress(OverloadedError), elsewhere.admit():
        pass
    async with running(ticks, data=tmp_path) as run:
        pulse = Pulse(run)
        before = await pulse.take()
        http = httpx.AsyncClient(transport=httpx.ASGITransport(run.asgi), base_url="http://x")
        async with http:
            for number in range(10):
                answer = await http.post("/api/v1/ticks", json={"name": f"n{number}"})
                assert answer.status_code == 200, answer.text
            assert (await http.get("/api/v1/ticks/x")).status_code == 500
            assert (await http.get("/api/v1/nothing")).status_code == 404
            await http.get("/health/ready")  # not what a person asks
        await asyncio.sleep(2)
        now = await pulse.take()
        assert now.requests - before.requests == 12
        apart_s = 2.2
        rates = {name: round(now.per_s[name] * apart_s) for name in CLASSES}
        assert rates == {"2xx": 10, "4xx": 1, "5xx": 1, "shed": 0, "limited": 0}
        assert now.p50_s is not None
        assert 0.015 < now.p50_s <= 0.025
        assert now.history == pytest.approx((12 / apart_s,), rel=0.05)
        recent = {name: (minute, total) for name, minute, total in now.events}
        assert recent["ticks.ticked"][0] == 10
        assert (now.waiting, now.dead, now.unsent, now.sagas_running) == (0, 0, 0, 0)
        assert now.ready


async def test_the_past_is_forgotten_and_the_minute_kept(tmp_path: Path) -> None:
    async with running(ticks, data=tmp_path) as run:
        pulse = Pulse(run)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(run.asgi), base_url="http://x") as http:
            await http.post("/api/v1/ticks", json={"name": "a"})
        for _ in range(130):
            await asyncio.sleep(0.5)
            now = await pulse.take()
        assert set(now.per_s.values()) == {0.0}
        assert now.p50_s is now.p95_s is None
        assert len(now.history) == 60
        assert {name: minute for name, minute, _ in now.events}["ticks.ticked"] == 0


async def test_a_system_shows_what_it_declares(tmp_path: Path) -> None:
    registry = Registry()
    registry.gauge("ticks_open", "Open.").set(3)
    registry.counter("ticks_sold", "Sold.").inc(2)
    registry.gauge("archstone_inside", "Ours.").set(1)
    registry.gauge("ticks_by_name", "By name.", ("name",)).labels("x").set(1)
    registry.histogram("ticks_size", "Sizes.").observe(1)
    async with running(ticks, data=tmp_path) as run:
        assert (await Pulse(run, registry=registry).take()).own == (("Open", 3.0), ("Sold", 2.0))


async def test_a_full_house_is_no_failure(tmp_path: Path) -> None:
    registry = Registry()
    requests = registry.counter("shop_page_requests", "Pages.", ("route", "status"))
    shed = registry.counter("archstone_shed", "Shed.", ("gate", "reason"))
    async with running(ticks, data=tmp_path) as run:
        pulse = Pulse(run, registry=registry)
        await asyncio.sleep(1)
        for status, count in (("200", 5), ("303", 1), ("404", 2), ("429", 3), ("503", 4), ("500", 1)):
            requests.labels("front", status).inc(count)
        shed.labels("shop pages", "in_flight").inc(4)
        now = await pulse.take()
    assert dict(now.per_s) == {"2xx": 6, "4xx": 2, "5xx": 1, "shed": 4, "limited": 3}
    assert now.requests == 16


@pytest.mark.real_time
async def test_a_look_takes_a_moment(tmp_path: Path) -> None:
    """A thousandth of the time that passes between two looks would be half a millisecond; a hundredth is the bound."""
    async with running(ticks, data=tmp_path) as run:
        pulse = Pulse(run)
        took_s: list[float] = []
        for _ in range(20):
            begun_s = world.monotonic()
            await pulse.take()
            took_s.append(world.monotonic() - begun_s)
    print(f"a look: {sorted(took_s)[10] * 1e3:.2f} ms")
    assert min(took_s) < 0.005
