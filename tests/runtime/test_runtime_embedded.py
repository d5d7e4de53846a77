"""Embedded mode from inside: what opens, what acts, what the settings change, and what is left at the end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from archstone.data import Event
from archstone.errors import ConfigError, NotFoundError
from archstone.gateway import Gateway
from archstone.runtime import OPERATOR, Embedded, FolderInUseError, Operator, Settings, VerbError, owner_of, running
from archstone.runtime.embedded import _as_set
from archstone.services import ANYONE, Contract, Environment, Service, System, command, every, on
from archstone.systems.shop.system import shop


class Knocked(Event, name="door.knocked", version=1, key="who"):
    who: str


class Door(Contract, version="1.0"):
    @command("/knocks", public=True, requires=ANYONE, key_required=False)
    async def knock(self, who: str) -> int:
        """Knock."""
        ...


class DoorService(Service, Door, name="door"):
    heard = 0
    rounds = 0

    async def knock(self, who: str) -> int:
        self.tx.publish(Knocked(who=who))
        return 1

    @on(Knocked)
    async def hear(self, event: Knocked) -> None:
        type(self).heard += 1

    @every(60.0)
    async def go_round(self) -> None:
        """Look after the house."""
        type(self).rounds += 1


@pytest.fixture
def house() -> System:
    DoorService.heard = DoorService.rounds = 0
    return System("house", services=[DoorService])


async def test_nothing_acts_before_it_is_started_and_nothing_after_it_is_drained(house: System, tmp_path: Path) -> None:
    async with Embedded(house, tmp_path) as run:
        assert run.readiness() == (False, {"system": "house"})
        await run.client(Door, as_=OPERATOR).knock("ann")
        await asyncio.sleep(300)
        assert (DoorService.heard, DoorService.rounds) == (0, 0)
        await run.start()
        assert run.readiness()[0]
        await asyncio.sleep(300)
        assert (DoorService.heard, DoorService.rounds) == (1, 4)
        await run.drain()
        assert not run.readiness()[0]
        await run.client(Door, as_=OPERATOR).knock("bob")
        await asyncio.sleep(300)
        assert (DoorService.heard, DoorService.rounds) == (1, 4)
    async with running(house, data=tmp_path):
        await asyncio.sleep(1)
        assert DoorService.heard == 2, "what was left is done at the next start"


async def test_one_process_may_not_open_a_folder_twice(house: System, tmp_path: Path) -> None:
    async with Embedded(house, tmp_path):
        with pytest.raises(FolderInUseError):
            async with Embedded(house, tmp_path):
                pass
        assert owner_of(tmp_path) is not None
    assert owner_of(tmp_path) is None


async def test_a_start_that_fails_gives_everything_back(tmp_path: Path) -> None:
    def broken(environment: object) -> object:
        raise ConfigError("no such thing")

    class Needy(Service, name="needy"):
        thing: Path

    system = System("needy", services=[Needy], provide={Path: broken})
    with pytest.raises(ConfigError, match="no such thing"):
        async with Embedded(system, tmp_path):
            pass
    assert owner_of(tmp_path) is None


async def test_a_provider_sees_what_those_before_it_have_made_and_opened(tmp_path: Path) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def counted(environment: Environment) -> AsyncIterator[Counter[str]]:
        told.append("opened")
        yield Counter(opened=1)
        told.append("closed")

    def named(environment: Environment) -> str:
        with pytest.raises(TypeError):
            environment.provided[int] = 7  # type: ignore[index] - nobody puts something in
        return f"{environment.provided[Counter]['opened']} {str in environment.provided}"

    class Open:
        """What a service keeps open as long as it acts."""

        async def __aenter__(self) -> None:
            told.append("acts")

        async def __aexit__(self, *about: object) -> None:
            told.append("rests")

    class Needy(Service, name="needy"):
        name_of: str

        def companions(self) -> Sequence[Open]:
            told.append(self.name_of)
            return (Open(),)

    system = System("needy", services=[Needy], provide={Counter: counted, str: named})
    async with running(system, data=tmp_path):
        assert told == ["opened", "1 False", "acts"]
    assert told[3:] == ["rests", "closed"]


async def test_what_is_not_open_or_has_no_door_says_so(house: System, tmp_path: Path) -> None:
    run = Embedded(house, tmp_path)
    with pytest.raises(ConfigError, match="'house' is not open: use it inside `async with`"):
        run.parts  # noqa: B018 - what is asked for is the error
    with pytest.raises(ConfigError, match=r"'house' has no gateway: give it one, System\(\.\.\., gateway=Gateway"):
        run.asgi  # noqa: B018 - the same


async def test_an_operator_is_told_what_does_not_fit(house: System, tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        ("dance", {}, VerbError, "no verb 'dance'; there are admin, audit, audit-verify, backup, call, dead"),
        ("admin", {"email": "a@b.c"}, VerbError, "has no administrators"),
        ("admin", {}, VerbError, "email=None: give a text"),
        ("trace", {"reference": ""}, VerbError, "reference='': give a text"),
        ("trace", {"reference": "f" * 32}, NotFoundError, "no trace of"),
        ("dead", {"limit": "many"}, VerbError, "limit='many': give a whole number"),
        ("dead", {"id": "-1"}, VerbError, "id='-1': give a whole number"),
        ("sagas", {"status": "odd"}, VerbError, "a saga is queued, running, stuck, done, failed"),
        ("saga", {"id": "x"}, NotFoundError, "no saga 'x' in any service"),
    ]
    async with Embedded(house, tmp_path) as run:
        operator = Operator(run)
        for verb, arguments, error, told in cases:
            with pytest.raises(error) as caught:
                await operator.answer(verb, arguments)
            assert told in str(caught.value)
        assert (await operator.answer("status", {}))["sagas_running"] == 0


async def test_a_system_that_was_opened_and_never_started_can_be_asked(tmp_path: Path) -> None:
    async with Embedded(shop, tmp_path) as run:
        operator = Operator(run)
        assert await operator.answer("sagas", {}) == {"sagas": []}
        assert await operator.answer("dead", {}) == {"letters": [], "retrying": {}}
        assert not (await operator.answer("status", {}))["ready"]


async def test_spans_tell_what_happened_by_its_trace(house: System, tmp_path: Path) -> None:
    async with running(house, data=tmp_path) as run:
        await run.client(Door, as_="ann").knock("ann")
        await asyncio.sleep(1)
        answer = await Operator(run).answer("trace", {"reference": "ann"})
    assert "Door.knock" in answer["waterfall"]
    assert "handle door" in answer["waterfall"]


async def test_an_idempotency_key_is_kept_as_long_as_the_settings_say(house: System, tmp_path: Path) -> None:
    from archstone import context

    settings = Settings(key_keep_s=100.0, sweep_every_s=10.0)
    async with running(house, data=tmp_path, settings=settings) as run:
        with context.enter(context.current()._replace(key="k")):
            await run.client(Door, as_="ann").knock("ann")
        database = run.parts.databases["door"]
        await asyncio.sleep(90)
        assert await database.one(int, "SELECT count(*) FROM _archstone_keys") == 1
        await asyncio.sleep(30)
        assert await database.one(int, "SELECT count(*) FROM _archstone_keys") == 0


def test_settings_that_are_given_win_over_those_of_the_gateway() -> None:
    gateway = Gateway(body_limit_bytes=5_000, time_limit_s=3.0)
    assert _as_set(gateway, Settings()) == gateway
    given = _as_set(gateway, Settings(body_limit_bytes=2_000, deadline_s=1.0, rate_limit_per_s=7.0))
    assert (given.body_limit_bytes, given.time_limit_s) == (2_000, 1.0)
    assert given.rate_limit is not None
    assert (given.rate_limit.rate_per_s, given.rate_limit.burst) == (7.0, 14.0)


def test_what_makes_an_administrator_is_an_operation_that_takes_address_and_role() -> None:
    with pytest.raises(ConfigError, match=r"promote=Door\.knock takes who: it must take email and role"):
        System("house", services=[DoorService], promote=Door.knock)
    with pytest.raises(ConfigError, match="is no operation of its services: name one"):
        System("house", services=[DoorService], promote=print)
