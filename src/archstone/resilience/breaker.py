"""Stop calling what does not answer, and look from time to time whether it does again.

    careful = Breaker(5, open_s=30.0)                        # five failures in a row
    careful = Breaker(Ratio(0.5, over_s=10.0), slow_s=2.0)   # half of the calls of the last ten seconds

    @careful
    async def charge(order: Order) -> Payment: ...

    circuit = careful.bind("payments")                       # one circuit for several functions
    async with circuit.admit(): ...

A closed circuit lets calls through and counts failures. Too many open it: calls are refused with CircuitOpenError, at
once and without being made. After `open_s` it is half open: `trials` calls go through, no more. When all of them have
worked it closes; one that fails opens it again. See `state` for every move.

What counts. An error that the other side means (a declared one, not found, denied) is an answer, so it counts as
success. Time-outs of `within` around the call count as failures. Any other cancellation counts as neither and gives a
trial's place back, and so does what was refused in this process.

Not shared between processes unless a store is given (`bind(name, store=...)`). Do not put one around what cannot fail
on its own, such as a computation.

Source: Nygard, "Release It!" (2007), chapter 5. We admit a counted number of trials, and results of calls that began
before the last move change nothing.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, overload

from archstone.errors import ConflictError, DeniedError, DomainError, InvalidError, NotFoundError
from archstone.resilience.callables import name_of
from archstone.resilience.check import check, is_errors

if TYPE_CHECKING:
    from archstone.resilience.circuit import Circuit
    from archstone.resilience.shared import SharedCircuit
    from archstone.resilience.store import SharedState, WithoutStore

__all__ = ["ANSWERS", "Breaker", "Ratio"]

P = ParamSpec("P")
R = TypeVar("R")

ANSWERS: Final[tuple[type[Exception], ...]] = (DomainError, InvalidError, DeniedError, NotFoundError, ConflictError)
"""Errors by which the other side says something: it works."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Failures as a part of the calls in a sliding window, of calls or of seconds."""

    limit: float = 0.5
    """Failed calls over all calls in the window that open the circuit. In (0, 1]."""
    _: KW_ONLY
    over_calls: int | None = None
    """The window is the last so many calls. At least 1. None: it is one of seconds."""
    over_s: float | None = None
    """The window is the last so many seconds, to a tenth of them. Above 0, finite. None: it is one of calls."""
    min_calls: int = 20
    """Calls the window must hold before the ratio counts. At least 1, and at most `over_calls`."""

    def __post_init__(self) -> None:
        calls, seconds = self.over_calls, self.over_s
        check(
            self,
            limit=(0 < self.limit <= 1, "in (0, 1]"),
            over_calls=(
                calls >= 1 if calls is not None else seconds is not None,
                "at least 1, or over_s be given in its place",
            ),
            over_s=(
                (calls is None and 0 < seconds < float("inf")) if seconds is not None else calls is not None,
                "above 0 and finite, or over_calls be given in its place, not both",
            ),
            min_calls=(1 <= self.min_calls <= (calls or self.min_calls), "at least 1 and at most over_calls"),
        )


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a circuit opens, and for how long."""

    failures: int | Ratio = 5
    """Failures in a row that open it, at least 1; or a `Ratio` of failures."""
    _: KW_ONLY
    open_s: float = 30.0
    """Seconds the circuit stays open before it is half open. A trial that has not ended after as long gives its place
    to another. Above 0, finite."""
    trials: int = 1
    """Calls that a half open circuit lets through, all of which must work. At least 1."""
    slow_s: float | None = None
    """Seconds from which on a call counts as failed, whatever it answers. Above 0. None: time does not count."""
    on: tuple[type[Exception], ...] = (Exception,)
    """Errors that count as failures. Others count as success."""
    answers: tuple[type[Exception], ...] = ANSWERS
    """Errors among those of `on` that count as success all the same."""

    def __post_init__(self) -> None:
        check(
            self,
            failures=(isinstance(self.failures, Ratio) or self.failures >= 1, "at least 1, or a Ratio"),
            open_s=(0 < self.open_s < float("inf"), "above 0 and finite"),
            trials=(self.trials >= 1, "at least 1"),
            slow_s=(self.slow_s is None or self.slow_s > 0, "above 0, or None"),
            on=(is_errors(self.on), "a tuple of Exception classes"),
            answers=(is_errors(self.answers), "a tuple of Exception classes"),
        )

    @overload
    def bind(self, name: str) -> "Circuit": ...
    @overload
    def bind(self, name: str, *, store: "SharedState", without_store: "WithoutStore" = ...) -> "SharedCircuit": ...
    def bind(
        self, name: str, *, store: "SharedState | None" = None, without_store: "WithoutStore" = "local"
    ) -> "Circuit | SharedCircuit":
        """Return a closed circuit with this policy.

        Args:
            name: In its errors and metrics. Circuits of one name in one store are one circuit.
            store: Where its state is kept, for all processes that use it. None: in this process.
            without_store: What is done while the store cannot be reached.
        """
        if store is not None:
            from archstone.resilience.shared import SharedCircuit  # noqa: PLC0415 - it imports this module

            return SharedCircuit(name, self, store, without_store)
        from archstone.resilience.circuit import Circuit  # noqa: PLC0415 - it imports this module

        return Circuit(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function`, plain or coroutine, behind a circuit of its own, named after it."""
        return self.bind(name_of(function))(function)
