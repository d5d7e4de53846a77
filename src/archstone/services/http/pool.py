"""A bounded number of kept-alive connections to one address, and a bounded list of callers that wait for one.

Promise: at most `connections` are open or being opened; at most `waiting` callers wait, first come, first served, and
the next is refused at once; a caller that is cancelled or out of time leaves no connection behind and takes none.
"""

import asyncio
from collections import deque

from archstone.errors import DeniedError
from archstone.services.http.connection import Connection
from archstone.services.http.errors import PoolFullError, UnreachableError
from archstone.services.http.peers import PeerTls
from archstone.sockets import check_other

__all__ = ["Pool"]


class Pool:
    """Connections to one host and port. Nothing is opened before the first `acquire`."""

    def __init__(
        self, host: str, port: int, *, tls: PeerTls | None, connections: int, waiting: int, limit_bytes: int
    ) -> None:
        self.address = f"{host}:{port}"
        self._host = host
        self._port = port
        self._tls = tls
        self._most = connections
        self._most_waiting = waiting
        self._limit_bytes = limit_bytes
        self._idle: list[Connection] = []
        self._busy = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False

    def take(self) -> Connection | None:
        """Return an idle connection, the one used last first, or None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if self._good(connection):
                self._busy += 1
                return connection
            connection.close()
        return None

    async def acquire(self, *, fresh: bool = False) -> Connection:
        """Return a connection, opening one if there may be another, else waiting in line.

        Args:
            fresh: Open one; idle ones are closed, since the other end has closed one of the same age.

        Raises:
            PoolFullError: as many wait as may.
            UnreachableError: it could not be opened; nothing was sent.
        """
        if self._closed:
            raise UnreachableError(self.address, "this client is closed")
        while fresh and self._idle:
            self._idle.pop().close()
        if (connection := self.take()) is not None:
            return connection
        if self._busy < self._most:
            self._busy += 1
            return await self._open()
        if len(self._waiters) >= self._most_waiting:
            raise PoolFullError(self.address, self._most, len(self._waiters))
        return await self._wait_in_line()

    def release(self, connection: Connection) -> None:
        """Give a connection back, whatever happened on it; whoever waits longest gets it."""
        usable = self._good(connection) and not self._closed
        if not usable:
            connection.close()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                # The place passes on: with the connection, or, if that is closed, with the right to open another.
                waiter.set_result(connection if usable else None)
                return
        self._busy -= 1
        if usable:
            self._idle.append(connection)  # one of `connections` in all, so there is room

    def close(self) -> None:
        """Close every idle connection; those in use close when they are given back. Waiters are refused."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(UnreachableError(self.address, "this client was closed"))

    def _good(self, connection: Connection) -> bool:
        """Return whether another request may go over it.

        Not under certificates that were replaced: kept in use, it would outlive its own, and be refused from then on.
        """
        return connection.open and (self._tls is None or connection.context is self._tls.context())

    async def _wait_in_line(self) -> Connection:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            connection = await waiter
        except asyncio.CancelledError:
            # Given and cancelled in the same turn: pass the place on, or it is lost for good.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        return await self._open() if connection is None else connection

    def _pass_on(self, connection: Connection | None) -> None:
        if connection is None:
            self._free_place()
        else:
            self.release(connection)

    def _free_place(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._busy -= 1

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        tls = self._tls
        secured = None if tls is None else tls.context()
        try:
            transport, connection = await loop.create_connection(
                lambda: Connection(self.address, limit_bytes=self._limit_bytes),
                self._host,
                self._port,
                ssl=secured,
            )
            connection.context = secured
            check_other(transport)
            if tls is not None:
                _check_peer(tls, transport)
        except DeniedError:  # one of OSError's children, and no failure of the network
            self._free_place()
            raise
        except OSError as error:
            self._free_place()
            raise UnreachableError(self.address, error.strerror or str(error)) from error
        except BaseException:
            self._free_place()
            raise
        return connection


def _check_peer(tls: PeerTls, transport: asyncio.Transport) -> None:
    try:
        tls.check(transport.get_extra_info("peercert"))
    except BaseException:
        transport.abort()
        raise
