"""A transaction: statements that happen all together or not at all, and the events that tell of them.

It belongs to the task that entered it. It begins with its first statement and rolls back when its block raises or is
cancelled. When the block has been left, what it did is durable; that holds too for what it merely read, and for a block
that raised: others may have seen the same, so nobody is answered from a state that a power cut could take back.
"""

from asyncio import AbstractEventLoop, CancelledError, Task, get_running_loop
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import Token
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from archstone import context
from archstone.context import Call, new_tuple
from archstone.data.engine import Member
from archstone.data.errors import MisuseError
from archstone.data.event import Event
from archstone.data.outbox import OUTBOX_INSERT, Envelope, envelope
from archstone.data.reading import Reading
from archstone.data.rows import row_maker
from archstone.data.sql import compile_statement, known_statement
from archstone.errors import ArchstoneError

if TYPE_CHECKING:
    from archstone.data.database import Database

__all__ = ["Savepoint", "Transaction"]

T = TypeVar("T")


class Transaction(Reading):
    """What `db.transaction()` gives: `async with db.transaction() as tx`."""

    __slots__ = ("_callbacks", "_events", "_gid", "_loop", "_member", "_task", "_token", "begun", "db", "face", "outer")

    def __init__(self, db: "Database", member: Member) -> None:
        self.db = db
        """The database it belongs to."""
        self.begun = False
        """Whether it has been used: until then nothing is held, and a service may still call another."""
        self.face: object = None
        """What wraps it for its users, kept by whoever made that; None until then."""
        self.outer: Transaction | None = None
        """The one in whose block it was entered: of another database, because one of the same is refused."""
        self._member = member
        self._loop: AbstractEventLoop | None = None
        self._task: Task[Any] | None = None
        self._token: Token[Call] | None = None
        self._events: list[Envelope] | None = None
        self._callbacks: list[Callable[[], None]] | None = None
        self._gid: str | None = None

    async def __aenter__(self) -> Self:
        call = context.current()
        if call.tx is not None:
            self.db.refuse_inside(call.tx)
        if self._loop is not None:
            raise MisuseError(self._name(), "entered twice; ask the database for a new one")
        if isinstance(call.tx, Transaction):
            self.outer = call.tx.innermost()
        loop = self._loop = get_running_loop()
        self._task = context.running_task(loop)
        self._token = context.set_current(
            new_tuple(
                Call,
                (
                    call.principal,
                    call.deadline_s,
                    call.trace,
                    call.key,
                    call.correlation_id,
                    call.causation_id,
                    self,
                    call.step,
                ),
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        self._task = self.face = None  # both lead back here: left in place, only the collector could free any of it
        if token is not None:
            context.leave(token)
        if error is not None:
            await self._member.abandon(error)
            return
        callbacks = self._callbacks or []
        if self._events:
            try:
                await self._member.run_many(OUTBOX_INSERT, self._events)
            except BaseException as failure:
                await self._member.abandon(failure)
                raise
            callbacks.append(self.db.wake_relay)
            if self.db.published:
                callbacks.append(partial(self.db.tell_published, self._events))
        if self._gid is not None:
            await self._member.prepare(self._gid)
        else:
            await self._member.finish(callbacks)

    def innermost(self) -> "Transaction | None":
        """Return it, or the nearest around it, whose block has not been left; None if all have.

        A task that was started in the block still has the transaction in its context when that has long ended.
        """
        if self._token is not None:
            return self
        return None if self.outer is None else self.outer.innermost()

    def holds(self) -> bool:
        """Whether it, or one around it, has been used and not been left: others wait for it now."""
        if self.begun and self._token is not None:
            return True
        return self.outer is not None and self.outer.holds()

    async def execute(self, sql: str, /, **params: object) -> int:
        """Run a statement and return how many rows it changed."""
        self._check()
        statement = known_statement(sql) or compile_statement(sql)
        return (await self._member.run(statement, statement.bind(params)))[0]

    async def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> int:
        """Run a statement once per mapping of parameters; return how many rows it changed in all.

        If one of them fails none stays. On SQLite the transaction can go on; on PostgreSQL with a savepoint around it.
        """
        self._check()
        statement = known_statement(sql) or compile_statement(sql)
        return await self._member.run_many(statement, [statement.bind(row) for row in rows])

    def savepoint(self) -> "Savepoint":
        """Return a block of which nothing stays if it raises: `async with tx.savepoint()`.

        Around what may fail where the transaction is to go on: PostgreSQL refuses everything after a statement that
        failed, except to go back to a savepoint. Events published inside are unstaged with it.
        """
        return Savepoint(self)

    def publish(self, event: Event) -> None:
        """Stage `event` in the outbox: it is sent if and only if this transaction commits, in the order published.

        Its headers tell the trace, correlation, causation and principal of the running call.
        """
        self._check()
        message = envelope(event, context.current())
        if self._events is None:
            self._events = [message]
        else:
            self._events.append(message)

    def prepare_as(self, name: str) -> None:
        """Let leaving the block prepare this transaction under `name` instead of committing it (PostgreSQL).

        It then survives everything, with all its locks, until `db.settle_prepared(name)` ends it. `after_commit`
        callbacks are not called. For coordinators: see `archstone.sagas.TwoPhase`.

        Raises:
            MisuseError: The name is not 1 to 199 characters without quotes; from leaving: the database cannot prepare.
        """
        self._check()
        if not 0 < len(name) < 200 or not name.isascii() or "'" in name or "\\" in name:
            raise MisuseError(self._name(), f"cannot be prepared as {name!r}: 1 to 199 ASCII characters without quotes")
        self._gid = name

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once this transaction is durable, before its block is left; never if it rolls back.

        It runs on the event loop in an empty call context, must not block, and an exception from it goes to the loop's
        exception handler. A crash can come between the commit and the callback.
        """
        self._check()
        if self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    async def durable(self) -> None:
        """After a block left with `wait=False`: return when it is durable.

        Raises:
            TransactionLostError: Its group was rolled back; nothing was done.
        """
        await self._member.durable()

    async def _fetch(self, row: type[T], sql: str, params: Mapping[str, object]) -> list[T]:
        self._check()
        statement = known_statement(sql) or compile_statement(sql)
        _, description, rows = await self._member.run(statement, statement.bind(params))
        return row_maker(row, sql, description)(rows)

    def _check(self) -> None:
        if self._token is None or self._loop is None:
            raise MisuseError(self._name(), "used outside its block; statements belong inside `async with`")
        if context.running_task(self._loop) is not self._task:
            raise MisuseError(self._name(), "used by another task than the one that entered it")
        self.begun = True

    def _name(self) -> str:
        return f"transaction of {self.db.name}"

    async def _save(self) -> tuple[str, int, int]:
        self._check()
        return await self._member.save(), len(self._events or ()), len(self._callbacks or ())

    async def _leave(self, saved: tuple[str, int, int], *, keep: bool) -> None:
        name, events, callbacks = saved
        if keep:
            await self._member.keep(name)
            return
        if self._events is not None:
            del self._events[events:]
        if self._callbacks is not None:
            del self._callbacks[callbacks:]
        await self._member.undo(name)


class Savepoint:
    """What `tx.savepoint()` gives."""

    __slots__ = ("_saved", "_tx")

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._saved: tuple[str, int, int] | None = None

    async def __aenter__(self) -> None:
        self._saved = await self._tx._save()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - its other half

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._saved is None:
            return
        # A time-out inside the block comes as a cancellation, and the transaction may go on. Where it may not (it was
        # held too long), its own end tells.
        with suppress(*[ArchstoneError] if isinstance(error, CancelledError) else []):
            await self._tx._leave(self._saved, keep=error is None)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
