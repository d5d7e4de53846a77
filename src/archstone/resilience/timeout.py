"""A limit of time around a function: `within` as a policy.

    @Timeout(2.0)
    async def charge(order: Order) -> Payment: ...

The function's own calls see the limit as their deadline. See `deadline` for what it promises, and for `async with`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, ParamSpec, TypeVar, cast

from archstone.resilience.callables import name_of, need_coroutine_function
from archstone.resilience.check import check
from archstone.resilience.deadline import within

__all__ = ["BoundTimeout", "Timeout"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long a call may take."""

    seconds: float
    """Above 0, finite. The deadline of the caller may end it sooner."""

    def __post_init__(self) -> None:
        check(self, seconds=(0 < self.seconds < float("inf"), "above 0 and finite"))

    def bind(self, name: str) -> "BoundTimeout":
        """Return this limit under a name, which is in its errors."""
        return BoundTimeout(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` with this limit."""
        return self.bind(name_of(function))(function)


class BoundTimeout:
    """A `Timeout` with its name."""

    __slots__ = ("name", "policy")

    def __init__(self, name: str, policy: Timeout) -> None:
        self.name = name
        self.policy = policy

    def admit(self) -> within:
        """Return the block that may take so long."""
        return within(self.policy.seconds, name=self.name)

    def statistics(self) -> None:
        """Return None: it keeps nothing."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` with this limit."""
        return cast("Callable[P, R]", self._around(need_coroutine_function("Timeout", function)))

    def _around(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        seconds, name = self.policy.seconds, self.name

        spare: list[within] = []  # making one costs as much as starting it

        async def limited(*args: Any, **kwargs: Any) -> Any:
            # `async with` would cost two coroutines more.
            limit = spare.pop() if spare else within(seconds, name=name)
            limit.begin()
            try:
                answer = await function(*args, **kwargs)
            except BaseException as error:
                limit.end(error)
                raise
            limit.end(None)
            if not spare:
                spare.append(limit)
            return answer

        return update_wrapper(limited, function)
