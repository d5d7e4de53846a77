"""The attempts of a `Retry`, with its budget."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from archstone import context, world
from archstone.observability import counter
from archstone.resilience.callables import is_coroutine_function, name_of, refuse_generators
from archstone.resilience.check import SettingsError
from archstone.resilience.deadline import within
from archstone.resilience.errors import BlockingRetryError
from archstone.resilience.signals import Signal, tell

if TYPE_CHECKING:
    from archstone.resilience.retry import Retry

__all__ = ["Attempts", "RetryStatistics"]

P = ParamSpec("P")
R = TypeVar("R")

_retries = counter("archstone_retries", "Attempts after the first, by function.", ("function",))
_given_up = counter("archstone_retries_given_up", "Calls whose last attempt failed too, by function.", ("function",))
_no_budget = counter("archstone_retries_over_budget", "Attempts not made for want of budget.", ("function",))


@dataclass(frozen=True, slots=True)
class RetryStatistics:
    """What a bound retry has done."""

    retried: int
    """Attempts after the first."""
    gave_up: int
    """Calls whose last attempt failed too."""
    over_budget: int
    """Attempts that were not made for want of budget."""
    budget: float | None
    """Attempts that may be made now. None: there is no budget."""


class Attempts:
    """A `Retry` with its budget. Threads may share it: a budget that several spend at once is off by a few."""

    __slots__ = ("_budget", "_gave_up", "_over_budget", "_retried", "name", "policy")

    def __init__(self, name: str, policy: "Retry") -> None:
        self.name = name
        self.policy = policy
        self._budget = policy.budget_burst
        self._retried = self._gave_up = self._over_budget = 0

    def statistics(self) -> RetryStatistics:
        """Return what it has done."""
        budget = None if self.policy.budget_ratio is None else self._budget
        return RetryStatistics(self._retried, self._gave_up, self._over_budget, budget)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return `function` with these attempts around it, its signature kept. See `Retry`."""
        policy = self.policy
        refuse_generators("Retry", function)
        if is_coroutine_function(function):
            return cast("Callable[P, R]", self._around_coroutine(cast("Callable[..., Awaitable[Any]]", function)))
        if policy.total_s is not None or policy.per_attempt_s is not None:
            text = f"total_s and per_attempt_s must be None around the plain function {name_of(function)!r}"
            raise SettingsError("Retry", (text,))
        return self._around_plain(function)

    async def call(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` and return its answer, or raise what its last attempt raised."""
        total_s = self.policy.total_s
        if total_s is None:
            return await self._call(function, args, kwargs)
        async with within(total_s, name=self.name):
            return await self._call(function, args, kwargs)

    async def _call(self, function: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if self.policy.budget_ratio is not None:
            self._budget = min(self.policy.budget_burst, self._budget + self.policy.budget_ratio)
        try:
            return await self._once(function, args, kwargs)
        except self.policy.on as error:
            failed = error
        try:
            return await self.again(function, args, kwargs, failed)
        finally:
            del failed  # the error holds this frame, the frame must not hold the error

    async def _once(self, function: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if self.policy.per_attempt_s is None:
            return await function(*args, **kwargs)
        async with within(self.policy.per_attempt_s, name=self.name):
            return await function(*args, **kwargs)

    async def again(
        self, function: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any], failed: Exception
    ) -> R:
        """Make the attempts after the first, which raised `failed`."""
        try:
            for attempt in range(1, self.policy.attempts):
                delay_s = self._may_wait_s(attempt, failed)
                if delay_s is None:
                    break
                await asyncio.sleep(delay_s)
                try:
                    return await self._once(function, args, kwargs)
                except self.policy.on as error:
                    failed = error
            raise self._give_up(failed)
        finally:
            del failed

    def _may_wait_s(self, attempt: int, failed: Exception) -> float | None:
        """Return how long to wait for the next attempt, which is paid for; None if there is none.

        None also where the deadline of the call would come first.
        """
        delay_s, deadline_s = self.policy.wait_s(attempt, failed), context.current().deadline_s
        if delay_s is None or (deadline_s is not None and world.monotonic() + delay_s >= deadline_s):
            return None
        if self.policy.budget_ratio is not None:
            if self._budget < 1:
                self._over_budget += 1
                _no_budget.labels(self.name).inc()
                return None
            self._budget -= 1
        self._retried += 1
        _retries.labels(self.name).inc()
        tell(Signal("retried", "retry", self.name, failed, delay_s))
        return delay_s

    def _give_up(self, failed: Exception) -> Exception:
        self._gave_up += 1
        _given_up.labels(self.name).inc()
        tell(Signal("gave-up", "retry", self.name, failed))
        return failed

    def _around_coroutine(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        policy, again = self.policy, self.again
        if policy.total_s is not None or policy.per_attempt_s is not None:

            async def bounded(*args: Any, **kwargs: Any) -> Any:
                return await self.call(function, *args, **kwargs)

            return update_wrapper(bounded, function)
        on, ratio, burst = policy.on, policy.budget_ratio, policy.budget_burst

        async def retrying(*args: Any, **kwargs: Any) -> Any:
            if ratio is not None:
                budget = self._budget + ratio
                self._budget = budget if budget < burst else burst  # noqa: FURB136 - a third of the time of min()
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
        on, again, ratio, burst = self.policy.on, self._again_plain, self.policy.budget_ratio, self.policy.budget_burst

        def retrying(*args: P.args, **kwargs: P.kwargs) -> R:
            if ratio is not None:
                self._budget = min(burst, self._budget + ratio)
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
        try:
            for attempt in range(1, self.policy.attempts):
                delay_s = self._may_wait_s(attempt, failed)
                if delay_s is None:
                    break
                _wait_here(delay_s, self.name, failed)
                try:
                    return function(*args, **kwargs)
                except self.policy.on as error:
                    failed = error
            raise self._give_up(failed)
        finally:
            del failed


def _wait_here(delay_s: float, name: str, failed: Exception) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        threading.Event().wait(delay_s)
        return
    raise BlockingRetryError(name) from failed
