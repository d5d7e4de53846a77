"""Figures of a run, now and of the past: read once a second from what is counted anyway.

Nothing is counted here; `readings` says what a request is.
"""

import asyncio
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from archstone import world
from archstone.gateway.console import Figures
from archstone.observability import Registry, default_registry
from archstone.runtime.readings import percentile, requests, resident_bytes, total, unsent

if TYPE_CHECKING:
    from archstone.runtime.embedded import Embedded

__all__ = ["Meters"]

_SECONDS: Final = 600
_MINUTES: Final = 1440
_OVER: Final = 60
_SLOW_EVERY: Final = 5
_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")


class _Sums(NamedTuple):
    """What has been counted since the start, at one instant."""

    at_s: float
    requests: Mapping[str, int]
    errors: int
    shed: int
    limited: int
    times: Sequence[int]
    """How many requests took at most as long as each bound; the last is all."""
    sagas_started: int
    sagas_ended: int
    sent: int
    handled: int


class _Slow(NamedTuple):
    """What takes a look into files."""

    queued: int = 0
    dead: int = 0
    unsent: int = 0


class Meters:
    """Figures of one run, while `run` runs; before and after it they stand still."""

    def __init__(
        self, embedded: "Embedded", *, watchers: Callable[[], int], registry: Registry = default_registry
    ) -> None:
        self._embedded = embedded
        self._watchers = watchers
        self._registry = registry
        self._sums: deque[_Sums] = deque(maxlen=_OVER + 1)
        self._seconds: deque[Figures] = deque(maxlen=_SECONDS)
        self._minutes: deque[Figures] = deque(maxlen=_MINUTES)
        self._slow = _Slow()

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        turn = 0
        self._sums.append(self._count())
        while True:
            await asyncio.sleep(1.0)
            turn += 1
            if turn % _SLOW_EVERY == 1:
                self._slow = await self._look_slowly()
            sums = self._count()
            self._seconds.append(self._figures(self._sums[-1], sums))
            self._sums.append(sums)
            if turn % _OVER == 0:
                self._minutes.append(self._figures(self._sums[0], sums))

    async def now(self) -> Figures:
        """Return the figures of this moment, with counts over the last minute."""
        self._slow = await self._look_slowly()
        sums = self._count()
        return self._figures(self._sums[0] if self._sums else sums, sums)

    def history(self, minutes: float) -> tuple[Figures, ...]:
        """Return figures of the last `minutes`, oldest first: each second of up to 10 minutes, each minute beyond."""
        kept = self._seconds if minutes * 60 <= _SECONDS else self._minutes
        since_us = world.now_us() - int(minutes * 60_000_000)
        return tuple(each for each in kept if each.at_us >= since_us)

    def _count(self) -> _Sums:
        by_status, times = requests(self._registry)
        classes: Tally[str] = Tally()
        for status, count in by_status.items():
            classes[f"{status[:1]}xx"] += count
        engines = [part.dispatcher.sagas for part in self._embedded.parts.services.values()]
        sagas = [engine.statistics() for engine in engines if engine is not None]
        return _Sums(
            world.monotonic(),
            {each: classes[each] for each in _CLASSES},
            sum(count for status, count in by_status.items() if status >= "500" and status != "503"),
            total(self._registry, "archstone_shed_total"),
            total(self._registry, "archstone_rate_limited_total"),
            times,
            sum(each.started for each in sagas),
            sum(each.finished + each.failed for each in sagas),
            sum(part.relay.statistics().sent for part in self._embedded.parts.services.values()),
            sum(each.handled for each in self._embedded.bus.statistics().values()),
        )

    async def _look_slowly(self) -> _Slow:
        backlogs = await self._embedded.bus.backlogs()
        late = await unsent(self._embedded.parts.services.values())
        return _Slow(sum(each.depth for each in backlogs), sum(each.dead for each in backlogs), late)

    def _figures(self, before: _Sums, after: _Sums) -> Figures:
        parts = self._embedded.parts.services.values()
        sagas = [engine.statistics() for part in parts if (engine := part.dispatcher.sagas) is not None]
        times = [now - then for now, then in zip(after.times, before.times, strict=True)]
        return Figures(
            at_us=world.now_us(),
            alerts=tuple(self._embedded.alerts.firing()),
            over_s=round(after.at_s - before.at_s, 3),
            requests={each: after.requests[each] - before.requests[each] for each in _CLASSES},
            p50_s=_percentile(times, 0.5),
            p95_s=_percentile(times, 0.95),
            p99_s=_percentile(times, 0.99),
            errors=after.errors - before.errors,
            shed=after.shed - before.shed,
            limited=after.limited - before.limited,
            sagas_started=after.sagas_started - before.sagas_started,
            sagas_ended=after.sagas_ended - before.sagas_ended,
            events_sent=after.sent - before.sent,
            events_handled=after.handled - before.handled,
            sagas_running=sum(each.running for each in sagas),
            sagas_stuck=sum(each.stuck for each in sagas),
            queued=self._slow.queued,
            dead=self._slow.dead,
            unsent=self._slow.unsent,
            relay_lag_s=max([part.relay.lag_s for part in parts], default=0.0),
            loop_lag_s=self._embedded.lag.lag_s,
            memory_bytes=resident_bytes(),
            watchers=self._watchers(),
        )


def _percentile(times: Sequence[int], ratio: float) -> float | None:
    found = percentile(times, ratio)
    return None if found is None else round(found, 6)
