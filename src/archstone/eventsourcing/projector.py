"""Runs a projection: catches up in batches, then follows live.

    async with Projector(store, UserList()) as users:
        position = await store.save(user)
        await users.reached(position, timeout_s=1.0)                    # who wrote reads what he wrote
        table = await users.live_table("users")
        names = await users.db.all(str, f"SELECT name FROM {table}")

Promise: the effects of each event are kept exactly once, in the order of the store, and an event is never skipped. When
its handler fails, everything before it is kept, the failure is told (log, metric, `statistics`, the row of the
projection) and it is tried again with backoff. One runner works at a time for each name and version; others stand by. A
version that is not live catches up beside the live one and then takes its place. One that is behind and does not move
for `stall_s` is told as stalled, whatever the reason.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from archstone import context, world
from archstone.context import Call
from archstone.data import Database, Event, LeaseLostError, MisuseError, Transaction, TransactionLostError
from archstone.eventsourcing.checkpoint import Checkpoint, Place, live_version
from archstone.eventsourcing.errors import (
    HandlerError,
    ProjectionBehindError,
    ProjectionFailedError,
    ProjectionMovedError,
)
from archstone.eventsourcing.projection import Projection
from archstone.eventsourcing.recorded import Recorded
from archstone.eventsourcing.store import Batch, EventStore
from archstone.eventsourcing.turn import Turn
from archstone.observability import counter, gauge, get_logger
from archstone.resilience import Exponential, check

__all__ = [
    "AFTER_CHECKPOINT",
    "AFTER_EFFECTS",
    "AFTER_OUTSIDE",
    "AFTER_SWAP",
    "BEFORE_SWAP",
    "Projector",
    "ProjectorSettings",
    "ProjectorStatistics",
]

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

_LABELS: Final = ("projection", "version")
_lag = gauge("archstone_projection_lag_seconds", "Age of the oldest event that is not projected yet.", _LABELS)
_position = gauge("archstone_projection_position", "Position of the last event that is projected.", _LABELS)
_stalled = gauge("archstone_projection_stalled", "1 while a projection is behind and does not move.", _LABELS)
_projected = counter("archstone_projection_events", "Events that a projection has handled.", _LABELS)
_failures = counter("archstone_projection_failures", "Batches of a projection that failed.", _LABELS)

_log = get_logger("archstone.eventsourcing")

_ELSEWHERE_S: Final = 0.05
"""Seconds between two looks at a checkpoint that another process moves, while somebody waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorSettings:
    """How a projection is run."""

    batch: int = 100
    """Events whose effects are one transaction. At least 1."""
    poll_s: float = 1.0
    """Seconds between two looks without a wake-up. A net here; across processes, how late it is. Above 0, finite."""
    lease_s: float = 5.0
    """Seconds without a sign of life after which another process takes over. Above 0, finite."""
    stall_s: float = 10.0
    """Seconds that it may be behind without moving before it is told as stalled. Above 0, finite."""
    backoff: Exponential = Exponential(0.1, cap_s=10.0)  # noqa: RUF009 - a frozen value
    """Seconds between a batch that failed and the next attempt."""
    swap: bool = True
    """Whether a version that has caught up goes live by itself; otherwise `go_live` does it."""

    def __post_init__(self) -> None:
        check(
            self,
            batch=(self.batch >= 1, "at least 1"),
            poll_s=(0 < self.poll_s < float("inf"), "above 0 and finite"),
            lease_s=(0 < self.lease_s < float("inf"), "above 0 and finite"),
            stall_s=(0 < self.stall_s < float("inf"), "above 0 and finite"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorStatistics:
    """How a projection stands, as this process knows it."""

    position: int
    """Position of the last event whose effects are kept."""
    lag_s: float
    """Age of the oldest event that is not projected, seconds; 0 when there is none."""
    running: bool
    """Whether it is run here. False: here it stands by, or is not started."""
    live: bool
    """Whether readers use this version."""
    stalled: bool
    """Whether it is behind and has not moved for `stall_s`."""
    failures: int
    """Batches that failed in a row."""
    error: str | None
    """What the last of them failed with. None: it has gone on since."""


class Projector:
    """Runs one projection while its block is open."""

    def __init__(
        self,
        store: EventStore,
        projection: Projection,
        *,
        db: Database | None = None,
        settings: ProjectorSettings = ProjectorSettings(),
    ) -> None:
        """Describe a runner.

        Args:
            store: Whose events. Open while the projector runs.
            projection: What is made of them.
            db: The database that it writes to. None: that of the store.
            settings: How it is run.

        Raises:
            HandlerError: The projection has no name, or handles nothing.
        """
        if not projection.projection_name or not projection.event_names:
            lacks = "handles no event" if projection.projection_name else "has no name"
            raise HandlerError(type(projection).__qualname__, f"{lacks}: it cannot be run")
        self.store = store
        self.projection = projection
        self.settings = settings
        self.db = db or store.db
        """The database that it writes to."""
        self._checkpoint = Checkpoint(self.db, projection)
        self._turn = Turn(self.db, f"projection {projection.label}", lease_s=settings.lease_s)
        self._labels = (projection.projection_name, str(projection.projection_version))
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._position = 0
        self._live = self._running = self._stalled = False
        self._oldest_us: int | None = None
        self._progress_s = 0.0
        self._busy_since_s: float | None = None
        self._failed = self._careful = 0
        self._error: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Register the version with its tables if it is new, and start."""
        await self._checkpoint.register()
        await self._turn.__aenter__()
        self._progress_s = world.monotonic()
        self.store.events_ready.append(self._woken)
        _lag.labels(*self._labels).watch(lambda: self.lag_s)
        _position.labels(*self._labels).watch(lambda: self._position)
        _stalled.labels(*self._labels).watch(lambda: float(self._stalled))
        await self._look()
        self._tasks = [self._start(self._run(), "runner"), self._start(self._oversee(), "overseer")]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and let others run it at once. A batch that is not committed is rolled back."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self.store.events_ready.remove(self._woken)
        for metric in (_lag, _position, _stalled):
            metric.labels(*self._labels).watch(None)
        self._running = False
        await self._turn.__aexit__(kind, error, traceback)

    @property
    def lag_s(self) -> float:
        """Age in seconds of the oldest event known not to be projected; 0 when there is none."""
        return 0.0 if self._oldest_us is None else max(0.0, (world.now_us() - self._oldest_us) / 1_000_000)

    def statistics(self) -> ProjectorStatistics:
        """Return how it stands."""
        return ProjectorStatistics(
            position=self._position,
            lag_s=self.lag_s,
            running=self._running,
            live=self._live,
            stalled=self._stalled,
            failures=self._failed,
            error=self._error,
        )

    async def reached(self, position: int, *, timeout_s: float) -> None:
        """Return when the effects of the event at `position` are kept: `reached(await store.save(…), …)`.

        Raises:
            ProjectionBehindError: They were not within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._position < position:
                    self._moved.clear()
                    await self._wait(self._moved, self.settings.poll_s if self._running else _ELSEWHERE_S)
                    if not self._running:
                        await self._look()
        except TimeoutError:
            raise ProjectionBehindError(
                self.projection.label, self._position, position, timeout_s, self._error
            ) from None

    async def live_table(self, name: str) -> str:
        """Return what table `name` of the version that readers use is called in SQL."""
        version = await live_version(self.db, self.projection.projection_name)
        return self.projection.table(name, version=version)

    async def go_live(self) -> bool:
        """Have readers use this version from now on; False if a later one is live already.

        That it has caught up is the caller's to know, where `swap` is off.
        """
        world.point(BEFORE_SWAP)
        self._live = await self._checkpoint.go_live()
        world.point(AFTER_SWAP)
        if self._live:
            _log.info("projection goes live", projection=self.projection.label, position=self._position)
        return self._live

    async def rebuild(self) -> None:
        """Drop what this version has written and begin anew. Readers see it grow again: prefer a new version."""
        await self._checkpoint.rewind()
        self._position = 0
        self._wake.set()

    async def retire(self) -> None:
        """Drop what this version has written and forget it; the projector must not be running.

        Raises:
            MisuseError: It runs, or readers use it.
        """
        if self._tasks:
            raise MisuseError(f"projection {self.projection.label}", "runs here: leave its block before it is retired")
        await self._checkpoint.retire()

    # Working

    async def _run(self) -> None:
        """Work until cancelled; what goes wrong is told and tried again."""
        context.set_current(Call())
        while True:
            shift = self._start(self._work(), "shift")
            try:
                self._error = await self._watch(shift)
            finally:
                shift.cancel()
                await asyncio.wait([shift], timeout=self.settings.stall_s)
            self._running = False
            self._failed += 1
            self._careful = self.settings.batch
            _failures.labels(*self._labels).inc()
            _log.error("projection failed", projection=self.projection.label, why=self._error, failures=self._failed)
            await self._keep_error()
            await asyncio.sleep(self.settings.backoff.longest_s(self._failed))

    async def _work(self) -> None:
        """Hold the projection and project for ever; whatever it raises ends the shift."""
        while True:
            await self._turn.held()
            await self._look()
            self._running = True
            try:
                while True:
                    await self._project()
            except (LeaseLostError, ProjectionMovedError) as lost:
                self._running = False
                _log.warning("projection begins anew", projection=self.projection.label, why=str(lost))

    async def _project(self) -> None:
        """Project the next batch; with nothing left, go live if that is due, and wait for more."""
        self._busy_since_s = world.monotonic()
        # One at a time where a batch has failed: so all before the event that fails is kept.
        limit = 1 if self._careful else self.settings.batch
        self._wake.clear()
        batch = await self.store.batch(after=self._position, limit=limit, names=self.projection.event_names)
        if batch.size:
            self._oldest_us = batch.at
            await self._keep(batch)
            self._failed, self._error = 0, None
            self._careful = max(0, self._careful - batch.size)
        if batch.size < limit:
            self._oldest_us = world.now_us() if self._wake.is_set() else None
            if not self._live and self.settings.swap:
                await self.go_live()
            self._failed, self._error = 0, None
        self._busy_since_s = None
        if batch.size < limit and not self._wake.is_set():
            await self._wait(self._wake, self.settings.poll_s)
        elif batch.size:
            await asyncio.sleep(0)

    async def _keep(self, batch: Batch) -> None:
        """Make the effects of a batch and move the checkpoint."""
        outside = [each for each in batch.events if type(each.event) in self.projection.outside]
        if outside:
            await self.projection.write_outside(outside)
            world.point(AFTER_OUTSIDE)

        async def keep(tx: Transaction) -> None:
            # First, so that of two who run it the second waits here, and finds that it has been moved.
            await self._checkpoint.move(tx, position=self._position, to=batch.position)
            await self._turn.check(tx)
            for each in batch.events:
                await self._handle(tx, each)
            world.point(AFTER_EFFECTS)

        await self.db.run(keep)
        world.point(AFTER_CHECKPOINT)
        self._progressed(batch.position)
        _projected.labels(*self._labels).inc(len(batch.events))

    async def _handle(self, tx: Transaction, recorded: Recorded[Event]) -> None:
        event = recorded.event
        handler = self.projection.handlers.get(type(event))
        try:
            if handler is None:
                self._require_outside(event)
            elif handler.wants_recorded:
                await handler.call(self.projection, tx, event, recorded)
            else:
                await handler.call(self.projection, tx, event)
        except TransactionLostError:
            raise  # the batch is run again as a whole
        except Exception as error:
            told = f"{event.event_name} ({recorded.stream} number {recorded.version})"
            reason = f"{type(error).__name__}: {error}"
            raise ProjectionFailedError(self.projection.label, recorded.position, told, reason) from error

    def _require_outside(self, event: Event) -> None:
        if type(event) not in self.projection.outside:
            known = f"version {event.event_version} of it was read, which no handler takes: write an @upcast"
            raise HandlerError(type(self.projection).__qualname__, known)

    # Watching

    async def _watch(self, shift: "asyncio.Task[None]") -> str:
        """Return what the shift died of; one that hangs for `stall_s` is ended."""
        while True:
            await asyncio.wait([shift], timeout=self.settings.stall_s / 4)
            if shift.done():
                error = None if shift.cancelled() else shift.exception()
                return "it was cancelled" if error is None else _told(error)
            since_s = self._busy_since_s
            if since_s is not None and world.monotonic() - since_s >= self.settings.stall_s:
                self._busy_since_s = None
                shift.cancel()
                # One that ignores its cancellation is left behind: its checkpoint is moved on by then, it cannot write.
                await asyncio.wait([shift], timeout=self.settings.stall_s)
                return f"it hung for {self.settings.stall_s:g} s"

    async def _oversee(self) -> None:
        """Tell when it is behind and does not move, for whatever reason, and when it moves again."""
        context.set_current(Call())
        while True:
            await asyncio.sleep(self.settings.stall_s / 4)
            try:
                if not self._running:
                    await self._look()
                self._oldest_us = await self.store.recorded_us(after=self._position)
            except Exception as error:  # noqa: BLE001 - a database that is away is what must be told, not hidden
                self._error = self._error or _told(error)
                self._oldest_us = self._oldest_us or world.now_us()
            self._tell()

    def _tell(self) -> None:
        now_s = world.monotonic()
        if self._oldest_us is None:
            self._progress_s = now_s
        stalled = now_s - self._progress_s >= self.settings.stall_s
        if stalled and not self._stalled:
            _log.error(
                "projection stalled",
                projection=self.projection.label,
                position=self._position,
                lag_s=self.lag_s,
                why=self._error,
            )
        elif self._stalled and not stalled:
            _log.info("projection moves again", projection=self.projection.label, position=self._position)
        self._stalled = stalled

    async def _look(self) -> Place:
        """Read the row of the projection."""
        place = await self._checkpoint.place()
        if place is None:
            raise MisuseError(f"projection {self.projection.label}", "was retired: it cannot be run any more")
        self._live = bool(place.live)
        if place.position != self._position:
            self._progressed(place.position)
        return place

    def _progressed(self, position: int) -> None:
        self._position = position
        self._progress_s = world.monotonic()
        self._moved.set()

    def _woken(self) -> None:
        if self._oldest_us is None:
            self._oldest_us = world.now_us()
        self._wake.set()

    async def _keep_error(self) -> None:
        try:
            await self._checkpoint.fail(self._error or "")
        except Exception as error:  # noqa: BLE001 - the failure itself has been told
            _log.warning("projection cannot keep its error", projection=self.projection.label, why=_told(error))

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> "asyncio.Task[None]":
        return asyncio.create_task(work, name=f"projection {self.projection.label}: {what}")

    async def _wait(self, event: asyncio.Event, limit_s: float) -> None:
        """Return when `event` is set, or after `limit_s`."""
        timer = asyncio.get_running_loop().call_later(limit_s, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
