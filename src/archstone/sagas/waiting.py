"""How a step waits for something without keeping others waiting.

While it waits its saga gives up its place among those that run. If too many wait in memory already, it goes to sleep
on disk (see `runner`), and its body runs again when what it waits for has happened.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from archstone import world
from archstone.errors import BackendError, ConflictError
from archstone.sagas.rows import Nap
from archstone.sagas.run import Run

__all__ = ["wait_for"]

T = TypeVar("T")

_LONGEST_LOOK_S: Final = 3600.0
"""The wall clock and the table are looked at at least so often: a clock can be set, and a laptop can be shut."""


async def wait_for(run: Run, step: str, nap: Nap, look: Callable[[], Awaitable[T | None]]) -> T | None:
    """Return what `look` finds, asked now and whenever the saga is stirred; None once the time is up.

    Raises what ended the body if that was over before.

    Args:
        run: Whose step it is.
        step: Its id.
        nap: What it waits for. If there is a limit, a last look follows it.
        look: Gives None as long as there is nothing.
    """
    saga = run.saga
    run.napping(step, nap)
    news: asyncio.Future[None] | None = None
    away = False
    unlisten = run.shared.kin.listen(saga) if nap.signal or nap.child else None
    try:
        while True:
            saga.no_news(news)
            news = saga.news()  # before the look: what happens while we look is not missed
            left_us = None if nap.until_us is None else nap.until_us - world.now_us()
            found = await _looked(run, look)
            if found is not None or run.ended or run.halt is not None or (left_us is not None and left_us <= 0):
                break
            away = saga.leave_place() or away
            limit_s = _LONGEST_LOOK_S if left_us is None else min(left_us / 1_000_000, _LONGEST_LOOK_S)
            await asyncio.wait([news], timeout=limit_s)
            await saga.wait_while_lying()
    finally:
        saga.no_news(news)
        run.woke(step)
        if unlisten is not None:
            unlisten()
        if away:
            run.shared.sleepers.give()
    if run.ended or run.halt is not None:
        run.check()
    await saga.take_place()
    return found


async def _looked(run: Run, look: Callable[[], Awaitable[T | None]]) -> T | None:
    try:
        return await look()
    except (BackendError, ConflictError) as error:
        run.halt = run.halt or error  # nobody's bug: the journal says where to go on
        raise
