"""Lets sagas out of their queues: as many as there are places, as the queue allows, and no faster."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from archstone import world
from archstone.observability import get_logger
from archstone.sagas.errors import StepCodecError
from archstone.sagas.failures import describe
from archstone.sagas.places import Places
from archstone.sagas.points import AFTER_LET_OUT
from archstone.sagas.queue import Queue
from archstone.sagas.queue_rows import InQueue, QueueRows

__all__ = ["Lines"]

_log = get_logger("archstone.sagas")
_AT_ONCE: Final = 64
_RETRY_S: Final = 1.0


class Engine(Protocol):
    """What the queues need of who runs the sagas."""

    @property
    def open(self) -> bool:
        """Whether sagas are taken in."""
        ...

    @property
    def workers(self) -> int:
        """Processes that share the queues."""
        ...

    def chore(self, work: Coroutine[Any, Any, None]) -> object:
        """Do something in a task of the engine's own, which its closing cancels."""
        ...

    def let_in(self, sagas: list[str]) -> None:
        """Run sagas that have left a queue on disk."""
        ...


class Line:
    """One queue, while its engine is open."""

    __slots__ = ("busy", "limits", "name", "next_s", "rate", "timer", "waiting", "wanting")

    def __init__(self, name: str, limits: Queue) -> None:
        self.name = name
        self.limits = limits
        self.waiting = 0
        """Sagas in it, as far as this process knows."""
        self.wanting = False
        """Whether one may want to leave that could."""
        self.busy = False
        self.next_s = 0.0
        """When the next may leave, if there is a rate."""
        self.timer: asyncio.TimerHandle | None = None
        self.rate = limits.starts_per_s
        """How many this process lets out in a second. None: no limit."""

    def allowed(self, workers: int) -> int:
        """Return how many may leave here now by the rate, which so many processes share."""
        if self.limits.starts_per_s is None:
            return _AT_ONCE
        rate = self.rate = self.limits.starts_per_s / workers
        # Never more than a tenth of a second's worth at once, however long nothing came.
        earliest_s = world.monotonic() - max(0.1, 1 / rate)
        self.next_s = max(self.next_s, earliest_s + 1 / rate)
        return max(0, int((world.monotonic() - self.next_s) * rate + 1 + 1e-6))

    def left(self, count: int) -> None:
        """Note how many have left."""
        self.waiting = max(0, self.waiting - count)
        if self.rate is not None:
            self.next_s += count / self.rate


class Lines:
    """The queues of one engine."""

    def __init__(self, rows: QueueRows, places: Places, engine: Engine) -> None:
        self._rows = rows
        self._places = places
        self._engine = engine
        self._lines: dict[str, Line] = {}

    @property
    def wanting(self) -> bool:
        """Whether a saga may want a place that could leave its queue."""
        return any(line.wanting for line in self._lines.values())

    @property
    def waiting(self) -> int:
        """Sagas in all queues, as far as this process knows."""
        return sum(line.waiting for line in self._lines.values())

    def know(self, name: str, queue: Queue) -> Line:
        """Return the line of a queue.

        Raises:
            StepCodecError: A queue of this name has other limits.
        """
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line(name, queue)
        elif line.limits != queue:
            raise StepCodecError(f"queue {queue.name}", "has other limits in another function; share one value")
        return line

    def find(self, name: str) -> Line | None:
        """Return the line of a queue, None if the code has none of this name."""
        return self._lines.get(name)

    def joined(self, name: str) -> None:
        """Count a saga that has joined a queue, and let it out if it may."""
        if (line := self._lines.get(name)) is not None:
            line.waiting += 1
            self.serve(line)

    def counted(self, found: list[InQueue]) -> None:
        """Take over how many wait on disk, and let them out if they may."""
        for line in self._lines.values():
            line.waiting = sum(each.sagas for each in found if each.queue == line.name)
            if line.waiting:
                self.serve(line)

    def look(self) -> None:
        """Look whether somebody may leave a queue whom another process has put there."""
        for line in self._lines.values():
            self.serve(line)

    async def recount(self) -> None:
        """Count again: some have left otherwise than in their turn."""
        self.counted(await self._rows.counted())

    def moved(self, name: str) -> None:
        """Look whether somebody may leave a queue, of which a saga has ended."""
        if (line := self._lines.get(name)) is not None:
            self.serve(line)

    def place_freed(self) -> None:
        """Let out who waits for a place."""
        for line in self._lines.values():
            if line.wanting:
                self.serve(line)

    def serve(self, line: Line) -> None:
        """Let sagas out of a queue, in a task."""
        line.wanting = True
        if not line.busy and self._engine.open and self._places.free:
            line.busy = True
            self._engine.chore(self._serve(line))

    def close(self) -> None:
        """Let nobody out any more."""
        for line in self._lines.values():
            line.busy = line.wanting = False
            line.waiting = 0
            if line.timer is not None:
                line.timer.cancel()
                line.timer = None

    async def _serve(self, line: Line) -> None:
        try:
            while line.wanting and self._engine.open and (free := self._places.free):
                await self._let_out(line, min(free, _AT_ONCE))
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            _log.error("sagas cannot leave their queue", queue=line.name, error=describe(error))
            self._later(line, _RETRY_S)
        finally:
            line.busy = False
        self._engine.let_in([])  # a place that was kept for this queue may be free

    async def _let_out(self, line: Line, most: int) -> None:
        limit = min(most, line.allowed(self._engine.workers))
        if not limit:
            self._later(line, line.next_s - world.monotonic())
            return
        line.wanting = False  # set again by who joins while we look
        sagas = await self._rows.let_out(line.name, limit=limit, max_running=line.limits.max_running)
        world.point(AFTER_LET_OUT)
        line.left(len(sagas))
        line.wanting = line.wanting or len(sagas) == limit
        self._engine.let_in(sagas)

    def _later(self, line: Line, seconds: float) -> None:
        line.wanting = False

        def again() -> None:
            line.timer = None
            self.serve(line)

        if line.timer is None:
            line.timer = asyncio.get_running_loop().call_later(max(0.0, seconds), again)
