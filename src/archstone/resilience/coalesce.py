"""One call for all who ask the same at the same time.

    @Coalesce()
    async def product(sku: str) -> Product: ...         # a thousand callers of one sku, one query

The first caller of a key begins a flight, in a task of its own; whoever asks for the key before it has landed waits for
the same answer. Cancelling a caller, the first included, takes nothing from the others; when the last has left, the
flight is cancelled. A failure goes to those who wait, and is not kept: the next caller begins anew.

The flight has no deadline, since its callers have different ones; each waits as long as its own lasts. Everything else
(trace, principal, an open transaction) is the first caller's, so what depends on who asks must be in the key. All
callers get the same object.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, ParamSpec, TypeVar, cast

from archstone import context
from archstone.observability import counter
from archstone.resilience.callables import name_of, need_coroutine_function
from archstone.resilience.flight import Flight, SingleFlight

__all__ = ["Coalesce", "CoalesceStatistics", "Flights"]

P = ParamSpec("P")
R = TypeVar("R")

_joined = counter("archstone_coalesced", "Calls that joined one under way.", ("coalesce",))


@dataclass(frozen=True, slots=True)
class Coalesce:
    """Which calls are the same."""

    key: Callable[..., Hashable] | None = None
    """Takes the arguments of a call and returns its key. None: the arguments are the key, and must be hashable."""

    def bind(self, name: str) -> "Flights":
        """Return flights with this policy, none in the air. `name` is in its metrics."""
        return Flights(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` with flights of its own."""
        return self.bind(name_of(function))(function)


@dataclass(frozen=True, slots=True)
class CoalesceStatistics:
    """Flights at one moment."""

    in_flight: int
    """Keys under way."""
    begun: int
    """Calls made so far."""
    joined: int
    """Calls that were not made since they could join."""


class Flights:
    """A `Coalesce` that knows what is under way. For the tasks of one event loop."""

    __slots__ = ("_begun", "_flights", "_joined", "name", "policy")

    def __init__(self, name: str, policy: Coalesce) -> None:
        self.name = name
        self.policy = policy
        self._flights = SingleFlight()
        self._begun = self._joined = 0

    def statistics(self) -> CoalesceStatistics:
        """Return where it stands now."""
        return CoalesceStatistics(self._flights.joinable, self._begun, self._joined)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` behind these flights. Several functions never share one."""
        return cast("Callable[P, R]", self._around(need_coroutine_function("Coalesce", function)))

    def _around(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        key_of = self.policy.key
        flights = self._flights

        async def coalesced(*args: Any, **kwargs: Any) -> Any:
            said = (args, *sorted(kwargs.items())) if key_of is None else key_of(*args, **kwargs)
            key = (function, said)
            if (flight := flights.find(key)) is None:

                async def fly(_flight: Flight) -> Any:
                    return await function(*args, **kwargs)

                call = context.current()._replace(deadline_s=None)
                flight = flights.begin(key, fly, name=f"flight of {self.name}", call=call)
                self._begun += 1
            else:
                self._joined += 1
                _joined.labels(self.name).inc()
            return await flights.join(flight)

        return update_wrapper(coalesced, function)
