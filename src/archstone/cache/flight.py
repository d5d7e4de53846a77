"""One load for everybody who waits for the same key.

A flight is a task of its own: who began it may be cancelled, and the others are served all the same. It is cancelled
when nobody waits any more. A failure goes to those who waited, and is forgotten with the flight.

Small and private: a `Coalesce` policy belongs to `archstone.resilience`.
"""

import asyncio
import contextvars
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

from archstone import context
from archstone.context import Call

__all__ = ["Flight", "Flights"]


class Flight:
    """A load under way."""

    __slots__ = ("detached", "key", "lonely", "refresh", "tags", "task", "waiting")

    def __init__(self, key: str, tags: frozenset[str], *, refresh: bool) -> None:
        self.key = key
        self.tags = tags
        self.refresh = refresh
        """It loads although there may be a fresh value."""
        self.lonely = refresh
        """It goes on when nobody waits."""
        self.detached = False
        """Something invalidated it: it serves those who wait already, and nobody joins it."""
        self.waiting = 0
        self.task: asyncio.Task[Any]


class Flights:
    """The loads of one cache that are under way, at most one to join per key."""

    def __init__(self) -> None:
        self._joinable: dict[str, Flight] = {}
        self._all: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._all)

    def find(self, key: str) -> Flight | None:
        """Return the flight of `key` that can be joined."""
        flight = self._joinable.get(key)
        return None if flight is None or flight.task.done() else flight

    def begin(
        self,
        key: str,
        work: Callable[[Flight], Coroutine[Any, Any, Any]],
        *,
        tags: Collection[str],
        refresh: bool = False,
    ) -> Flight:
        """Begin a flight, to be joined under `key`.

        It runs as nobody, without the deadline, key and transaction of whoever began it: what it brings is for all who
        know the key. The trace goes on.
        """
        flight = Flight(key, frozenset(tags), refresh=refresh)
        call = context.current()
        inside = contextvars.copy_context()
        inside.run(context.set_current, Call(trace=call.trace, correlation_id=call.correlation_id))
        flight.task = asyncio.get_running_loop().create_task(work(flight), name=f"cache: {key}", context=inside)
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
            await asyncio.wait((flight.task,))
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.lonely and not flight.task.done():
                self._detach(flight)
                flight.task.cancel()
        return flight.task.result()

    def detach(self, keys: Collection[str], tags: Collection[str]) -> None:
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
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]

    def _landed(self, flight: Flight, task: asyncio.Task[Any]) -> None:
        self._all.discard(flight)
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]
        if not task.cancelled():
            task.exception()  # seen: those who waited have it, and a refresh has logged it
