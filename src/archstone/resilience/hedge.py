"""Ask a second time when the first takes longer than nearly all did; the first answer counts.

    @Hedge(0.95)
    async def read(key: str) -> bytes: ...

One slow replica, one long pause of a collector, and one caller in a hundred waits a hundred times as long. When a call
has taken longer than 95 of 100 did lately, a second one is made beside it. The first answer is returned and the other
call is cancelled; it may have taken effect, so hedge only what reads, or carries a key.

A budget keeps hedges from doubling the load when everything becomes slow: they are at most a part of all calls. Until
`min_calls` durations are known nothing is hedged, and the call costs no task.

Source: Dean and Barroso 2013, "The Tail at Scale" (hedged requests). The percentile is of the last calls that worked.
"""

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import KW_ONLY, dataclass
from functools import update_wrapper
from typing import Any, Final, ParamSpec, TypeVar, cast

from archstone import world
from archstone.observability import counter
from archstone.resilience.callables import name_of, need_coroutine_function
from archstone.resilience.check import check
from archstone.resilience.signals import Signal, tell

__all__ = ["Hedge", "HedgeStatistics", "Hedges"]

P = ParamSpec("P")
R = TypeVar("R")

_WINDOW: Final = 256
"""Durations that are remembered."""
_hedged = counter("archstone_hedges", "Second calls made beside a slow first one.", ("hedge",))


@dataclass(frozen=True, slots=True)
class Hedge:
    """When a second call is made beside the first."""

    percentile: float = 0.95
    """Part of the calls that must have been quicker. In (0, 1)."""
    _: KW_ONLY
    shortest_s: float = 0.001
    """A second call is never made sooner, seconds. Above 0, finite."""
    min_calls: int = 20
    """Durations that must be known before anything is hedged. In [1, 256]."""
    budget_ratio: float = 0.1
    """Second calls as a part of all. In (0, 1]."""

    def __post_init__(self) -> None:
        check(
            self,
            percentile=(0 < self.percentile < 1, "in (0, 1)"),
            shortest_s=(0 < self.shortest_s < float("inf"), "above 0 and finite"),
            min_calls=(1 <= self.min_calls <= _WINDOW, f"in [1, {_WINDOW}]"),
            budget_ratio=(0 < self.budget_ratio <= 1, "in (0, 1]"),
        )

    def bind(self, name: str) -> "Hedges":
        """Return hedges with this policy, which know no durations yet. `name` is in its metrics."""
        return Hedges(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` with hedges of its own."""
        return self.bind(name_of(function))(function)


@dataclass(frozen=True, slots=True)
class HedgeStatistics:
    """Hedges at one moment."""

    calls: int
    hedged: int
    """Calls beside which a second one was made."""
    won: int
    """Second calls that answered first."""
    delay_s: float | None
    """Seconds after which a second call is made now. None: too little is known."""


class Hedges:
    """A `Hedge` with the durations that it has seen. For the tasks of one event loop."""

    __slots__ = ("_budget", "_calls", "_hedged", "_losers", "_recent", "_sorted", "_won", "name", "policy")

    def __init__(self, name: str, policy: Hedge) -> None:
        self.name = name
        self.policy = policy
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._budget = 1.0
        self._calls = self._hedged = self._won = 0
        self._losers: set[asyncio.Task[Any]] = set()

    def statistics(self) -> HedgeStatistics:
        """Return where it stands now."""
        return HedgeStatistics(self._calls, self._hedged, self._won, self.delay_s())

    def delay_s(self) -> float | None:
        """Return how long a call may take before it is hedged; None: too little is known."""
        known = self._sorted
        if len(known) < self.policy.min_calls:
            return None
        return max(self.policy.shortest_s, known[min(len(known) - 1, int(len(known) * self.policy.percentile))])

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` with these hedges."""
        return cast("Callable[P, R]", self._around(need_coroutine_function("Hedge", function)))

    def _around(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def timed(*args: Any, **kwargs: Any) -> Any:
            began_s = world.monotonic()
            answer = await function(*args, **kwargs)
            self._learn(world.monotonic() - began_s)
            return answer

        async def hedged(*args: Any, **kwargs: Any) -> Any:
            self._calls += 1
            # Room for ten in a row: slow calls come in bunches.
            self._budget = min(10.0, self._budget + self.policy.budget_ratio)
            delay_s = self.delay_s()
            if delay_s is None:
                return await timed(*args, **kwargs)
            return await self._race(lambda: timed(*args, **kwargs), delay_s)

        return update_wrapper(hedged, function)

    async def _race(self, call: Callable[[], Coroutine[Any, Any, Any]], delay_s: float) -> Any:
        first = asyncio.create_task(call())
        under_way = {first}
        try:
            await asyncio.wait(under_way, timeout=delay_s)
            if first.done() or self._budget < 1:
                return await first
            self._budget -= 1
            self._hedged += 1
            _hedged.labels(self.name).inc()
            tell(Signal("hedged", "hedge", self.name, None, delay_s))
            under_way.add(asyncio.create_task(call()))
            winner = await self._first_to_work(first, under_way)
            self._won += winner is not first
            return winner.result()
        finally:
            for task in under_way:
                self._leave(task)

    async def _first_to_work(
        self, first: "asyncio.Task[Any]", under_way: "set[asyncio.Task[Any]]"
    ) -> "asyncio.Task[Any]":
        """Return the call that answered first; the first one where both failed."""
        left = set(under_way)
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            worked = [task for task in done if not task.cancelled() and task.exception() is None]
            if worked:
                return first if first in worked else worked[0]
        return first

    def _leave(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a call that nobody waits for, without waiting for its end: the answer is not held up."""
        if task.done():
            if not task.cancelled():
                task.exception()  # seen, whatever it is
            return
        task.cancel()
        self._losers.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[Any]") -> None:
        self._losers.discard(task)
        if not task.cancelled():
            task.exception()

    def _learn(self, took_s: float) -> None:
        self._recent.append(took_s)
        insort(self._sorted, took_s)
        if len(self._recent) > _WINDOW:
            self._sorted.remove(self._recent.popleft())
