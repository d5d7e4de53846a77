"""Async blocks from plain threads: Django and Flask views, Celery workers, scripts.

    from archstone import blocking

    limiter = RateLimit(10, burst=20).bind("api")
    take = blocking.plain(limiter.turn)          # a plain function
    blocking.call(charge, order)                 # or one call

There is one event loop for all threads of a process, on a thread of its own, started by the first call. A call hands a
coroutine to it and waits. What travels with a call (deadline, trace, principal) and the world go along. A caller that
is interrupted while it waits cancels its coroutine. After a fork the child starts a loop of its own.

`enter` opens an async context manager and leaves it open until `leave` or the end of the process; a state that belongs
to a loop (a database, a shared store, a bulkhead) is thereby opened where it is used.

Do not use it where a loop runs: await there. On such a thread a call is refused, since it would wait for itself.
"""

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import update_wrapper
from typing import Any, ParamSpec, TypeVar

from archstone.errors import ConfigError

__all__ = ["BlockingCallError", "call", "close", "enter", "leave", "plain"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class BlockingCallError(ConfigError, code="archstone.blocking-call"):
    """A blocking call was made on the thread of an event loop, which it would stop for ever."""

    def __init__(self, function: str) -> None:
        super().__init__(function)
        self.function = function

    def __str__(self) -> str:
        return f"blocking call of {self.function!r} on the thread of an event loop: nothing was done; await it instead"


class Portal:
    """A loop on a thread, and what has been opened on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open: dict[int, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        self._thread = threading.Thread(target=self._run, name="archstone.blocking", daemon=True)
        self._thread.start()

    def call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the coroutine that `make` returns on the loop, and wait for its answer."""
        # The callback of run_coroutine_threadsafe runs in a copy of this thread's context, and so does the task.
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(make(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # nothing happens if it is the coroutine's own error
            raise

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Open `manager` in a task that stays with it, since a manager is left by the task that has entered it."""
        entered: asyncio.Future[T] = self._loop.create_future()
        over = asyncio.Event()

        async def hold() -> None:
            try:
                async with manager as value:
                    entered.set_result(value)
                    await over.wait()
            except BaseException as error:
                if entered.done():
                    raise
                entered.set_exception(error)

        task = self._loop.create_task(hold())
        value = await entered
        self._open[id(manager)] = over, task
        return value

    async def leave(self, manager: AbstractAsyncContextManager[object]) -> None:
        """Close what `enter` has opened; LookupError if it has not."""
        over, task = self._open.pop(id(manager))
        over.set()
        await task

    def close(self) -> None:
        """Leave what is open, newest first, and end the thread."""
        self.call(self._leave_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _leave_all(self) -> None:
        while self._open:
            over, task = self._open.popitem()[1]
            over.set()
            await asyncio.gather(task, return_exceptions=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


_lock = threading.Lock()
_portal: Portal | None = None


def call(function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the coroutine function `function` and wait for its answer, which is returned or raised here.

    Raises:
        BlockingCallError: An event loop runs on this thread.
    """
    _refuse_on_a_loop(function)

    async def run() -> R:
        return await function(*args, **kwargs)

    return _the_portal().call(run)


def plain(function: Callable[P, Awaitable[R]], /) -> Callable[P, R]:
    """Return the coroutine function `function` as a plain one that waits."""

    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        return call(function, *args, **kwargs)

    return update_wrapper(waiting, function)


def enter(manager: AbstractAsyncContextManager[T]) -> T:
    """Open an async context manager on the loop and return what it gives; it stays open until `leave` or the end."""
    return call(_the_portal().enter, manager)


def leave(manager: AbstractAsyncContextManager[object]) -> None:
    """Close what `enter` has opened; LookupError if it has not."""
    call(_the_portal().leave, manager)


def close() -> None:
    """Leave what is open and end the loop and its thread. The next call starts anew; done at the end of a process."""
    global _portal
    with _lock:
        portal, _portal = _portal, None
    if portal is not None:
        portal.close()


def _the_portal() -> Portal:
    global _portal  # noqa: PLW0603 - there is one for the process
    with _lock:
        if _portal is None:
            _portal = Portal()
        return _portal


def _after_fork() -> None:
    """Forget a loop whose thread did not come along into the child."""
    global _lock, _portal
    _lock, _portal = threading.Lock(), None


def _refuse_on_a_loop(function: Callable[..., object]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingCallError(getattr(function, "__qualname__", type(function).__qualname__))


atexit.register(close)
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)
