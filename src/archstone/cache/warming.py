"""Warming: load what will be asked for before the traffic comes.

    done = await warm(catalog.product, ((sku,) for sku in bestsellers), at_once=8, progress=print)

It calls the decorated function as a reader would, so what is there already costs a look, and what fails is counted and
loaded by the first reader instead.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from archstone import world
from archstone.cache.errors import CacheConfigError

__all__ = ["Warmed", "warm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """How far a warming is."""

    done: int
    """Calls that returned."""
    failed: int
    """Calls that raised."""
    took_s: float
    """Seconds since it began."""
    last_error: Exception | None = None
    """Why the last one failed."""


async def warm(
    read: Callable[..., Awaitable[object]],
    arguments: Iterable[tuple[object, ...]],
    *,
    at_once: int = 8,
    progress: Callable[[Warmed], None] = lambda _: None,
) -> Warmed:
    """Call `read` with each of `arguments`, `at_once` at a time, and return how it went. Failures do not end it.

    Args:
        read: A function decorated with `aside`, say.
        arguments: Taken as calls go on, so it may be long, or a generator.
        at_once: Calls at a time. At least 1.
        progress: Called after each call.

    Raises:
        CacheConfigError: `at_once` is out of range.
    """
    if at_once < 1:
        raise CacheConfigError("warm", f"at_once={at_once} must be at least 1")
    begun_s = world.monotonic()
    state = Warmed(done=0, failed=0, took_s=0.0)
    waiting = iter(arguments)

    async def work() -> None:
        nonlocal state
        for given in waiting:
            error: Exception | None = None
            try:
                await read(*given)
            except Exception as raised:  # noqa: BLE001 - the first reader will meet it again
                error = raised
            state = Warmed(
                done=state.done + (error is None),
                failed=state.failed + (error is not None),
                took_s=world.monotonic() - begun_s,
                last_error=error or state.last_error,
            )
            progress(state)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return state
