"""Links over TCP: encrypted, and both ends proved, where there is a certificate; else on one machine only.

    identity = Identity(data / "tls" / "a", domain="exchange.internal")      # of archstone.security
    network = TcpNetwork(identity, callers=("b", "desk"))
    link = await network.connect("b@10.0.0.8:7102")                           # and nobody else who may be there

Promise: a listener has so many connections and no more, and each of them says something whole in time, or ends.
With an identity: TLS 1.3. Before a byte is told or heard both ends have shown certificates of the authority
that have not ended, and are services that are expected here. A connection ends with the certificate of either end:
who has a newer one connects again.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Collection
from functools import partial
from typing import Final

from archstone import world
from archstone.errors import ConfigError, DeniedError
from archstone.observability import get_logger
from archstone.sockets import check_other
from archstone.systems.exchange.sequencer.address import Address
from archstone.systems.exchange.sequencer.network import Link, Message, Say, Serve
from archstone.systems.exchange.sequencer.tcp_link import FAREWELL_S, TcpLink, Tls

__all__ = ["TcpNetwork", "Tls"]

_MAX_CONNECTIONS: Final = 100
"""Far more than an exchange needs, and far fewer than the files that a process may have open: the log needs some."""
_TOLD_MORE: Final = 16
"""Connections beyond the bound that are told so; those beyond these end without a word."""
_BACKLOG: Final = 128
_ACCEPT_AGAIN_S: Final = 0.1
_CONNECT_S: Final = 1.0
_HANDSHAKE_S: Final = 2.0
"""How long whoever connects may take to prove who it is."""
_TOLD_AGAIN_S: Final = 60.0

_log = get_logger("archstone.exchange")


class _Listening:
    """What takes connections, and who talks over them; those count too that still prove who they are."""

    def __init__(self, talk: Serve, network: "TcpNetwork", address: str) -> None:
        self._talk, self._network, self._address = talk, network, address
        self._context = None if network.tls is None else network.tls.server()
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._talking: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> None:
        """Listen at all that a name stands for. OSError: that cannot be."""
        loop, refused = asyncio.get_running_loop(), OSError(errno.EADDRNOTAVAIL, f"{host} stands for no address")
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, where in dict.fromkeys(found):
            try:
                self._sockets.append(socket.create_server(where, family=family, backlog=_BACKLOG))
                self._sockets[-1].settimeout(0)
            except OSError as error:
                refused = error  # a name may stand for an address that this machine does not have
        if not self._sockets or refused.errno == errno.EADDRINUSE:
            self._close_sockets()
            raise refused
        self._accepting = [asyncio.create_task(self._accept(each)) for each in self._sockets]

    async def close(self) -> None:
        """Take no more, and end those that are open."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        self._close_sockets()
        talking = [*self._talking]
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            except OSError as error:  # whoever came is gone already, or this process has no file left
                self._complain(str(error))
                await asyncio.sleep(_ACCEPT_AGAIN_S)
                continue
            if len(self._talking) >= self._network.max_connections + _TOLD_MORE:
                connection.close()
                continue
            task = asyncio.create_task(self._served(connection))
            self._talking.add(task)
            task.add_done_callback(partial(self._ended, connection))

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._talking.discard(task)
        connection.close()  # which nobody else does where the task has ended before it began

    async def _served(self, connection: socket.socket) -> None:
        link = TcpLink(self._complain)
        try:
            await self._prove(link, connection)
            if len(self._talking) <= self._network.max_connections:
                link.hurry()
                await self._talk(link)
            else:
                self._refuse(link)
        except (DeniedError, ConnectionError, TimeoutError):
            pass  # whoever it was is gone, or has been told of
        except Exception as error:  # noqa: BLE001  whatever a stranger says, the others are served
            link.complain(repr(error))
        finally:
            await link.farewell()

    async def _prove(self, link: TcpLink, connection: socket.socket) -> None:
        context = self._context
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: link,
            connection,
            ssl=context,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE_S,
            ssl_shutdown_timeout=None if context is None else FAREWELL_S,
        )
        if self._network.tls is not None:
            link.prove(self._network.tls, self._network.callers)

    def _refuse(self, link: TcpLink) -> None:
        why = f"{self._network.max_connections} connections are open at {self._address}, and no more are taken"
        self._complain(f"{why}: see who keeps so many")
        link.send(Message(Say.FULL, body=why.encode()))

    def _complain(self, why: str) -> None:
        self._network.complain(self._address, why)


class TcpNetwork:
    """See above, and `Network`."""

    def __init__(
        self,
        tls: Tls | None = None,
        *,
        callers: Collection[str] | None = None,
        private_network: bool = False,
        max_connections: int = _MAX_CONNECTIONS,
    ) -> None:
        """Say how connections are secured; nothing is opened yet.

        Args:
            tls: Who this process is. None: nothing is encrypted and nobody proves anything, so that only addresses of
                this machine are taken.
            callers: Services of the domain that may connect. None: all of it.
            private_network: Whether other machines may be talked to without `tls`, since nobody else is on the network.
            max_connections: To each address where it listens, from whomever; more are refused. At least 1.
        """
        self.tls, self._private = tls, private_network
        self.callers = None if callers is None else frozenset(callers)
        self.max_connections = max_connections
        self._told: dict[str, tuple[str, float]] = {}

    def checked(self, address: str, *, named: bool = True) -> Address:
        """Return an address that may be used.

        Args:
            address: `HOST:PORT`, with TLS `SERVICE@HOST:PORT`.
            named: Whether it is another's; to listen at one, nobody is named.

        Raises:
            ConfigError: It may not be used; the text says what to do.
        """
        found = Address.parse(address)
        if self.tls is None and found.service:
            raise ConfigError(
                f"{address} names who must be there, and without TLS nobody proves it: give a certificate"
            )
        if self.tls is None and not found.of_this_machine and not self._private:
            raise ConfigError(
                f"{address} is not on this machine, and without TLS all that travels can be read and forged: give a "
                "certificate (--tls), or say --private-network if nobody else is there"
            )
        if self.tls is not None and named and not found.service:
            raise ConfigError(f"{address} does not say whose certificate must be there: write SERVICE@{address}")
        return found

    async def connect(self, address: str) -> Link:
        """Connect within a second; see `Network.connect`."""
        service, host, port = self.checked(address)
        loop = asyncio.get_running_loop()
        context = None if self.tls is None else self.tls.client()
        try:
            async with asyncio.timeout(_CONNECT_S):
                made, link = await loop.create_connection(
                    lambda: TcpLink(lambda why: self.complain(address, why)),
                    *(host, port),
                    ssl=context,
                    ssl_shutdown_timeout=None if context is None else FAREWELL_S,
                )
        except ssl.SSLError as error:
            self.complain(address, str(error))
            raise
        check_other(made)
        if self.tls is not None:
            link.prove(self.tls, {service})
        return link

    async def listen(self, address: str, serve: Serve) -> _Listening:
        """Take connections; see `Network.listen`."""
        _, host, port = self.checked(address, named=False)
        listening = _Listening(serve, self, address)
        await listening.open(host, port)
        return listening

    def complain(self, address: str, why: str) -> None:
        """Tell the operator, and not anew with each of the many tries that follow."""
        told, at_s = self._told.get(address, ("", 0.0))
        now_s = world.monotonic()
        if why != told or now_s - at_s > _TOLD_AGAIN_S:
            self._told[address] = why, now_s
            _log.warning("connection of the sequencer ended", address=address, why=why)
