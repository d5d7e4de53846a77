"""Links over TCP: encrypted, and both ends proved, where there is a certificate; else on one machine only.

    identity = Identity(data / "tls" / "a", domain="exchange.internal")      # of archstone.security
    network = TcpNetwork(identity, callers=("b", "desk"))
    link = await network.connect("b@10.0.0.8:7102")                           # and nobody else who may be there

Promise, with an identity: TLS 1.3. Before a byte is told or heard both ends have shown certificates of the authority
that have not ended, and are services that are expected here. A connection ends with the certificate of either end:
who has a newer one connects again.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from archstone import world
from archstone.errors import ConfigError, DeniedError
from archstone.observability import get_logger
from archstone.sockets import check_other
from archstone.systems.exchange.sequencer.address import Address
from archstone.systems.exchange.sequencer.network import MESSAGE_BYTES, Link, Message, Serve, decode, encode

__all__ = ["TcpNetwork", "Tls"]

_MAX_PENDING: Final = 256
_CONNECT_S: Final = 1.0
_HANDSHAKE_S: Final = 2.0
"""How long whoever connects may take to prove who it is."""
_FAREWELL_S: Final = 0.5
"""How long the other end may take to confirm that a connection ends."""
_TOLD_AGAIN_S: Final = 60.0
_GONE: Final = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5_000}
"""When the system takes the other machine for gone: seconds, the last one milliseconds. Where there is such a thing."""

_log = get_logger("archstone.exchange")


class Tls(Protocol):
    """Who this process is, and who others are; `archstone.security.Identity` is one."""

    def client(self) -> ssl.SSLContext:
        """Return the context of a new connection to another process."""
        ...

    def server(self) -> ssl.SSLContext:
        """Return the context to listen with. It refuses who has no certificate of the authority."""
        ...

    def peer(self, certificate: Mapping[str, Any] | None, *, among: Collection[str] | None = None) -> str:
        """Return which service a verified certificate names. DeniedError: none of those among which it must be."""
        ...


class _TcpLink(asyncio.Protocol):
    """One end of a connection. See `Link`."""

    def __init__(self, complain: Callable[[str], None], opened: "_Opened | None" = None) -> None:
        self.complain = complain
        """Tells the operator why the connection ends."""
        self.service = ""
        self.lost = asyncio.Event()
        """Whether the connection itself is over, and not only its use."""
        self._opened = opened
        self._transport: asyncio.Transport | None = None
        self._ends: asyncio.TimerHandle | None = None
        self._data = bytearray()
        self._inbox: deque[Message] = deque()
        self._some = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._over = False

    @property
    def pending(self) -> int:
        return len(self._inbox)

    @property
    def busy(self) -> bool:
        return not self._writable.is_set()

    def send(self, message: Message) -> None:
        if self._transport is not None and not self._over:
            self._transport.write(encode(message))

    async def drain(self) -> None:
        await self._writable.wait()
        if self._over:
            raise ConnectionResetError("the connection has ended")

    async def receive(self) -> Message:
        while not self._inbox:
            if self._over:
                raise ConnectionResetError("the connection has ended")
            self._some.clear()
            await self._some.wait()
        message = self._inbox.popleft()
        if len(self._inbox) == _MAX_PENDING // 2 and self._transport is not None and not self._over:
            self._transport.resume_reading()
        return message

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()  # what was sent before still goes out
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        _watch(cast("socket.socket", transport.get_extra_info("socket")))
        if self._opened is not None:
            self._opened.add(self)

    def prove(self, tls: Tls, among: Collection[str] | None) -> None:
        """See who is at the other end, and for how long. DeniedError: nobody who may be there."""
        transport = cast("asyncio.Transport", self._transport)
        certificate = cast("Mapping[str, Any] | None", transport.get_extra_info("peercert"))
        try:
            self.service = tls.peer(certificate, among=among)
        except DeniedError as error:
            self.complain(str(error))
            self._end()
            transport.abort()
            raise
        ends_s = ssl.cert_time_to_seconds(str((certificate or {})["notAfter"])) - world.now_us() / 1e6
        self._ends = asyncio.get_running_loop().call_later(ends_s, self.close)

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            self._parse()
        except ConnectionError as error:
            self.complain(str(error))
            self.close()
        if len(self._inbox) > _MAX_PENDING and self._transport is not None and not self._over:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ssl.SSLError):
            self.complain(str(exc))
        if self._ends is not None:
            self._ends.cancel()
        self._end()
        self.lost.set()

    def _parse(self) -> None:
        at = 0
        with memoryview(self._data) as view:
            while (message := decode(view[at:])) is not None:
                self._inbox.append(message)
                at += MESSAGE_BYTES + len(message.body)
        if at:
            del self._data[:at]
            self._some.set()

    def _end(self) -> None:
        self._over = True
        self._some.set()
        self._writable.set()


def _watch(connection: socket.socket) -> None:
    """Have the system end a connection to a machine that vanished: who only waits for an answer would wait for ever."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _GONE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


class _Opened:
    """The connections of a listener, and the tasks that talk over them."""

    def __init__(self, serve: Serve, tls: Tls | None, callers: Collection[str] | None) -> None:
        self._serve, self._tls, self._callers = serve, tls, callers
        self._tasks: dict[_TcpLink, asyncio.Task[None]] = {}
        self.server: asyncio.Server | None = None

    def add(self, link: _TcpLink) -> None:
        if self._tls is not None:
            try:
                link.prove(self._tls, self._callers)
            except DeniedError:
                return
        task = self._tasks[link] = asyncio.create_task(_served(self._serve(link), link))
        task.add_done_callback(lambda _: self._tasks.pop(link, None))

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        talking = dict(self._tasks)
        for task in talking.values():
            task.cancel()
        await asyncio.gather(*talking.values(), return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await asyncio.gather(*(link.lost.wait() for link in talking))


async def _served(talk: Awaitable[None], link: _TcpLink) -> None:
    try:
        await talk
    except (ConnectionError, TimeoutError):
        pass  # whoever it was is gone
    except Exception as error:  # noqa: BLE001  whatever a stranger says, the others are served
        link.complain(repr(error))
    finally:
        link.close()


class TcpNetwork:
    """See above, and `Network`."""

    def __init__(
        self, tls: Tls | None = None, *, callers: Collection[str] | None = None, private_network: bool = False
    ) -> None:
        """Say how connections are secured; nothing is opened yet.

        Args:
            tls: Who this process is. None: nothing is encrypted and nobody proves anything, so that only addresses of
                this machine are taken.
            callers: Services of the domain that may connect. None: all of it.
            private_network: Whether other machines may be talked to without `tls`, since nobody else is on the network.
        """
        self._tls, self._private = tls, private_network
        self._callers = None if callers is None else frozenset(callers)
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
        if self._tls is None and found.service:
            raise ConfigError(
                f"{address} names who must be there, and without TLS nobody proves it: give a certificate"
            )
        if self._tls is None and not found.of_this_machine and not self._private:
            raise ConfigError(
                f"{address} is not on this machine, and without TLS all that travels can be read and forged: give a "
                "certificate (--tls), or say --private-network if nobody else is there"
            )
        if self._tls is not None and named and not found.service:
            raise ConfigError(f"{address} does not say whose certificate must be there: write SERVICE@{address}")
        return found

    async def connect(self, address: str) -> Link:
        """Connect within a second; see `Network.connect`."""
        service, host, port = self.checked(address)
        loop = asyncio.get_running_loop()
        context = None if self._tls is None else self._tls.client()
        try:
            async with asyncio.timeout(_CONNECT_S):
                made, link = await loop.create_connection(
                    lambda: _TcpLink(lambda why: self._complain(address, why)),
                    *(host, port),
                    ssl=context,
                    ssl_shutdown_timeout=None if context is None else _FAREWELL_S,
                )
        except ssl.SSLError as error:
            self._complain(address, str(error))
            raise
        check_other(made)
        if self._tls is not None:
            link.prove(self._tls, {service})
        return link

    async def listen(self, address: str, serve: Serve) -> _Opened:
        """Take connections; see `Network.listen`."""
        _, host, port = self.checked(address, named=False)
        opened = _Opened(serve, self._tls, self._callers)
        context = None if self._tls is None else self._tls.server()
        opened.server = await asyncio.get_running_loop().create_server(
            lambda: _TcpLink(lambda why: self._complain(address, why), opened),
            *(host, port),
            ssl=context,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE_S,
            ssl_shutdown_timeout=None if context is None else _FAREWELL_S,
        )
        return opened

    def _complain(self, address: str, why: str) -> None:
        """Tell the operator, and not anew with each of the many tries that follow."""
        told, at_s = self._told.get(address, ("", 0.0))
        now_s = world.monotonic()
        if why != told or now_s - at_s > _TOLD_AGAIN_S:
            self._told[address] = why, now_s
            _log.warning("connection of the sequencer ended", address=address, why=why)
