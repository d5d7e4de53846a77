"""Several processes on one PostgreSQL: one order without gaps that fill later, one runner for each projection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from es_lists import Names, ShoutedNames, effects, live_names
from es_users import User, john

from archstone.data import Database, Event
from archstone.eventsourcing import EventStore, Projector, ProjectorSettings, StreamConflictError, tables

pytestmark = pytest.mark.real_time

QUICK = ProjectorSettings(poll_s=0.05, lease_s=1.0)


class Rang(Event, name="estest.rang"):
    number: int = 0


@pytest.fixture
async def stores(postgres_url: str) -> AsyncIterator[list[EventStore]]:
    """The same database as two processes have it open."""
    async with AsyncExitStack() as stack:
        opened: list[EventStore] = []
        for name in ("one", "two"):
            opened.append(EventStore(await stack.enter_async_context(Database(postgres_url, name=name))))
            await opened[-1].open()
        yield opened


async def read_while_one_is_late(stores: list[EventStore]) -> tuple[list[str], list[str]]:
    """Let A append first and commit last, B meanwhile; return the streams that a reader has seen, and all there are."""
    one, two = stores
    seen: list[str] = []
    after = 0
    appended, go_on = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        nonlocal after
        for each in await two.read(after=after):
            seen.append(each.stream)
            after = each.position

    async def late() -> None:
        async with one.db.transaction() as tx:
            await one.append("late", [Rang()], expected=0, tx=tx)
            appended.set()
            await go_on.wait()

    first = asyncio.create_task(late())
    await appended.wait()
    second = asyncio.create_task(two.append("early", [Rang()], expected=0))
    await asyncio.wait([second], timeout=0.3)
    await read()
    go_on.set()
    await asyncio.gather(first, second)
    await read()
    return seen, [each.stream for each in await two.read()]


async def test_a_reader_never_misses_an_event_that_commits_late(stores: list[EventStore]):
    seen, everything = await read_while_one_is_late(stores)
    assert seen == everything == ["late", "early"]


async def test_without_the_lock_it_would(stores: list[EventStore], monkeypatch: pytest.MonkeyPatch):
    unordered = tables.APPEND["postgresql"].replace("pg_advisory_xact_lock", "abs")
    monkeypatch.setitem(tables.APPEND, "postgresql", unordered)
    seen, everything = await read_while_one_is_late(stores)
    assert (seen, everything) == (["early"], ["late", "early"])


async def test_many_writers_of_many_streams_in_two_processes_lose_nothing(stores: list[EventStore]):
    async def write(number: int) -> None:
        for step in range(5):
            await stores[number % 2].append(f"rang/{number}", [Rang(number=step)] * 2, expected=2 * step)

    seen: list[int] = []
    done = asyncio.Event()

    async def follow() -> None:
        while True:
            over = done.is_set()
            part = await stores[0].read(after=seen[-1] if seen else 0, limit=7)
            seen.extend(each.position for each in part)
            if over and not part:
                return
            await asyncio.sleep(0.001)

    reader = asyncio.create_task(follow())
    await asyncio.gather(*[write(number) for number in range(12)])
    done.set()
    await reader
    everything = await stores[1].read()
    assert len(everything) == 120
    assert seen == [each.position for each in everything]
    for number in range(12):
        mine = [each for each in everything if each.stream == f"rang/{number}"]
        assert [each.version for each in mine] == list(range(1, 11))


async def test_two_processes_that_decide_on_the_same_stream_conflict(stores: list[EventStore]):
    await stores[0].save(john())
    users = [await store.load(User, "1") for store in stores]
    for user in users:
        user.change_name("new")
    saved = await asyncio.gather(
        *[store.save(user) for store, user in zip(stores, users, strict=True)], return_exceptions=True
    )
    (lost,) = [each for each in saved if isinstance(each, Exception)]
    assert isinstance(lost, StreamConflictError)
    assert (await stores[0].load(User, "1")).version == 4


async def test_one_process_projects_what_another_saves_and_both_can_read_what_they_wrote(stores: list[EventStore]):
    one, two = stores
    names = Names()
    async with Projector(one, names, settings=QUICK) as here, Projector(two, names, settings=QUICK) as there:
        for number in range(10):
            store = stores[number % 2]
            position = await store.save(User.create(str(number), name="new", email="x@x"))
            await (here, there)[number % 2].reached(position, timeout_s=10.0)
            assert str(number) in await live_names(here)
        assert [here.statistics().running, there.statistics().running].count(True) == 1
    everything = [each.position for each in await one.read()]
    assert await effects(one.db, names) == everything


async def test_a_save_wakes_the_projection_in_another_process(stores: list[EventStore]):
    one, two = stores
    patient = ProjectorSettings(poll_s=60.0)
    async with Projector(one, Names(), settings=patient) as here:
        for number in range(3):
            position = await two.save(User.create(str(number), name="new", email="x@x"))
            await here.reached(position, timeout_s=5.0)


async def test_another_process_takes_over_from_one_that_stands_still_which_cannot_write_late(
    stores: list[EventStore],
):
    one, two = stores
    names = Names()
    async with Projector(one, names, settings=QUICK) as first:
        await first.reached(await one.save(john()), timeout_s=10.0)
        async with Projector(two, names, settings=QUICK) as second:
            # As SIGSTOP does: no beat, and nothing given up. Its own work goes on, as after SIGCONT.
            assert first._turn._lease is not None
            assert first._turn._lease._runner is not None
            first._turn._lease._runner.cancel()
            async with asyncio.timeout(10.0):
                while not second.statistics().running:
                    await asyncio.sleep(0.02)
            position = await one.save(User.create("2", name="Two", email="2@x"))
            await second.reached(position, timeout_s=10.0)
            await asyncio.sleep(0.2)
            assert not first.statistics().running
    assert await effects(one.db, names) == [each.position for each in await one.read() if each.version != 2]


async def test_a_new_version_is_made_beside_the_live_one_on_postgresql_too(stores: list[EventStore]):
    one, two = stores
    position = await one.save(john())
    async with Projector(one, Names(), settings=QUICK) as old:
        await old.reached(position, timeout_s=10.0)
        assert await live_names(old) == {"1": "John Doe"}
        async with Projector(two, ShoutedNames(), settings=QUICK) as new:
            async with asyncio.timeout(10.0):
                while not new.statistics().live:
                    await asyncio.sleep(0.01)
            assert await live_names(old) == await live_names(new) == {"1": "JOHN DOE"}
    await old.retire()
