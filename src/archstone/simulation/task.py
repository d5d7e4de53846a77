"""Tasks and futures whose hash is a sequence number.

asyncio keeps tasks in sets and cancels them in the order of iteration, which follows the address of each
object; so two runs of one program cancel in two orders, whatever PYTHONHASHSEED says. With the number as hash,
the order depends on nothing but the program.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from pathlib import PurePath
from typing import Any

__all__ = ["NumberedFuture", "NumberedTask", "describe"]


class NumberedFuture(asyncio.Future[Any]):
    """A future that hashes as the number its loop gave it."""

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._number = number

    def __hash__(self) -> int:
        return self._number


class NumberedTask(asyncio.Task[Any]):
    """A task that hashes as the number its loop gave it, and is named after it."""

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        number: int,
        *,
        loop: asyncio.AbstractEventLoop,
        name: str | None,
        context: Context | None,
    ) -> None:
        # Before super().__init__, which puts the task into asyncio's set of all tasks and so asks for the hash.
        self._number = number
        self.label = f"{getattr(coro, '__qualname__', type(coro).__qualname__)}#{number}"
        """Coroutine and number: the same in every run, unlike the name a user may give."""
        super().__init__(coro, loop=loop, name=name or self.label, context=context)

    def __hash__(self) -> int:
        return self._number


def describe(task: asyncio.Task[Any]) -> str:
    """Return the name of a task and the place where it waits, for an error message."""
    name = task.get_name()
    if isinstance(task, NumberedTask) and task.label != name:
        name = f"{name} ({task.label})"
    # The innermost frame says what it waits for; get_stack stops at the task's own coroutine.
    inner: Any = task.get_coro()
    frame = None
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None) or frame
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    if frame is None:
        return name
    return f"{name} at {PurePath(frame.f_code.co_filename).name}:{frame.f_lineno}"
