"""Joins writer, readers and locks into the engine of one SQLite file."""

import sqlite3
import sys
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from archstone import disk, world
from archstone.data.engine import EngineOptions, Result, Statistics, Values
from archstone.data.engines.sqlite.files import path_of, refuse_network_disk
from archstone.data.engines.sqlite.lock import FileLock
from archstone.data.engines.sqlite.member import CANNOT_PREPARE, SqliteMember
from archstone.data.engines.sqlite.pin import SqlitePin
from archstone.data.engines.sqlite.readers import Readers, SqliteView
from archstone.data.engines.sqlite.translate import translated
from archstone.data.engines.sqlite.writer import Writer
from archstone.data.errors import (
    DatabaseClosedError,
    DatabaseError,
    DiskFailedError,
    MisuseError,
    StatementError,
    TransactionHeldError,
)
from archstone.data.sql import Statement, refuse, tokens

__all__ = ["SqliteEngine", "engine_of"]

SLOW_SYNC_S: Final = 0.001
"""A sync above this goes to a thread; below it, starving for the GIL costs more than waiting for the disk (T2)."""
SWITCH_INTERVAL_S: Final = 0.0005
"""Thread switch interval while commits run in a thread, so that they get the GIL back under a busy loop."""
CHECKPOINT_PAGES: Final = 1_000
WAL_LIMIT_BYTES: Final = 256 * 1024 * 1024
"""Size of the log above which open snapshots are ended, so that it can be emptied."""
COMMITS_PER_LOOK: Final = 64
"""Commits between two looks at the size of the log."""
THREADS: Final = 3

_WRITER: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA fullfsync=ON",  # macOS: fsync alone does not reach the platter
    "PRAGMA checkpoint_fullfsync=ON",
    f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}",  # after its own COMMIT, so only the writer checkpoints (T5)
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16384",
    # Debian's SQLite zeroes all that is deleted, a page more in the log for each message. FAST: what is written anyway.
    "PRAGMA secure_delete=FAST",
)
_READER: Final = (
    "PRAGMA query_only=ON",
    "PRAGMA wal_autocheckpoint=0",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-4096",
)

_SUSPECTS: Final = (
    "SELECT sql FROM sqlite_schema WHERE sql LIKE '%DEFERRED%' OR sql LIKE '%ROLLBACK%' OR sql LIKE '%FAIL%'"
)
"""Finds what is worth reading word by word: to read all of it so takes longer than the rest of opening a file."""


def engine_of(url: str, options: EngineOptions) -> "SqliteEngine":
    """Return the engine of a `sqlite:///` URL, not yet open."""
    return SqliteEngine(path_of(url), options)


class Pause:
    """Holds the writer for `db.paused()`."""

    __slots__ = ("expired",)

    def __init__(self) -> None:
        self.expired = False

    def expire(self) -> bool:
        """Let go; `resume` tells its owner."""
        self.expired = True
        return True


class SqliteEngine:
    """One SQLite file, written by this process alone."""

    dialect = "sqlite"
    shared = False
    serializable = True

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self.label = str(path)
        self._path = path
        self._options = options
        self._lock: FileLock | None = None
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._pause: Pause | None = None
        self._pins: WeakSet[SqlitePin] = WeakSet()
        self._sync_s = 0.0
        self._switch_interval_s: float | None = None
        self.heard: Callable[[str | None], None] = lambda _: None

    async def open(self) -> None:
        """Take the lock, connect, choose how to commit.

        Raises:
            DatabaseInUseError: Another process has it.
            NetworkFileSystemError: The file is not on a local disk.
            CorruptDatabaseError, DatabaseLockedError, DatabaseError: SQLite cannot use the file.
        """
        if self._writer is not None:
            raise MisuseError(f"database {self.label}", "is already open")
        self._path = self._path.absolute()  # the working folder may change later, the file may not
        refuse_network_disk(self._path)
        disk.make_folder(self._path.parent)
        lock = FileLock(self._path, owner=self._options.name)
        lock.take()
        self._lock = lock
        try:
            self._connect(get_running_loop())
        except BaseException:
            self._abort()
            raise

    def _connect(self, loop: AbstractEventLoop) -> None:
        threads = self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="archstone-data")
        try:
            connection = self._new_connection(_WRITER)
            require_log(connection, self.label)
            refuse_dangerous_schema(connection, self.label)
            self._writer = Writer(
                connection,
                file=self.label,
                loop=loop,
                hold_limit_s=self._options.hold_limit_s,
                threads=threads if self._in_thread() else None,
            )
            self._writer.after_each = self._look_at_log
            self._readers = Readers(
                self._new_reader, file=self.label, loop=loop, threads=threads, limit_s=self._options.snapshot_limit_s
            )
        except sqlite3.Error as error:
            raise translated(error, self.label, "opening the file") from error
        disk.sync_folder(self._path.parent)

    def _in_thread(self) -> bool:
        choice = self._options.commit_in_thread
        if choice is None and not getattr(world.current(), "simulated", False):
            self._sync_s = disk.measured_sync_s(self._path.parent)
            choice = self._sync_s > SLOW_SYNC_S
        if choice and sys.getswitchinterval() > SWITCH_INTERVAL_S:
            self._switch_interval_s = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL_S)
        return bool(choice)

    def _new_connection(self, pragmas: tuple[str, ...]) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=0
        )
        trace: Any = getattr(world.current(), "trace_sql", None)
        if trace is not None:
            connection.set_trace_callback(trace)
        try:
            for pragma in pragmas:
                connection.execute(pragma).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _new_reader(self) -> sqlite3.Connection:
        return self._new_connection(_READER)

    async def close(self) -> None:
        """Let the members in line run, commit, empty the log into the file, give the lock back.

        Cancelled, it rolls back what is open and closes all the same.
        """
        writer = self._writer
        try:
            if writer is not None and writer.failure is None:
                await self.pause()
            if self._readers is not None:
                await self._readers.close()
            if writer is not None and writer.failure is None:
                writer.empty_log()
        except DiskFailedError:
            pass  # its members were told; closing goes on
        finally:
            self._abort()

    def _abort(self) -> None:
        """Let go of everything that is open, whatever state it is in."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        self._pause = None
        if writer is not None:
            writer.shut()
        self._end_threads()
        if readers is not None:
            readers.discard()
        if writer is not None:
            writer.connection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _end_threads(self) -> None:
        threads, self._threads = self._threads, None
        for pin in self._pins:
            pin.stop()
        if threads is not None:
            threads.shutdown(wait=True)
        for pin in self._pins:
            pin.close()
        self._pins.clear()
        if self._switch_interval_s is not None:
            sys.setswitchinterval(self._switch_interval_s)
            self._switch_interval_s = None

    def signal(self, word: str) -> None:
        """There is nobody else to tell."""

    def listen(self) -> None:
        """There is nobody else to hear."""

    def member(self, *, wait: bool) -> SqliteMember:
        """Return a new transaction that has not begun."""
        return SqliteMember(self._writer or self._closed(), wait=wait)

    # These two give the coroutine of whoever does the work: one of their own would only add its cost.

    def execute(self, statement: Statement, values: Values) -> Coroutine[Any, Any, Result]:
        """Run one statement as a transaction of its own."""
        return (self._writer or self._closed()).execute(statement, values)

    def read(self, statement: Statement, values: Values) -> Coroutine[Any, Any, Result]:
        """Run one reading statement on what is committed."""
        readers = self._readers
        if readers is None:
            raise DatabaseClosedError(self.label)
        return readers.read(statement, values)

    async def view(self) -> SqliteView:
        """Return the present instant."""
        readers = self._readers
        if readers is None:
            raise DatabaseClosedError(self.label)
        return await readers.view()

    async def prepared(self) -> list[str]:
        """Refuse."""
        raise MisuseError(f"database {self.label}", CANNOT_PREPARE)

    async def settle(self, name: str, *, commit: bool) -> bool:
        """Refuse."""
        raise MisuseError(f"database {self.label}", CANNOT_PREPARE)

    async def pause(self) -> None:
        """Hold the writer with no group open. It expires like a transaction that is held too long."""
        writer = self._writer or self._closed()
        pause = Pause()
        await writer.hold(pause)
        self._pause = pause

    def resume(self) -> None:
        """Give the writer back.

        Raises:
            TransactionHeldError: The pause was too long, and others have written since.
        """
        pause, self._pause = self._pause, None
        if pause is None or self._writer is None:
            return
        if pause.expired:
            raise TransactionHeldError(self.label, self._options.hold_limit_s, "pause")
        self._writer.release()

    async def pin(self) -> SqlitePin:
        """Hold the present instant for a copy."""
        writer, threads = self._writer, self._threads
        if writer is None or threads is None:
            raise DatabaseClosedError(self.label)
        try:
            pin = SqlitePin(self._new_reader(), file=self.label, loop=writer.loop, threads=threads)
        except sqlite3.Error as error:
            raise translated(error, self.label, "pin") from error
        self._pins.add(pin)
        return pin

    def statistics(self) -> Statistics:
        """Return the counters since opening."""
        writer, readers = self._writer, self._readers
        if writer is None or readers is None:
            return Statistics()
        return Statistics(
            commits=writer.commits,
            members=writer.members,
            largest_group=writer.largest,
            lost_groups=writer.lost,
            held_too_long=writer.held,
            slow_reads=readers.slow_reads,
            expired_snapshots=readers.expired,
            waiting=len(writer.waiters),
            wal_bytes=self._wal_bytes(),
            sync_s=self._sync_s,
        )

    def _wal_bytes(self) -> int:
        try:
            # Only ever stat: closing a descriptor of this file would drop SQLite's own locks on it (POSIX).
            return Path(f"{self._path}-wal").stat().st_size
        except OSError:
            return 0

    def _look_at_log(self, commits: int) -> None:
        if commits % COMMITS_PER_LOOK == 0 and self._readers is not None and self._wal_bytes() > WAL_LIMIT_BYTES:
            self._readers.expire_all(f"the log grew above {WAL_LIMIT_BYTES} bytes")

    def _closed(self) -> Writer:
        raise DatabaseClosedError(self.label)


def require_log(connection: sqlite3.Connection, file: str) -> None:
    """Raise DatabaseError if SQLite could not switch to its write-ahead log and silently went on without."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        reason = f"the disk allows journal_mode {mode} only, not wal"
        raise DatabaseError(file, "PRAGMA journal_mode=WAL", reason)


def refuse_dangerous_schema(connection: sqlite3.Connection, file: str) -> None:
    """Raise StatementError if the file already holds what `refuse` would not let in (trap T3)."""
    for (text,) in connection.execute(_SUSPECTS).fetchall():
        try:
            refuse(text, [token for token in tokens(text) if token.kind != "space"])
        except StatementError as error:
            raise StatementError(text, f"database {file} cannot be used: {error.reason}") from error
