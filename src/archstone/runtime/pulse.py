"""How a running system does, read a few times a second from the metrics that it keeps anyway.

Nothing is counted here, so that nobody who looks costs a request anything; `readings` says what a request is. A
system shows figures of its own by declaring them: a counter or gauge without labels whose name does not begin with
`archstone`.
"""

import os
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from archstone import world
from archstone.observability import Histogram, Registry, default_registry
from archstone.runtime.counted import EVENTS
from archstone.runtime.readings import percentile, requests, resident_bytes, total, unsent

if TYPE_CHECKING:
    from archstone.runtime.embedded import Embedded

__all__ = ["CLASSES", "Pulse", "Vitals"]

CLASSES: Final = ("2xx", "4xx", "5xx", "shed", "limited")
"""How requests are told apart: answered (3xx too), refused, failed, refused by a full house, asked too often."""
HISTORY: Final = 60
_WINDOW_S: Final = 5.0
_KEPT_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """One look at a system."""

    ready: bool
    requests: int
    """Since the start."""
    per_s: Mapping[str, float]
    """Requests a second over the last five, for each of `CLASSES`."""
    p50_s: float | None
    """Half of the requests of the last five seconds took at most so long. None: there were none."""
    p95_s: float | None
    history: tuple[float, ...]
    """Requests a second, for each of the last 60 seconds, oldest first; fewer after a start."""
    sagas_running: int
    sagas_stuck: int
    waiting: int
    """Messages that are not handled yet."""
    retrying: int
    """Of these, those that have failed and wait for another attempt."""
    dead: int
    unsent: int
    """Events that are not on the bus yet; 10,000 stands for more."""
    behind_s: float
    """Age of the oldest of them."""
    loop_lag_s: float
    memory_bytes: int
    cpu_ratio: float
    """Of one core, over the last five seconds."""
    events: tuple[tuple[str, int, int], ...]
    """Name of an event, how many in the last minute, how many since the start; the busiest first."""
    own: tuple[tuple[str, float], ...]
    """What the system itself declares: its description without the full stop, and the figure."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    answers: Mapping[str, int]
    times: Sequence[int]
    events: Mapping[str, int]
    cpu_s: float


class Pulse:
    """Looks at one system: call `take` once or twice a second."""

    def __init__(self, embedded: "Embedded", *, registry: Registry = default_registry) -> None:
        self._embedded = embedded
        self._registry = registry
        self._samples: deque[_Sample] = deque([self._sample()])
        self._history: deque[float] = deque(maxlen=HISTORY)
        self._counted = self._samples[0]

    async def take(self) -> Vitals:
        """Look now, and compare with before."""
        now = self._sample()
        self._remember(now)
        window = next(each for each in self._samples if now.at_s - each.at_s <= _WINDOW_S)
        apart_s = max(now.at_s - window.at_s, 1e-9)
        slow = [new - old for new, old in zip(now.times, window.times, strict=True)]
        embedded = self._embedded
        parts = list(embedded.parts.services.values())
        engines = [part.dispatcher.sagas.statistics() for part in parts if part.dispatcher.sagas is not None]
        backlogs = await embedded.bus.backlogs()
        return Vitals(
            ready=embedded.ready,
            requests=sum(now.answers.values()),
            per_s={name: max(0, now.answers[name] - window.answers[name]) / apart_s for name in CLASSES},
            p50_s=percentile(slow, 0.5),
            p95_s=percentile(slow, 0.95),
            history=tuple(self._history),
            sagas_running=sum(each.running for each in engines),
            sagas_stuck=sum(each.stuck for each in engines),
            waiting=sum(each.depth for each in backlogs),
            retrying=sum(each.retrying for each in backlogs),
            dead=sum(each.dead for each in backlogs),
            unsent=await unsent(parts),
            behind_s=max((part.relay.lag_s for part in parts), default=0.0),
            loop_lag_s=embedded.lag.lag_s,
            memory_bytes=resident_bytes(),
            cpu_ratio=(now.cpu_s - window.cpu_s) / apart_s,
            events=self._events(now),
            own=tuple(self._own()),
        )

    def _remember(self, now: _Sample) -> None:
        samples = self._samples
        samples.append(now)
        while now.at_s - samples[0].at_s > _KEPT_S and len(samples) > 2:
            samples.popleft()
        if (apart_s := now.at_s - self._counted.at_s) >= 1.0:
            since = sum(now.answers.values()) - sum(self._counted.answers.values())
            self._history.append(max(0, since) / apart_s)
            self._counted = now

    def _sample(self) -> _Sample:
        by_status, times = requests(self._registry)
        answers: Tally[str] = Tally(dict.fromkeys(CLASSES, 0))
        for status, count in by_status.items():
            answers[_class(status)] += count
        answers["shed"] = total(self._registry, "archstone_shed_total")
        answers["5xx"] -= answers["shed"]  # below zero where a gate of no gateway has shed: differences count
        events = {values[0]: int(child.value) for values, child in EVENTS.children()}
        return _Sample(world.monotonic(), answers, times, events, sum(os.times()[:2]))

    def _events(self, now: _Sample) -> tuple[tuple[str, int, int], ...]:
        before = self._samples[0].events
        found = [(name, total - before.get(name, 0), total) for name, total in now.events.items()]
        return tuple(sorted(found, key=lambda each: (-each[1], -each[2], each[0])))

    def _own(self) -> Iterator[tuple[str, float]]:
        for family in self._registry.families():
            own = not family.name.startswith("archstone_") and not family.label_names
            if own and not isinstance(family, Histogram):
                yield family.help_text.removesuffix("."), family.value


def _class(status: str) -> str:
    if status == "429":
        return "limited"
    return f"{status[0]}xx" if status[:1] in {"4", "5"} else "2xx"
