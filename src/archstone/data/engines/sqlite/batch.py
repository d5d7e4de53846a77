"""A group of transactions that one COMMIT makes durable, and the answers that wait for it."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from typing import Final

from archstone.data.errors import TransactionLostError
from archstone.errors import ArchstoneError

__all__ = ["COMMITTED", "LOST", "MEMBERS_LIMIT", "OPEN", "OPEN_LIMIT_S", "Batch"]

OPEN: Final = 0
COMMITTED: Final = 1
LOST: Final = 2

MEMBERS_LIMIT: Final = 512
"""Members after which a group commits even if more transactions wait for their turn."""
OPEN_LIMIT_S: Final = 0.005
"""Seconds after which it does."""


class Batch:
    """One group, from BEGIN to COMMIT. Mutable and small: every transaction passes through one."""

    __slots__ = ("answers", "callbacks", "failure", "members", "started_s", "state")

    def __init__(self, started_s: float) -> None:
        self.started_s = started_s
        self.state = OPEN
        self.members = 0
        self.answers: list[Future[None]] = []
        self.callbacks: list[Callable[[], None]] = []
        self.failure: ArchstoneError | None = None

    def full(self, now_s: float) -> bool:
        """Return whether it must commit although others wait to join."""
        return self.members >= MEMBERS_LIMIT or now_s - self.started_s >= OPEN_LIMIT_S

    def join(self, loop: AbstractEventLoop) -> "Future[None]":
        """Return a future of its own for one waiter: a shared one would die with the first that is cancelled."""
        answer: Future[None] = loop.create_future()
        self.answers.append(answer)
        return answer

    def answer(self) -> None:
        """Tell every waiter that it is durable."""
        self.state = COMMITTED
        for answer in self.answers:
            if not answer.done():
                answer.set_result(None)

    def lose(self, failure: ArchstoneError) -> None:
        """Tell every waiter that it never will be."""
        self.state = LOST
        self.failure = failure
        for answer in self.answers:
            if not answer.done():
                answer.set_exception(self.error())

    def error(self) -> ArchstoneError:
        """Return a new copy of the failure: one instance raised in many tasks would mix their tracebacks."""
        failure = self.failure or TransactionLostError("", "its group is gone")
        copy = type(failure)(*failure.args)
        copy.__cause__ = failure.__cause__
        return copy
