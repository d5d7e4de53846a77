"""What is saved is loaded, whole and in order, and who comes second is told."""

import asyncio
from typing import Any

import pytest
from es_users import EmailChanged, NameChanged, User, UserCreated, john

from archstone import context, world
from archstone.context import Call, Principal
from archstone.data import Database, Event, MisuseError
from archstone.data.sql import Statement
from archstone.errors import ConflictError
from archstone.eventsourcing import (
    Aggregate,
    EventStore,
    EventUnreadableError,
    HandlerError,
    NoStreamError,
    StreamConflictError,
    apply,
)
from archstone.eventsourcing.rows import EVENTS_PER_ROW, position_of
from archstone.eventsourcing.store import ROWS, SAVED


class Ticked(Event, name="estest.ticked"):
    number: int


class Clock(Aggregate, name="clock"):
    sum: int = 0

    def tick(self, times: int) -> None:
        for _ in range(times):
            self.record(Ticked(number=self.version))

    @apply
    def ticked(self, event: Ticked) -> None:
        self.sum += event.number


async def test_what_was_saved_is_loaded(store: EventStore):
    user = john()
    assert await store.save(user) == position_of(1, 2)
    assert (user.version, user.stored_version, user.pending) == (3, 3, [])
    again = await store.load(User, "1")
    assert (again.name, again.email, again.version, again.pending) == ("John Doe", "john@email.com", 3, [])


async def test_saving_nothing_does_nothing(store: EventStore):
    user = john()
    await store.save(user)
    assert await store.save(user) == 0
    assert await store.last_position() == position_of(1, 2)


async def test_it_is_there_for_the_next_process(url: str):
    async with Database(url) as db:
        store = EventStore(db)
        await store.open()
        await store.save(john())
    async with Database(url) as db:
        store = EventStore(db)
        await store.open()
        assert (await store.load(User, "1")).name == "John Doe"


async def test_there_is_no_aggregate_where_nothing_was_recorded(store: EventStore):
    assert await store.find(User, "9") is None
    with pytest.raises(NoStreamError) as caught:
        await store.load(User, "9")
    assert str(caught.value) == "there is no stream 'user/9'; use find() where that is expected"


async def test_who_saves_second_is_told_and_nothing_of_it_is_stored(store: EventStore):
    await store.save(john())
    one, two = await store.load(User, "1"), await store.load(User, "1")
    one.change_name("One")
    two.change_name("Two")
    two.change_email("two@email.com")
    await store.save(one)
    with pytest.raises(StreamConflictError) as caught:
        await store.save(two)
    error = caught.value
    assert isinstance(error, ConflictError)
    assert (error.stream, error.expected, error.found) == ("user/1", 3, 4)
    assert str(error) == (
        "stream 'user/1' has 4 events, 3 were expected: nothing was appended; load it again and decide anew"
    )
    assert len(two.pending) == 2
    again = await store.load(User, "1")
    assert (again.name, again.email, again.version) == ("One", "john@email.com", 4)


async def test_who_creates_second_is_told(store: EventStore):
    await store.save(john())
    with pytest.raises(StreamConflictError) as caught:
        await store.save(john())
    assert (caught.value.expected, caught.value.found) == (0, 3)


async def test_a_stream_that_is_not_there_cannot_be_continued(store: EventStore):
    with pytest.raises(StreamConflictError) as caught:
        await store.append("user/1", [NameChanged(user_id="1", name="John")], expected=2)
    assert (caught.value.expected, caught.value.found) == (2, 0)


async def test_of_many_writers_of_one_stream_none_is_lost_and_none_counts_twice(store: EventStore):
    await store.save(Clock("a"))

    async def tick() -> int:
        conflicts = 0
        while True:
            clock = await store.find(Clock, "a") or Clock("a")
            await asyncio.sleep(0)
            clock.tick(2)
            try:
                await store.save(clock)
            except StreamConflictError:
                conflicts += 1
            else:
                return conflicts

    conflicts = await asyncio.gather(*[tick() for _ in range(20)])
    assert sum(conflicts) > 0
    clock = await store.load(Clock, "a")
    assert (clock.version, clock.sum) == (40, sum(range(40)))


async def test_several_aggregates_are_saved_in_one_transaction_or_not_at_all(store: EventStore, db: Database):
    one, two = User.create("1", name="One", email="1@x"), User.create("2", name="Two", email="2@x")
    with pytest.raises(ValueError, match="no"):
        async with db.transaction() as tx:
            await store.save(one, tx=tx)
            raise ValueError("no")
    assert await store.last_position() == 0
    one = User.create("1", name="One", email="1@x")
    async with db.transaction() as tx:
        await store.save(one, tx=tx)
        one.change_name("Uno")
        await store.save(one, tx=tx)
        await store.save(two, tx=tx)
        assert (await store.load(User, "1", tx=tx)).name == "Uno"
        assert await store.find(User, "1") is None
    assert [each.stream for each in await store.read()] == ["user/1", "user/1", "user/2"]


async def test_a_conflict_leaves_the_transaction_usable(store: EventStore, db: Database):
    await store.save(john())
    async with db.transaction() as tx:
        with pytest.raises(StreamConflictError):
            await store.save(john(), tx=tx)
        await store.save(User.create("2", name="Two", email="2@x"), tx=tx)
    assert [each.stream for each in await store.read()] == ["user/1"] * 3 + ["user/2"]


async def test_events_are_appended_without_an_aggregate(store: EventStore):
    ticks = [Ticked(number=number) for number in range(3)]
    assert await store.append("ticks", ticks[:2]) == position_of(1, 1)
    assert await store.append("ticks", ticks[2:]) == position_of(2, 0)
    assert [each.event for each in await store.stream("ticks")] == ticks


async def test_appending_nothing_is_a_misuse(store: EventStore):
    with pytest.raises(MisuseError, match="stream 'ticks': there are no events to append"):
        await store.append("ticks", [])


async def test_a_stream_is_read_in_parts(store: EventStore):
    await store.append("ticks", [Ticked(number=number) for number in range(10)])
    first = await store.stream("ticks", limit=4)
    second = await store.stream("ticks", after=first[-1].version, limit=100)
    assert [each.version for each in first + second] == list(range(1, 11))
    assert await store.stream("nothing") == []


async def test_all_streams_are_read_in_the_order_of_their_commits(store: EventStore):
    async def write(number: int) -> None:
        for step in range(5):
            await store.append(f"ticks/{number}", [Ticked(number=step), Ticked(number=step)])
            await asyncio.sleep(0)

    await asyncio.gather(*[write(number) for number in range(8)])
    seen, after = [], 0
    while part := await store.read(after=after, limit=7):
        seen += part
        after = part[-1].position
    positions = [each.position for each in seen]
    assert positions == sorted(set(positions))
    assert len(seen) == 80
    for number in range(8):
        mine = [each for each in seen if each.stream == f"ticks/{number}"]
        assert [each.version for each in mine] == list(range(1, 11))
    assert after == await store.last_position()


async def test_a_reader_beside_the_writers_finds_no_event_below_where_it_has_been(store: EventStore):
    done = asyncio.Event()
    seen: list[int] = []

    async def follow() -> None:
        while True:
            over = done.is_set()
            part = await store.read(after=seen[-1] if seen else 0, limit=3)
            seen.extend(each.position for each in part)
            if over and not part:
                return
            await asyncio.sleep(0.0005)

    async def write(number: int) -> None:
        for step in range(10):
            async with store.db.transaction() as tx:
                await store.append(f"ticks/{number}", [Ticked(number=step)], tx=tx)
                await asyncio.sleep(0.001 * (number % 3))

    reader = asyncio.create_task(follow())
    await asyncio.gather(*[write(number) for number in range(6)])
    done.set()
    await reader
    assert seen == [each.position for each in await store.read()]
    assert len(seen) == 60


async def test_an_event_tells_when_it_was_recorded_and_what_led_to_it(store: EventStore):
    call = Call(principal=Principal("ann"), correlation_id="request-1", causation_id="message-1")
    before = world.now()
    with context.enter(call):
        await store.save(john())
    await store.append("ticks", [Ticked(number=1)])
    first, *_, last = await store.read()
    assert (first.stream, first.version, first.position) == ("user/1", 1, position_of(1, 0))
    assert first.event == UserCreated(user_id="1", name="John", email="john@old.com")
    assert (first.caused_by, first.correlation_id, first.causation_id) == ("ann", "request-1", "message-1")
    assert before <= first.recorded_at <= world.now()
    assert (last.caused_by, last.correlation_id, last.causation_id) == (None, None, None)


async def test_only_events_of_some_classes_can_be_published(store: EventStore, db: Database):
    await store.save(john(), publish={NameChanged})
    assert await db.all(str, "SELECT name FROM _archstone_outbox") == ["estest.name-changed"]


async def test_a_save_and_a_load_are_one_statement_each(store: EventStore, db: Database):
    statements: list[str] = []
    engine = db._engine
    for name in ("execute", "read"):
        asked = getattr(engine, name)

        def counted(statement: Statement, values: Any, asked: Any = asked) -> Any:
            if "pg_notify" not in statement.source:  # which wakes projections
                statements.append(statement.source.split()[0])
            return asked(statement, values)

        setattr(engine, name, counted)
    user = john()
    await store.save(user)
    again = await store.load(User, user.id)
    again.change_name("Jonathan")
    await store.save(again)
    assert len(statements) == 3, statements


async def test_events_that_nobody_expects_there_are_refused(store: EventStore):
    await store.save(john())  # three events
    for expected in (0, 1, 2, 4, 10):
        with pytest.raises(StreamConflictError) as caught:
            await store.append("user/1", [NameChanged(user_id="1", name="x")], expected=expected)
        assert (caught.value.expected, caught.value.found) == (expected, 3)
    assert [each.version for each in await store.stream("user/1")] == [1, 2, 3]


async def test_a_save_publishes_in_its_transaction_where_asked(store: EventStore, db: Database):
    await store.save(john(), publish=True)
    await store.save(User.create("2", name="Two", email="2@x"))
    names = await db.all(str, "SELECT name FROM _archstone_outbox ORDER BY position")
    assert names == ["estest.user-created", "estest.email-changed", "estest.name-changed"]
    with pytest.raises(StreamConflictError):
        await store.save(john(), publish=True)
    assert await db.one(int, "SELECT COUNT(*) FROM _archstone_outbox") == 3


async def test_projections_are_woken_after_the_commit_and_not_by_one_that_rolled_back(store: EventStore):
    woken: list[int] = []

    async def write(*, fail: bool) -> None:
        async with store.db.transaction() as tx:
            await store.append("ticks", [Ticked(number=1)], tx=tx)
            assert woken == []
            if fail:
                raise ValueError("no")

    deaf = store.db.listen(SAVED, lambda: woken.append(1))
    while store.db.shared and not woken:
        await asyncio.sleep(0.01)  # it hears the others from now on, and may have missed something before
    woken.clear()
    with pytest.raises(ValueError, match="no"):
        await write(fail=True)
    await asyncio.sleep(0.01)
    assert woken == []
    await write(fail=False)
    await asyncio.sleep(0.01)
    assert woken == [1]
    deaf()


@pytest.mark.parametrize("count", [1, EVENTS_PER_ROW - 1, EVENTS_PER_ROW, EVENTS_PER_ROW + 1, 3 * EVENTS_PER_ROW])
async def test_a_save_of_many_events_is_read_back_whole(store: EventStore, count: int):
    clock = Clock("a")
    clock.tick(count)
    position = await store.save(clock)
    again = await store.load(Clock, "a")
    assert (again.version, again.sum) == (count, sum(range(count)))
    assert position == await store.last_position()
    everything = await store.read(limit=10_000)
    assert [each.version for each in everything] == list(range(1, count + 1))
    assert everything[-1].position == position
    assert await store.read(after=position) == []


@pytest.mark.parametrize("saves", [ROWS - 1, ROWS, ROWS + 1, 2 * ROWS])
async def test_a_long_stream_is_loaded_in_parts(store: EventStore, db: Database, saves: int):
    async with db.transaction() as tx:
        for number in range(saves):
            await store.append("clock/a", [Ticked(number=number)], expected=number, tx=tx)
    again = await store.load(Clock, "a")
    assert (again.version, again.sum) == (saves, sum(range(saves)))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 256, 300])
async def test_whatever_the_limit_every_event_is_read_once_and_in_order(store: EventStore, limit: int):
    for number, size in enumerate([1, 3, 300, 1, 2, 256, 1]):
        await store.append(f"ticks/{number % 2}", [Ticked(number=number)] * size)
    seen: list[int] = []
    after = 0
    while part := await store.batch(after=after, limit=limit, names=frozenset({"estest.ticked"})):
        if not part.size:
            break
        assert part.size == len(part.events) <= limit
        assert part.position == part.events[-1].position
        seen += [each.position for each in part.events]
        after = part.position
    assert seen == [each.position for each in await store.read()]
    assert len(seen) == 564
    assert sorted(set(seen)) == seen
    for stream in ("ticks/0", "ticks/1"):
        versions: list[int] = []
        while more := await store.stream(stream, after=len(versions), limit=limit):
            versions += [each.version for each in more]
        assert versions == list(range(1, len(versions) + 1))


async def test_an_event_can_be_read_although_another_of_its_save_cannot(store: EventStore, db: Database):
    await store.append("ticks", [Ticked(number=1), Ticked(number=2)])
    await db.execute("UPDATE _archstone_events SET payloads = :bad", bad=b'{"number":1}\n{}')
    assert [each.event for each in await store.read(limit=1)] == [Ticked(number=1)]
    with pytest.raises(EventUnreadableError, match="event 2 of stream 'ticks'"):
        await store.read(limit=2)


async def test_an_aggregate_without_a_name_cannot_be_stored(store: EventStore):
    class Anonymous(Aggregate):
        pass

    with pytest.raises(HandlerError, match="has no name: give it one as a class argument to store it"):
        await store.save(Anonymous("1"))
    with pytest.raises(HandlerError, match="has no name"):
        await store.find(Anonymous, "1")


async def test_a_payload_that_does_not_fit_is_told_without_its_values(store: EventStore, db: Database):
    await store.save(User.create("1", name="John", email="secret@x"))
    await store.append("user/1", [EmailChanged(user_id="1", email="secret@y")])
    await db.execute("UPDATE _archstone_events SET payloads = :bad WHERE version = 2", bad=b'{"email":["secret"]}')
    with pytest.raises(EventUnreadableError) as caught:
        await store.load(User, "1")
    assert str(caught.value) == (
        "event 2 of stream 'user/1', estest.email-changed version 1, cannot be read: user_id: Field required; "
        "email: Input should be a valid string; give its class a default or write an @upcast"
    )
    with pytest.raises(EventUnreadableError):
        await store.read()
