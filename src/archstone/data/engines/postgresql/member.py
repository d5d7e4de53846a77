"""A transaction on a connection of its own, from its first statement to its end."""

from asyncio import AbstractEventLoop, CancelledError, Task, TimerHandle, shield, timeout
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar

from archstone import context, world
from archstone.data.engine import Result, Values
from archstone.data.engines.postgresql.link import Link
from archstone.data.engines.postgresql.pool import Pool
from archstone.data.engines.postgresql.translate import FAULTS, is_broken, is_outdated, translated, unknown
from archstone.data.errors import TransactionHeldError, TransactionLostError
from archstone.data.sql import Statement
from archstone.errors import ArchstoneError

__all__ = ["AFTER_COMMIT", "BEFORE_COMMIT", "Home", "PostgresMember"]

T = TypeVar("T")

BEFORE_COMMIT: Final = world.declare_point(
    "postgres.before_commit", "a transaction has run and nobody is answered; none of it is committed"
)
AFTER_COMMIT: Final = world.declare_point(
    "postgres.after_commit", "a transaction is committed and nobody has been answered"
)

NEW: Final = 0
"""No statement yet: holds nothing."""
ACTIVE: Final = 1
"""Has a connection, and a transaction open on it."""
FAILED: Final = 2
"""A statement failed outside a savepoint, or the connection did: the server takes no more, it can only end."""
ENDED: Final = 3
HELD: Final = 4
"""Rolled back by the engine: it was open too long."""


class Home(Protocol):
    """What a member needs of its engine."""

    label: str
    hold_limit_s: float
    begin: str
    """How a transaction begins."""

    @property
    def writers(self) -> Pool:
        """The connections that write."""
        ...

    @property
    def loop(self) -> AbstractEventLoop:
        """The loop on which it was opened."""
        ...

    def count(self, *, commits: int = 0, lost: int = 0, held: int = 0) -> None:
        """Count what became of a transaction."""
        ...

    def call(self, callback: Callable[[], None]) -> None:
        """Run somebody's callback; a bug of it goes to the loop's exception handler."""
        ...


class PostgresMember:
    """NEW -> ACTIVE -> ENDED; from ACTIVE also -> FAILED or HELD -> ENDED."""

    __slots__ = (
        "_cancelling",
        "_failure",
        "_home",
        "_last",
        "_link",
        "_pool",
        "_saves",
        "_state",
        "_task",
        "_timer",
        "_wait",
    )

    def __init__(self, home: Home, *, wait: bool) -> None:
        self._home = home
        self._wait = wait
        self._state = NEW
        self._pool = home.writers  # kept: the engine forgets it when it is closed, and the link goes back all the same
        self._link: Link | None = None
        self._timer: TimerHandle | None = None
        self._task: Task[Any] | None = None
        self._cancelling = 0
        self._last = ""
        self._saves = 0
        self._failure: ArchstoneError | None = None

    async def run(self, statement: Statement, values: Values) -> Result:
        """Run `statement`; the first one begins."""
        link = await self._ready(statement.source)
        return await self._watched(link.run(statement, values), statement.source)

    async def run_many(self, statement: Statement, rows: Sequence[Values]) -> int:
        """Run `statement` once per row; all or nothing of it stays if it fails."""
        if not rows:
            return 0
        if statement.counting is None or len(rows) == 1:
            return sum([(await self.run(statement, values))[0] for values in rows])
        link = await self._ready(statement.source)
        return len(await self._watched(link.run_each(statement.counting, rows), statement.source))

    async def _watched(self, work: Coroutine[Any, Any, T], source: str) -> T:
        """Return what `work` gives; note that the transaction can only end if it fails or is cancelled."""
        try:
            return await work
        except FAULTS as error:
            raise self._failed(error, source) from error
        except CancelledError:
            self._state = FAILED if self._state == ACTIVE else self._state
            raise

    async def save(self) -> str:
        """Set a savepoint and return its name."""
        self._saves += 1
        name = f"save_{self._saves}"
        await self._say(f"SAVEPOINT {name}")
        return name

    async def keep(self, name: str) -> None:
        """Give a savepoint up and keep what was done since."""
        await self._say(f"RELEASE {name}")

    async def undo(self, name: str) -> None:
        """Roll back to a savepoint and give it up; a transaction that failed since goes on."""
        if self._state == FAILED and self._link is not None and not self._link.closed:
            self._state, self._failure = ACTIVE, None
        await self._say(f"ROLLBACK TO {name}; RELEASE {name}")

    async def _say(self, text: str) -> None:
        link = await self._ready(text)
        await self._watched(link.say(text), text)

    async def finish(self, callbacks: list[Callable[[], None]]) -> None:
        """Commit, durably unless made with `wait=False`."""
        home = self._home
        if self._state == NEW:
            self._state = ENDED
        else:
            await self._commit("COMMIT")
        for callback in callbacks:
            home.call(callback)

    async def prepare(self, name: str) -> None:
        """Prepare to commit under `name`."""
        if self._state == NEW:
            await self._begin()
        await self._commit(f"PREPARE TRANSACTION '{name}'")

    async def _commit(self, how: str) -> None:
        link = self._link
        if self._state != ACTIVE or link is None or link.closed:
            failure = self._fault()
            await self.abandon(failure)
            raise failure
        # From here on the limit ends the connection, not the task: that the outcome is unknown must be told.
        self._stop_timer()
        world.point(BEFORE_COMMIT)
        try:
            async with timeout(self._home.hold_limit_s):
                said = await link.say(how)
        except FAULTS as error:
            self._state = ENDED
            if is_broken(error):
                link.end()
                failure = unknown(error, self._home.label)
            else:
                self._home.count(lost=1)
                failure = translated(error, self._home.label, how)
            self._let_go()
            raise failure from error
        except BaseException:
            self._state = ENDED  # cancelled while the server commits: nobody can know
            link.end()
            self._let_go()
            raise
        self._state = ENDED
        self._let_go()
        if said == "ROLLBACK":  # no error to the server, where a statement has failed that nobody heard of
            self._home.count(lost=1)
            raise TransactionLostError(self._home.label, "because the server had given it up")
        world.point(AFTER_COMMIT)
        self._home.count(commits=1)

    async def abandon(self, error: BaseException) -> None:
        """Roll back because of `error`."""
        state, self._state = self._state, ENDED
        link = self._link
        if state == HELD:
            self._raise_held(error)
        if link is None:
            return
        try:
            if not link.closed:
                await shield(_rolled_back(link, self._home.hold_limit_s))
        except BaseException:
            link.end()  # cancelled: nobody may have it while the server rolls back
            raise
        finally:
            self._let_go()

    async def durable(self) -> None:
        """Return when what was committed with `wait=False` is on disk: a later durable commit implies it."""
        if not self._wait:
            link = await self._pool.take()
            try:
                # One that writes nothing to the log would not wait for it.
                await link.say("SELECT pg_logical_emit_message(true, 'archstone', '')")
            except BaseException as error:
                link.end()
                if isinstance(error, FAULTS):
                    raise translated(error, self._home.label, "durable()") from error
                raise
            finally:
                self._pool.give(link)

    async def _ready(self, source: str) -> Link:
        if self._state == NEW:
            await self._begin()
        if self._state != ACTIVE or self._link is None:
            raise self._fault()
        self._last = source
        return self._link

    async def _begin(self) -> None:
        home = self._home
        link = await self._pool.take()
        begin = home.begin if self._wait else f"{home.begin}; SET LOCAL synchronous_commit = off"
        try:
            await link.say(begin)
        except BaseException as error:
            link.end()
            self._pool.give(link)
            if isinstance(error, FAULTS):
                raise translated(error, home.label, begin) from error
            raise
        self._link = link
        self._task = context.running_task(home.loop)
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        self._timer = home.loop.call_later(home.hold_limit_s, self._expire)
        self._state = ACTIVE

    def _expire(self) -> None:
        self._timer = None
        if self._state not in {ACTIVE, FAILED}:
            return
        self._home.count(held=1)
        self._state = HELD
        self._let_go(end=True)
        if self._task is not None:
            self._task.cancel()

    def _failed(self, error: Exception, statement: str) -> ArchstoneError:
        if self._state == HELD:
            return self._fault()
        self._state = FAILED
        if is_broken(error) or self._link is None or self._link.closed:
            # The server rolls back what it cannot commit: nothing was done, and the whole may be run again.
            failure: ArchstoneError = TransactionLostError(self._home.label, f"because the connection ended: {error}")
            if self._link is not None:
                self._link.end()
        elif is_outdated(error):
            self._link.forget()
            failure = TransactionLostError(self._home.label, "because a table has changed since it was last used")
        else:
            failure = translated(error, self._home.label, statement)
        if isinstance(failure, TransactionLostError):
            self._home.count(lost=1)
            self._failure = failure
        return failure

    def _fault(self) -> ArchstoneError:
        if self._state == HELD:
            return TransactionHeldError(self._home.label, self._home.hold_limit_s, self._last)
        if self._failure is not None:
            return type(self._failure)(*self._failure.args)
        if self._state == FAILED:
            reason = "because a statement of it failed; put what may fail into `async with tx.savepoint()`"
            return TransactionLostError(self._home.label, reason)
        if self._link is not None:
            return TransactionLostError(self._home.label, "because the connection ended")
        return TransactionLostError(self._home.label, "because it has already ended")

    def _raise_held(self, error: BaseException) -> None:
        """Turn the cancellation that `_expire` asked for into an error, but not one that others asked for."""
        left = self._task.uncancel() if self._task is not None else 0
        if not isinstance(error, CancelledError) or left <= self._cancelling:
            raise TransactionHeldError(self._home.label, self._home.hold_limit_s, self._last) from error

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_go(self, *, end: bool = False) -> None:
        self._stop_timer()
        link, self._link = self._link, None
        if link is not None:
            if end:
                link.end()
            self._pool.give(link)
        if self._state == ENDED:
            self._task = None


async def _rolled_back(link: Link, limit_s: float) -> None:
    try:
        async with timeout(limit_s):
            await link.say("ROLLBACK")
    except FAULTS:
        link.end()
