"""A transaction in a group: the span between a SAVEPOINT and its RELEASE.

The first of a group needs neither: nobody else's work is in the group while it runs, so the group is its savepoint.
"""

import sqlite3
from asyncio import CancelledError, Task
from collections.abc import Callable, Sequence
from typing import Any, Final

from archstone import context
from archstone.data.engine import Result, Values
from archstone.data.engines.sqlite.batch import COMMITTED, LOST, OPEN, Batch
from archstone.data.engines.sqlite.translate import FAULTS
from archstone.data.engines.sqlite.writer import Writer
from archstone.data.errors import MisuseError, TransactionHeldError, TransactionLostError
from archstone.data.sql import Statement
from archstone.errors import ArchstoneError

__all__ = ["CANNOT_PREPARE", "SqliteMember"]

CANNOT_PREPARE: Final = "SQLite cannot prepare without holding its only writer: take part by reservation"

NEW: Final = 0
"""No statement yet: holds nothing."""
WAITING: Final = 1
"""In line for the writer, or just given it."""
ACTIVE: Final = 2
"""Holds the writer, has a savepoint."""
ENDED: Final = 3
"""Finished or rolled back by its owner."""
HELD: Final = 4
"""Rolled back by the engine: it was open too long."""


class SqliteMember:
    """NEW -> WAITING -> ACTIVE -> ENDED; from WAITING and ACTIVE also -> HELD -> ENDED. ACTIVE, it alone writes."""

    __slots__ = ("_batch", "_cancelling", "_first", "_last", "_saves", "_state", "_task", "_wait", "_writer")

    def __init__(self, writer: Writer, *, wait: bool) -> None:
        self._writer = writer
        self._wait = wait
        self._state = NEW
        self._batch: Batch | None = None
        self._task: Task[Any] | None = None
        self._cancelling = 0
        self._first = False
        self._last = ""
        self._saves = 0

    async def run(self, statement: Statement, values: Values) -> Result:
        """Run `statement`; the first one begins."""
        if self._state != ACTIVE or (self._batch is not None and self._batch.state != OPEN):
            await self._begin()
        return self._writer.run(statement, values)

    async def run_many(self, statement: Statement, rows: Sequence[Values]) -> int:
        """Run `statement` once per row; all or nothing of it stays if it fails."""
        if self._state != ACTIVE or (self._batch is not None and self._batch.state != OPEN):
            await self._begin()
        writer = self._writer
        writer.last_statement = statement.source
        cursor = writer.cursor
        several = len(rows) > 1  # one statement undoes itself
        try:
            if several:
                cursor.execute("SAVEPOINT many")
            cursor.executemany(statement.text, rows)
            count = cursor.rowcount
            if several:
                cursor.execute("RELEASE many")
        except FAULTS as error:
            if several:
                self._roll_back_many()
            raise writer.failed(error, statement.source) from error
        return max(count, 0)

    def _roll_back_many(self) -> None:
        writer = self._writer
        if not writer.connection.in_transaction:
            return  # the error took the group with it
        try:
            writer.cursor.execute("ROLLBACK TO many")
            writer.cursor.execute("RELEASE many")
        except sqlite3.Error as error:
            writer.failed(error, "ROLLBACK TO many")

    async def save(self) -> str:
        """Set a savepoint; the first statement of a member begins it."""
        self._saves += 1
        name = f"save_{self._saves}"
        await self._say(f"SAVEPOINT {name}")
        return name

    async def keep(self, name: str) -> None:
        """Give a savepoint up and keep what was done since."""
        await self._say(f"RELEASE {name}")

    async def undo(self, name: str) -> None:
        """Roll back to a savepoint and give it up."""
        await self._say(f"ROLLBACK TO {name}")
        await self._say(f"RELEASE {name}")

    async def _say(self, text: str) -> None:
        if self._state != ACTIVE or (self._batch is not None and self._batch.state != OPEN):
            await self._begin()
        try:
            self._writer.cursor.execute(text)
        except sqlite3.Error as error:
            raise self._writer.failed(error, text) from error

    async def finish(self, callbacks: list[Callable[[], None]]) -> None:
        """Release the savepoint and wait for the COMMIT of the group."""
        writer, batch = self._writer, self._batch
        if self._state == NEW:
            self._state = ENDED
            for callback in callbacks:
                writer.call(callback)
            return
        if self._state != ACTIVE or batch is None or batch.state != OPEN:
            await self._fail(self._fault())
            return
        if not self._first:
            try:
                writer.cursor.execute("RELEASE member")
            except sqlite3.Error as error:
                await self._fail(writer.failed(error, "RELEASE member"))
                return
        self._state = ENDED
        self._task = None  # as in the transaction
        batch.members += 1
        if callbacks:
            batch.callbacks += callbacks
        answer = batch.join(writer.loop) if self._wait else None
        writer.release()
        if answer is not None:
            await answer

    async def prepare(self, name: str) -> None:
        """Refuse: prepared, it would hold the only writer until it is settled."""
        await self._fail(MisuseError(f"database {self._writer.file}", CANNOT_PREPARE))

    async def _fail(self, failure: ArchstoneError) -> None:
        await self.abandon(failure)
        raise failure

    async def abandon(self, error: BaseException) -> None:
        """Roll back to the savepoint; answered after the group, since what it read may be the group's."""
        state, self._state = self._state, ENDED
        if state == HELD:
            self._raise_held(error)
        if state != ACTIVE:
            return
        writer, batch = self._writer, self._batch
        self._roll_back()
        answer = None
        if self._wait and batch is not None and batch.members and not isinstance(error, CancelledError):
            answer = batch.join(writer.loop) if writer.batch is batch else None
        writer.release()
        if answer is not None:
            await answer

    async def durable(self) -> None:
        """Wait for the COMMIT of the group."""
        batch = self._batch
        if batch is None or batch.state == COMMITTED:
            return
        if batch.state == LOST:
            raise batch.error()
        await batch.join(self._writer.loop)

    def expire(self) -> bool:
        """Roll back and cancel the task that holds the writer."""
        self._last = self._writer.last_statement
        self._roll_back()
        self._state = HELD
        if self._task is not None:
            self._task.cancel()
        return True

    async def _begin(self) -> None:
        if self._state != NEW:
            raise self._fault()
        writer = self._writer
        self._task = context.running_task(writer.loop)
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        self._state = WAITING
        try:
            if writer.holder is None and writer.batch is not None:
                writer.holder = self
            else:
                await writer.acquire(self)
        except BaseException:
            if self._state == WAITING:
                self._state = NEW
            raise
        writer.last_statement = ""
        batch = self._batch = writer.group()
        self._state = ACTIVE
        self._first = batch.members == 0
        if self._first:
            return
        try:
            writer.cursor.execute("SAVEPOINT member")
        except sqlite3.Error as error:
            raise writer.failed(error, "SAVEPOINT member") from error

    def _fault(self) -> ArchstoneError:
        if self._state == HELD:
            return self._held()
        if self._batch is not None and self._batch.state == LOST:
            return self._batch.error()
        return TransactionLostError(self._writer.file, "because it has already ended")

    def _roll_back(self) -> None:
        writer, batch = self._writer, self._batch
        if batch is None or writer.batch is not batch:
            return  # not begun, or the group is gone and this member with it
        try:
            if self._first:
                writer.drop_group()
                return
            writer.cursor.execute("ROLLBACK TO member")
            writer.cursor.execute("RELEASE member")
        except sqlite3.Error as error:
            writer.failed(error, "ROLLBACK TO member")

    def _raise_held(self, error: BaseException) -> None:
        """Turn the cancellation that `expire` asked for into an error, but not one that others asked for."""
        left = self._task.uncancel() if self._task is not None else 0
        if not isinstance(error, CancelledError) or left <= self._cancelling:
            raise self._held() from error

    def _held(self) -> TransactionHeldError:
        return TransactionHeldError(self._writer.file, self._writer.hold_limit_s, self._last)
