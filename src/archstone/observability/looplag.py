"""How late the event loop runs its callbacks: the first sign of overload, and of code that blocks.

A task sleeps for a fixed time and measures by how much it is woken too late. The gauge
`archstone_loop_lag_seconds` shows the lag now, the histogram `archstone_loop_lag_spread_seconds` how it is spread.
"""

import asyncio
from typing import Self

from archstone import world
from archstone.observability.registry import Registry, default_registry

__all__ = ["LoopLag"]


class LoopLag:
    """Measure the lag of the running loop within `async with`.

    Cancelled or left, the task ends and the last value stays. One per loop is enough.

    Args:
        interval_s: Time between two measurements, above 0. A stall shorter than it may be seen in part only.
    """

    def __init__(self, interval_s: float = 0.05, *, registry: Registry = default_registry) -> None:
        if not interval_s > 0:
            raise ValueError(f"LoopLag: interval_s={interval_s!r} must be above 0")
        self._interval_s = interval_s
        self._last_s = 0.0
        self._due_s: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._gauge = registry.gauge("archstone_loop_lag_seconds", "How late the event loop runs its callbacks now.")
        self._spread = registry.histogram(
            "archstone_loop_lag_spread_seconds", "How late the event loop ran its callbacks."
        )

    @property
    def lag_s(self) -> float:
        """Seconds by which the loop is late: the last measurement, or more while one is overdue. At least 0."""
        if self._due_s is None:
            return self._last_s
        return max(self._last_s, world.monotonic() - self._due_s, 0.0)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure(), name="archstone loop lag")
        self._gauge.watch(lambda: self.lag_s)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        task, self._task = self._task, None
        self._gauge.watch(None)
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        self._due_s = None

    async def _measure(self) -> None:
        while True:
            due_s = self._due_s = world.monotonic() + self._interval_s
            await asyncio.sleep(self._interval_s)
            self._last_s = max(0.0, world.monotonic() - due_s)
            self._spread.observe(self._last_s)
