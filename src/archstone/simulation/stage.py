"""Running a program on virtual time: one call for a whole program, a stage for one that comes in parts."""

import asyncio
import contextvars
import gc
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from archstone import world
from archstone.observability.recorders import add_recorder, remove_recorder
from archstone.simulation.errors import LeakedTasksError, SimulationError, UnhandledError
from archstone.simulation.loop import VirtualLoop
from archstone.simulation.trace import Trace
from archstone.simulation.world import STARTS_AT, SimulatedWorld

__all__ = ["Stage", "run"]

T = TypeVar("T")


class Stage:
    """A virtual loop with its world, on which coroutines run one after another.

    Leaving the block cancels what is still pending and raises `LeakedTasksError` for it, and `UnhandledError` for
    failures on the loop that nobody saw.
    """

    def __init__(
        self,
        *,
        seed: int | str | None = None,
        limit_s: float | None = 3_600.0,
        limit_turns: int | None = 1_000_000,
        trace: Trace | None = None,
        starts_at: datetime = STARTS_AT,
    ) -> None:
        self.seed = seed
        self.loop = VirtualLoop(seed=seed, limit_s=limit_s, limit_turns=limit_turns, trace=trace)
        self.world = SimulatedWorld(self.loop, seed=seed, starts_at=starts_at)
        self._context = contextvars.copy_context()
        self._in_world = world.use(self.world)
        self._unseen: list[dict[str, Any]] = []
        self._collecting = gc.isenabled()

    def __enter__(self) -> Self:
        self._context.run(self._in_world.__enter__)
        self.loop.set_exception_handler(lambda _loop, seen: self._unseen.append(seen))
        if self.world.trace is not None:
            add_recorder(self.world.trace.span)
            gc.disable()  # see VirtualLoop: it collects at fixed turns instead
        return self

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result. Context variables it sets stay set for the next one."""
        return self.loop.run_until_complete(self.loop.create_task(main, context=self._context))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            leaked = self._sweep()
        finally:
            self.loop.close()
            self._context.run(self._in_world.__exit__, None, None, None)
            self._stop_tracing()
        # After a deadlock or a limit everything is pending, and the error has already named it.
        faults = _faults([] if isinstance(error, SimulationError) else leaked, self._unseen)
        if error is None and faults:
            raise faults[0]
        if error is not None:
            for fault in faults:
                error.add_note(str(fault))

    def _stop_tracing(self) -> None:
        if self.world.trace is not None:
            remove_recorder(self.world.trace.span)
            if self._collecting:
                gc.enable()

    def _sweep(self) -> list[str]:
        """Let what was cancelled end, then cancel the rest; return the names of the rest."""
        self.loop.settle()
        leaked = self.loop.pending()
        for task in sorted(asyncio.all_tasks(self.loop), key=hash):
            task.cancel()
        self.loop.settle()
        with suppress(SimulationError):  # a generator that waits while closing cannot be waited for
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        return leaked


def run(
    main: Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T],
    *,
    seed: int | str | None = 0,
    limit_s: float | None = 3_600.0,
    limit_turns: int | None = 1_000_000,
    trace: Trace | None = None,
    starts_at: datetime = STARTS_AT,
) -> T:
    """Run a program on virtual time and return its result.

    The same program with the same seed does the same thing in the same order. The program must be a closed one:
    no sockets, no threads, no order taken from a set of strings.

    Args:
        main: A coroutine function without parameters, or a coroutine.
        seed: Decides the order of ready callbacks, chance, ids and secrets. None: order of arrival.
        limit_s: Virtual seconds the program may take. None: no limit.
        limit_turns: Turns of the loop without time passing that it may take. None: no limit.
        trace: Told everything that happens; compare `trace.digest()` of two runs.
        starts_at: The wall-clock instant at which it begins.

    Raises:
        DeadlockError: Everything waits and no timer is set.
        LimitError: A limit was passed.
        LeakedTasksError: The program ended and left tasks behind.
        UnhandledError: A task or callback failed and nobody looked.
    """
    with Stage(seed=seed, limit_s=limit_s, limit_turns=limit_turns, trace=trace, starts_at=starts_at) as stage:
        return stage.run(main if asyncio.iscoroutine(main) else main())


def _faults(leaked: list[str], unseen: list[dict[str, Any]]) -> list[Exception]:
    faults: list[Exception] = []
    if unseen:
        fault = UnhandledError([_unseen_line(seen) for seen in unseen])
        fault.__cause__ = unseen[0].get("exception")
        faults.append(fault)
    if leaked:
        faults.append(LeakedTasksError(leaked))
    return faults


def _unseen_line(seen: dict[str, Any]) -> str:
    error = seen.get("exception")
    return f"{seen.get('message', 'failure')}: {error!r}"
