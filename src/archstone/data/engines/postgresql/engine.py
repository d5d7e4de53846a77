"""Joins pools, groups and transactions into the engine of one PostgreSQL database."""

from asyncio import AbstractEventLoop, CancelledError, get_running_loop, timeout
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, NoReturn

from archstone import world
from archstone.data.engine import EngineOptions, Pin, Result, Statistics, Values
from archstone.data.engines.postgresql.group import Groups
from archstone.data.engines.postgresql.link import Link, connect
from archstone.data.engines.postgresql.member import PostgresMember
from archstone.data.engines.postgresql.pool import Pool
from archstone.data.engines.postgresql.signals import Signals
from archstone.data.engines.postgresql.translate import FAULTS, is_broken, is_outdated, translated, unknown
from archstone.data.engines.postgresql.url import label_of, parse_url
from archstone.data.engines.postgresql.view import PostgresView
from archstone.data.errors import DatabaseClosedError, MisuseError, SnapshotExpiredError
from archstone.data.sql import Statement, compile_statement

__all__ = ["PostgresEngine", "engine_of"]

_NOTIFY: Final = compile_statement("SELECT pg_notify(:channel, :payload)::text")
CONNECT_TIMEOUT_S: Final = 10.0
NET_S: Final = 5.0
"""Seconds after the hold limit at which the server itself ends a transaction: its process may be stopped."""


def engine_of(url: str, options: EngineOptions) -> "PostgresEngine":
    """Return the engine of a `postgresql://` URL, not yet connected."""
    return PostgresEngine(url, options)


class PostgresEngine:
    """One database of a PostgreSQL server, shared with any number of other processes."""

    dialect = "postgresql"
    shared = True

    def __init__(self, url: str, options: EngineOptions) -> None:
        self.label = label_of(url)
        self._dsn, self._postgres = parse_url(url)
        self.hold_limit_s = options.hold_limit_s
        self.serializable = self._postgres.isolation == "serializable"
        self.begin = f"BEGIN ISOLATION LEVEL {self._postgres.isolation.replace('-', ' ').upper()}"
        self._snapshot_limit_s = options.snapshot_limit_s
        self._name = options.name
        self._readers: Pool | None = None
        self._writers: Pool | None = None
        self._groups: Groups | None = None
        self._loop: AbstractEventLoop | None = None
        self._signals: Signals | None = None
        self.heard: Callable[[str | None], None] = lambda _: None
        self._commits = self._lost = self._held = self._expired = 0

    @property
    def writers(self) -> Pool:
        """The connections that write."""
        return self._writers or self._closed()

    @property
    def loop(self) -> AbstractEventLoop:
        """The loop on which it was opened."""
        return self._loop or get_running_loop()

    async def open(self) -> None:
        """Connect once, to tell at once what is wrong; other connections are opened when they are needed.

        Raises:
            ConnectionFailedError: The server cannot be reached, or refuses the user or the database.
        """
        if self._writers is not None:
            raise MisuseError(f"database {self.label}", "is already open")
        loop = self._loop = get_running_loop()
        self._writers = Pool(self._connect_writer, label=self.label, loop=loop, options=self._postgres)
        self._readers = Pool(self._connect_reader, label=self.label, loop=loop, options=self._postgres)
        self._groups = Groups(self._writers, label=self.label, loop=loop)
        self._signals = Signals(self._connect_reader, self._notify, self.heard)
        try:
            await self._make_schema(self._writers)
        except BaseException:
            self._abort()
            raise

    async def _make_schema(self, writers: Pool) -> None:
        link = await writers.take()
        try:
            if self._postgres.schema:
                # The name of a schema cannot be a parameter; `url.py` has looked at it.
                name = f'"{self._postgres.schema}"'
                # Two who make it at once: one of them fails, though it says IF NOT EXISTS.
                with suppress(*FAULTS):
                    await link.say(f"CREATE SCHEMA IF NOT EXISTS {name}")  # sql: checked
                await link.say(f"SELECT '{name}'::regnamespace")  # sql: checked
        except FAULTS as error:
            raise translated(error, self.label, "CREATE SCHEMA") from error
        finally:
            writers.give(link)

    async def _connect_writer(self) -> Link:
        net_ms = int((self.hold_limit_s + NET_S) * 1000)
        return await self._connect(idle_in_transaction_session_timeout=str(net_ms))

    async def _connect_reader(self) -> Link:
        net_ms = int((self._snapshot_limit_s + NET_S) * 1000)
        return await self._connect(default_transaction_read_only="on", idle_in_transaction_session_timeout=str(net_ms))

    async def _connect(self, **settings: str) -> Link:
        if self._postgres.schema:
            settings["search_path"] = f'"{self._postgres.schema}"'
        settings |= {"application_name": f"archstone {self._name}".strip(), "timezone": "UTC"}
        return await connect(self._dsn, settings=settings, timeout_s=CONNECT_TIMEOUT_S, made_s=world.monotonic())

    async def _notify(self, channel: str, payload: str) -> object:
        return await self.execute(_NOTIFY, (channel, payload))

    def signal(self, word: str) -> None:
        """Tell the other processes that have the database open."""
        if self._signals is not None:
            self._signals.send(word)

    def listen(self) -> None:
        """Hear what others signal."""
        if self._signals is not None:
            self._signals.listen()

    async def close(self) -> None:
        """Let statements and transactions in flight end, and disconnect. A new one is refused.

        What is still open at its limit, or when this is cancelled, is rolled back, and told so.
        """
        try:
            if self._signals is not None:
                await self._signals.close()
            if self._groups is not None:
                await self._groups.close()
            for pool in (self._writers, self._readers):
                if pool is not None:
                    await pool.drain(self.hold_limit_s + NET_S)
        finally:
            self._abort()

    def _abort(self) -> None:
        for pool in (self._writers, self._readers):
            if pool is not None:
                pool.end()
        self._writers = self._readers = self._groups = self._signals = None

    def member(self, *, wait: bool) -> PostgresMember:
        """Return a new transaction that has not begun."""
        if self._writers is None:
            self._closed()
        return PostgresMember(self, wait=wait)

    def execute(self, statement: Statement, values: Values) -> Coroutine[Any, Any, Result]:
        """Run one statement as a transaction of its own, in one group with others of the same moment."""
        groups = self._groups
        if groups is None:
            self._closed()
        return groups.execute(statement, values)

    async def read(self, statement: Statement, values: Values) -> Result:
        """Run one reading statement on what is committed.

        Raises:
            SnapshotExpiredError: It took longer than the limit of a snapshot.
        """
        readers = self._readers
        if readers is None:
            self._closed()
        for last in (False, True):
            link = await readers.take()
            try:
                async with timeout(self._snapshot_limit_s):
                    return await link.run(statement, values)
            except TimeoutError as error:
                self._expired += 1
                link.end()
                raise SnapshotExpiredError(self.label, f"it took over {self._snapshot_limit_s:g} s") from error
            except FAULTS as error:
                if is_outdated(error) and not last:
                    link.forget()
                elif is_broken(error) and not last:
                    link.end()  # it may have been idle when the server was restarted
                else:
                    raise translated(error, self.label, statement.source) from error
            except CancelledError:
                link.end()
                raise
            finally:
                readers.give(link)
        raise AssertionError  # the second round returns or raises

    async def view(self) -> PostgresView:
        """Return the present instant."""
        readers = self._readers
        if readers is None:
            self._closed()
        link = await readers.take()
        try:
            # The instant is that of the first statement after BEGIN.
            await link.say("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1")
        except BaseException as error:
            link.end()
            readers.give(link)
            if isinstance(error, FAULTS):
                raise translated(error, self.label, "BEGIN") from error
            raise
        return PostgresView(link, readers, label=self.label, loop=self.loop, limit_s=self._snapshot_limit_s)

    async def prepared(self) -> list[str]:
        """Return the names of the prepared transactions of this database, oldest first."""
        text = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared"
        return [str(row[0]) for row in (await self.read(compile_statement(text), ()))[2]]

    async def settle(self, name: str, *, commit: bool) -> bool:
        """Commit or roll back a prepared transaction; False if there is none of the name."""
        quoted = name.replace("'", "''")
        text = f"{'COMMIT' if commit else 'ROLLBACK'} PREPARED '{quoted}'"
        writers = self.writers
        link = await writers.take()
        try:
            await link.say(text)
        except FAULTS as error:
            if getattr(error, "sqlstate", None) == "42704":
                return False
            if is_broken(error):
                link.end()
                raise unknown(error, self.label) from error
            raise translated(error, self.label, text) from error
        except CancelledError:
            link.end()
            raise
        finally:
            writers.give(link)
        return True

    async def pause(self) -> None:
        """Refuse: other processes write, too."""
        raise MisuseError(f"database {self.label}", "cannot be paused: other processes write to it, too")

    def resume(self) -> None:
        """End `pause`: nothing to do."""

    async def pin(self) -> Pin:
        """Refuse: copies of a server are for its own tools."""
        raise MisuseError(f"database {self.label}", "is copied by the tools of its server: pg_dump, pg_basebackup")

    def statistics(self) -> Statistics:
        """Return the counters since opening."""
        groups, writers, readers = self._groups, self._writers, self._readers
        if groups is None or writers is None or readers is None:
            return Statistics()
        return Statistics(
            commits=self._commits + groups.commits,
            members=self._commits + groups.members,
            largest_group=max(groups.largest, min(self._commits, 1)),
            lost_groups=self._lost + groups.lost,
            held_too_long=self._held,
            expired_snapshots=self._expired,
            waiting=writers.waiting + readers.waiting,
        )

    def count(self, *, commits: int = 0, lost: int = 0, held: int = 0) -> None:
        """Count what became of a transaction."""
        self._commits += commits
        self._lost += lost
        self._held += held

    def call(self, callback: Callable[[], None]) -> None:
        """Run somebody's callback; its bug must not keep others from their answers."""
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - see above
            message = f"database {self.label}: an after_commit callback failed"
            self.loop.call_exception_handler({"message": message, "exception": error})

    def _closed(self) -> NoReturn:
        raise DatabaseClosedError(self.label)
