"""Sagas that sleep on disk: how they are put there, and how those whose time has come are woken."""

import asyncio
from typing import TYPE_CHECKING, Final

from archstone import world
from archstone.observability import get_logger
from archstone.sagas.failures import describe
from archstone.sagas.points import AFTER_REST
from archstone.sagas.run import Awake, Run
from archstone.sagas.shared import Shared

if TYPE_CHECKING:
    from archstone.sagas.runner import Runner

__all__ = ["Asleep"]

_log = get_logger("archstone.sagas")
_SETTLED_S: Final = 0.1
"""For so long nothing of a saga moves before it is put to sleep on disk: a branch may be between two steps."""
_LONGEST_LOOK_S: Final = 3600.0
"""The wall clock is looked at at least so often: it can be set."""
_ROUSED_AT_ONCE: Final = 100
_RETRY_S: Final = 1.0


class Asleep:
    """Those of one engine that sleep, or are about to."""

    def __init__(self, shared: Shared, runner: "Runner") -> None:
        self._shared = shared
        self._runner = runner
        self._crowded: set[str] = set()
        """Sagas that are to sleep on disk as soon as all of them waits."""
        self._roused: set[str] = set()
        """Sagas that were woken while they were being put to sleep on disk."""
        self._due_us: int | None = None
        """When the next one that sleeps on disk is to go on. None: no such time is known."""
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Forget everything: the engine closes."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._due_us = None
        self._roused.clear()
        self._crowded.clear()

    def crowded(self, saga: Awake) -> None:
        """Put a saga that waits to sleep on disk: too many wait in memory."""
        if saga.id not in self._crowded:
            self._crowded.add(saga.id)
            self._runner.chore(self._lay_down(saga))

    def woken(self, saga: Awake) -> None:
        """Note that a saga was woken on disk, which may be on its way there."""
        if saga.lying is not None:
            self._roused.add(saga.id)  # it is about to leave memory, and would not come back

    def rouse_at(self, due_us: int | None) -> None:
        """See to it that those that sleep on disk are looked at when the next is due."""
        if due_us is None or (self._due_us is not None and self._due_us <= due_us):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_us = due_us
        wait_s = min(max(0.0, (due_us - world.now_us()) / 1_000_000), _LONGEST_LOOK_S)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._rouse_now)

    def _rouse_now(self) -> None:
        self._timer = self._due_us = None
        if self._runner.open:
            self._runner.chore(self._rouse())

    async def _rouse(self) -> None:
        """Wake those on disk whose time has come."""
        table = self._shared.table
        try:
            while due := await table.due(at=world.now_us(), limit=_ROUSED_AT_ONCE):
                for saga in due:
                    if await table.wake(saga):
                        self._runner.happened(saga, woken=True)
                    else:
                        await self._join(saga)
            self.rouse_at(await table.next_due())
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            _log.error("sagas that sleep cannot be woken", error=describe(error))
            self.rouse_at(world.now_us() + int(_RETRY_S * 1_000_000))

    async def _join(self, saga: str) -> None:
        """Have a delayed saga join its queue, or begin if it has none."""
        queue = await self._shared.table.queue_of(saga)
        lines = self._runner.lines
        line = None if queue is None else lines.find(queue)
        if not await self._shared.queues.join(saga, None if line is None else line.limits.per_key):
            return
        if queue is None:
            self._runner.happened(saga, woken=True)
        else:
            lines.joined(queue)

    async def _lay_down(self, saga: Awake) -> None:
        """Have a saga sleep on disk and not in memory, as soon as all of it waits and goes on waiting for a moment."""
        runner = self._runner
        try:
            while runner.has(saga) and saga.placed and (run := saga.run) is not None and run.naps:
                moves = run.moves
                await asyncio.sleep(_SETTLED_S)
                if run is not saga.run or run.moves != moves or not saga.could_lie_down() or not runner.open:
                    continue
                if await self._laid_down(saga, run):
                    return
        finally:
            self._crowded.discard(saga.id)  # in the turn of the last look: who waits from then on says so again

    async def _laid_down(self, saga: Awake, run: Run) -> bool:
        saga.lying = decided = asyncio.get_running_loop().create_future()
        try:
            await run.flush()
            if not await self._shared.table.lie_down(saga.id, saga.worker, [*run.naps.values()]):
                saga.stir()
                return False
            world.point(AFTER_REST)
            if (until_us := min((nap.until_us for nap in run.naps.values() if nap.until_us), default=None)) is not None:
                self.rouse_at(until_us)
            task = saga.task
            task.cancel()
            await asyncio.wait([task])
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            _log.error("a saga cannot be put to sleep", saga=saga.id, error=describe(error))
            saga.stir()  # its journal may not be written, of which whoever waits must hear
            return False
        finally:
            saga.lying = None
            decided.set_result(None)
        roused = saga.id in self._roused
        self._roused.discard(saga.id)
        self._runner.left(saga, back=roused)
        return True
