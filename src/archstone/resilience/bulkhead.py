"""So many calls at once and no more, so that one slow dependency does not take every place there is.

    few = Bulkhead(10, max_waiting=20, max_wait_s=0.5)

    @few
    async def charge(order: Order) -> Payment: ...

    compartment = few.bind("payments")                 # one for several functions
    async with compartment.admit(): ...

Whoever finds all places taken waits in a queue, first come first served, or is refused with BulkheadFullError where the
queue is full or the wait too long. A place is handed to the first in the queue and never lies free meanwhile, so
nobody overtakes. Cancelled, a caller leaves its place or the queue.

For the tasks of one event loop. Threads have a bulkhead already, their pool.

Source: Nygard, "Release It!" (2007), chapter 5.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from functools import update_wrapper
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from archstone import world
from archstone.observability import counter, gauge
from archstone.resilience.callables import name_of, need_coroutine_function
from archstone.resilience.check import check
from archstone.resilience.errors import BulkheadFullError
from archstone.resilience.signals import Signal, tell

__all__ = ["Bulkhead", "BulkheadStatistics", "Compartment"]

P = ParamSpec("P")
R = TypeVar("R")

_rejected = counter("archstone_bulkhead_rejected", "Calls refused for want of a place.", ("bulkhead",))
_in_flight = gauge("archstone_bulkhead_in_flight", "Calls that have a place.", ("bulkhead",))
_queued = gauge("archstone_bulkhead_waiting", "Calls that wait for a place.", ("bulkhead",))


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """How many calls at once, and how many may wait."""

    max_calls: int
    """Calls at once. At least 1."""
    _: KW_ONLY
    max_waiting: int = 0
    """Calls that may wait for a place. At least 0; 0: who finds no place is refused at once."""
    max_wait_s: float | None = None
    """Longest wait, seconds. Above 0, finite. None: as long as the caller's deadline lasts."""
    retry_after_s: float = 1.0
    """What the refused are told. At least 0, finite."""

    def __post_init__(self) -> None:
        check(
            self,
            max_calls=(self.max_calls >= 1, "at least 1"),
            max_waiting=(self.max_waiting >= 0, "at least 0"),
            max_wait_s=(self.max_wait_s is None or 0 < self.max_wait_s < float("inf"), "above 0 and finite, or None"),
            retry_after_s=(0 <= self.retry_after_s < float("inf"), "at least 0 and finite"),
        )

    def bind(self, name: str) -> "Compartment":
        """Return an empty compartment with this policy. `name` is in its errors and metrics."""
        return Compartment(name, self)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` in a compartment of its own, named after it."""
        return self.bind(name_of(function))(function)


@dataclass(frozen=True, slots=True)
class BulkheadStatistics:
    """A compartment at one moment."""

    in_flight: int
    """Calls that have a place; at most `max_calls`."""
    waiting: int
    """Calls in the queue; at most `max_waiting`."""
    rejected: int
    """Calls refused so far."""


class Stay:
    """One call in a compartment: the `async with` block."""

    __slots__ = ("_compartment",)

    def __init__(self, compartment: "Compartment") -> None:
        self._compartment = compartment

    async def __aenter__(self) -> None:
        await self._compartment.enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._compartment.leave()


class Compartment:
    """A `Bulkhead` that knows who is inside and who waits."""

    __slots__ = ("__weakref__", "_free", "_rejected", "_waiting", "name", "policy")

    def __init__(self, name: str, policy: Bulkhead) -> None:
        self.name = name
        self.policy = policy
        self._free = policy.max_calls
        self._rejected = 0
        # Who waits; a result (True: a place, False: the wait was too long) takes effect before its task runs again.
        self._waiting: deque[asyncio.Future[bool]] = deque()
        _in_flight.labels(name).watch(lambda: self.policy.max_calls - self._free)
        _queued.labels(name).watch(lambda: len(self._waiting))

    def statistics(self) -> BulkheadStatistics:
        """Return where it stands now."""
        return BulkheadStatistics(self.policy.max_calls - self._free, len(self._waiting), self._rejected)

    def admit(self) -> Stay:
        """Return the block that is one call: `async with compartment.admit():`; it raises BulkheadFullError."""
        return Stay(self)

    async def enter(self) -> None:
        """Take a place, waiting if there is none. Whoever comes back from here must `leave`."""
        if self._free:  # then nobody waits: places are handed over
            self._free -= 1
        else:
            await self._wait()

    def leave(self) -> None:
        """Give a place to the first who waits, or free it."""
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(True)
                return
        self._free += 1

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Return the coroutine function `function` in this compartment."""
        return cast("Callable[P, R]", self._around(need_coroutine_function("Bulkhead", function)))

    def _around(self, function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def held(*args: Any, **kwargs: Any) -> Any:
            if self._free:
                self._free -= 1
            else:
                await self._wait()
            try:
                return await function(*args, **kwargs)
            finally:
                if self._waiting:
                    self.leave()
                else:
                    self._free += 1

        return update_wrapper(held, function)

    async def _wait(self) -> None:
        if len(self._waiting) >= self.policy.max_waiting:
            raise self._refusal(0.0)
        loop = asyncio.get_running_loop()
        began_s, place = world.monotonic(), loop.create_future()
        self._waiting.append(place)
        limit_s = self.policy.max_wait_s
        timer = None if limit_s is None else loop.call_later(limit_s, self._give_up, place)
        try:
            given = await place
        except asyncio.CancelledError:
            if not place.cancelled():  # the place was handed over, or given up, in the turn of the cancellation
                if place.result():
                    self.leave()
            else:
                self._waiting.remove(place)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not given:
            raise self._refusal(world.monotonic() - began_s)

    def _give_up(self, place: "asyncio.Future[bool]") -> None:
        if not place.done():
            self._waiting.remove(place)
            place.set_result(False)

    def _refusal(self, waited_s: float) -> BulkheadFullError:
        self._rejected += 1
        _rejected.labels(self.name).inc()
        policy = self.policy
        error = BulkheadFullError(self.name, policy.max_calls, len(self._waiting), waited_s, policy.retry_after_s)
        tell(Signal("rejected", "bulkhead", self.name, error, policy.retry_after_s))
        return error
