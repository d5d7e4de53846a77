"""A projection has the effect of every event once, catches up, follows, and tells when it cannot."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from es_lists import Emails, Names, ShoutedNames, effects, live_names
from es_users import EmailChanged, NameChanged, User, UserCreated, john

from archstone import world
from archstone.data import Database, Event, MisuseError, Transaction
from archstone.eventsourcing import (
    EventStore,
    HandlerError,
    Projection,
    ProjectionBehindError,
    Projector,
    ProjectorSettings,
    Recorded,
    live_version,
    when,
)
from archstone.eventsourcing.rows import position_of
from archstone.observability import render
from archstone.resilience import Exponential, SettingsError

SLOW = ProjectorSettings(poll_s=100.0, lease_s=300.0)
"""Nothing is found by polling in time: what happens, happens by being woken."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    """SQLite, on virtual time; what PostgreSQL adds is in test_eventsourcing_shared.py."""
    return f"sqlite:///{tmp_path}/events.db"


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path}/views.db", name="views") as db:
        yield db


def saves(first: int, last: int) -> list[int]:
    """The positions of the saves of one event each, from the first-th to the last-th."""
    return [position_of(row, 0) for row in range(first, last + 1)]


async def users(store: EventStore, count: int, *, first: int = 0) -> int:
    position = 0
    for number in range(first, first + count):
        position = await store.save(User.create(str(number), name=f"user {number}", email=f"{number}@x"))
    return position


async def test_it_catches_up_with_what_was_there_before(store: EventStore):
    position = await users(store, 250)
    names = Names()
    async with Projector(store, names, settings=ProjectorSettings(batch=100)) as projector:
        await projector.reached(position, timeout_s=5.0)
        assert len(await live_names(projector)) == 250
        assert await effects(store.db, names) == saves(1, 250)
        assert projector.statistics().position == position


async def test_it_follows_live_woken_by_the_commit(store: EventStore):
    async with Projector(store, Names(), settings=SLOW) as projector:
        await asyncio.sleep(1.0)
        for step in range(3):
            user = User.create(str(step), name="new", email="x@x")
            position = await store.save(user)
            before_s = world.monotonic()
            await projector.reached(position, timeout_s=1.0)
            assert world.monotonic() - before_s < 0.01
        assert await live_names(projector) == {"0": "new", "1": "new", "2": "new"}


async def test_polling_finds_what_nobody_was_woken_for(store: EventStore):
    async with Projector(store, Names(), settings=ProjectorSettings(poll_s=2.0)) as projector:
        await asyncio.sleep(0.5)
        projector._deaf()
        projector._deaf = lambda: None
        position = await users(store, 1)
        with pytest.raises(ProjectionBehindError):
            await projector.reached(position, timeout_s=1.0)
        await projector.reached(position, timeout_s=1.0)


async def test_who_waits_in_vain_is_told_how_far_it_has_come(store: EventStore):
    async with Projector(store, Names()) as projector:
        with pytest.raises(ProjectionBehindError) as caught:
            await projector.reached(7, timeout_s=0.5)
    assert str(caught.value) == (
        "projection names v1 is at position 0, 7 was not reached in 0.5 s: it is behind, or does not run; read what it "
        "has, or ask again"
    )


async def test_each_projection_sees_only_what_it_handles(store: EventStore):
    position = await store.save(john())
    names = Names()
    async with Projector(store, names) as one, Projector(store, Emails()) as two:
        await one.reached(position, timeout_s=1.0)
        await two.reached(position, timeout_s=1.0)
        assert await effects(store.db, names) == [position_of(1, 0), position_of(1, 2)]
        table = await two.live_table("emails")
        assert await store.db.all(str, f"SELECT email FROM {table}") == ["john@email.com"]


class Batches(Projection, name="batches", together=(UserCreated,)):
    """How many events each batch had, in a table and as this process saw it."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.broken = ""

    async def create(self, tx: Transaction) -> None:
        await tx.execute(f"CREATE TABLE {self.table('users')} (id TEXT PRIMARY KEY)")

    async def write_together(self, tx: Transaction, events: Sequence[Recorded[Event]]) -> None:
        ids = [each.event.user_id for each in events]  # type: ignore[attr-defined]
        self.seen.append(ids)
        await tx.many(f"INSERT INTO {self.table('users')} (id) VALUES (:id)", [{"id": each} for each in ids])
        if self.broken in ids:
            raise ValueError("this one cannot be written")


async def test_the_events_of_a_batch_are_written_together(store: EventStore):
    position = await users(store, 25)
    batches = Batches()
    async with Projector(store, batches, settings=ProjectorSettings(batch=10)) as projector:
        await projector.reached(position, timeout_s=1.0)
    assert [len(ids) for ids in batches.seen] == [10, 10, 5]
    assert [each for ids in batches.seen for each in ids] == [str(number) for number in range(25)]


async def test_of_a_batch_written_together_all_before_what_fails_is_kept(store: EventStore):
    await users(store, 9)
    batches = Batches()
    batches.broken = "6"
    async with Projector(store, batches) as projector:
        with pytest.raises(ProjectionBehindError, match=r"estest.user-created \(user/6 number 1\): ValueError"):
            await projector.reached(position_of(9, 0), timeout_s=5.0)
        assert await store.db.one(int, f"SELECT count(*) FROM {batches.table('users')}") == 6
        batches.broken = ""
        await projector.reached(position_of(9, 0), timeout_s=60.0)
    assert await store.db.one(int, f"SELECT count(*) FROM {batches.table('users')}") == 9


async def test_events_that_come_soon_after_one_share_its_batch(store: EventStore):
    batches = Batches()
    settings = ProjectorSettings(poll_s=100.0, lease_s=300.0, gather_s=0.25)
    async with Projector(store, batches, settings=settings) as projector:
        await asyncio.sleep(1.0)
        for number in range(10):
            position = await users(store, 1, first=number)
            await asyncio.sleep(0.05)
        await projector.reached(position, timeout_s=1.0)
    assert sum(map(len, batches.seen)) == 10
    assert len(batches.seen) <= 3


async def test_it_goes_on_where_it_was_after_a_restart(store: EventStore):
    names = Names()
    for start in range(3):
        position = await users(store, 5, first=5 * start)
        async with Projector(store, names) as projector:
            await projector.reached(position, timeout_s=1.0)
    assert await effects(store.db, names) == saves(1, 15)


async def test_it_may_write_to_another_database(store: EventStore, elsewhere: Database):
    position = await users(store, 3)
    async with Projector(store, Names(), db=elsewhere) as projector:
        await projector.reached(position, timeout_s=1.0)
        assert len(await live_names(projector)) == 3
    tables = await store.db.all(str, "SELECT name FROM sqlite_schema WHERE name LIKE 'names%'")
    assert tables == []


class Moody(Names, name="moody"):
    """Fails at user 3 while it is in a mood."""

    mood = True

    def show(self, name: str) -> str:
        if self.mood and name == "user 3":
            raise ValueError("not this one")
        return name


async def test_a_handler_that_fails_keeps_what_was_before_and_is_tried_until_it_is_mended(store: EventStore):
    position = await users(store, 6)
    moody = Moody()
    settings = ProjectorSettings(backoff=Exponential(1.0, cap_s=4.0), poll_s=1.0)
    async with Projector(store, moody, settings=settings) as projector:
        with pytest.raises(ProjectionBehindError, match="it fails with ProjectionFailedError"):
            await projector.reached(position, timeout_s=10.0)
        # The whole batch, then one at a time: what was before is kept. Then after 1, 2, 4 s.
        told = projector.statistics()
        assert (told.position, told.failures) == (position_of(3, 0), 4)
        assert told.error == (
            "ProjectionFailedError: projection moody v1 failed at position 1024, estest.user-created "
            "(user/3 number 1): ValueError: not this one; it tries again until its handler is mended"
        )
        assert told.lag_s >= 10.0
        assert await effects(store.db, moody) == saves(1, 3)
        kept = await store.db.one(str, "SELECT error FROM _archstone_projections WHERE name = 'moody'")
        assert kept == told.error
        moody.mood = False
        await projector.reached(position, timeout_s=5.0)
        told = projector.statistics()
        assert (told.failures, told.error) == (0, None)
    assert await effects(store.db, moody) == saves(1, 6)


async def test_one_that_does_not_move_is_told_as_stalled_within_seconds(
    store: EventStore, capsys: pytest.CaptureFixture[str]
):
    moody = Moody()
    position = await users(store, 6)
    settings = ProjectorSettings(stall_s=4.0)
    async with Projector(store, moody, settings=settings) as projector:
        await asyncio.sleep(3.5)
        assert not projector.statistics().stalled
        await asyncio.sleep(2.0)
        assert projector.statistics().stalled
        metrics = render()
        assert 'archstone_projection_stalled{projection="moody",version="1"} 1' in metrics
        assert 'archstone_projection_position{projection="moody",version="1"} 768' in metrics
        moody.mood = False
        await projector.reached(position, timeout_s=20.0)
        await asyncio.sleep(1.5)
        assert not projector.statistics().stalled
        assert projector.lag_s == 0.0
    logged = capsys.readouterr()
    assert "projection stalled" in logged.out + logged.err


class Hanging(Emails, name="hanging"):
    """Waits for ever, before its transaction has begun to hold anything, or in it."""

    hangs = 1

    @when
    async def created(self, tx: Transaction, event: UserCreated) -> None:
        if self.hangs:
            self.hangs -= 1
            await asyncio.sleep(1e6)
        await self.email_is(tx, event)


async def test_a_handler_that_hangs_is_ended_and_tried_again(store: EventStore):
    position = await users(store, 2)
    async with Projector(store, Hanging(), settings=ProjectorSettings(stall_s=8.0)) as projector:
        await projector.reached(position, timeout_s=20.0)
        assert await store.db.one(int, "SELECT COUNT(*) FROM hanging_v1_emails") == 2


class Search:
    """Stands for a search server: keeps a document if its version is not older than what it has."""

    def __init__(self) -> None:
        self.documents: dict[str, tuple[int, str]] = {}
        self.calls: list[list[int]] = []
        self.broken = 0
        self.hung: asyncio.Event | None = None

    async def index(self, documents: Sequence[tuple[str, int, str]]) -> None:
        self.calls.append([version for _, version, _ in documents])
        if self.hung is not None:
            await self.hung.wait()
        if self.broken:
            self.broken -= 1
            raise OSError("search is away")
        for key, version, text in documents:
            if version >= self.documents.get(key, (0, ""))[0]:
                self.documents[key] = (version, text)


class Found(Projection, name="found", outside=(UserCreated, NameChanged)):
    def __init__(self, search: Search) -> None:
        self.search = search

    async def write_outside(self, events: Sequence[Recorded[Event]]) -> None:
        await self.search.index(
            [
                (each.event.user_id, each.position, each.event.name)
                for each in events
                if isinstance(each.event, UserCreated | NameChanged)
            ]
        )


async def test_what_lies_outside_the_database_is_written_at_least_once_and_in_order(store: EventStore):
    search = Search()
    search.broken = 2
    await store.save(john())
    position = await users(store, 3, first=10)
    async with Projector(store, Found(search)) as projector:
        await projector.reached(position, timeout_s=5.0)
    created, named, *others = [position_of(1, 0), position_of(1, 2), *saves(2, 4)]
    assert search.documents == {
        "1": (named, "John Doe"),
        "10": (others[0], "user 10"),
        "11": (others[1], "user 11"),
        "12": (others[2], "user 12"),
    }
    assert search.calls[:2] == [[created, named, *others], [created]]


async def test_a_target_that_hangs_is_tried_again(store: EventStore):
    search = Search()
    search.hung = asyncio.Event()
    position = await users(store, 1)
    async with Projector(store, Found(search), settings=ProjectorSettings(stall_s=4.0)) as projector:
        await asyncio.sleep(3.0)
        assert search.calls == [saves(1, 1)]
        await asyncio.sleep(3.0)
        assert projector.statistics().error == "it hung for 4 s"
        assert search.calls == [saves(1, 1)] * 2
        search.hung.set()
        await projector.reached(position, timeout_s=1.0)


async def test_a_new_version_is_made_beside_the_live_one_and_takes_its_place_when_it_has_caught_up(store: EventStore):
    position = await users(store, 3)
    old, new = Projector(store, Names()), Projector(store, ShoutedNames(), settings=ProjectorSettings(swap=False))
    async with old:
        await old.reached(position, timeout_s=1.0)
        async with new:
            await new.reached(position, timeout_s=1.0)
            position = await users(store, 1, first=3)
            await old.reached(position, timeout_s=1.0)
            await new.reached(position, timeout_s=1.0)
            assert await live_version(store.db, "names") == 1
            assert (await live_names(old))["3"] == (await live_names(new))["3"] == "user 3"
            with pytest.raises(MisuseError, match="projection names v1: runs here: leave its block"):
                await old.retire()
            assert await new.go_live()
            assert await live_version(store.db, "names") == 2
            assert (await live_names(old))["3"] == (await live_names(new))["3"] == "USER 3"
            assert not await old.go_live()
    with pytest.raises(MisuseError, match="projection names v2: is live: readers use it"):
        await new.retire()
    await old.retire()
    tables = await store.db.all(str, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'names%'")
    assert tables == ["names_v2_users", "names_v2_effects"]


async def test_a_new_version_goes_live_by_itself_once_it_has_caught_up_and_not_before(store: EventStore):
    position = await users(store, 5)
    async with Projector(store, Names()) as old:
        await old.reached(position, timeout_s=1.0)
    seen: list[tuple[int, int | None]] = []

    class Watched(ShoutedNames, name="names", version=2):
        @when
        async def created(self, tx: Transaction, event: UserCreated, recorded: Recorded[Event]) -> None:
            await super().created(tx, event, recorded)
            seen.append((recorded.position, await live(tx)))

    async def live(tx: Transaction) -> int:
        return await tx.one(int, "SELECT version FROM _archstone_projections WHERE name = 'names' AND live = 1")

    async with Projector(store, Watched(), settings=ProjectorSettings(batch=2)) as new:
        await new.reached(position, timeout_s=1.0)
        await asyncio.sleep(0.1)
        assert new.statistics().live
        assert seen == [(position, 1) for position in saves(1, 5)]
        assert (await live_names(new))["4"] == "USER 4"


async def test_an_older_version_never_takes_the_place_of_a_newer_one(store: EventStore):
    await users(store, 1)
    async with Projector(store, ShoutedNames()):
        await asyncio.sleep(0.1)
    async with Projector(store, Names()) as old:
        await asyncio.sleep(5.0)
        assert not old.statistics().live
    assert await live_version(store.db, "names") == 2


async def test_a_rebuild_starts_over(store: EventStore):
    names = Names()
    position = await users(store, 3)
    async with Projector(store, names) as projector:
        await projector.reached(position, timeout_s=1.0)
        await store.db.execute("DELETE FROM names_v1_users")
        await projector.rebuild()
        await projector.reached(position, timeout_s=5.0)
        assert len(await live_names(projector)) == 3
        assert await effects(store.db, names) == saves(1, 3)


async def test_a_rebuild_in_the_midst_of_a_batch_skips_nothing(store: EventStore):
    class Slow(Names, name="slow-rebuild", outside=(UserCreated,)):
        async def write_outside(self, events: Sequence[Recorded[Event]]) -> None:
            if len(events) == 1:
                started.set()
                await over.wait()

    started, over = asyncio.Event(), asyncio.Event()
    slow = Slow()
    await users(store, 3)
    async with Projector(store, slow, settings=ProjectorSettings(stall_s=1000.0)) as projector:
        await projector.reached(position_of(3, 0), timeout_s=1.0)
        position = await users(store, 1, first=3)
        await started.wait()
        await projector.rebuild()
        over.set()
        await projector.reached(position, timeout_s=5.0)
    assert await effects(store.db, slow) == saves(1, 4)


async def test_of_two_runners_one_works_and_the_other_takes_over_at_once_when_it_leaves(store: EventStore):
    names = Names()
    async with Projector(store, names, settings=SLOW) as second_to_leave:
        await asyncio.sleep(0.1)
        async with Projector(store, names) as standing_by:
            position = await users(store, 10)
            await standing_by.reached(position, timeout_s=1.0)
            assert (second_to_leave.statistics().running, standing_by.statistics().running) == (True, False)
            await second_to_leave.__aexit__(None, None, None)
            await asyncio.sleep(2.0)
            assert standing_by.statistics().running
            position = await users(store, 10, first=10)
            await standing_by.reached(position, timeout_s=1.0)
            await second_to_leave.__aenter__()
    assert await effects(store.db, names) == saves(1, 20)


async def test_one_that_has_nothing_to_do_is_not_taken_over(store: EventStore):
    async with Projector(store, Names()) as first:
        await asyncio.sleep(0.1)
        async with Projector(store, Names()) as standing_by:
            await asyncio.sleep(100.0)
            assert (first.statistics().running, standing_by.statistics().running) == (True, False)


async def test_a_runner_whose_projection_was_moved_meanwhile_keeps_nothing_and_looks_again(store: EventStore):
    class Slow(Names, name="slow", outside=(UserCreated,)):
        async def write_outside(self, events: Sequence[Recorded[Event]]) -> None:
            started.set()
            await over.wait()

    started, over = asyncio.Event(), asyncio.Event()
    position = await users(store, 3)
    slow = Slow()
    async with Projector(store, slow, settings=ProjectorSettings(stall_s=1000.0)) as stalled:
        await started.wait()
        # As another does, who took over while this one was stopped.
        move = "UPDATE _archstone_projections SET position = :to WHERE name = 'slow'"
        await store.db.execute(move, to=position_of(2, 0))
        over.set()
        await stalled.reached(position, timeout_s=5.0)
        assert stalled.statistics().failures == 0
    assert await effects(store.db, slow) == saves(3, 3)


async def test_lag_is_the_age_of_the_oldest_event_that_is_not_projected(store: EventStore):
    moody = Moody()
    async with Projector(store, moody) as projector:
        await users(store, 3)
        await asyncio.sleep(10.0)
        assert projector.lag_s == 0.0
        await users(store, 2, first=3)
        await asyncio.sleep(10.0)
        assert 9.9 <= projector.lag_s <= 10.1
        assert "archstone_projection_lag_seconds{" in render()
        moody.mood = False
        await asyncio.sleep(10.1)
        assert projector.lag_s == 0.0


async def test_an_event_in_a_version_that_no_handler_takes_is_told_and_not_skipped(store: EventStore):
    class OneV1(Event, name="estest.one", version=1):
        pass

    class OneV2(Event, name="estest.one", version=2):
        pass

    class Ones(Projection, name="ones"):
        @when
        async def one(self, tx: Transaction, event: OneV2) -> None: ...

    position = await store.append("ones", [OneV1()])
    async with Projector(store, Ones()) as projector:
        with pytest.raises(ProjectionBehindError, match=r"version 1 of estest\.one was read, which no handler takes"):
            await projector.reached(position, timeout_s=1.0)


def test_a_projection_that_is_written_wrongly_is_refused():
    with pytest.raises(HandlerError, match="must be a coroutine: write async def"):

        class Plain(Projection, name="plain"):
            @when
            def created(self, tx: Transaction, event: UserCreated) -> None: ...  # type: ignore[arg-type]

    with pytest.raises(HandlerError, match="name='Upper' must be lower case words joined by hyphens"):

        class Upper(Projection, name="Upper"):
            pass

    with pytest.raises(HandlerError, match="version=0 must be at least 1"):

        class Zero(Projection, name="zero", version=0):
            pass

    with pytest.raises(HandlerError, match="@when number annotates event with"):

        class Number(Projection, name="number"):
            @when
            async def number(self, tx: Transaction, event: int) -> None: ...  # type: ignore[type-var]


async def test_a_projection_without_a_name_or_handlers_cannot_be_run(store: EventStore):
    class Nameless(Projection):
        @when
        async def created(self, tx: Transaction, event: EmailChanged) -> None: ...

    class Idle(Projection, name="idle"):
        pass

    with pytest.raises(HandlerError, match="Nameless: has no name: it cannot be run"):
        Projector(store, Nameless())
    with pytest.raises(HandlerError, match="Idle: handles no event: it cannot be run"):
        Projector(store, Idle())


def test_settings_out_of_range_are_refused_all_at_once():
    with pytest.raises(SettingsError) as caught:
        ProjectorSettings(batch=0, poll_s=0.0, lease_s=0.0, stall_s=float("inf"))
    assert str(caught.value) == (
        "ProjectorSettings: batch=0 must be at least 1; poll_s=0.0 must be above 0 and finite; "
        "lease_s=0.0 must be above 0 and finite; stall_s=inf must be above 0 and finite"
    )
