"""As many calls at once as the other side answers without a queue; the number is found, not set.

    @Adaptive()
    async def ask(query: Query) -> Answer: ...

While answers come as quickly as they do without a queue the limit grows by its root; when they take longer, calls are
queueing over there, and it shrinks by the same ratio. It is corrected once in a round, which is as many calls as the
limit lets through at once, by their mean. What is usual without a queue is measured again and again: every
`window` calls the limit is a quarter for a moment, and the calls begun meanwhile are what is usual from then on.
Whoever comes above the limit is refused with BulkheadFullError. Cancelled calls and errors say nothing of how long an
answer takes; a time-out does.

Do not use it for few calls (it learns from those under way), nor where calls differ in length by nature: give each kind
an adaptive limit of its own.

Source: Netflix concurrency-limits, Gradient2Limit (2018): ratio, smoothing, no growth below half of the limit. It
compares with a long average, which a lasting queue becomes part of until the limit knows no bound; we probe instead, as
Envoy's adaptive concurrency filter does. The root is that of Netflix' first gradient limit.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import update_wrapper
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from archstone import world
from archstone.observability import counter, gauge
from archstone.resilience.callables import name_of, need_coroutine_function
from archstone.resilience.check import check
from archstone.resilience.deadline import ran_out
from archstone.resilience.errors import BulkheadFullError, OutOfTimeError
from archstone.resilience.signals import Signal, tell

__all__ = ["Adaptive", "AdaptiveStatistics", "Throttle"]

P = ParamSpec("P")
R = TypeVar("R")

_WORST: Final = 0.5
"""One round, however slow, shrinks the limit no further than by this ratio, before smoothing."""
_PROBE_PART: Final = 4
"""A probe leaves a quarter of the limit: too little for a queue, where the limit is near what it should be."""
_PROBED: Final = 10
"""Calls whose mean is what is usual."""
_rejected = counter("archstone_adaptive_rejected", "Calls refused above the limit.", ("adaptive",))
_limit = gauge("archstone_adaptive_limit", "Calls that may be under way.", ("adaptive",))


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Between which bounds a limit of calls at once is looked for."""

    initial: int = 20
    """Calls at once to begin with. In [lowest, highest]."""
    _: KW_ONLY
    lowest: int = 1
    """At least 1."""
    highest: int = 1000
    """At least `lowest`."""
    tolerance: float = 1.25
    """How much longer than usual a call may take before the limit shrinks. At least 1, finite."""
    smoothing: float = 0.5
    """Part of each correction that is made. In (0, 1]."""
    window: int = 600
    """Calls between two measurements of what is usual. At least 10."""
    retry_after_s: float = 0.5
    """What the refused are told. At least 0, finite."""

    def __post_init__(self) -> None:
        check(
            self,
            initial=(self.lowest <= self.initial <= self.highest, "in [lowest, highest]"),
            lowest=(self.lowest >= 1, "at least 1"),
            highest=(self.highest >= self.lowest, "at least lowest"),
            tolerance=(1 <= self.tolerance < float("inf"), "at least 1 and finite"),
            smoothing=(0 < self.smoothing <= 1, "in (0, 1]"),
            window=(self.window >= 10, "at least 10"),
            retry_after_s=(0 <= self.retry_after_s < float("inf"), "at least 0 and finite"),
        )

    def bind(self, name: str) -> "Throttle":
        """Return a throttle with this policy at its initial limit. `name` is in its errors and metrics."""
        return Throttle(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` behind a throttle of its own."""
        return self.bind(name_of(function))(function)


@dataclass(frozen=True, slots=True)
class AdaptiveStatistics:
    """A throttle at one moment."""

    limit: int
    """Calls that may be under way now."""
    in_flight: int
    rejected: int
    usual_s: float | None
    """How long a call takes without a queue, the mean of ten. None: too few have ended."""


class Passing:
    """One call through a throttle: the `async with` block."""

    __slots__ = ("_began_s", "_throttle")

    def __init__(self, throttle: "Throttle") -> None:
        self._throttle = throttle

    async def __aenter__(self) -> None:
        self._began_s = self._throttle.begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._throttle.end(self._began_s, error)


class Throttle:
    """An `Adaptive` with its limit. For the tasks of one event loop."""

    __slots__ = (
        "_in_flight", "_probe_began_s", "_probed", "_rejected", "_round", "_since_probe", "limit", "name", "policy",
        "usual_s",
    )  # fmt: skip

    def __init__(self, name: str, policy: Adaptive) -> None:
        self.name = name
        self.policy = policy
        self.limit = float(policy.initial)
        """Calls that may be under way; whole ones count."""
        self.usual_s: float | None = None
        """How long a call takes without a queue, the mean of ten. None: too few have ended."""
        self._in_flight = self._rejected = self._since_probe = 0
        # A probe is under way from the beginning, at the full limit.
        self._probe_began_s: float | None = world.monotonic()
        self._probed: list[float] = []
        self._round: list[float] = []
        _limit.labels(name).watch(lambda: int(self.limit))

    def statistics(self) -> AdaptiveStatistics:
        """Return where it stands now."""
        return AdaptiveStatistics(int(self.limit), self._in_flight, self._rejected, self.usual_s)

    def admit(self) -> Passing:
        """Return the block that is one call: `async with throttle.admit():`; it raises BulkheadFullError."""
        return Passing(self)

    def begin(self) -> float:
        """Let one call through and return when it began, which `end` must be given whatever happens."""
        limit = int(self.limit)
        if self._probe_began_s is not None and self.usual_s is not None:
            limit = max(self.policy.lowest, limit // _PROBE_PART)
        if self._in_flight >= limit:
            self._rejected += 1
            _rejected.labels(self.name).inc()
            error = BulkheadFullError(self.name, limit, 0, 0.0, self.policy.retry_after_s)
            tell(Signal("rejected", "adaptive", self.name, error, self.policy.retry_after_s))
            raise error
        self._in_flight += 1
        return world.monotonic()

    def end(self, began_s: float, error: BaseException | None) -> None:
        """Learn from a call that `begin` let through: `error` is what it raised, None if it answered."""
        if error is None or isinstance(error, OutOfTimeError) or ran_out(error):
            self._learn(began_s, world.monotonic() - began_s)
        self._in_flight -= 1

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` behind this throttle."""
        return cast("Callable[P, R]", self._around(need_coroutine_function("Adaptive", function)))

    def _around(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def throttled(*args: Any, **kwargs: Any) -> Any:
            async with Passing(self):
                return await function(*args, **kwargs)

        return update_wrapper(throttled, function)

    def _learn(self, began_s: float, took_s: float) -> None:
        if self._probe_began_s is not None:
            if began_s >= self._probe_began_s:  # those begun before have waited in the queue that the probe drains
                self._probed.append(max(took_s, 1e-9))
            if len(self._probed) >= _PROBED:
                self.usual_s = sum(self._probed) / len(self._probed)
                self._probed.clear()
                self._probe_began_s = None
            return
        self._since_probe += 1
        if self._since_probe >= self.policy.window:
            self._since_probe = 0
            self._probe_began_s = world.monotonic()
        if self._in_flight < self.limit / 2:
            return
        self._round.append(took_s)
        if len(self._round) >= int(self.limit):
            self.limit = self._next_limit(max(1e-9, sum(self._round) / len(self._round)))
            self._round.clear()

    def _next_limit(self, took_s: float) -> float:
        policy, usual_s = self.policy, self.usual_s or took_s
        gradient = max(_WORST, min(1.0, policy.tolerance * usual_s / took_s))
        wanted = self.limit * gradient + math.sqrt(self.limit)
        limit = self.limit + (wanted - self.limit) * policy.smoothing
        return min(float(policy.highest), max(float(policy.lowest), limit))
