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
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from archstone import context, world
from archstone.context import Call
from archstone.data import Database, MisuseError
from archstone.eventsourcing.checkpoint import Checkpoint, live_version
from archstone.eventsourcing.errors import HandlerError, ProjectionBehindError
from archstone.eventsourcing.progress import Progress, ProjectorStatistics
from archstone.eventsourcing.projection import Projection
from archstone.eventsourcing.settings import ProjectorSettings
from archstone.eventsourcing.store import SAVED, EventStore
from archstone.eventsourcing.turn import Turn
from archstone.eventsourcing.worker import Worker

__all__ = ["Projector"]

_ELSEWHERE_S: Final = 0.05
"""Seconds between two looks at a checkpoint that another process moves, while somebody waits for it."""


class Projector:
    """Runs one projection while its block is open."""

    def __init__(
        self,
        store: EventStore,
        projection: Projection,
        *,
        db: Database | None = None,
        settings: ProjectorSettings = ProjectorSettings(),  # noqa: B008 - a frozen value
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
        self._progress = Progress(projection.projection_name, projection.projection_version, stall_s=settings.stall_s)
        self._worker = Worker(
            store, projection, self._checkpoint, turn=self._turn, progress=self._progress, settings=settings
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._deaf: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        """Register the version with its tables if it is new, and start."""
        await self._checkpoint.register()
        await self._worker.look()
        await self._turn.__aenter__()
        self._progress.watch()
        self._deaf = self.store.db.listen(SAVED, self._woken)
        self._tasks = [
            asyncio.create_task(work, name=f"projection {self.projection.label}: {name}")
            for work, name in ((self._worker.run(), "worker"), (self._oversee(), "overseer"))
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and let others run it at once. A batch that is not committed is rolled back."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self._deaf()
        self._progress.unwatch()
        await self._turn.__aexit__(kind, error, traceback)

    @property
    def lag_s(self) -> float:
        """Age in seconds of the oldest event known not to be projected; 0 when there is none."""
        return self._progress.lag_s

    def statistics(self) -> ProjectorStatistics:
        """Return how it stands."""
        return self._progress.statistics()

    async def reached(self, position: int, *, timeout_s: float) -> None:
        """Return when the effects of the event at `position` are kept: `reached(await store.save(…), …)`.

        Raises:
            ProjectionBehindError: They were not within `timeout_s`.
        """
        progress = self._progress
        try:
            async with asyncio.timeout(timeout_s):
                while progress.position < position:
                    await progress.moved(limit_s=self.settings.poll_s if progress.running else _ELSEWHERE_S)
                    if not progress.running:
                        await self._worker.look()
        except TimeoutError:
            raise ProjectionBehindError(
                self.projection.label, progress.position, position, timeout_s, progress.error
            ) from None

    async def live_table(self, name: str) -> str:
        """Return what table `name` of the version that readers use is called in SQL."""
        version = await live_version(self.db, self.projection.projection_name)
        return self.projection.table(name, version=version)

    async def go_live(self) -> bool:
        """Have readers use this version from now on; False if a later one is live already.

        That it has caught up is the caller's to know: it happens by itself unless `swap` is off.
        """
        return await self._worker.go_live()

    async def rebuild(self) -> None:
        """Drop what this version has written and begin anew. Readers see it grow again: prefer a new version."""
        await self._checkpoint.rewind()
        self._progress.move(0)
        self._worker.wake.set()

    async def retire(self) -> None:
        """Drop what this version has written and forget it; the projector must not be running.

        Raises:
            MisuseError: It runs, or readers use it.
        """
        if self._tasks:
            raise MisuseError(f"projection {self.projection.label}", "runs here: leave its block before it is retired")
        await self._checkpoint.retire()

    def _woken(self) -> None:
        if self._progress.running:
            self._progress.recorded()
        self._worker.wake.set()

    async def _oversee(self) -> None:
        """Look from outside how far behind it is, whether it is run here or elsewhere, and tell when it stalls."""
        context.set_current(Call())
        progress = self._progress
        while True:
            await asyncio.sleep(self.settings.stall_s / 4)
            try:
                if not progress.running:
                    await self._worker.look()
                progress.oldest_us = await self.store.recorded_us(after=progress.position)
            except Exception as error:  # noqa: BLE001 - a database that is away is what must be told, not hidden
                progress.error = progress.error or f"{type(error).__name__}: {error}"
                progress.oldest_us = progress.oldest_us or world.now_us()
            progress.judge()
