"""One task for everybody who waits for the same: what `Coalesce` and the loads of a cache are made of.

A flight is a task of its own: who began it may be cancelled, and the others are served all the same. It is cancelled
when nobody waits any more, unless it is to go on alone. A failure goes to those who waited, and is forgotten with the
flight. Whoever comes when it has landed, even in the same turn of the loop, begins anew.

It is a part, not a policy: keys, counts and what is kept are for whoever uses it. For the tasks of one event loop.

Source: Go's `singleflight`, whose callers cannot leave, and whose flight is its first caller's.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Hashable
from contextvars import copy_context
from functools import partial
from typing import Any

from archstone import context
from archstone.context import Call

__all__ = ["Flight", "SingleFlight"]


class Flight:
    """Work under way."""

    __slots__ = ("alone", "detached", "key", "tags", "task", "waiting")

    def __init__(self, key: Hashable, tags: frozenset[str], *, alone: bool) -> None:
        self.key = key
        self.tags = tags
        self.alone = alone
        """It goes on when nobody waits."""
        self.detached = False
        """It serves those who wait already, and nobody joins it."""
        self.waiting = 0
        self.task: asyncio.Task[Any]


class SingleFlight:
    """Flights, at most one to join per key."""

    __slots__ = ("_all", "_joinable")

    def __init__(self) -> None:
        self._joinable: dict[Hashable, Flight] = {}
        self._all: set[Flight] = set()

    def __len__(self) -> int:
        """Return how many are under way, also those that nobody can join any more."""
        return len(self._all)

    @property
    def joinable(self) -> int:
        """How many keys have a flight that can be joined."""
        return len(self._joinable)

    def find(self, key: Hashable) -> Flight | None:
        """Return the flight of `key` that can be joined."""
        flight = self._joinable.get(key)
        # Between its end and the callback that forgets it a caller would get what has landed already.
        return None if flight is None or flight.task.done() else flight

    def begin(
        self,
        key: Hashable,
        work: Callable[[Flight], Coroutine[Any, Any, Any]],
        *,
        name: str,
        call: Call,
        tags: Collection[str] = (),
        alone: bool = False,
    ) -> Flight:
        """Begin a flight, to be joined under `key` in place of one that may be there.

        Args:
            key: Whoever wants the same has the same key.
            work: Returns what the flight is to bring.
            name: Of its task.
            call: As whom it runs. Callers have deadlines of their own, so it should have none.
            tags: By which `detach` finds it.
            alone: True: it goes on when nobody waits.
        """
        flight = Flight(key, frozenset(tags), alone=alone)
        inside = copy_context()
        inside.run(context.set_current, call)
        flight.task = asyncio.get_running_loop().create_task(work(flight), name=name, context=inside)
        flight.task.add_done_callback(partial(self._landed, flight))
        self._joinable[key] = flight
        self._all.add(flight)
        return flight

    async def join(self, flight: Flight) -> Any:
        """Return what `flight` brings, or raise its error. Cancelled, it goes on while others wait.

        Raises:
            CancelledError: The caller was cancelled, or the flight, by `stop`.
        """
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.alone and not flight.task.done():
                self._detach(flight)
                flight.task.cancel()

    def detach(self, keys: Collection[Hashable], tags: Collection[str]) -> None:
        """Let nobody join flights of `keys`, or that carry one of `tags`, any more."""
        for flight in list(self._joinable.values()):
            if flight.key in keys or not flight.tags.isdisjoint(tags):
                self._detach(flight)

    async def stop(self) -> None:
        """Cancel all flights and wait for their end."""
        tasks = [flight.task for flight in self._all]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _detach(self, flight: Flight) -> None:
        flight.detached = True
        self._forget(flight)

    def _forget(self, flight: Flight) -> None:
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]

    def _landed(self, flight: Flight, task: asyncio.Task[Any]) -> None:
        self._all.discard(flight)
        self._forget(flight)
        if not task.cancelled():
            task.exception()  # seen: those who waited have it, and one that flew alone has told of it
