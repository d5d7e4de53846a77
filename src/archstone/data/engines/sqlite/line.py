"""The line in front of the writer: fair, bounded, and left by whoever is cancelled or holds it too long."""

import contextvars
from asyncio import AbstractEventLoop, CancelledError, Future, TimerHandle
from collections import deque
from typing import Final, Protocol

from archstone import context
from archstone.data.errors import DatabaseClosedError, TooManyWaitingError
from archstone.errors import ArchstoneError

__all__ = ["ALONE", "COMMITTING", "WAITING_LIMIT", "Holder", "Line"]

WAITING_LIMIT: Final = 10_000
"""Transactions that may wait for the writer."""


class Holder(Protocol):
    """Who can hold the writer."""

    def expire(self) -> bool:
        """Let go because the time is up: rolled back. False if it cannot be and keeps the writer."""
        ...


class _Unexpiring:
    """Holds the writer for something that ends by itself: a single statement, a commit, a shut database."""

    __slots__ = ()

    def expire(self) -> bool:
        return False


ALONE: Final = _Unexpiring()
COMMITTING: Final = _Unexpiring()
SHUT: Final = _Unexpiring()


class Line:
    """A lock that is taken without suspending when it is free, and otherwise in the order of arrival."""

    def __init__(self, *, file: str, loop: AbstractEventLoop, hold_limit_s: float) -> None:
        self.file = file
        self.loop = loop
        self.hold_limit_s = hold_limit_s
        self.holder: Holder | None = None
        """Who has it; handed over at once, so that nobody overtakes the one who was granted it and has yet to wake."""
        self.waiters: deque[tuple[Future[None], Holder]] = deque()
        self.failure: ArchstoneError | None = None
        """Why nobody gets it any more, or None."""
        self.held = 0
        """How many held it too long."""
        self._timer: TimerHandle | None = None
        # Commits and callbacks belong to no call: in the context of the member that happened to come first, a task
        # started by somebody's after_commit would believe that the first member's transaction is open around it.
        self.context = contextvars.copy_context()
        self.context.run(context.set_current, context.Call())

    async def take(self, holder: Holder) -> None:
        """Return holding it. Cancelled, it leaves the line, or hands on what it was just given."""
        if self.holder is None:
            self.holder = holder
        else:
            await self.granted(self.line_up(holder), holder)

    def line_up(self, holder: Holder, *, first: bool = False) -> "Future[None]":
        """Join the line, at its end or as the next, and return what is set when it is granted."""
        if self.failure is not None:
            raise self.failure
        if len(self.waiters) >= WAITING_LIMIT:
            raise TooManyWaitingError(self.file, len(self.waiters), WAITING_LIMIT)
        turn: Future[None] = self.loop.create_future()
        if first:
            self.waiters.appendleft((turn, holder))
        else:
            self.waiters.append((turn, holder))
        return turn

    async def granted(self, turn: "Future[None]", holder: Holder) -> None:
        """Wait for the turn."""
        try:
            await turn
        except CancelledError:
            if self.holder is holder and turn.done() and not turn.cancelled():
                self.release()  # granted and cancelled in one loop turn
            raise

    def release(self) -> None:
        """Give it to the next."""
        self.let_go()
        self.grant()

    def let_go(self) -> None:
        """Hold it no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.holder = None if self.failure is None else SHUT

    def grant(self) -> None:
        """Hand it to the first who still waits."""
        waiters = self.waiters
        while waiters and self.holder is None:
            turn, holder = waiters.popleft()
            if not turn.done():
                self.holder = holder
                self.watch(holder)
                turn.set_result(None)

    def watch(self, holder: Holder) -> None:
        """Let `holder` expire if it still has it after the limit. Not called for those who never suspend."""
        if self._timer is None:
            self._timer = self.loop.call_later(self.hold_limit_s, self._expire, holder, context=self.context)

    def _expire(self, holder: Holder) -> None:
        self._timer = None
        if self.holder is holder and holder.expire():
            self.held += 1
            self.release()

    def shut(self, failure: ArchstoneError | None = None) -> None:
        """Refuse everybody from now on, with `failure` or as closed."""
        self.failure = failure or DatabaseClosedError(self.file)
        self.let_go()
        while self.waiters:
            turn, _ = self.waiters.popleft()
            if not turn.done():
                turn.set_exception(self.failure)
