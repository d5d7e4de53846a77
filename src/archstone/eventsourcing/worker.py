"""The work on one projection: read a batch, make its effects and move the checkpoint, wait; try again when it fails."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from archstone import context, world
from archstone.context import Call
from archstone.data import Event, LeaseLostError, MisuseError, Transaction, TransactionLostError
from archstone.eventsourcing.checkpoint import Checkpoint
from archstone.eventsourcing.errors import HandlerError, ProjectionFailedError, ProjectionMovedError
from archstone.eventsourcing.log import Batch, EventLog
from archstone.eventsourcing.progress import Progress, wait_for
from archstone.eventsourcing.projection import Projection
from archstone.eventsourcing.recorded import Recorded
from archstone.eventsourcing.settings import ProjectorSettings
from archstone.eventsourcing.turn import Turn
from archstone.observability import get_logger

__all__ = ["AFTER_CHECKPOINT", "AFTER_EFFECTS", "AFTER_OUTSIDE", "AFTER_SWAP", "BEFORE_SWAP", "Worker"]

AFTER_OUTSIDE: Final = world.declare_point(
    "eventsourcing.after_outside", "what a batch writes outside the database is written, its checkpoint is not moved"
)
AFTER_EFFECTS: Final = world.declare_point(
    "eventsourcing.after_effects", "the effects of a batch and its checkpoint are in the transaction, not on disk"
)
AFTER_CHECKPOINT: Final = world.declare_point(
    "eventsourcing.after_checkpoint", "the effects of a batch and its checkpoint are on disk, nobody has been told"
)
BEFORE_SWAP: Final = world.declare_point(
    "eventsourcing.before_swap", "a new version of a projection has caught up, readers use the old one"
)
AFTER_SWAP: Final = world.declare_point(
    "eventsourcing.after_swap", "readers use the new version of a projection, on disk, and nobody has been told"
)

_log = get_logger("archstone.eventsourcing")


class Worker:
    """Works on one projection until it is cancelled."""

    def __init__(
        self,
        store: EventLog,
        projection: Projection,
        checkpoint: Checkpoint,
        *,
        turn: Turn,
        progress: Progress,
        settings: ProjectorSettings,
    ) -> None:
        self.wake = asyncio.Event()
        """Set when there may be something to do."""
        self._store = store
        self._projection = projection
        self._checkpoint = checkpoint
        self._turn = turn
        self._progress = progress
        self._settings = settings
        self._position = 0
        self._careful = 0
        """Events still to be projected one at a time."""
        self._busy_since_s: float | None = None

    async def run(self) -> None:
        """Work until cancelled; what goes wrong is told and tried again."""
        context.set_current(Call())
        while True:
            shift = asyncio.create_task(self._work(), name=f"projection {self._projection.label}: shift")
            try:
                why = await self._watch(shift)
            finally:
                shift.cancel()
                await asyncio.wait([shift], timeout=self._settings.stall_s)
            self._careful = self._settings.batch
            self._progress.fail(why)
            await self._keep_error(why)
            await asyncio.sleep(self._settings.backoff.longest_s(self._progress.failures))

    async def look(self) -> int:
        """Read the row of the projection; return how far it has come.

        Raises:
            MisuseError: The version was retired.
        """
        place = await self._checkpoint.place()
        if place is None:
            raise MisuseError(f"projection {self._projection.label}", "was retired: it cannot be run any more")
        self._progress.live = bool(place.live)
        if place.position != self._progress.position:
            self._progress.move(place.position)
        return place.position

    async def go_live(self) -> bool:
        """Have readers use this version from now on; False if a later one is live already."""
        world.point(BEFORE_SWAP)
        self._progress.live = await self._checkpoint.go_live()
        world.point(AFTER_SWAP)
        if self._progress.live:
            _log.info("projection goes live", projection=self._projection.label, position=self._position)
        return self._progress.live

    async def _work(self) -> None:
        """Wait for the turn and project for ever; whatever it raises ends the shift."""
        while True:
            await self._turn.held()
            self._position = await self.look()
            self._progress.running = True
            try:
                while True:
                    await self._project()
            except (LeaseLostError, ProjectionMovedError) as lost:
                self._progress.running = False
                _log.warning("projection looks again", projection=self._projection.label, why=str(lost))

    async def _project(self) -> None:
        """Project the next batch; with nothing left, go live if that is due, and wait for more."""
        self._busy_since_s = world.monotonic()
        # One at a time where a batch has failed: so all before the event that fails is kept.
        limit = 1 if self._careful else self._settings.batch
        self.wake.clear()
        batch = await self._store.batch(after=self._position, limit=limit, names=self._projection.event_names)
        if batch.size:
            self._progress.oldest_us = batch.at
            await self._keep(batch)
        elif await self.look() != self._position:
            raise ProjectionMovedError(self._projection.label, self._position)  # it is to be rebuilt
        if batch.size < limit:
            self._progress.oldest_us = world.now_us() if self.wake.is_set() else None
            if not self._progress.live and self._settings.swap:
                await self.go_live()
        self._progress.handled(len(batch.events))
        self._careful = max(0, self._careful - batch.size)
        self._busy_since_s = None
        if batch.size == limit:
            await asyncio.sleep(0)
            return
        if not self.wake.is_set():
            await wait_for(self.wake, self._settings.poll_s)
        await asyncio.sleep(self._settings.gather_s)

    async def _keep(self, batch: Batch) -> None:
        """Make the effects of a batch and move the checkpoint."""
        outside = [each for each in batch.events if type(each.event) in self._projection.outside]
        if outside:
            await self._projection.write_outside(outside)
            world.point(AFTER_OUTSIDE)

        async def keep(tx: Transaction) -> None:
            # First, so that of two who run it the second waits here, and finds that it has been moved.
            await self._checkpoint.move(tx, position=self._position, to=batch.position)
            await self._turn.check(tx)
            await self._write(tx, batch)
            world.point(AFTER_EFFECTS)

        await self._checkpoint.db.run(keep)
        world.point(AFTER_CHECKPOINT)
        self._position = batch.position
        self._progress.move(batch.position)

    async def _write(self, tx: Transaction, batch: Batch) -> None:
        projection = self._projection
        for each in batch.events:
            with self._telling(each):
                await _handle(projection, tx, each)
        together = [each for each in batch.events if type(each.event) in projection.together]
        if together:
            with self._telling(together[0]):
                await projection.write_together(tx, together)

    @contextmanager
    def _telling(self, recorded: Recorded[Event]) -> Generator[None]:
        """Name the event with what is raised for it; of several, the first."""
        try:
            yield
        except TransactionLostError:
            raise  # the batch is run again as a whole
        except Exception as error:
            told = f"{recorded.event.event_name} ({recorded.stream} number {recorded.version})"
            reason = f"{type(error).__name__}: {error}"
            raise ProjectionFailedError(self._projection.label, recorded.position, told, reason) from error

    async def _watch(self, shift: "asyncio.Task[None]") -> str:
        """Return what the shift died of; one that hangs for `stall_s` is ended."""
        stall_s = self._settings.stall_s
        while True:
            await asyncio.wait([shift], timeout=stall_s / 4)
            if shift.done():
                error = None if shift.cancelled() else shift.exception()
                return "it was cancelled" if error is None else f"{type(error).__name__}: {error}"
            since_s = self._busy_since_s
            if since_s is not None and world.monotonic() - since_s >= stall_s:
                self._busy_since_s = None
                # One that ignores its cancellation is left behind: it finds the checkpoint moved, and keeps nothing.
                return f"it hung for {stall_s:g} s"

    async def _keep_error(self, why: str) -> None:
        try:
            await self._checkpoint.fail(why)
        except Exception as error:  # noqa: BLE001 - the failure itself has been told
            _log.warning("projection cannot keep its error", projection=self._projection.label, why=repr(error))


async def _handle(projection: Projection, tx: Transaction, recorded: Recorded[Event]) -> None:
    event = recorded.event
    handler = projection.handlers.get(type(event))
    if handler is not None:
        arguments = (event, recorded) if handler.wants_recorded else (event,)
        await handler.call(projection, tx, *arguments)
    elif type(event) not in projection.together | projection.outside:
        told = f"version {event.event_version} of {event.event_name} was read, which no handler takes"
        raise HandlerError(type(projection).__qualname__, f"{told}: write an @upcast")
