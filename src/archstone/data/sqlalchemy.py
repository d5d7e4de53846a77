"""Publish from a transaction of SQLAlchemy's, in an application that keeps its models, its session and its engine.

    async with AsyncSession(engine) as session, session.begin():
        session.add(Order(id="A1"))
        await publish(session, OrderPlaced(order_id="A1"))

The event becomes a row of the outbox, written through that very session: it is there if and only if the order is, after
a rollback, a rollback to a savepoint, a crash. `create_outbox` makes the table. A relay sends what lies in it:

    async with Relay(SqlAlchemyOutbox(engine), bus):

On PostgreSQL `Relay(Database(url), bus)` does the same from any process, and where there are several, one of them does
it. On SQLite take `SqlAlchemyOutbox`: through a `Database` a second program would write the same file and, worse, a
second one would move its log into it.

Needs `archstone[sqlalchemy]`; nothing else in Archstone imports it. With `Database`, say `tx.publish` instead.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar, cast, overload

from archstone import context, world
from archstone.data.errors import NewerSchemaError
from archstone.data.event import Event
from archstone.data.outbox import OUTBOX, OUTBOX_DELETE, OUTBOX_INSERT, OUTBOX_READ, OutboxRow, envelope
from archstone.data.portable import LOCK, portable
from archstone.data.schema import LEDGER
from archstone.errors import ConfigError

try:
    from sqlalchemy import Connection, Engine, LargeBinary, SingletonThreadPool, StaticPool, inspect, text
    from sqlalchemy.event import listen
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import ConnectionPoolEntry
except ImportError as error:
    message = "archstone.data.sqlalchemy needs SQLAlchemy 2: pip install 'archstone[sqlalchemy]'"
    raise ConfigError(message) from error

__all__ = ["SqlAlchemyOutbox", "create_outbox", "publish"]

T = TypeVar("T")

_PUBLISHED: Final = "archstone.published"
"""Marks a pooled connection, in its `info`, until it is back in its pool."""

_INSERT: Final = text(OUTBOX_INSERT.source)
_READ: Final = text(OUTBOX_READ).columns(
    payload=LargeBinary, headers=LargeBinary
)  # psycopg2 gives memoryview otherwise
_DELETE: Final = text(OUTBOX_DELETE)

_ENTER: Final = text(
    "INSERT INTO _archstone_ledger (block, version, at) VALUES (:block, 0, :at) ON CONFLICT (block) DO NOTHING"
)
_VERSION: Final = text("SELECT version FROM _archstone_ledger WHERE block = :block")
_RECORD: Final = text("UPDATE _archstone_ledger SET version = :version, at = :at WHERE block = :block")
_ONE_AT_A_TIME: Final = text("SELECT pg_advisory_xact_lock(:key)")


@overload
def publish(session: AsyncSession | AsyncConnection, event: Event) -> Coroutine[Any, Any, None]: ...
@overload
def publish(session: Session | Connection, event: Event) -> None: ...
def publish(
    session: AsyncSession | AsyncConnection | Session | Connection, event: Event
) -> Coroutine[Any, Any, None] | None:
    """Write `event` to the outbox in the transaction of `session`; await it where the session is an async one.

    It is sent if and only if that transaction commits, with the savepoint in which this was called. Events of one
    transaction are sent in the order in which they were published. Those of several that change the same row are sent
    in the order of the changes if each is published after its change, while the row is locked: a session is therefore
    flushed first. Its headers tell the trace, correlation, causation and principal of the running call.

    Args:
        session: A session or a connection. Of a scoped session, what calling it gives. With several databases in one
            session, and in an event handler that runs within a flush, the connection: `session.connection()`.
        event: What happened.

    Raises:
        EventError: Its class has no name.
        sqlalchemy.exc.DBAPIError: The database refused it; without a table of that name `create_outbox` was not called.
    """
    row = envelope(event, context.current())._asdict()
    if isinstance(session, AsyncSession | AsyncConnection):
        return session.run_sync(_write, row)
    return _write(session, row)


def _write(session: Session | Connection, row: dict[str, Any]) -> None:
    if isinstance(session, Session):
        session.flush()
        session = session.connection()
    session.execute(_INSERT, row)
    session.info[_PUBLISHED] = True


@overload
def create_outbox(bind: AsyncEngine | AsyncConnection) -> Coroutine[Any, Any, None]: ...
@overload
def create_outbox(bind: Engine | Connection) -> None: ...
def create_outbox(bind: AsyncEngine | AsyncConnection | Engine | Connection) -> Coroutine[Any, Any, None] | None:
    """Create or upgrade the table of the outbox, as `Database` does; nothing happens if it is there.

    With an engine it is a transaction of its own; with a connection it belongs to yours, so that a migration of Alembic
    says `create_outbox(op.get_bind())`. Await it where `bind` is async. Works on SQLite and PostgreSQL.

    Raises:
        NewerSchemaError: The table was made by a later release.
    """
    if isinstance(bind, AsyncConnection):
        return bind.run_sync(_create)
    if isinstance(bind, Connection):
        return _create(bind)
    return _run(bind, _create) if isinstance(bind, AsyncEngine) else _run_now(bind, _create)


async def _run(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    async with engine.begin() as connection:
        return await connection.run_sync(work)


def _run_now(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _create(connection: Connection) -> None:
    known = len(OUTBOX.versions)
    # Nearly always there is nothing to do, and on SQLite a transaction that reads before it writes may find it locked.
    if inspect(connection).has_table("_archstone_ledger") and _version(connection) == known:
        return
    dialect = connection.dialect.name
    if dialect == "postgresql":
        # IF NOT EXISTS alone lets two processes that start together collide in the catalogue.
        connection.execute(_ONE_AT_A_TIME, {"key": LOCK})
    for statement in LEDGER:
        connection.execute(text(portable(statement, dialect)))
    # A change of rows comes before the tables: Python's driver for SQLite begins a transaction for nothing else.
    connection.execute(_ENTER, {"block": OUTBOX.block, "at": world.now_us()})
    found = _version(connection)
    if found > known:
        raise NewerSchemaError(connection.engine.url.render_as_string(), OUTBOX.block, found, known)
    for statements in OUTBOX.versions[found:]:
        for statement in statements:
            connection.execute(text(portable(statement, dialect)))
    connection.execute(_RECORD, {"block": OUTBOX.block, "version": known, "at": world.now_us()})


def _version(connection: Connection) -> int:
    return connection.scalar(_VERSION, {"block": OUTBOX.block}) or 0


class SqlAlchemyOutbox:
    """The outbox of an engine's database, for a `Relay`: read and emptied through that engine, in short transactions.

    A relay is woken when a connection that has published goes back to the pool: right after the commit of a session,
    and after the block of a connection. From other processes it hears nothing and looks by itself (`poll_s`). A
    rollback wakes it for nothing. One relay on one database, in one process: a second one sends everything twice, under
    the same ids.
    """

    def __init__(self, engine: AsyncEngine | Engine, *, name: str | None = None) -> None:
        """Describe the outbox of `engine`, whose table `create_outbox` has made. Nothing is connected.

        Args:
            engine: That of the sessions, so that their commits are heard. One that is not async is used in threads.
            name: How logs and metrics name it. None: the engine's URL, without password.

        Raises:
            ConfigError: All users of the engine share one connection: the relay would commit what others have open.
        """
        inner = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        self.name = name or inner.url.render_as_string()
        if isinstance(inner.pool, StaticPool | SingletonThreadPool):
            pool = type(inner.pool).__name__
            raise ConfigError(f"outbox of {self.name}: a {pool} shares one connection; use a file and a pool")
        self.outbox_ready: list[Callable[[], None]] = []
        """Called on the loop of the relay after commits that published, and sometimes without need."""
        self._engine = engine
        self._loop: asyncio.AbstractEventLoop | None = None
        listen(inner, "checkin", self._returned)

    async def unsent(self, limit: int) -> Sequence[OutboxRow]:
        """Return the oldest events that are committed and not forgotten, at most `limit`."""
        self._loop = asyncio.get_running_loop()

        def read(connection: Connection) -> list[OutboxRow]:
            return [cast("OutboxRow", tuple(row)) for row in connection.execute(_READ, {"limit": limit})]

        return await self._through(read)

    async def forget(self, positions: Sequence[int]) -> None:
        """Delete events that are sent. Cancelled, it may have happened."""

        def delete(connection: Connection) -> None:
            connection.execute(_DELETE, [{"position": position} for position in positions])

        if positions:
            await self._through(delete)

    async def _through(self, work: Callable[[Connection], T]) -> T:
        if isinstance(self._engine, AsyncEngine):
            return await _run(self._engine, work)
        return await asyncio.to_thread(_run_now, self._engine, work)

    def _returned(self, _: object, entry: ConnectionPoolEntry) -> None:
        if entry.info.pop(_PUBLISHED, False) and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and its relay gone
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for callback in list(self.outbox_ready):
            callback()
