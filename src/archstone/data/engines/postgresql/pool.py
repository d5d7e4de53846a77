"""Connections that are kept, lent, tried before use, renewed with age, and given up when the server ends them.

`size` are kept, `overflow` more are opened while others wait and closed when given back. Who finds none free waits in
order, at most `timeout_s`; at most WAITING_LIMIT wait. A connection that lay idle is tried before it is lent, so that a
restart of the server is not the caller's error.
"""

from asyncio import AbstractEventLoop, Future, timeout
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from archstone import world
from archstone.data.engines.postgresql.link import Link
from archstone.data.engines.postgresql.translate import FAULTS, translated
from archstone.data.engines.postgresql.url import PostgresOptions
from archstone.data.errors import ConnectionFailedError, DatabaseClosedError, TooManyWaitingError

__all__ = ["WAITING_LIMIT", "Pool"]

WAITING_LIMIT: Final = 10_000


class Pool:
    """Lends links; whoever took one gives it back with `give`."""

    def __init__(
        self, connect: Callable[[], Awaitable[Link]], *, label: str, loop: AbstractEventLoop, options: PostgresOptions
    ) -> None:
        self._connect = connect
        self._label = label
        self._loop = loop
        self._options = options
        self._idle: deque[Link] = deque()
        self._lent: set[Link] = set()
        self._waiters: deque[Future[Link | None]] = deque()
        self._opening = 0
        self._given: Future[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait for a link."""
        return len(self._waiters)

    @property
    def open(self) -> int:
        """Connections there are, lent or idle."""
        return len(self._idle) + len(self._lent) + self._opening

    async def take(self) -> Link:
        """Return a link that works.

        Raises:
            ConnectionFailedError: The server cannot be reached, or none became free in time. Nothing was done.
            TooManyWaitingError: Too many wait already.
            DatabaseClosedError: The pool is closed.
        """
        while True:
            link = self._from_idle() or await self._wait_or_open()
            if await self._works(link):
                return link

    def _from_idle(self) -> Link | None:
        if self._closed:
            raise DatabaseClosedError(self._label)
        while self._idle:
            link = self._idle.pop()  # the one used last: others age, and their number falls
            if not link.closed:
                self._lent.add(link)
                return link
        return None

    async def _wait_or_open(self) -> Link:
        if self.open < self._options.pool_size + self._options.pool_overflow:
            self._opening += 1
            return await self._opened()
        if len(self._waiters) >= WAITING_LIMIT:
            raise TooManyWaitingError(self._label, len(self._waiters), WAITING_LIMIT)
        waiter: Future[Link | None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with timeout(self._options.pool_timeout_s):
                link = await waiter
        except TimeoutError:
            self._decline(waiter)
            reason = f"no connection of {self.open} became free in {self._options.pool_timeout_s:g} s"
            raise ConnectionFailedError(self._label, "", reason) from None
        except BaseException:
            self._decline(waiter)
            raise
        return link if link is not None else await self._opened()

    def _decline(self, waiter: "Future[Link | None]") -> None:
        """Pass on what `waiter` got in the very moment at which it was given up."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif not waiter.cancelled() and waiter.exception() is None:
            link = waiter.result()
            if link is not None:
                self.give(link)
            else:
                self._opening -= 1
                self._call_next()

    async def _opened(self) -> Link:
        """Open a link in a place that `_opening` counts already."""
        try:
            link = await self._connect()
        except BaseException as error:
            self._opening -= 1
            self._call_next()
            if isinstance(error, FAULTS):
                raise translated(error, self._label, "connecting") from error
            raise
        self._opening -= 1
        if self._closed:
            link.end()
            raise DatabaseClosedError(self._label)
        self._lent.add(link)
        return link

    async def _works(self, link: Link) -> bool:
        """Whether `link`, which is lent, answers; one that does not is given up."""
        idle_s = world.monotonic() - link.idle_since_s
        if not link.closed and (idle_s < self._options.pool_pre_ping_s or link.idle_since_s == link.made_s):
            return True
        try:
            async with timeout(self._options.pool_timeout_s):
                await link.say("SELECT 1")
        except FAULTS:
            link.end()
            self._lent.discard(link)
            return False
        except BaseException:
            link.end()
            self.give(link)
            raise
        return True

    def give(self, link: Link) -> None:
        """Take `link` back. One that is closed, too old, or was left in a transaction is given up."""
        self._lent.discard(link)
        if self._given is not None and not self._given.done():
            self._given.set_result(None)
        now_s = world.monotonic()
        extra = self.open >= self._options.pool_size and not self._waiters
        if self._closed or extra or not link.free or now_s - link.made_s > self._options.pool_recycle_s:
            link.end()
            self._call_next()
            return
        link.idle_since_s = now_s
        waiter = self._next()
        if waiter is None:
            self._idle.append(link)
        else:
            self._lent.add(link)  # lent from now on: it counts, and closing finds it
            waiter.set_result(link)

    def _call_next(self) -> None:
        """Let the next in line open a connection of its own: a place has become free, and is kept for it."""
        waiter = self._next()
        if waiter is not None:
            self._opening += 1
            waiter.set_result(None)

    def _next(self) -> "Future[Link | None] | None":
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def close(self) -> None:
        """Close what is idle now, and what is lent when it is given back; nobody gets any more."""
        self._closed = True
        while self._idle:
            self._idle.pop().end()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(DatabaseClosedError(self._label))
        self._waiters.clear()

    async def drain(self, limit_s: float) -> None:
        """Close, and return when all that was lent has been given back, or after `limit_s`."""
        self.close()
        with suppress(TimeoutError):
            async with timeout(limit_s):
                while self._lent:
                    self._given = self._loop.create_future()
                    await self._given

    def end(self) -> None:
        """Close everything at once."""
        self.close()
        for link in self._lent:
            link.end()
        self._lent.clear()
