"""What both who look at a run read from its metrics and databases: the live view and the console's figures.

Nothing is counted here. Requests are what counters named `..._requests_total` with a label `status` count, the
gateway's and those of applications that it mounts, and their times the histograms `..._seconds` of the same stem.
"""

import os
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from archstone.observability import DURATION_BUCKETS_S, Counter, Histogram, Registry

if TYPE_CHECKING:
    from archstone.runtime.wiring import Part

__all__ = ["percentile", "requests", "resident_bytes", "total", "unsent"]

_REQUESTS: Final = "_requests_total"
_NOT_ASKED: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
"""What no person asks for."""
_UNSENT: Final = "SELECT count(*) FROM (SELECT 1 FROM _archstone_outbox LIMIT 10000)"


def requests(registry: Registry) -> tuple[Tally[str], list[int]]:
    """Return the requests since the start by status, and how many of them took at most as long as each bound.

    The bounds are `DURATION_BUCKETS_S`; the last number is of all. Shape `(len(bounds) + 1,)`.
    """
    families = registry.families()
    asked = [each for each in families if isinstance(each, Counter) and _counts_requests(each)]
    stems = tuple(f"{each.name.removesuffix(_REQUESTS)}_" for each in asked)
    answers: Tally[str] = Tally()
    for family in asked:
        status = family.label_names.index("status")
        for values, child in family.children():
            if values[0] not in _NOT_ASKED:
                answers[values[status]] += int(child.value)
    times = [0] * (len(DURATION_BUCKETS_S) + 1)
    for family in families:
        if isinstance(family, Histogram) and family.name.startswith(stems) and _times_requests(family):
            for values, child in family.children():
                if not values or values[0] not in _NOT_ASKED:
                    times = [known + more for known, more in zip(times, child.cumulative(), strict=True)]
    return answers, times


def _counts_requests(family: Counter) -> bool:
    return family.name.endswith(_REQUESTS) and "status" in family.label_names


def _times_requests(family: Histogram) -> bool:
    return family.name.endswith("_seconds") and family.bounds == tuple(DURATION_BUCKETS_S)


def total(registry: Registry, name: str) -> int:
    """Return what a counter has counted under all its labels; 0 where there is none of that name."""
    found = [each for each in registry.families() if each.name == name and isinstance(each, Counter)]
    return int(sum(child.value for family in found for _, child in family.children()))


def percentile(cumulative: Sequence[int], ratio: float) -> float | None:
    """Return the time that `ratio` of the requests did not exceed, linear within its bucket. None: no requests."""
    wanted, seen, lower = ratio * cumulative[-1], 0, 0.0
    if not cumulative[-1]:
        return None
    for upper, count in zip(DURATION_BUCKETS_S, cumulative, strict=False):
        if count >= wanted and count > seen:
            return lower + (upper - lower) * (wanted - seen) / (count - seen)
        seen, lower = count, upper
    return DURATION_BUCKETS_S[-1]


async def unsent(parts: Iterable["Part"]) -> int:
    """Return how many events are not on the bus yet, at most 10,000 of each service; asks only those that are late."""
    return sum([await part.database.one(int, _UNSENT) for part in parts if part.relay.lag_s > 0])


def resident_bytes() -> int:
    """Return the memory that the process holds; 0 where the platform does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
