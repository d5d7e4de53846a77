"""A circuit in this process: the state of a `Breaker` behind one lock, for tasks and threads alike.

A call through a closed circuit with no failures counted takes no lock and reads no clock.
"""

import math
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import update_wrapper
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from archstone import world
from archstone.observability import counter, gauge
from archstone.resilience.breaker import Breaker, Ratio
from archstone.resilience.callables import is_coroutine_function, refuse_generators
from archstone.resilience.check import SettingsError
from archstone.resilience.circuitstate import CircuitState, Outcome, Refused, StateName
from archstone.resilience.deadline import ran_out
from archstone.resilience.errors import BulkheadFullError, CircuitOpenError, RateLimitedError
from archstone.resilience.signals import Kind, Signal, tell

__all__ = ["Circuit", "CircuitStatistics", "announce", "outcome_of", "refusal"]

P = ParamSpec("P")
R = TypeVar("R")

_opened = counter("archstone_breaker_opened", "Times that a circuit opened.", ("breaker",))
_rejected = counter("archstone_breaker_rejected", "Calls refused without being made.", ("breaker",))
_state = gauge("archstone_breaker_state", "0 closed, 1 half open, 2 open.", ("breaker",))

_LEVELS: dict[StateName, int] = {"closed": 0, "half open": 1, "open": 2}
_KINDS: dict[StateName, Kind] = {"closed": "closed", "half open": "half-opened", "open": "opened"}
_OF_THIS_PROCESS = (CircuitOpenError, BulkheadFullError, RateLimitedError)


@dataclass(frozen=True, slots=True)
class CircuitStatistics:
    """A circuit at one moment."""

    state: StateName
    failures: int
    """Failures counted in the closed state: in a row, or in the window."""
    calls: int
    """Calls in the window; 0 where failures in a row are counted."""
    opened: int
    """Times it opened in this process."""
    rejected: int
    """Calls refused in this process."""
    retry_after_s: float
    """Seconds until it is half open; 0: it lets calls through. Infinite: it was opened by hand."""


def outcome_of(policy: Breaker, error: BaseException | None, took_s: float) -> int:
    """Return what a call counts as that ended with `error` (None: with an answer) after `took_s`."""
    if error is not None and not isinstance(error, Exception):
        return Outcome.FAILED if ran_out(error) else Outcome.NEITHER
    if isinstance(error, _OF_THIS_PROCESS):
        return Outcome.NEITHER
    if policy.slow_s is not None and took_s >= policy.slow_s:
        return Outcome.FAILED
    if error is None or isinstance(error, policy.answers) or not isinstance(error, policy.on):
        return Outcome.WORKED
    return Outcome.FAILED


def refusal(name: str, refused: Refused) -> CircuitOpenError:
    """Count a refused call and return what its caller is told."""
    _rejected.labels(name).inc()
    error = CircuitOpenError(name, refused.reason, refused.retry_after_s)
    tell(Signal("rejected", "breaker", name, error, refused.retry_after_s))
    return error


def announce(name: str, to: StateName, wait_s: float | None, error: BaseException | None = None) -> None:
    """Tell a move."""
    _state.labels(name).set(_LEVELS[to])
    if to == "open":
        _opened.labels(name).inc()
    tell(Signal(_KINDS[to], "breaker", name, error, wait_s))


class Passage:
    """One call through a circuit: the `with` or `async with` block is the call."""

    __slots__ = ("_began_s", "_circuit", "_epoch")

    def __init__(self, circuit: "Circuit") -> None:
        self._circuit = circuit

    def __enter__(self) -> None:
        self._epoch = self._circuit.begin()
        self._began_s = world.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._circuit.end(self._epoch, error, world.monotonic() - self._began_s)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, where)


class Circuit:
    """A `Breaker` with its state. Safe to use from several threads."""

    __slots__ = ("_lock", "_opened", "_rejected", "_state", "_windowed", "closed", "epoch", "name", "policy", "quiet")

    def __init__(self, name: str, policy: Breaker) -> None:
        self.name = name
        self.policy = policy
        self._lock = threading.Lock()
        self._state = CircuitState()
        self._opened = self._rejected = 0
        self.epoch = 0
        self.closed = True
        """Calls need not `begin`: `epoch` is what they would get."""
        self._windowed = isinstance(policy.failures, Ratio)
        self.quiet = not self._windowed
        """Closed, with nothing counted that a success would change: they need not `end` either."""
        _state.labels(name).set(0)

    @property
    def state(self) -> StateName:
        """Where it stands. Open also after `open_s`, until a call makes it half open."""
        return self._state.name

    def begin(self) -> int:
        """Let one call through and return its epoch; `end` must be given it, whatever happens. Or CircuitOpenError."""
        now_s = world.monotonic()
        with self._lock:
            before = self.epoch
            refused = self._state.admit(self.policy, now_s)
            self._rejected += refused is not None
            epoch, to = self._moved()
        if epoch != before:
            announce(self.name, to, None)
        if refused is not None:
            raise refusal(self.name, refused)
        return epoch

    def end(self, epoch: int, error: BaseException | None, took_s: float) -> None:
        """Count a call that `begin` let through: `error` is what it raised, None if it answered."""
        outcome, now_s = outcome_of(self.policy, error, took_s), world.monotonic()
        with self._lock:
            before, state = self.epoch, self._state
            state.end(self.policy, epoch, outcome, now_s)
            after, to = (before, state.name) if self._windowed and state.epoch == before else self._moved()
        if after != before:
            announce(self.name, to, self.policy.open_s if to == "open" else None, error)

    def admit(self) -> Passage:
        """Return the block that is one call: `with circuit.admit():` or `async with`; it raises CircuitOpenError."""
        return Passage(self)

    def open(self, *, for_s: float = math.inf) -> None:
        """Refuse calls for `for_s` seconds (above 0), after which it is half open; infinite: until `close`."""
        if not for_s > 0:
            raise SettingsError("Circuit", (f"for_s={for_s!r} must be above 0",))
        with self._lock:
            self._state.open(world.monotonic() + for_s)
            self._moved()
        announce(self.name, "open", for_s)

    def close(self) -> None:
        """Let calls through, with nothing counted."""
        with self._lock:
            self._state.close()
            self._moved()
        announce(self.name, "closed", None)

    def statistics(self) -> CircuitStatistics:
        """Return where it stands now."""
        with self._lock:
            state, now_s = self._state, world.monotonic()
            if isinstance(self.policy.failures, Ratio):
                state.window.forget(self.policy.failures, now_s)
            return CircuitStatistics(
                state=state.name,
                failures=state.failures + state.window.failures,
                calls=state.window.calls,
                opened=self._opened,
                rejected=self._rejected,
                retry_after_s=max(0.0, state.until_s - now_s) if state.name == "open" else 0.0,
            )

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function`, plain or coroutine, behind this circuit."""
        refuse_generators("Breaker", function)
        if is_coroutine_function(function):
            around = self._timed_coroutine if self.policy.slow_s is not None else self._around_coroutine
            return cast("Callable[P, R]", around(cast("Callable[..., Awaitable[Any]]", function)))
        return self._timed_plain(function) if self.policy.slow_s is not None else self._around_plain(function)

    def _moved(self) -> tuple[int, StateName]:
        """Bring up to date what is read without the lock; return where it stands."""
        state = self._state
        self._opened += state.name == "open" and state.epoch != self.epoch
        self.epoch = state.epoch
        self.closed = state.name == "closed"
        self.quiet = self.closed and not state.failures and not self._windowed
        return state.epoch, state.name

    def _around_coroutine(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            epoch = self.epoch if self.closed else self.begin()
            try:
                answer = await function(*args, **kwargs)
            except BaseException as error:
                self.end(epoch, error, 0.0)
                raise
            if not self.quiet:
                self.end(epoch, None, 0.0)
            return answer

        return update_wrapper(guarded, function)

    def _around_plain(self, function: Callable[P, R]) -> Callable[P, R]:
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            epoch = self.epoch if self.closed else self.begin()
            try:
                answer = function(*args, **kwargs)
            except BaseException as error:
                self.end(epoch, error, 0.0)
                raise
            if not self.quiet:
                self.end(epoch, None, 0.0)
            return answer

        return update_wrapper(guarded, function)

    def _timed_coroutine(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            with Passage(self):
                return await function(*args, **kwargs)

        return update_wrapper(guarded, function)

    def _timed_plain(self, function: Callable[P, R]) -> Callable[P, R]:
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with Passage(self):
                return function(*args, **kwargs)

        return update_wrapper(guarded, function)
