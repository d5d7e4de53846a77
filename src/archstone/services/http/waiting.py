"""Await work at no cost while it does not really wait; watch over it once it does.

For: bodies, which are nearly always there already, and queries, which nearly always answer from memory or from the
page cache. A timer, a task that listens for a disconnected client: neither exists until the work suspends.
Promise: the work runs in the caller's task from the first step to the last, so `asyncio.timeout` and task groups
inside it work; when it has ended, nothing of the watch is left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

__all__ = ["Resumed", "Ring", "Watch", "Watched"]

T = TypeVar("T")

Ring = Callable[[BaseException], None]
"""Ends the wait: the work is cancelled, and whoever awaits it gets this error. The first ring counts."""
Watch = Callable[[Ring], Callable[[], None]]
"""Called once, when the work suspends for the first time; returns what ends the watch. It may refuse by raising."""


class Watched(Generic[T]):
    """Await `work` in this task; when it first suspends, `watch` begins and may ring to end it early."""

    __slots__ = ("_watch", "_work")

    def __init__(self, work: Awaitable[T], watch: Watch) -> None:
        self._work = work
        self._watch = watch

    def __await__(self) -> Generator[Any, Any, T]:
        """Run the work; raise what was rung if the ring came before the end."""
        steps = self._work.__await__()
        try:
            pending = next(steps)
        except StopIteration as done:
            return done.value
        return (yield from _watched(steps, pending, self._watch))


class Resumed(Generic[T]):
    """Await work whose first step the caller has run by hand, and which then yielded `pending`."""

    __slots__ = ("_pending", "_steps")

    def __init__(self, steps: Generator[Any, Any, T], pending: object) -> None:
        self._steps = steps
        self._pending = pending

    def __await__(self) -> Generator[Any, Any, T]:
        """Go on with the work."""
        return _go_on(self._steps, self._pending)


def _watched(steps: Generator[Any, Any, T], pending: object, watch: Watch) -> Generator[Any, Any, T]:
    task = asyncio.current_task()
    reason: BaseException | None = None

    def ring(error: BaseException) -> None:
        nonlocal reason
        if reason is None and task is not None:
            reason = error
            task.cancel()

    try:
        stop = watch(ring)
    except BaseException:
        # The watch refuses the wait: the work ends where it stands.
        steps.close()
        raise
    try:
        return (yield from _go_on(steps, pending))
    except asyncio.CancelledError:
        # Somebody else may have cancelled the task as well: then it is their cancellation that counts.
        if reason is None or task is None or task.cancelling() > 1:
            raise
        raise reason from None
    finally:
        stop()
        if reason is not None and task is not None:
            task.uncancel()


def _go_on(steps: Generator[Any, Any, T], pending: object) -> Generator[Any, Any, T]:
    """Go on with work that has already yielded `pending`: what `yield from` would do, begun midway."""
    while True:
        try:
            yield pending
        except BaseException as error:  # noqa: BLE001 - what is thrown in belongs to the work
            try:
                pending = steps.throw(error)
            except StopIteration as done:
                return done.value
        else:
            return (yield from steps)
