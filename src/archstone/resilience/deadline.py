"""The instant after which nobody waits for the answer, and the block that ends there.

    async with within(2.0, name="charge"):
        await bank.charge(...)

`within` tells what runs inside through `Call.deadline_s`, so calls that leave the process can pass on what is
left. An inner block never outlives an outer one. At the end of the time the block is cancelled at its next await
and OutOfTimeError comes out of `async with`; what it had begun elsewhere may have taken effect. Code that never
awaits is not interrupted. Cancellation from outside passes through as itself.
"""

import asyncio
import math
from asyncio import get_running_loop
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from archstone import context, world
from archstone.context import Call, new_tuple
from archstone.resilience.errors import OutOfTimeError
from archstone.resilience.timers import Limit, timers_of

__all__ = ["EXPIRED", "Deadline", "deadline_from_context", "ran_out", "within"]

EXPIRED: Final = "the time of a block was up"
"""The message of the CancelledError with which `within` ends a block: see `ran_out`."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on `world.monotonic()`."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the instant `seconds` from now."""
        return cls(world.monotonic() + seconds)

    def remaining_s(self) -> float:
        """Return the seconds left, 0 when it has passed."""
        return max(0.0, self.at_s - world.monotonic())

    def check(self, what: str) -> None:
        """Raise OutOfTimeError, saying that `what` was not begun, when the instant has been reached."""
        if world.monotonic() >= self.at_s:
            raise OutOfTimeError(what, 0.0, begun=False)


def deadline_from_context() -> Deadline | None:
    """Return the deadline of the current call; None: there is no limit."""
    at_s = context.current().deadline_s
    return None if at_s is None else Deadline(at_s)


def ran_out(error: BaseException) -> bool:
    """Say whether `error`, seen inside a block, is the end of that block's time and no other cancellation.

    For layers inside a `within`, which see a CancelledError where their caller will see OutOfTimeError.
    """
    return isinstance(error, asyncio.CancelledError) and error.args == (EXPIRED,)


class within:  # noqa: N801 - reads as the statement it is: `async with within(2.0)`
    """Bound the block by `seconds` and by the deadline of the call it runs in, whichever ends first.

    Args:
        seconds: At least 0; None: only the deadline of the call.
        name: What the error calls the block.

    Raises:
        OutOfTimeError: The time was up; `begun` is False if it was up before the block began.
        ValueError: `seconds` is negative or NaN.
    """

    __slots__ = ("_cancelling", "_expired", "_limit_s", "_name", "_seconds", "_task", "_token", "at_s", "slot", "timer")

    at_s: float
    slot: dict[Limit, None] | None
    timer: asyncio.TimerHandle | None

    def __init__(self, seconds: float | None, *, name: str = "block") -> None:
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"within({seconds!r}) must be at least 0 seconds, or None for no limit of its own")
        self._seconds = math.inf if seconds is None else seconds
        self._name = name

    async def __aenter__(self) -> Self:
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.end(error)

    def begin(self) -> None:
        """Begin the block; `end` must follow, and then it may begin again. For `Timeout`; others write `async with`."""
        principal, outer_s, trace, key, correlation_id, causation_id, tx, step = call = context.current()
        now_s = world.current().monotonic()  # one call less than world.monotonic()
        limit_s = self._seconds
        if outer_s is not None and outer_s - now_s < limit_s:
            limit_s = outer_s - now_s
        if limit_s <= 0:
            raise OutOfTimeError(self._name, self._seconds, begun=False)
        loop = get_running_loop()
        task = context.running_task(loop)
        if task is None:
            raise RuntimeError(f"within({self._seconds}) bounds a task: use it inside one")
        self._limit_s = limit_s
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False
        self.slot = self.timer = None
        if limit_s != math.inf:
            at_s = self.at_s = now_s + limit_s
            call = new_tuple(Call, (principal, at_s, trace, key, correlation_id, causation_id, tx, step))
            timers = timers_of(loop)
            if timers.from_s <= at_s < timers.until_s:  # `Timers.start`, nearly always, without calling it
                self.slot = timers.slot
                self.slot[self] = None
            else:
                timers.start(self, limit_s)
        self._token = context.set_current(call)

    def end(self, error: BaseException | None) -> None:
        """End the block, of which `error` comes out (None: nothing)."""
        context.leave(self._token)
        if (slot := self.slot) is not None:
            del slot[self]
        elif self.timer is not None:
            self.timer.cancel()
        # One cancel was ours. If others asked too (an outer block, a shutdown), theirs goes on as itself.
        if self._expired and self._task.uncancel() <= self._cancelling and type(error) is asyncio.CancelledError:
            raise OutOfTimeError(self._name, self._limit_s) from error

    def expire(self) -> None:
        """Cancel the task. For the timers; nobody else calls it."""
        self._expired = True
        self._task.cancel(EXPIRED)
