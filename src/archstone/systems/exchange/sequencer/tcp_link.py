"""One end of a connection over TCP, and who is at the other; see `tcp`."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from archstone import world
from archstone.errors import DeniedError
from archstone.systems.exchange.sequencer.network import MESSAGE_BYTES, Message, Say, decode, encode

__all__ = ["FAREWELL_S", "TcpLink", "Tls"]

FAREWELL_S: Final = 0.5
"""How long the other end may take to confirm that a connection ends."""
_MAX_PENDING: Final = 256
_MAX_PENDING_BYTES: Final = 32 << 20
_WHOLE_S: Final = 5.0
"""How long who has connected may take to say something, and each message to come whole."""
_GONE: Final = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5_000}
"""When the system takes the other machine for gone: seconds, the last one milliseconds. Where there is such a thing."""


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


class TcpLink(asyncio.Protocol):
    """One end of a connection. See `Link`."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.complain = complain
        """Tells the operator why the connection ends."""
        self.service = ""
        self.lost = asyncio.Event()
        """Whether the connection itself is over, and not only its use."""
        self._transport: asyncio.Transport | None = None
        self._ends: asyncio.TimerHandle | None = None
        self._hurried = False
        self._due: asyncio.TimerHandle | None = None
        self._data = bytearray()
        self._inbox: deque[Message] = deque()
        self._inbox_bytes = 0
        self._paused = False
        self._closed = False
        self._some = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._over = False
        self._why = "the connection has ended"

    @property
    def pending(self) -> int:
        """See `Link`."""
        return len(self._inbox)

    @property
    def busy(self) -> bool:
        """See `Link`."""
        return not self._writable.is_set()

    def send(self, message: Message) -> None:
        """See `Link`."""
        if self._transport is not None and not self._over:
            self._transport.write(encode(message))

    async def drain(self) -> None:
        """See `Link`."""
        await self._writable.wait()
        if self._over:
            raise ConnectionResetError(self._why)

    async def receive(self) -> Message:
        """See `Link`."""
        while not self._inbox:
            if self._over:
                raise ConnectionResetError(self._why)
            self._some.clear()
            await self._some.wait()
        message = self._inbox.popleft()
        self._inbox_bytes -= len(message.body)
        if self._paused and not self._has_more_than(0.5) and self._transport is not None and not self._over:
            self._paused = False
            self._transport.resume_reading()
        return message

    def close(self) -> None:
        """See `Link`."""
        if self._transport is not None and not self._closed:
            self._closed = True  # closed twice, one under TLS cannot be aborted any more
            self._transport.close()  # what was sent before still goes out
        self._end()

    async def farewell(self) -> None:
        """End it, and wait until it is over: soon, however little the other end reads."""
        self.close()
        if self._transport is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self.lost.wait()
        finally:
            self._transport.abort()  # cancelled, too

    def hurry(self) -> None:
        """From now on end it when a message, be it the first one, takes too long to come whole."""
        self._hurried = True
        self._expect()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        _watch(cast("socket.socket", transport.get_extra_info("socket")))

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
        """Take messages in, up to a bound of what nobody has received."""
        self._data += data
        try:
            self._parse()
        except ConnectionError as error:
            self._break(str(error))
        if self._has_more_than(1.0) and self._transport is not None and not self._over:
            self._paused = True
            self._transport.pause_reading()
        if self._hurried and self._data and self._due is None:
            self._expect()

    def pause_writing(self) -> None:
        """Have `drain` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Have `drain` go on."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        if isinstance(exc, ssl.SSLError):
            self.complain(str(exc))
        if self._ends is not None:
            self._ends.cancel()
        self._end()
        self.lost.set()

    def _break(self, why: str) -> None:
        self._why = why
        self.complain(why)
        self.close()

    def _has_more_than(self, ratio: float) -> bool:
        return len(self._inbox) > ratio * _MAX_PENDING or self._inbox_bytes > ratio * _MAX_PENDING_BYTES

    def _expect(self) -> None:
        self._due = asyncio.get_running_loop().call_later(_WHOLE_S, self._overdue)

    def _overdue(self) -> None:
        self._due = None
        if self._paused:
            self._expect()  # it is this end that does not read
        else:
            self._break(f"no whole message came within {_WHOLE_S:g} s")

    def _parse(self) -> None:
        at = 0
        with memoryview(self._data) as view:
            while (message := decode(view[at:])) is not None:
                if message.kind is Say.FULL:
                    raise ConnectionRefusedError(message.body.decode(errors="replace"))
                self._inbox.append(message)
                self._inbox_bytes += len(message.body)
                at += MESSAGE_BYTES + len(message.body)
        if at:
            del self._data[:at]
            self._some.set()
            self._hear()

    def _hear(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _end(self) -> None:
        self._over = True
        self._hear()
        self._some.set()
        self._writable.set()


def _watch(connection: socket.socket) -> None:
    """Have the system end a connection to a machine that vanished: who only waits for an answer would wait for ever."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _GONE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
