"""How a projection stands, as this process knows it: what is told to those who wait, to metrics and to the log."""

import asyncio
from dataclasses import dataclass
from typing import Final

from archstone import world
from archstone.observability import counter, gauge, get_logger

__all__ = ["Progress", "ProjectorStatistics"]

_LABELS: Final = ("projection", "version")
_lag = gauge("archstone_projection_lag_seconds", "Age of the oldest event that is not projected yet.", _LABELS)
_position = gauge("archstone_projection_position", "Position of the last event that is projected.", _LABELS)
_stalled = gauge("archstone_projection_stalled", "1 while a projection is behind and does not move.", _LABELS)
_projected = counter("archstone_projection_events", "Events that a projection has handled.", _LABELS)
_failures = counter("archstone_projection_failures", "Batches of a projection that failed.", _LABELS)

_log = get_logger("archstone.eventsourcing")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorStatistics:
    """How a projection stands, as this process knows it."""

    position: int
    """Position of the last event whose effects are kept."""
    lag_s: float
    """Age of the oldest event that is not projected, seconds; 0 when there is none."""
    running: bool
    """Whether it is run here. False: here it stands by, has just failed, or is not started."""
    live: bool
    """Whether readers use this version."""
    stalled: bool
    """Whether it is behind and has not moved for `stall_s`."""
    failures: int
    """Batches that failed in a row."""
    error: str | None
    """What the last of them failed with. None: it has gone on since."""


class Progress:
    """Where one projection is. Changed by its worker and by whoever looks at its row."""

    def __init__(self, name: str, version: int, *, stall_s: float) -> None:
        self.label = f"{name} v{version}"
        self.position = 0
        self.live = self.running = self.stalled = False
        self.oldest_us: int | None = None
        """When the oldest event was recorded that is known not to be projected. None: there is none."""
        self.failures = 0
        self.error: str | None = None
        self._labels = (name, str(version))
        self._stall_s = stall_s
        self._moved_s = world.monotonic()
        self._moved = asyncio.Event()

    def watch(self) -> None:
        """Show it in the metrics."""
        self._moved_s = world.monotonic()
        _lag.labels(*self._labels).watch(lambda: self.lag_s)
        _position.labels(*self._labels).watch(lambda: self.position)
        _stalled.labels(*self._labels).watch(lambda: float(self.stalled))

    def unwatch(self) -> None:
        """Show it no longer."""
        self.running = False
        for metric in (_lag, _position, _stalled):
            metric.labels(*self._labels).watch(None)

    @property
    def lag_s(self) -> float:
        """Age in seconds of the oldest event known not to be projected; 0 when there is none."""
        return 0.0 if self.oldest_us is None else max(0.0, (world.now_us() - self.oldest_us) / 1_000_000)

    def statistics(self) -> ProjectorStatistics:
        """Return how it stands."""
        return ProjectorStatistics(
            position=self.position,
            lag_s=self.lag_s,
            running=self.running,
            live=self.live,
            stalled=self.stalled,
            failures=self.failures,
            error=self.error,
        )

    def move(self, position: int) -> None:
        """Say that all up to `position` is kept; those who wait look again."""
        self.position = position
        self._moved_s = world.monotonic()
        self._moved.set()

    async def moved(self, *, limit_s: float) -> None:
        """Return when it moves, or after `limit_s`."""
        self._moved.clear()
        await wait_for(self._moved, limit_s)

    def handled(self, events: int) -> None:
        """Count events, and forget a failure: it went on."""
        _projected.labels(*self._labels).inc(events)
        self.failures, self.error = 0, None

    def fail(self, why: str) -> None:
        """Tell that a batch failed."""
        self.running = False
        self.failures += 1
        self.error = why
        _failures.labels(*self._labels).inc()
        _log.error("projection failed", projection=self.label, why=why, failures=self.failures)

    def recorded(self) -> None:
        """Say that events have been recorded just now."""
        if self.oldest_us is None:
            self.oldest_us = world.now_us()

    def judge(self) -> None:
        """Tell when it is behind and has not moved for the limit, for whatever reason, and when it moves again."""
        now_s = world.monotonic()
        if self.oldest_us is None:
            self._moved_s = now_s
        was, self.stalled = self.stalled, now_s - self._moved_s >= self._stall_s
        if self.stalled and not was:
            _log.error(
                "projection stalled", projection=self.label, position=self.position, lag_s=self.lag_s, why=self.error
            )
        elif was and not self.stalled:
            _log.info("projection moves again", projection=self.label, position=self.position)


async def wait_for(event: asyncio.Event, limit_s: float) -> None:
    """Return when `event` is set, or after `limit_s`."""
    timer = asyncio.get_running_loop().call_later(limit_s, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
