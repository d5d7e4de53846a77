"""Snapshot reads beside the writer (trap T5): inline while cheap, in a thread above a budget, never too old.

A read runs on the loop under a budget of virtual-machine steps. One that exceeds it is stopped and repeated in a
thread: most reads take microseconds and a hop to a thread costs more than they do; the few long ones must not stop
the loop.
"""

import sqlite3
from asyncio import AbstractEventLoop, CancelledError, Future, TimerHandle, shield, wait
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from archstone import world
from archstone.data.engine import Result, Values
from archstone.data.engines.sqlite.translate import FAULTS, INTERRUPTED, primary_code, translated
from archstone.data.errors import DatabaseClosedError, SnapshotExpiredError, TooManyWaitingError
from archstone.data.sql import Statement

__all__ = ["Readers", "SqliteView"]

STEPS_PER_CHECK: Final = 1_000
INLINE_CHECKS: Final = 50
"""50,000 steps on the loop: about a millisecond."""
INLINE_S: Final = 0.005
"""Seconds on the loop: steps can be slow, such as those of a full-text index."""
READERS_LIMIT: Final = 16
"""Connections for snapshots and slow reads; more wait in line."""
WAITING_LIMIT: Final = 1_000


class Budget:
    """How much a read may cost before it is stopped: steps and seconds. One per connection."""

    __slots__ = ("_checks", "_checks_limit", "_clock", "_until_s")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._checks = 0
        self._checks_limit: float = INLINE_CHECKS
        self._until_s = 0.0

    def start(self, *, checks: float, seconds: float) -> None:
        """Begin anew."""
        self._checks = 0
        self._checks_limit = checks
        self._until_s = self._clock() + seconds

    def stop(self) -> None:
        """Let the next check stop the read."""
        self._checks_limit = 0

    def spent(self) -> int:
        """Answer SQLite, which asks every STEPS_PER_CHECK steps: non-zero stops the statement."""
        # SQLite counts steps over the life of a prepared statement, so one call says nothing; only our count does.
        self._checks += 1
        return int(self._checks > self._checks_limit or self._clock() > self._until_s)


class Reader:
    """One connection that reads, used by one caller at a time."""

    __slots__ = ("_budget", "_connection", "_cursor", "_file", "work")

    def __init__(self, connection: sqlite3.Connection, *, file: str, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._file = file
        self._budget = Budget(clock)
        connection.set_progress_handler(self._budget.spent, STEPS_PER_CHECK)
        self.work: Future[Result] | None = None
        """The read that runs in a thread, if any."""

    def try_read(self, statement: Statement, values: Values) -> Result | None:
        """Read on the loop; None if it costs too much."""
        self._budget.start(checks=INLINE_CHECKS, seconds=INLINE_S)
        try:
            return self._fetch(statement, values)
        except FAULTS as error:
            if primary_code(error) == INTERRUPTED:
                return None
            raise translated(error, self._file, statement.source) from error

    async def read_in_thread(
        self, statement: Statement, values: Values, *, loop: AbstractEventLoop, threads: Executor, limit_s: float
    ) -> Result:
        """Read in a thread, for at most `limit_s`. Cancelled, it stops the read and leaves it in `work` to end."""
        self._budget.start(checks=float("inf"), seconds=limit_s)
        self.work = loop.run_in_executor(threads, self._fetch, statement, values)
        try:
            return await shield(self.work)
        except CancelledError:
            self._budget.stop()
            self.work.add_done_callback(_looked_at)
            raise
        except FAULTS as error:
            if primary_code(error) == INTERRUPTED:
                raise SnapshotExpiredError(self._file, f"the read took more than {limit_s:g} s") from error
            raise translated(error, self._file, statement.source) from error

    def _fetch(self, statement: Statement, values: Values) -> Result:
        cursor = self._cursor
        cursor.execute(statement.text, values)
        return (0, cursor.description, cursor.fetchall())

    def begin(self) -> None:
        """Fix the instant: all reads until `end` see the database as it is now."""
        self._budget.start(checks=float("inf"), seconds=float("inf"))
        self._cursor.execute("BEGIN")
        self._cursor.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()

    def end(self) -> None:
        """Give the instant up."""
        if self._connection.in_transaction:
            self._budget.start(checks=float("inf"), seconds=float("inf"))
            self._cursor.execute("ROLLBACK")

    def stop(self) -> None:
        """Stop the read that runs in a thread."""
        self._budget.stop()

    def close(self) -> None:
        """Close the connection; nothing may run on it."""
        self._connection.close()


def _looked_at(work: "Future[Result]") -> None:
    if not work.cancelled():
        work.exception()


class Readers:
    """The reading connections of a file: one for reads on the loop, up to 16 for snapshots and slow reads."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        file: str,
        loop: AbstractEventLoop,
        threads: Executor,
        limit_s: float,
    ) -> None:
        self.file = file
        self.loop = loop
        self.threads = threads
        self.limit_s = limit_s
        self.slow_reads = self.expired = 0
        self._connect = connect
        self._clock = world.current().monotonic
        self._inline = self._new()
        self._idle: list[Reader] = []
        self._out: dict[Reader, None] = {}
        self._waiters: deque[Future[Reader]] = deque()
        self._views: dict[SqliteView, None] = {}
        self._closed = False

    async def read(self, statement: Statement, values: Values) -> Result:
        """Run one reading statement on what is committed now."""
        result = self._inline.try_read(statement, values)
        if result is not None:
            return result
        self.slow_reads += 1
        reader = await self.take()
        try:
            return await reader.read_in_thread(
                statement, values, loop=self.loop, threads=self.threads, limit_s=self.limit_s
            )
        finally:
            self.give_back(reader)

    async def view(self) -> "SqliteView":
        """Return the present instant."""
        reader = await self.take()
        try:
            view = SqliteView(self, reader)
        except BaseException:
            self.give_back(reader)
            raise
        self._views[view] = None
        return view

    async def take(self) -> Reader:
        """Return a connection of one's own; waits in line if all are out."""
        if self._closed:
            raise DatabaseClosedError(self.file)
        if self._idle or len(self._out) < READERS_LIMIT:
            reader = self._idle.pop() if self._idle else self._new()
            self._out[reader] = None
            return reader
        if len(self._waiters) >= WAITING_LIMIT:
            raise TooManyWaitingError(self.file, len(self._waiters), WAITING_LIMIT)
        turn: Future[Reader] = self.loop.create_future()
        self._waiters.append(turn)
        try:
            return await turn
        except CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(turn.result())
            raise

    def give_back(self, reader: Reader) -> None:
        """Take a connection back, now or when the read that still runs on it has ended."""
        if self._closed:
            return
        if reader.work is not None and not reader.work.done():
            reader.work.add_done_callback(lambda _: self.give_back(reader))
            return
        reader.work = None
        reader.end()
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(reader)
                return
        del self._out[reader]
        self._idle.append(reader)

    def forget(self, view: "SqliteView") -> None:
        """Stop keeping track of a closed view."""
        self._views.pop(view, None)

    def expire_all(self, reason: str) -> None:
        """End every open snapshot: its reads raise SnapshotExpiredError with `reason`."""
        for view in list(self._views):
            view.expire(reason)

    async def close(self) -> None:
        """Stop what still reads and close all connections."""
        self.expire_all("the database was closed")
        while self._waiters:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_exception(DatabaseClosedError(self.file))
        self._closed = True
        running = [reader.work for reader in self._out if reader.work is not None]
        for reader in self._out:
            reader.stop()
        if running:
            await wait(running)
        self.discard()

    def discard(self) -> None:
        """Close all connections; nothing may run on them."""
        self._closed = True
        for reader in (self._inline, *self._idle, *self._out):
            reader.close()
        self._idle.clear()
        self._out.clear()

    def _new(self) -> Reader:
        return Reader(self._connect(), file=self.file, clock=self._clock)


class SqliteView:
    """One instant, read several times. It ends at the age limit."""

    __slots__ = ("_expired", "_reader", "_readers", "_timer")

    def __init__(self, readers: Readers, reader: Reader) -> None:
        self._readers = readers
        self._reader: Reader | None = reader
        self._expired: str | None = None
        reader.begin()
        self._timer: TimerHandle = readers.loop.call_later(
            readers.limit_s, self.expire, f"it was open for more than {readers.limit_s:g} s"
        )

    async def read(self, statement: Statement, values: Values) -> Result:
        """Run one reading statement on this instant."""
        reader = self._reader
        if self._expired is not None or reader is None:
            raise SnapshotExpiredError(self._readers.file, self._expired or "it was closed")
        result = reader.try_read(statement, values)
        if result is not None:
            return result
        readers = self._readers
        readers.slow_reads += 1
        try:
            return await reader.read_in_thread(
                statement, values, loop=readers.loop, threads=readers.threads, limit_s=readers.limit_s
            )
        except SnapshotExpiredError as error:
            raise SnapshotExpiredError(readers.file, self._expired or error.reason) from error

    async def close(self) -> None:
        """Give the instant up."""
        self._end()

    def expire(self, reason: str) -> None:
        """End it from outside: the next read, or the one that runs, raises SnapshotExpiredError."""
        self._expired = reason
        self._readers.expired += 1
        self._end()

    def _end(self) -> None:
        self._timer.cancel()
        self._readers.forget(self)
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            self._readers.give_back(reader)
