"""What a service that was taken out of a system leaves on the bus: told at each start, and dropped when asked."""

import asyncio
from pathlib import Path

import pytest

from archstone.data import Event
from archstone.errors import NotFoundError
from archstone.observability import configure_logging
from archstone.runtime import OPERATOR, Embedded, GroupInUseError, Operator, running
from archstone.services import ANYONE, Contract, Service, System, command, on


class Rung(Event, name="belfry.rung", version=1, key="who"):
    who: str


class Waved(Event, name="window.waved", version=1, key="who"):
    who: str


class Bell(Contract, version="1.0"):
    @command("/rings", public=True, requires=ANYONE, key_required=False)
    async def ring(self, who: str) -> None: ...


class BellService(Service, Bell, name="bell"):
    async def ring(self, who: str) -> None:
        self.tx.publish(Rung(who=who))
        self.tx.publish(Waved(who=who))


class ButlerService(Service, name="butler"):
    heard = 0

    @on(Rung)
    async def hear(self, event: Rung) -> None:
        type(self).heard += 1


class OldButlerService(Service, name="butler"):
    """The butler of an earlier release, who also looked out of the window."""

    @on(Rung)
    async def hear(self, event: Rung) -> None: ...

    @on(Waved)
    async def see(self, event: Waved) -> None: ...


class DogService(Service, name="dog"):
    @on(Rung)
    async def bark(self, event: Rung) -> None: ...


BEFORE = System("house", services=[BellService, OldButlerService, DogService])
AFTER = System("house", services=[BellService, ButlerService])


async def left_behind(data: Path, *, rings: int) -> None:
    """Run the system of before, then that of after, which leaves messages to a dog that is gone."""
    async with running(BEFORE, data=data):
        pass
    async with Embedded(AFTER, data) as run:
        for _ in range(rings):
            await run.client(Bell, as_=OPERATOR).ring("ann")
        for part in run.parts.services.values():
            await part.relay.relay_once()


async def test_a_start_tells_of_groups_without_a_service_with_what_waits_and_the_way_out(tmp_path: Path) -> None:
    data, log = tmp_path / "house", tmp_path / "log"
    await left_behind(data, rings=3)
    with log.open("w") as stream:
        configure_logging("info", json=True, stream=stream)
        try:
            async with running(AFTER, data=data):
                pass
        finally:
            configure_logging("info", json=True)
    told = [line for line in log.read_text().splitlines() if "no service handles" in line]
    assert len(told) == 2
    assert '"group":"dog"' in told[0]
    assert '"topic":"belfry"' in told[0]
    assert '"waiting":3' in told[0]
    assert "archstone forget house dog" in told[0]
    assert '"group":"butler"' in told[1]
    assert '"topic":"window"' in told[1]


async def test_a_group_without_a_service_is_forgotten_and_its_topic_goes_on(tmp_path: Path) -> None:
    await left_behind(tmp_path, rings=3)
    async with Embedded(AFTER, tmp_path) as run:
        answer = await Operator(run).answer("forget", {"group": "dog"})
        assert answer == {"dropped": 3, "dead": 0, "topics": ["belfry"]}
        assert [(each.topic, each.group) for each in await run.bus.groups()] == [
            ("belfry", "butler"),
            ("window", "butler"),
        ]
        with pytest.raises(NotFoundError, match=r"no group 'dog' .* those without a service are butler"):
            await Operator(run).answer("forget", {"group": "dog"})


async def test_of_a_group_that_is_still_there_only_the_topics_go_that_it_reads_no_more(tmp_path: Path) -> None:
    await left_behind(tmp_path, rings=2)
    ButlerService.heard = 0
    async with running(AFTER, data=tmp_path) as run:
        assert (await Operator(run).answer("forget", {"group": "butler"}))["topics"] == ["window"]
        with pytest.raises(GroupInUseError) as caught:
            await Operator(run).answer("forget", {"group": "butler"})
        assert str(caught.value) == (
            "group 'butler' is a service of system 'house' and handles its messages: "
            "take the service out of the system first, then forget its group"
        )
        await asyncio.sleep(60)
    assert ButlerService.heard == 2
