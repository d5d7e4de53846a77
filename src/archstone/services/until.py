"""Run a coroutine until it is done or its deadline has come, at no cost if it never waits."""

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from archstone import world
from archstone.errors import DeadlineError

__all__ = ["until"]

R = TypeVar("R")


@coroutine
def until(work: Coroutine[Any, Any, R], deadline_s: float | None, name: str) -> Generator[Any, Any, R]:
    """Return what `work` returns; cancel it where it waits when `deadline_s` has come.

    A timer and its bookkeeping cost several microseconds, more than most queries that are answered from memory. So
    `work` runs until it waits for the first time, and only then the timer is set.

    Args:
        work: What to run, in this task and context.
        deadline_s: Instant on `world.monotonic()`. None: no limit.
        name: What the error calls the work.

    Raises:
        DeadlineError: The deadline came first.
    """
    try:
        waiting = work.send(None)
    except StopIteration as done:
        return done.value
    if deadline_s is None:
        return (yield from _on(work, waiting))
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError(f"{name} runs outside a task: call it from one")
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    cancelling = task.cancelling()
    timer = asyncio.get_running_loop().call_later(max(0.0, deadline_s - world.monotonic()), expire)
    try:
        return (yield from _on(work, waiting))
    except asyncio.CancelledError as error:
        # One cancel was ours. If others asked too (an outer block, a shutdown), theirs goes on as itself.
        if expired and task.uncancel() <= cancelling:
            raise DeadlineError(f"{name}: not done before its deadline: allow more time") from error
        raise
    finally:
        timer.cancel()


def _on(work: Coroutine[Any, Any, R], waiting: Any) -> Generator[Any, Any, R]:
    """Go on with `work`, which waits for `waiting`."""
    while True:
        try:
            sent = yield waiting
        except BaseException as error:  # noqa: BLE001 - whatever comes belongs to the work, a cancellation too
            try:
                waiting = work.throw(error)
            except StopIteration as done:
                return done.value
        else:
            try:
                waiting = work.send(sent)
            except StopIteration as done:
                return done.value
