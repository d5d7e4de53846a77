"""One task for all who want the same: whoever comes first begins it, the others wait with them.

Promise: it ends by itself. A caller that is cancelled leaves it to the others, and it goes on when nobody waits.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Generic, TypeVar

__all__ = ["Shared"]

T = TypeVar("T")


class Shared(Generic[T]):
    """Tasks under way, by what they make. How many there may be is its owner's business."""

    def __init__(self, name: str) -> None:
        """Name the tasks, for those who look at what runs."""
        self._name = name
        self._running: dict[str, asyncio.Task[T]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, key: object) -> bool:
        return key in self._running

    async def wait(self, key: str, work: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return what comes of it, beginning it if nobody has. Cancelled: it goes on."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(work(), name=self._name)
            task.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel what is under way, and wait for its end."""
        while left := [*self._running.values()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    def _ended(self, key: str, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # looked at: perhaps nobody waits for it any more
