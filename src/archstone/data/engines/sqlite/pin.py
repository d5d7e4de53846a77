"""A copy of one instant, made while others write."""

import sqlite3
from asyncio import AbstractEventLoop, CancelledError, Future, shield
from concurrent.futures import Executor
from pathlib import Path
from threading import Event
from typing import Final

from archstone import disk
from archstone.data.engines.sqlite.translate import translated
from archstone.data.errors import DatabaseError, MisuseError

__all__ = ["SqlitePin"]

PAGES_PER_STEP: Final = 256
"""One mebibyte: between steps the copy can be stopped."""


class SqlitePin:
    """A read transaction that keeps its instant until it is released. The log cannot be emptied meanwhile."""

    __slots__ = ("__weakref__", "_connection", "_file", "_loop", "_stop", "_threads", "_work")

    def __init__(
        self, connection: sqlite3.Connection, *, file: str, loop: AbstractEventLoop, threads: Executor
    ) -> None:
        self._connection = connection
        self._file = file
        self._loop = loop
        self._threads = threads
        self._stop = Event()
        self._work: Future[None] | None = None
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()

    async def copy_to(self, path: Path) -> None:
        """Write the instant to `path` in a thread: whole, synced, and named only when complete.

        Cancelled, it stops at the next step and removes what it wrote.

        Raises:
            DatabaseError: Reading or writing failed; the text names this database.
        """
        if self._work is not None and not self._work.done():
            raise MisuseError(f"pin of {self._file}", "a copy is already running")
        self._work = self._loop.run_in_executor(self._threads, self._copy, path)
        try:
            await shield(self._work)
        except CancelledError:
            self._stop.set()
            self._work.add_done_callback(lambda work: work.cancelled() or work.exception())
            raise

    async def release(self) -> None:
        """Give the instant up, after a copy that still runs."""
        self._stop.set()
        if self._work is not None and not self._work.done():
            self._work.add_done_callback(lambda _: self._connection.close())
        else:
            self._connection.close()

    def stop(self) -> None:
        """Stop a copy that runs at its next step."""
        self._stop.set()

    def close(self) -> None:
        """Close the connection; no copy may run."""
        self._connection.close()

    def _copy(self, path: Path) -> None:
        try:
            disk.put_by(path, self._copy_pages)
        except sqlite3.Error as error:
            raise translated(error, self._file, f"backup to {path}") from error
        except OSError as error:
            raise DatabaseError(self._file, f"backup to {path}", str(error)) from error

    def _copy_pages(self, aside: Path) -> None:
        target = sqlite3.connect(aside, isolation_level=None)
        try:
            target.execute("PRAGMA journal_mode=OFF")
            target.execute("PRAGMA synchronous=OFF")  # synced once, at the end
            self._connection.backup(target, pages=PAGES_PER_STEP, progress=self._progress, sleep=0)
        finally:
            target.close()

    def _progress(self, status: int, remaining: int, total: int) -> None:
        if self._stop.is_set():
            raise sqlite3.OperationalError("the copy was stopped")
