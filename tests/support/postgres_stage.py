"""Virtual time beside a real server: the clock jumps to the next timer when nobody waits for the database.

The loop has real sockets. While a statement is on its way it waits for the answer and the clock stands still; else it
looks what has arrived and jumps. Who waits for the database is told by the engine's links, which the stage watches.
"""

import asyncio
import contextvars
import functools
import selectors
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Self

import pytest

from archstone import simulation, world
from archstone.data.engines.postgresql import driver, engine
from archstone.data.engines.postgresql.link import Link
from archstone.simulation.loop import VirtualLoop
from archstone.simulation.world import STARTS_AT, SimulatedWorld

STALLED_S = 30.0
"""Real seconds without an answer after which the clock jumps all the same: somebody may hold a lock while he sleeps."""
LIMIT_S = 100_000.0
"""Virtual seconds after which the test fails."""


class Selector(selectors.DefaultSelector):
    """Tells what has arrived; what it would wait for nobody, it lets the clock pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.asked = 0
        """Statements and connections that are on their way."""

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.asked:
            found = super().select(STALLED_S)
        if not found:
            if timeout is None:
                return super().select(STALLED_S)
            self.now_s += timeout
            if self.now_s > LIMIT_S:
                pytest.fail(f"{LIMIT_S:g} virtual seconds have passed")
        return found


class PostgresLoop(asyncio.SelectorEventLoop):
    """A loop with sockets and virtual time; functions for threads run on it."""

    trace = None
    run_in_executor = VirtualLoop.run_in_executor  # type: ignore[assignment]

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now_s


class PostgresStage:
    """A loop on which the fixtures and the body of one test run, as `simulation.Stage` is without a server."""

    def __init__(self, *, starts_at: datetime = STARTS_AT) -> None:
        self.loop = PostgresLoop()
        self._runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self._context = contextvars.copy_context()
        self._in_world = world.use(SimulatedWorld(self.loop, seed=None, starts_at=starts_at))  # type: ignore[arg-type] - as far as it is used
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        self._context.run(self._in_world.__enter__)
        for name in ("say", "run", "run_each"):
            self._patch.setattr(Link, name, self._watched(getattr(Link, name)))
        self._patch.setattr(engine, "connect", self._watched(engine.connect))
        self._patch.setattr(driver, "connect", self._watched(driver.connect))
        return self

    def _watched(self, call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        @functools.wraps(call)
        async def counted(*args: Any, **options: Any) -> Any:
            self.loop.selector.asked += 1
            try:
                return await call(*args, **options)
            finally:
                self.loop.selector.asked -= 1

        return counted

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(main, context=self._context)

    def __exit__(self, *error: object) -> None:
        async def leaked() -> list[str]:
            for _ in range(20):
                await asyncio.sleep(0)
            mine = asyncio.current_task()
            return sorted(str(task.get_coro()) for task in asyncio.all_tasks() if task is not mine)

        try:
            left = self.run(leaked())
            self._runner.close()
        finally:
            self._patch.undo()
            self._context.run(self._in_world.__exit__, None, None, None)
        if left and not any(error):
            raise simulation.LeakedTasksError(left)
