"""Events published from a transaction of SQLAlchemy's own, and the relay that reads through its engine."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, ForeignKey, StaticPool, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from archstone import context, world
from archstone.context import Call, Trace
from archstone.data import OUTBOX, Database, Envelope, Event, EventError, NewerSchemaError
from archstone.data.sqlalchemy import SqlAlchemyOutbox, create_outbox, publish
from archstone.errors import ConfigError
from archstone.messaging import Relay

pytestmark = pytest.mark.real_time  # drivers of SQLAlchemy use threads and sockets


class Placed(Event, name="sqlalchemytest.placed", key="order_id"):
    order_id: str


class Model(DeclarativeBase):
    pass


class Order(Model):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="new")


class Line(Model):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"))


class Sink:
    """A bus that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.arrived = asyncio.Event()

    async def send(self, *envelopes: Envelope) -> None:
        self.sent += envelopes
        self.arrived.set()

    @property
    def orders(self) -> list[str]:
        return [Placed.decode(envelope.payload).model_dump()["order_id"] for envelope in self.sent]


def begin_as_sqlalchemy_says(engine: Engine, how: str = "BEGIN") -> None:
    """Have the driver begin where SQLAlchemy does, as its pages on SQLite advise who uses savepoints."""

    @event.listens_for(engine, "connect")
    def leave_it_alone(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(how)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/orders.db"
    return request.getfixturevalue("postgres_url").replace("://", "+asyncpg://")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        begin_as_sqlalchemy_says(engine.sync_engine)
    await create_outbox(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)
    yield engine
    await engine.dispose()


async def sent(engine: AsyncEngine) -> list[str]:
    """Return the orders whose events a relay sends now, in order."""
    sink = Sink()
    await Relay(SqlAlchemyOutbox(engine), sink).relay_once()
    return sink.orders


async def orders(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(text("SELECT id FROM orders ORDER BY id"))).scalars())


# What commits, and what does not


async def test_an_event_is_sent_with_the_order_that_committed(engine: AsyncEngine):
    async with AsyncSession(engine) as session, session.begin():
        session.add(Order(id="a"))
        await publish(session, Placed(order_id="a"))
    assert (await orders(engine), await sent(engine)) == (["a"], ["a"])
    assert await sent(engine) == []


async def test_a_session_that_is_committed_by_hand_or_closed_counts_the_same(engine: AsyncEngine):
    async with AsyncSession(engine) as session:
        await publish(session, Placed(order_id="a"))
        await session.commit()
        await publish(session, Placed(order_id="b"))
        await session.rollback()
        await publish(session, Placed(order_id="c"))
        await session.close()
        await publish(session, Placed(order_id="d"))
        await session.commit()
    assert await sent(engine) == ["a", "d"]


async def test_nothing_is_sent_of_a_transaction_that_rolled_back(engine: AsyncEngine):
    with pytest.raises(ValueError, match="no"):
        async with AsyncSession(engine) as session, session.begin():
            session.add(Order(id="a"))
            await publish(session, Placed(order_id="a"))
            raise ValueError("no")
    assert (await orders(engine), await sent(engine)) == ([], [])


async def test_what_was_published_in_a_savepoint_goes_back_with_it(engine: AsyncEngine):
    async with AsyncSession(engine) as session, session.begin():
        session.add(Order(id="a"))
        await publish(session, Placed(order_id="a"))
        with pytest.raises(ValueError, match="no"):
            async with session.begin_nested():
                session.add(Order(id="b"))
                await publish(session, Placed(order_id="b"))
                async with session.begin_nested():
                    session.add(Order(id="c"))
                    await publish(session, Placed(order_id="c"))
                raise ValueError("no")
        async with session.begin_nested():
            session.add(Order(id="d"))
            await publish(session, Placed(order_id="d"))
        await publish(session, Placed(order_id="e"))
    assert (await orders(engine), await sent(engine)) == (["a", "d"], ["a", "d", "e"])


async def test_a_savepoint_that_was_kept_goes_back_with_its_transaction(engine: AsyncEngine):
    async with AsyncSession(engine) as session:
        async with session.begin_nested():
            session.add(Order(id="a"))
            await publish(session, Placed(order_id="a"))
        await session.rollback()
    assert (await orders(engine), await sent(engine)) == ([], [])


async def test_a_connection_publishes_as_a_session_does(engine: AsyncEngine):
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO orders (id, state) VALUES ('a', 'new')"))
        await publish(connection, Placed(order_id="a"))
        savepoint = await connection.begin_nested()
        await publish(connection, Placed(order_id="b"))
        await savepoint.rollback()
    async with engine.connect() as connection:
        await publish(connection, Placed(order_id="c"))
    assert (await orders(engine), await sent(engine)) == (["a"], ["a"])


async def test_a_constraint_that_fails_at_the_flush_fails_the_event_too(engine: AsyncEngine):
    async with AsyncSession(engine) as session, session.begin():
        session.add(Order(id="a"))
    with pytest.raises(DBAPIError):
        async with AsyncSession(engine) as session, session.begin():
            session.add(Order(id="a"))
            await publish(session, Placed(order_id="a"))
    assert await sent(engine) == []


# Order


async def test_events_keep_the_order_in_which_they_were_published(engine: AsyncEngine):
    async with AsyncSession(engine) as session, session.begin():
        for number in range(5):
            await publish(session, Placed(order_id=f"a{number}"))
        await publish(await session.connection(), Placed(order_id="a5"))
    async with engine.begin() as connection:
        await publish(connection, Placed(order_id="b"))
    assert await sent(engine) == ["a0", "a1", "a2", "a3", "a4", "a5", "b"]


async def test_changes_of_one_row_are_told_in_the_order_in_which_they_were_made(engine: AsyncEngine):
    """The event is written while its session holds the row: whoever changes the row next is told of later."""
    async with AsyncSession(engine) as session, session.begin():
        session.add(Order(id="a"))
    if engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time")

    async def second() -> None:
        async with AsyncSession(engine) as session, session.begin():
            order = await session.get_one(Order, "a")
            order.state = "second"
            await publish(session, Placed(order_id="second"))

    async with AsyncSession(engine) as session, session.begin():
        order = await session.get_one(Order, "a")
        order.state = "first"
        # Without the flush that publishing does, the second would take the row, and commit, while this one waits.
        await publish(session, Placed(order_id="first"))
        task = asyncio.create_task(second())
        await waits_for_a_lock(engine)
    await task
    assert await sent(engine) == ["first", "second"]


async def waits_for_a_lock(engine: AsyncEngine) -> None:
    """Return when a session of the server waits for another one."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with asyncio.timeout(20), engine.connect() as connection:
        while not await connection.scalar(waiting):
            await connection.rollback()  # else the server's statistics stand still
            await asyncio.sleep(0.01)


async def test_a_lower_position_that_commits_later_is_sent_later(engine: AsyncEngine):
    if engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time")
    async with AsyncSession(engine) as slow:
        await publish(slow, Placed(order_id="slow"))
        async with AsyncSession(engine) as quick, quick.begin():
            await publish(quick, Placed(order_id="quick"))
        assert await sent(engine) == ["quick"]
        await slow.commit()
    assert await sent(engine) == ["slow"]


# What it says of its cause


async def test_the_headers_tell_trace_and_principal_of_the_running_call(engine: AsyncEngine):
    trace = Trace(trace_id=0xA, span_id=0xB, sampled=True)
    call = Call(trace=trace, correlation_id="c1", causation_id="m1")
    token = context.set_current(call)
    try:
        async with AsyncSession(engine) as session, session.begin():
            await publish(session, Placed(order_id="a"))
    finally:
        context.leave(token)
    sink = Sink()
    await Relay(SqlAlchemyOutbox(engine), sink).relay_once()
    (envelope,) = sink.sent
    assert envelope.headers == (
        b'{"traceparent":"00-0000000000000000000000000000000a-000000000000000b-01",'
        b'"correlation_id":"c1","causation_id":"m1"}'
    )
    assert envelope[1:6] == ("sqlalchemytest", "sqlalchemytest.placed", 1, "a", b'{"order_id":"a"}')
    assert abs(envelope.at - world.now_us()) < 60_000_000


async def test_an_event_without_a_name_is_refused_where_it_is_published(engine: AsyncEngine):
    class Nameless(Event):
        pass

    async with AsyncSession(engine) as session:
        with pytest.raises(EventError, match="has no name"):
            publish(session, Nameless())


# The relay


async def test_a_commit_wakes_the_relay(engine: AsyncEngine):
    sink = Sink()
    outbox = SqlAlchemyOutbox(engine)
    async with Relay(outbox, sink, poll_s=3600.0):
        await first_look(outbox)
        for number, commit in enumerate([by_session, by_hand, by_connection]):
            sink.arrived.clear()
            await commit(engine, Placed(order_id=str(number)))
            async with asyncio.timeout(20):
                await sink.arrived.wait()
    assert sink.orders == ["0", "1", "2"]
    assert outbox.outbox_ready == []


async def first_look(outbox: SqlAlchemyOutbox) -> None:
    """Return when a relay has found the outbox empty and waits to be woken."""
    while not outbox.outbox_ready or outbox._loop is None:
        await asyncio.sleep(0)
    await outbox.unsent(1)  # through the same pool: later than the relay's own


async def by_session(engine: AsyncEngine, event: Event) -> None:
    async with AsyncSession(engine) as session, session.begin():
        await publish(session, event)


async def by_hand(engine: AsyncEngine, event: Event) -> None:
    session = AsyncSession(engine)
    await publish(session, event)
    await session.commit()  # and not closed


async def by_connection(engine: AsyncEngine, event: Event) -> None:
    async with engine.begin() as connection:
        await publish(connection, event)


@pytest.mark.parametrize("begin", [None, "BEGIN IMMEDIATE"])
async def test_sessions_that_read_and_then_write_go_on_beside_the_relay(url: str, begin: str | None):
    """With plain BEGIN, SQLite refuses who has read before somebody else wrote; see docs/sqlalchemy.md."""
    engine = create_async_engine(url)
    if begin is not None and engine.dialect.name == "sqlite":
        begin_as_sqlalchemy_says(engine.sync_engine, begin)
    await create_outbox(engine)
    async with engine.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)
    sink = Sink()

    async def place(number: int) -> None:
        async with AsyncSession(engine) as session, session.begin():
            assert await session.get(Order, f"o{number}") is None
            await asyncio.sleep(0)
            session.add(Order(id=f"o{number}"))
            await publish(session, Placed(order_id=f"o{number}"))

    outbox = SqlAlchemyOutbox(engine)
    async with asyncio.timeout(60), Relay(outbox, sink, batch=3, poll_s=3600.0) as relay:
        for begun in range(0, 40, 10):
            await asyncio.gather(*[place(number) for number in range(begun, begun + 10)])
        while len(sink.sent) < 40:
            sink.arrived.clear()
            await sink.arrived.wait()
        assert relay.statistics().restarts == 0
    assert sorted(sink.orders) == sorted(f"o{number}" for number in range(40))
    assert await sent(engine) in ([], sink.orders[-3:], sink.orders[-2:], sink.orders[-1:])  # stopped before it deleted
    await engine.dispose()


async def test_a_relay_that_failed_finds_everything_again(engine: AsyncEngine):
    class Away(Sink):
        async def send(self, *envelopes: Envelope) -> None:
            raise OSError("bus is away")

    await by_session(engine, Placed(order_id="a"))
    with pytest.raises(OSError, match="away"):
        await Relay(SqlAlchemyOutbox(engine), Away()).relay_once()
    assert await sent(engine) == ["a"]


async def test_batches_end_where_they_were_told_to(engine: AsyncEngine):
    for number in range(5):
        await by_session(engine, Placed(order_id=str(number)))
    sink = Sink()
    relay = Relay(SqlAlchemyOutbox(engine), sink, batch=2)
    assert [await relay.relay_once() for _ in range(4)] == [2, 2, 1, 0]
    assert sink.orders == ["0", "1", "2", "3", "4"]


def test_an_engine_whose_users_share_one_connection_is_refused():
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with pytest.raises(ConfigError) as caught:
        SqlAlchemyOutbox(engine)
    assert str(caught.value) == "outbox of sqlite://: a StaticPool shares one connection; use a file and a pool"


def test_its_name_shows_no_password():
    engine = create_async_engine("postgresql+asyncpg://ann:secret@host/shop")
    assert SqlAlchemyOutbox(engine).name == "postgresql+asyncpg://ann:***@host/shop"
    assert SqlAlchemyOutbox(engine, name="orders").name == "orders"


# The table


async def columns(engine: AsyncEngine) -> list[tuple[str, str, bool]]:
    """Return name, type and whether it may be null of each column of the outbox."""

    def read(connection: Connection) -> list[tuple[str, str, bool]]:
        found = inspect(connection).get_columns("_archstone_outbox")
        return [(column["name"], str(column["type"]), column["nullable"]) for column in found]

    async with engine.connect() as connection:
        return await connection.run_sync(read)


async def test_creating_the_outbox_again_does_nothing(engine: AsyncEngine):
    before = await columns(engine)
    await by_session(engine, Placed(order_id="a"))
    await create_outbox(engine)
    await asyncio.gather(*[create_outbox(engine) for _ in range(4)])
    assert await columns(engine) == before
    assert await sent(engine) == ["a"]


async def test_processes_that_start_together_create_it_once(postgres_url: str):
    engine = create_async_engine(postgres_url.replace("://", "+asyncpg://"))
    await asyncio.gather(*[create_outbox(engine) for _ in range(5)])
    await by_session(engine, Placed(order_id="a"))
    assert await sent(engine) == ["a"]
    await engine.dispose()


async def test_in_a_transaction_of_yours_it_comes_and_goes_with_that(tmp_path: Path, engine: AsyncEngine):
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE _archstone_outbox"))
        await connection.execute(text("DROP TABLE _archstone_ledger"))
    async with engine.connect() as connection:
        await create_outbox(connection)
        await publish(connection, Placed(order_id="a"))
        await connection.rollback()
        with pytest.raises(DBAPIError):
            await publish(connection, Placed(order_id="a"))


async def test_what_a_database_has_made_is_left_alone(url: str):
    """The same columns, the same entry in the ledger, and either relay: whoever comes second finds nothing to do."""
    native = url.replace("+aiosqlite", "").replace("+asyncpg", "")
    async with Database(native):
        pass
    engine = create_async_engine(url)
    made_there = await columns(engine)
    await create_outbox(engine)
    assert await columns(engine) == made_there
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE _archstone_outbox"))
        await connection.execute(text("DROP TABLE _archstone_ledger"))
    await create_outbox(engine)
    assert await columns(engine) == made_there
    await by_session(engine, Placed(order_id="a"))
    await engine.dispose()
    sink = Sink()
    async with Database(native) as db:
        assert await Relay(db, sink).relay_once() == 1
        ledger = await db.all(tuple[str, int], "SELECT block, version FROM _archstone_ledger")
    assert (sink.orders, ledger) == (["a"], [("data", len(OUTBOX.versions))])


async def test_a_table_of_a_later_release_is_refused(engine: AsyncEngine):
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE _archstone_ledger SET version = 99"))
    with pytest.raises(NewerSchemaError, match="version 99, this release knows 1"):
        await create_outbox(engine)


# Without asyncio, and in the places where SQLAlchemy calls


def test_a_plain_session_publishes_and_its_commit_wakes_a_relay_that_reads_in_threads(tmp_path: Path):
    engine = create_engine(f"sqlite:///{tmp_path}/orders.db")
    create_outbox(engine)
    Model.metadata.create_all(engine)
    sink = Sink()

    def place() -> None:
        with Session(engine) as session, session.begin():
            session.add(Order(id="a"))
            publish(session, Placed(order_id="a"))
        with engine.begin() as connection:
            publish(connection, Placed(order_id="b"))
        with pytest.raises(ValueError, match="no"), engine.begin() as connection:
            publish(connection, Placed(order_id="c"))
            raise ValueError("no")

    async def relay() -> None:
        outbox = SqlAlchemyOutbox(engine)
        async with asyncio.timeout(20), Relay(outbox, sink, poll_s=3600.0):
            await first_look(outbox)
            thread = threading.Thread(target=place)
            thread.start()
            while len(sink.sent) < 2:
                sink.arrived.clear()
                await sink.arrived.wait()
            await asyncio.to_thread(thread.join)

    asyncio.run(relay())
    assert sink.orders == ["a", "b"]
    engine.dispose()


async def test_a_listener_of_the_flush_publishes_through_the_connection(engine: AsyncEngine):
    session = AsyncSession(engine)

    @event.listens_for(session.sync_session, "after_flush")
    def tell(inner: Session, _: object) -> None:
        for order in inner.new:
            if isinstance(order, Order):
                publish(inner.connection(), Placed(order_id=order.id))

    session.add(Order(id="a"))
    await session.commit()
    assert await sent(engine) == ["a"]

    @event.listens_for(session.sync_session, "before_flush")
    def tell_wrongly(inner: Session, *_: object) -> None:
        publish(inner, Placed(order_id="b"))

    session.add(Order(id="b"))
    with pytest.raises(InvalidRequestError, match="already flushing"):
        await session.commit()
    await session.close()
    assert (await orders(engine), await sent(engine)) == (["a"], [])


# Killed

CHILD = Path(__file__).parent / "sqlalchemy_child.py"


@pytest.mark.parametrize(("where", "left"), [("before_commit", []), ("after_commit", ["a", "b"])])
async def test_a_process_that_dies_leaves_all_of_a_transaction_or_nothing(
    engine: AsyncEngine, where: str, left: list[str]
):
    url = engine.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, CHILD, url, where], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (await orders(engine), await sent(engine)) == (left[:1], left)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "left"),
    [("messaging.before_send", ["a", "b"]), ("messaging.after_send", ["a", "b"]), ("messaging.after_delete", [])],
)
async def test_a_relay_that_dies_has_sent_before_it_deletes(engine: AsyncEngine, point: str, left: list[str]):
    url = engine.url.render_as_string(hide_password=False)
    environment = os.environ | {world.CRASH_VARIABLE: point}
    command = [sys.executable, CHILD, url, "relay"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.split() == ([] if point == "messaging.before_send" else ["a", "b"])
    assert (await orders(engine), await sent(engine)) == (["a"], left)


# SQLAlchemy is not there


def test_without_sqlalchemy_the_error_names_what_to_install():
    program = """
import sys
sys.modules["sqlalchemy"] = None
from archstone.errors import ConfigError
try:
    import archstone.data.sqlalchemy
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "archstone.data.sqlalchemy needs SQLAlchemy 2: pip install 'archstone[sqlalchemy]'\n"


def test_the_rest_of_archstone_does_not_import_it():
    program = "import sys, archstone.data, archstone.messaging; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
