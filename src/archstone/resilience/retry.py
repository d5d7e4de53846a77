"""Try again what can work the next time, later each time, and never for ever.

    calm = Retry(3, backoff=Exponential(0.1, cap_s=2.0))

    @calm
    async def charge(order: Order) -> Payment: ...

    payment = await calm.call(bank.charge, order)

Attempts are spread by full jitter, so that callers who failed together do not come back together. A server's
`retry_after_s` is honoured on top of it. No attempt begins after the deadline of the call or after `total_s`.
Cancellation is neither retried nor counted. Do not retry what is not safe to do twice: give it a key.

Source: Brooker 2015, "Exponential Backoff And Jitter" (full jitter).
"""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial, update_wrapper
from typing import Any, Final, ParamSpec, TypeVar, cast

from archstone import context, world
from archstone.errors import BackendError, RejectedError
from archstone.observability import counter
from archstone.resilience.check import SettingsError, check
from archstone.resilience.deadline import within
from archstone.resilience.errors import BlockingRetryError

__all__ = ["RETRYABLE", "Exponential", "Retry"]

P = ParamSpec("P")
R = TypeVar("R")

RETRYABLE: Final[tuple[type[Exception], ...]] = (RejectedError, BackendError, ConnectionError, TimeoutError)
"""What can work the next time: refused without being tried, a backend that failed, a time-out (DeadlineError too)."""

_retries = counter("archstone_retries", "Attempts after the first, by function.", ("function",))
_given_up = counter("archstone_retries_given_up", "Calls whose last attempt failed too, by function.", ("function",))


@dataclass(frozen=True, slots=True)
class Exponential:
    """Delays that grow by a factor, up to a cap."""

    base_s: float = 0.1
    """Longest delay before the second attempt, seconds. Above 0, finite."""
    _: KW_ONLY
    factor: float = 2.0
    """How much longer each next one may be. At least 1, finite."""
    cap_s: float = 10.0
    """Longest of all, seconds. At least `base_s`, finite."""

    def __post_init__(self) -> None:
        check(
            self,
            base_s=(0 < self.base_s < float("inf"), "above 0 and finite"),
            factor=(1 <= self.factor < float("inf"), "at least 1 and finite"),
            cap_s=(self.base_s <= self.cap_s < float("inf"), "at least base_s and finite"),
        )

    def longest_s(self, attempt: int) -> float:
        """Return the longest delay after attempt `attempt` (the first is 1) has failed."""
        try:
            return min(self.cap_s, self.base_s * self.factor ** (attempt - 1))
        except OverflowError:
            return self.cap_s


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, how long and for which errors to try again."""

    attempts: int = 3
    """All attempts, the first included. At least 1."""
    _: KW_ONLY
    backoff: Exponential = Exponential()
    """How long to wait between them."""
    total_s: float | None = None
    """Seconds for all attempts and waits together; the attempt in progress is cut there. Above 0. None: no limit."""
    per_attempt_s: float | None = None
    """Seconds for each attempt, then it is cancelled and counts as failed. Above 0. None: no limit."""
    on: tuple[type[Exception], ...] = RETRYABLE
    """Errors worth another attempt."""
    patience_s: float = 60.0
    """Longest wait that `retry_after_s` may ask for; above it the error is raised at once. At least 0."""

    def __post_init__(self) -> None:
        check(
            self,
            attempts=(self.attempts >= 1, "at least 1"),
            total_s=(self.total_s is None or self.total_s > 0, "above 0, or None"),
            per_attempt_s=(self.per_attempt_s is None or self.per_attempt_s > 0, "above 0, or None"),
            on=(_are_errors(self.on), "a tuple of Exception classes (a cancellation is never retried)"),
            patience_s=(self.patience_s >= 0, "at least 0"),
        )

    def delay_s(self, attempt: int) -> float:
        """Return how long to wait after attempt `attempt` (the first is 1): by chance in [0, longest]."""
        return world.random().random() * self.backoff.longest_s(attempt)

    def wait_s(self, attempt: int, failed: Exception) -> float | None:
        """Return how long to wait after attempt `attempt` ended with `failed`, None if no other may follow.

        For those who make the attempts themselves; whether a deadline would come first is theirs to see.
        """
        if attempt >= self.attempts or not isinstance(failed, self.on):
            return None
        delay_s = self.delay_s(attempt)
        if isinstance(failed, RejectedError):
            if not failed.retry_after_s <= self.patience_s:
                return None
            # On top of it, not instead: all who were refused heard the same number of seconds.
            delay_s += max(0.0, failed.retry_after_s)
        return delay_s

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with this policy around it, its signature kept.

        A plain function waits by blocking its thread, which is refused on the thread of an event loop.

        Raises:
            SettingsError: A plain function cannot be cut off, so `total_s` and `per_attempt_s` need a coroutine
                function; an asynchronous generator cannot be tried again.
        """
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise SettingsError(
                "Retry", (f"{_name(function)!r} must not be a generator: its items may be out already",)
            )
        if _is_coroutine_function(function):
            return cast("Callable[P, R]", self._around_coroutine(cast("Callable[..., Awaitable[Any]]", function)))
        if self.total_s is not None or self.per_attempt_s is not None:
            text = f"total_s and per_attempt_s must be None around the plain function {_name(function)!r}"
            raise SettingsError("Retry", (text,))
        return self._around_plain(function)

    async def call(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` under this policy and return its answer, or raise what its last attempt raised.

        Cancelled, it leaves nothing behind but what an attempt had begun.
        """
        if self.total_s is None:
            return await self._call(function, args, kwargs)
        async with within(self.total_s, name=_name(function)):
            return await self._call(function, args, kwargs)

    async def _call(self, function: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        try:
            return await self._once(function, args, kwargs)
        except self.on as error:
            failed = error
        try:
            return await self._again(function, args, kwargs, failed)
        finally:
            del failed  # the error holds this frame, the frame must not hold the error

    async def _once(self, function: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if self.per_attempt_s is None:
            return await function(*args, **kwargs)
        async with within(self.per_attempt_s, name=_name(function)):
            return await function(*args, **kwargs)

    async def _again(
        self,
        function: Callable[..., Awaitable[R]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        failed: Exception,
    ) -> R:
        name = _name(function)
        try:
            for attempt in range(1, self.attempts):
                delay_s = self._wait_in_time_s(attempt, failed)
                if delay_s is None:
                    break
                await asyncio.sleep(delay_s)
                _retries.labels(name).inc()
                try:
                    return await self._once(function, args, kwargs)
                except self.on as error:
                    failed = error
            _given_up.labels(name).inc()
            raise failed
        finally:
            del failed

    def _wait_in_time_s(self, attempt: int, failed: Exception) -> float | None:
        """Return `wait_s`, or None where the deadline of the call would come first."""
        delay_s, deadline_s = self.wait_s(attempt, failed), context.current().deadline_s
        if delay_s is not None and deadline_s is not None and world.monotonic() + delay_s >= deadline_s:
            return None
        return delay_s

    def _around_coroutine(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        if self.total_s is not None or self.per_attempt_s is not None:

            async def bounded(*args: Any, **kwargs: Any) -> Any:
                return await self.call(function, *args, **kwargs)

            return update_wrapper(bounded, function)
        on, again = self.on, self._again

        async def retrying(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except on as error:
                failed = error
            try:
                return await again(function, args, kwargs, failed)
            finally:
                del failed

        return update_wrapper(retrying, function)

    def _around_plain(self, function: Callable[P, R]) -> Callable[P, R]:
        on, again = self.on, self._again_plain

        def retrying(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except on as error:
                failed = error
            try:
                return again(function, args, kwargs, failed)
            finally:
                del failed

        return update_wrapper(retrying, function)

    def _again_plain(
        self, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any], failed: Exception
    ) -> R:
        name = _name(function)
        try:
            for attempt in range(1, self.attempts):
                delay_s = self._wait_in_time_s(attempt, failed)
                if delay_s is None:
                    break
                _wait_here(delay_s, name, failed)
                _retries.labels(name).inc()
                try:
                    return function(*args, **kwargs)
                except self.on as error:
                    failed = error
            _given_up.labels(name).inc()
            raise failed
        finally:
            del failed


def _wait_here(delay_s: float, name: str, failed: Exception) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        threading.Event().wait(delay_s)
        return
    raise BlockingRetryError(name) from failed


def _is_coroutine_function(function: Callable[..., object]) -> bool:
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    # An object that is called, such as a client, is judged by its __call__.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _are_errors(on: object) -> bool:
    """Whether `on` is what `except` takes, and no more than Exceptions. Callers without types pass anything."""
    return isinstance(on, tuple) and all(
        isinstance(one, type) and issubclass(one, Exception) for one in cast("tuple[object, ...]", on)
    )


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
