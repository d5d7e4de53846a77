"""Something else where it does not work.

    @Fallback(cached_prices)
    async def prices(sku: str) -> Prices: ...

`cached_prices` is called with the same arguments when `prices` fails with an error of `on`; while it runs,
`sys.exception()` is that error. What it returns is the answer, and what it raises comes out. A cancellation is no
failure. Where the caller should know that the answer is second best, the answer must say so.
"""

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import update_wrapper
from typing import Any, ParamSpec, TypeVar, cast

from archstone.observability import counter
from archstone.resilience.callables import is_coroutine_function, name_of, refuse_generators
from archstone.resilience.check import SettingsError, check, is_errors
from archstone.resilience.retry import RETRYABLE
from archstone.resilience.signals import Signal, tell

__all__ = ["BoundFallback", "Fallback", "FallbackStatistics"]

P = ParamSpec("P")
R = TypeVar("R")

_fell_back = counter("archstone_fallbacks", "Calls answered by their fallback.", ("fallback",))


@dataclass(frozen=True, slots=True)
class Fallback:
    """What answers in place of a call that failed."""

    otherwise: Callable[..., Any]
    """Takes the arguments of the call. A coroutine function, or a plain one that does not block."""
    _: KW_ONLY
    on: tuple[type[Exception], ...] = RETRYABLE
    """Errors that it answers for: by default those that say that the other side is away, not its own answers."""

    def __post_init__(self) -> None:
        check(
            self,
            otherwise=(callable(self.otherwise), "a function"),
            on=(is_errors(self.on), "a tuple of Exception classes (a cancellation is no failure)"),
        )

    def bind(self, name: str) -> "BoundFallback":
        """Return this fallback under a name, which is in its metrics."""
        return BoundFallback(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function`, plain or coroutine, with this behind it."""
        return self.bind(name_of(function))(function)


@dataclass(frozen=True, slots=True)
class FallbackStatistics:
    """What a bound fallback has done."""

    fell_back: int
    """Calls that it answered for."""


class BoundFallback:
    """A `Fallback` that counts."""

    __slots__ = ("_fell_back", "name", "policy")

    def __init__(self, name: str, policy: Fallback) -> None:
        self.name = name
        self.policy = policy
        self._fell_back = 0

    def statistics(self) -> FallbackStatistics:
        """Return what it has done."""
        return FallbackStatistics(self._fell_back)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function`, plain or coroutine, with this behind it."""
        refuse_generators("Fallback", function)
        if is_coroutine_function(function):
            return cast("Callable[P, R]", self._around_coroutine(cast("Callable[..., Awaitable[Any]]", function)))
        otherwise, on = self.policy.otherwise, self.policy.on
        if is_coroutine_function(otherwise):
            raise SettingsError("Fallback", (f"otherwise={name_of(otherwise)!r} must be plain, as its function is",))

        def answered(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except on as error:
                self._count(error)
                return otherwise(*args, **kwargs)

        return update_wrapper(answered, function)

    def _around_coroutine(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        otherwise, on, awaits = self.policy.otherwise, self.policy.on, is_coroutine_function(self.policy.otherwise)

        async def answered(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except on as error:
                self._count(error)
                answer = otherwise(*args, **kwargs)
                return await answer if awaits else answer

        return update_wrapper(answered, function)

    def _count(self, error: Exception) -> None:
        self._fell_back += 1
        _fell_back.labels(self.name).inc()
        tell(Signal("fell-back", "fallback", self.name, error))
