"""The writer of a file: a fair lock from begin to release, and one COMMIT for all transactions of a loop turn.

Logical transactions run one after another between savepoints of one SQLite transaction, the group. What holds:

- One member is open at a time, and no COMMIT happens while one is (trap T3: it would commit the unfinished one).
- The COMMIT is called one loop turn after the group began; all who ran in that turn share it. When members wait
  for each other it is put off to the end of a member, at most until the group is full or 5 ms old.
- Answers leave after the COMMIT, in order (trap T2: inline, because a thread starves for the GIL under a busy loop;
  in a thread only where a sync is slow).
- If SQLite drops the whole transaction, every member of the group is told (trap T3).
"""

import sqlite3
from asyncio import AbstractEventLoop, Future, sleep
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Final

from archstone import world
from archstone.data.engine import Result, Values
from archstone.data.engines.sqlite.batch import Batch
from archstone.data.engines.sqlite.line import ALONE, COMMITTING, Holder, Line
from archstone.data.engines.sqlite.translate import FAULTS, is_busy, primary_code, translated
from archstone.data.errors import DiskFailedError, DiskFullError, TransactionLostError
from archstone.data.sql import Statement
from archstone.errors import ArchstoneError

__all__ = ["AFTER_COMMIT", "BEFORE_COMMIT", "Writer"]

BEFORE_COMMIT: Final = world.declare_point(
    "data.before_commit", "a group of transactions has run and nobody is answered; none of it is on disk"
)
AFTER_COMMIT: Final = world.declare_point(
    "data.after_commit", "a group of transactions is on disk and nobody has been answered"
)

LOCKED_LIMIT_S: Final = 2.0
"""Seconds to wait for a program outside Archstone that holds the write lock."""
LOCKED_RETRY_S: Final = 0.02


class Writer(Line):
    """The one connection that writes, and the group that is open on it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        file: str,
        loop: AbstractEventLoop,
        hold_limit_s: float,
        threads: Executor | None,
    ) -> None:
        super().__init__(file=file, loop=loop, hold_limit_s=hold_limit_s)
        self.connection = connection
        self.cursor = connection.cursor()
        self.batch: Batch | None = None
        self.last_statement = ""
        self.commits = self.members = self.largest = self.lost = 0
        self.after_each: Callable[[int], None] = lambda _: None
        """Called with the number of commits after each one: the engine looks at the size of the log."""
        self._threads = threads
        self._turn_called = False
        self._due = False

    # Holding

    async def acquire(self, holder: Holder) -> None:
        """Hold the writer in a group; does not suspend when it is free. The holder must `release`."""
        if self.holder is None:
            self.holder = holder
        else:
            await self.take(holder)
        if self.batch is None:
            try:
                self._begin()
            except sqlite3.Error as error:
                await self._begin_late(error)

    async def hold(self, holder: Holder) -> None:
        """Hold the writer with no group open: what was finished before is committed."""
        await self.take(holder)
        if self.batch is not None:
            turn = self.line_up(holder, first=True)
            self._commit_now()
            await self.granted(turn, holder)
        self.watch(holder)

    def release(self) -> None:
        """Give the writer to the next in line; commit first if that is due."""
        if self._timer is None and self.failure is None and not self.waiters and not self._due:
            self.holder = None  # nothing else to do, nearly always
            return
        self.let_go()
        due = self._due and self.batch is not None
        if due and (not self.waiters or self.group().full(world.monotonic())):
            self._commit_now()
            return
        self.grant()
        if due and self.holder is None:
            self._commit_now()  # everybody who waited was cancelled

    # The group

    def group(self) -> Batch:
        """Return the open group; for the holder, after `acquire`."""
        if self.batch is None:
            raise TransactionLostError(self.file, "because no group is open")
        return self.batch

    def _begin(self) -> None:
        self.cursor.execute("BEGIN IMMEDIATE")
        self.batch = Batch(world.monotonic())
        if not self._turn_called:
            self._turn_called = True
            self.loop.call_soon(self._turn, context=self.context)

    async def _begin_late(self, error: sqlite3.Error) -> None:
        # Only a program that does not know our lock file can be in the way. The loop must not wait in SQLite for it.
        until = world.monotonic() + LOCKED_LIMIT_S
        try:
            while is_busy(error) and world.monotonic() < until:
                await sleep(LOCKED_RETRY_S)
                try:
                    return self._begin()
                except sqlite3.Error as again:
                    error = again
        except BaseException:
            self.release()
            raise
        self.release()
        raise translated(error, self.file, "BEGIN IMMEDIATE") from error

    def _turn(self) -> None:
        self._turn_called = False
        if self.batch is None:
            return
        if self.holder is None:
            self._commit()
        else:
            self._due = True
            self.watch(self.holder)

    def _commit_now(self) -> None:
        self.context.copy().run(self._commit)  # a copy: this may be called from a callback inside that context

    def _commit(self) -> None:
        """Commit the open group, which has no open member, and answer. In thread mode this only starts it."""
        batch = self.batch
        if batch is None:
            return
        self.batch = None
        self._due = False
        self.holder = COMMITTING
        world.point(BEFORE_COMMIT)
        if self._threads is None:
            self._committed(batch, self._run_commit())
        else:
            work = self.loop.run_in_executor(self._threads, self._run_commit)
            work.add_done_callback(partial(self._thread_done, batch), context=self.context)

    def _run_commit(self) -> sqlite3.Error | None:
        try:
            self.cursor.execute("COMMIT")
        except sqlite3.Error as error:
            return error
        return None

    def _thread_done(self, batch: Batch, work: "Future[sqlite3.Error | None]") -> None:
        self._committed(batch, work.result())

    def _committed(self, batch: Batch, error: sqlite3.Error | None) -> None:
        if error is not None:
            self._commit_failed(batch, error)
        else:
            world.point(AFTER_COMMIT)
            self.commits += 1
            self.members += batch.members
            self.largest = max(self.largest, batch.members)
            for callback in batch.callbacks:
                self.call(callback)
            batch.answer()
            self.after_each(self.commits)
        if self.holder is COMMITTING:
            self.release()

    def call(self, callback: Callable[[], None]) -> None:
        """Run somebody's callback; its bug must not keep others from their answers."""
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - see above
            message = f"database {self.file}: an after_commit callback failed"
            self.loop.call_exception_handler({"message": message, "exception": error})

    def _commit_failed(self, batch: Batch, error: sqlite3.Error) -> None:
        self.lost += 1
        if primary_code(error) == sqlite3.SQLITE_IOERR:
            # The commit mark may be in the log without a sync having confirmed it; only recovery can tell.
            failure: ArchstoneError = DiskFailedError(self.file, "COMMIT", str(error))
            self.shut(failure)
        else:
            failure = translated(error, self.file, "COMMIT")
            if not isinstance(failure, DiskFullError):
                failure = _lost(self.file, failure)
            if self.connection.in_transaction:
                self.cursor.execute("ROLLBACK")
        failure.__cause__ = error
        batch.lose(failure)

    # Statements

    async def execute(self, statement: Statement, values: Values) -> Result:
        """Run one statement as a member of its own; no savepoint, because a statement undoes itself."""
        batch = self.batch
        if self.holder is None and batch is not None:
            self.holder = ALONE
        else:
            await self.acquire(ALONE)
            batch = self.group()
        try:
            result = self.run(statement, values)
        except BaseException:
            self.release()
            raise
        batch.members += 1
        answer = batch.join(self.loop)
        self.release()
        await answer
        return result

    def run(self, statement: Statement, values: Values) -> Result:
        """Run a statement for the holder and fetch everything it gives."""
        cursor = self.cursor
        self.last_statement = statement.source
        try:
            cursor.execute(statement.text, values)
            description = cursor.description
            rows = [] if description is None else cursor.fetchall()
        except FAULTS as error:
            raise self.failed(error, statement.source) from error
        count = cursor.rowcount
        return (count if count > 0 else 0, description, rows)  # noqa: FURB136 - the call would cost 60 ns

    def failed(self, error: Exception, statement: str) -> ArchstoneError:
        """Return what to raise for `error`; if it took the group with it, tell the group."""
        failure = translated(error, self.file, statement)
        if not self.connection.in_transaction and self.batch is not None:
            batch, self.batch = self.batch, None
            self._due = False
            self.lost += 1
            batch.lose(_lost(self.file, failure))
        return failure

    def drop_group(self) -> None:
        """Roll the group back that holds nothing but what its holder did: nobody waits for it, nobody is told."""
        self.batch = None
        self._due = False
        self.cursor.execute("ROLLBACK")

    def empty_log(self) -> None:
        """Move the whole log into the file. Left as it is when another program reads the file: it is used later."""
        with suppress(sqlite3.Error):
            self.cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def shut(self, failure: ArchstoneError | None = None) -> None:
        """Refuse everybody from now on, with `failure` or as closed; a group still open is lost."""
        super().shut(failure)
        batch, self.batch = self.batch, None
        if batch is not None and self.failure is not None:
            batch.lose(self.failure)


def _lost(file: str, failure: ArchstoneError) -> ArchstoneError:
    lost = TransactionLostError(file, f"because {getattr(failure, 'reason', failure)}")
    lost.__cause__ = failure
    return lost
