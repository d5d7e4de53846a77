"""Connections that are kept, lent, tried before use, renewed with age, and given up when the server ends them.

`size` are kept, `overflow` more are opened while others wait and closed when given back. Who finds none free waits in
order, at most `timeout_s`; at most WAITING_LIMIT wait. A connection that lay idle is tried before it is lent, so that a
restart of the server is not the caller's error.
"""

from asyncio import AbstractEventLoop, Future, timeout
from collections import deque
from collections.abc import Awaitable, Callable
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
                self._lent.add(link)
                return link

    def _from_idle(self) -> Link | None:
        if self._closed:
            raise DatabaseClosedError(self._label)
        while self._idle:
            link = self._idle.pop()  # the one used last: others age, and their number falls
            if not link.closed:
                return link
        return None

    async def _wait_or_open(self) -> Link:
        if self.open < self._options.pool_size + self._options.pool_overflow:
            return await self._opened()
        if len(self._waiters) >= WAITING_LIMIT:
            raise TooManyWaitingError(self._label, len(self._waiters), WAITING_LIMIT)
        waiter: Future[Link | None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with timeout(self._options.pool_timeout_s):
                link = await waiter
        except TimeoutError:
            reason = f"no connection of {self.open} became free in {self._options.pool_timeout_s:g} s"
            raise ConnectionFailedError(self._label, "", reason) from None
        except BaseException:
            if waiter.done() and not waiter.cancelled() and (link := waiter.result()) is not None:
                self.give(link)
            elif waiter.done() and not waiter.cancelled():
                self._call_next()
            raise
        if self._closed:
            raise DatabaseClosedError(self._label)
        return link if link is not None else await self._opened()

    async def _opened(self) -> Link:
        self._opening += 1
        try:
            link = await self._connect()
        except FAULTS as error:
            self._call_next()
            raise translated(error, self._label, "connecting") from error
        finally:
            self._opening -= 1
        if self._closed:
            link.end()
            raise DatabaseClosedError(self._label)
        return link

    async def _works(self, link: Link) -> bool:
        if world.monotonic() - link.idle_since_s < self._options.pool_pre_ping_s or link.idle_since_s == link.made_s:
            return True
        try:
            async with timeout(self._options.pool_timeout_s):
                await link.say("SELECT 1")
        except FAULTS:
            link.end()
            return False
        except BaseException:
            link.end()
            self._call_next()
            raise
        return True

    def give(self, link: Link) -> None:
        """Take `link` back. One that is closed or too old is given up."""
        self._lent.discard(link)
        now_s = world.monotonic()
        extra = self.open >= self._options.pool_size and not self._waiters
        if self._closed or extra or link.closed or now_s - link.made_s > self._options.pool_recycle_s:
            link.end()
            self._call_next()
            return
        link.idle_since_s = now_s
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return
        self._idle.append(link)

    def _call_next(self) -> None:
        """Let the next in line open a connection of its own: a place has become free."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def close(self) -> None:
        """Close what is idle now, and what is lent when it is given back; nobody gets any more."""
        self._closed = True
        while self._idle:
            self._idle.pop().end()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(DatabaseClosedError(self._label))
        self._waiters.clear()

    def end(self) -> None:
        """Close everything at once."""
        self.close()
        for link in self._lent:
            link.end()
        self._lent.clear()
