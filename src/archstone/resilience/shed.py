"""Refuse early what could only be answered late.

    gate = Shed(200, max_lag_s=0.25).bind("gateway", lag=loop_lag)
    with gate.admit():
        ...

A server past its capacity that takes everything serves nobody in time; one that refuses the excess at once keeps
its promise to the rest. Refusal costs a comparison. Not for threads: call it on the loop's.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import update_wrapper
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

from archstone.observability import counter, gauge
from archstone.resilience.callables import need_coroutine_function
from archstone.resilience.check import check
from archstone.resilience.errors import OverloadedError
from archstone.resilience.turns import Turns

__all__ = ["Gate", "GateStatistics", "Shed"]

P = ParamSpec("P")
R = TypeVar("R")

_shed = counter("archstone_shed", "Requests refused, by gate and reason.", ("gate", "reason"))
_CROWD: Final = "crowd"
_in_flight = gauge("archstone_in_flight", "Requests inside, by gate.", ("gate",))


@dataclass(frozen=True, slots=True)
class Shed:
    """How much may be in flight."""

    max_in_flight: int
    """Requests inside at once, the reserve included. At least 1."""
    _: KW_ONLY
    max_lag_s: float | None = None
    """Loop lag from which ordinary requests are refused, seconds. Above 0. None: the lag is not looked at."""
    turn_s: float | None = None
    """How long a turn of the loop may become before requests behind it are refused, seconds; twice as long for
    those of priority 1 and above. Above 0. None: turns are not looked at. See `turns`."""
    reserve_ratio: float = 0.1
    """Part of `max_in_flight` that only priority 1 and above may use. In [0, 1)."""
    retry_after_s: float = 1.0
    """What the refused are told. At least 0, finite."""

    def __post_init__(self) -> None:
        check(
            self,
            max_in_flight=(self.max_in_flight >= 1, "at least 1"),
            max_lag_s=(self.max_lag_s is None or self.max_lag_s > 0, "above 0, or None"),
            turn_s=(self.turn_s is None or self.turn_s > 0, "above 0, or None"),
            reserve_ratio=(0 <= self.reserve_ratio < 1, "in [0, 1)"),
            retry_after_s=(0 <= self.retry_after_s < float("inf"), "at least 0 and finite"),
        )

    def bind(self, name: str, *, lag: Callable[[], float] | None = None) -> "Gate":
        """Return a gate with this policy and nobody inside.

        Args:
            name: What its errors and metrics call it.
            lag: Gives the loop lag in seconds (`lambda: loop_lag.lag_s`). None: only what is in flight counts.
        """
        return Gate(name, self, lag)


@dataclass(frozen=True, slots=True)
class GateStatistics:
    """A gate at one moment."""

    in_flight: int
    """Requests inside; at most `max_in_flight`."""
    max_in_flight: int


class Gate:
    """A `Shed` that knows who is inside. `with gate.admit():` is the only way in; cancelled work leaves too."""

    __slots__ = ("_inside", "_lag", "_max", "_max_lag_s", "_ordinary", "_turns", "name", "policy")

    def __init__(self, name: str, policy: Shed, lag: Callable[[], float] | None) -> None:
        self.name = name
        self.policy = policy
        self._inside = 0
        self._lag = lag
        self._max = policy.max_in_flight
        # At least one ordinary request fits, or a gate of one would admit nobody.
        self._ordinary = max(1, policy.max_in_flight - int(policy.max_in_flight * policy.reserve_ratio))
        self._max_lag_s = policy.max_lag_s if lag is not None else None
        self._turns = None if policy.turn_s is None else Turns(policy.turn_s)
        _in_flight.labels(name).watch(lambda: self._inside)

    @property
    def in_flight(self) -> int:
        """How many are inside; at most `max_in_flight`."""
        return self._inside

    @property
    def overloaded(self) -> bool:
        """Whether turns of the loop have been too long for a while: then it is worth asking `crowded`."""
        return self._turns is not None and self._turns.overloaded

    def crowded(self) -> bool:
        """Count one more ordinary request that has been read; say whether it is refused before it is begun.

        For servers, which read requests before they begin with any. What is not refused here is looked at by `admit`.
        """
        if self._turns is None or not self._turns.crowded():
            return False
        _shed.labels(self.name, _CROWD).inc()
        return True

    def crowd_error(self) -> OverloadedError:
        """Return what a request that `crowded` refuses is told."""
        turn_s = self.policy.turn_s or 0.0
        return OverloadedError(self.name, "loop turn", turn_s, turn_s, self.policy.retry_after_s)

    def admit(self, priority: int = 0) -> Self:
        """Check that one more may enter; the `with` block is its stay. Await nothing in between.

        Args:
            priority: 0 is ordinary. 1 and above may use the reserve, is let in when the loop is late, and into turns
                twice as long.

        Raises:
            OverloadedError: Full, or the loop is too late or too busy; carries `retry_after_s`.
        """
        limit = self._max if priority > 0 else self._ordinary
        if self._inside >= limit:
            raise self._refusal("in flight", self._inside, limit)
        if self._turns is not None:
            over = self._turns.over(priority=priority > 0, inside=self._inside)
            if over is not None:
                raise self._refusal("loop turn", *over)
        if self._max_lag_s is not None and priority <= 0 and self._lag is not None:
            lag_s = self._lag()
            if lag_s > self._max_lag_s:
                raise self._refusal("loop lag", lag_s, self._max_lag_s)
        return self

    def __enter__(self) -> None:
        self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._inside -= 1

    async def __aenter__(self) -> None:
        self._inside += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._inside -= 1

    def statistics(self) -> "GateStatistics":
        """Return where it stands now."""
        return GateStatistics(self._inside, self._max)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` behind this gate, every call of it an ordinary request."""
        inside = need_coroutine_function("Shed", function)

        async def admitted(*args: Any, **kwargs: Any) -> Any:
            with self.admit():
                return await inside(*args, **kwargs)

        return cast("Callable[P, R]", update_wrapper(admitted, function))

    def _refusal(self, reason: str, value: float, limit: float) -> OverloadedError:
        _shed.labels(self.name, reason.replace(" ", "_")).inc()
        return OverloadedError(self.name, reason, value, limit, self.policy.retry_after_s)
