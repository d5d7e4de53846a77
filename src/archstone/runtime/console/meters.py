"""Figures of a run, now and of the past: read once a second from what is counted anyway.

Nothing is counted here. Requests are what counters named `..._requests_total` with a label `status` count, the
gateway's and those of applications that it mounts, and their times the histograms `..._seconds` of the same stem.
"""

import asyncio
import os
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from archstone import world
from archstone.gateway.console import Figures
from archstone.observability import DURATION_BUCKETS_S, Counter, Histogram, Registry, default_registry

if TYPE_CHECKING:
    from archstone.runtime.embedded import Embedded

__all__ = ["Meters"]

_SECONDS: Final = 600
_MINUTES: Final = 1440
_OVER: Final = 60
_SLOW_EVERY: Final = 5
_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
_REQUESTS: Final = "_requests_total"
_UNSENT: Final = "SELECT count(*) FROM (SELECT 1 FROM _archstone_outbox LIMIT 10000)"
_NOT_ASKED: Final = frozenset({"/health/live", "/health/ready", "/metrics"})


class _Sums(NamedTuple):
    """What has been counted since the start, at one instant."""

    at_s: float
    requests: Mapping[str, int]
    errors: int
    shed: int
    limited: int
    buckets: tuple[int, ...]
    """Requests by duration, not cumulated; the last is those beyond every bound."""
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
        requests: Tally[str] = Tally()
        errors = 0
        families = {family.name: family for family in self._registry.families()}
        buckets = [0] * (len(DURATION_BUCKETS_S) + 1)
        for name, family in families.items():
            if name.endswith(_REQUESTS) and isinstance(family, Counter) and "status" in family.label_names:
                for status, count in _by_status(family):
                    requests[f"{status[:1]}xx"] += count
                    errors += count if status >= "500" and status != "503" else 0
                times = families.get(f"{name.removesuffix(_REQUESTS)}_request_seconds") or families.get(
                    f"{name.removesuffix(_REQUESTS)}_seconds"
                )
                _add_times(buckets, times)
        engines = [part.dispatcher.sagas for part in self._embedded.parts.services.values()]
        sagas = [engine.statistics() for engine in engines if engine is not None]
        return _Sums(
            world.monotonic(),
            {each: requests[each] for each in _CLASSES},
            errors,
            _total(families.get("archstone_shed_total")),
            _total(families.get("archstone_rate_limited_total")),
            tuple(buckets),
            sum(each.started for each in sagas),
            sum(each.finished + each.failed for each in sagas),
            sum(part.relay.statistics().sent for part in self._embedded.parts.services.values()),
            sum(each.handled for each in self._embedded.bus.statistics().values()),
        )

    async def _look_slowly(self) -> _Slow:
        backlogs = await self._embedded.bus.backlogs()
        parts = self._embedded.parts.services.values()
        unsent = [await part.database.one(int, _UNSENT) for part in parts if part.relay.lag_s > 0]
        return _Slow(sum(each.depth for each in backlogs), sum(each.dead for each in backlogs), sum(unsent))

    def _figures(self, before: _Sums, after: _Sums) -> Figures:
        parts = self._embedded.parts.services.values()
        sagas = [engine.statistics() for part in parts if (engine := part.dispatcher.sagas) is not None]
        times = [now - then for now, then in zip(after.buckets, before.buckets, strict=True)]
        return Figures(
            at_us=world.now_us(),
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
            memory_bytes=_memory_bytes(),
            watchers=self._watchers(),
        )


def _by_status(family: Counter) -> Iterator[tuple[str, int]]:
    status = family.label_names.index("status")
    for values, child in family.children():
        if values[0] not in _NOT_ASKED:
            yield values[status], int(child.value)


def _add_times(buckets: list[int], times: object) -> None:
    if not isinstance(times, Histogram) or times.bounds != tuple(DURATION_BUCKETS_S):
        return
    for values, child in times.children():
        if values and values[0] in _NOT_ASKED:
            continue
        before = 0
        for slot, count in enumerate(child.cumulative()):
            buckets[slot] += count - before
            before = count


def _percentile(buckets: Sequence[int], ratio: float) -> float | None:
    """Return what `ratio` of the values do not exceed, linear within a bucket; None where there are none."""
    total = sum(buckets)
    if not total:
        return None
    wanted, seen, lower = ratio * total, 0, 0.0
    for upper, count in zip(DURATION_BUCKETS_S, buckets, strict=False):
        if count and seen + count >= wanted:
            return round(lower + (upper - lower) * max(0.0, wanted - seen) / count, 6)
        seen, lower = seen + count, upper
    return DURATION_BUCKETS_S[-1]


def _total(family: object) -> int:
    return int(sum(child.value for _, child in family.children())) if isinstance(family, Counter) else 0


def _memory_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
