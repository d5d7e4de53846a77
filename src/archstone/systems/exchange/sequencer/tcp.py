"""Links over TCP."""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable
from typing import Final, cast

from archstone.observability import get_logger
from archstone.systems.exchange.sequencer.network import MESSAGE_BYTES, Link, Message, Serve, decode, encode

__all__ = ["TcpNetwork", "host_and_port"]

_MAX_PENDING: Final = 256
_CONNECT_S: Final = 1.0
_GONE: Final = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5_000}
"""When the system takes the other machine for gone: seconds, the last one milliseconds. Where there is such a thing."""

_log = get_logger("archstone.exchange")


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two parts of `host:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class _TcpLink(asyncio.Protocol):
    """One end of a connection. See `Link`."""

    def __init__(self, opened: "_Opened | None" = None) -> None:
        self._opened = opened
        self._transport: asyncio.Transport | None = None
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

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            self._parse()
        except ConnectionError as error:
            _log.warning("connection of nodes ended", why=str(error))
            self.close()
        if len(self._inbox) > _MAX_PENDING and self._transport is not None and not self._over:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

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

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._tasks: dict[_TcpLink, asyncio.Task[None]] = {}
        self.server: asyncio.Server | None = None

    def add(self, link: _TcpLink) -> None:
        task = self._tasks[link] = asyncio.create_task(_served(self._serve(link), link))
        task.add_done_callback(lambda _: self._tasks.pop(link, None))

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports tell of their end in the next turn


async def _served(talk: Awaitable[None], link: Link) -> None:
    try:
        await talk
    except (ConnectionError, TimeoutError):
        pass  # whoever it was is gone
    except Exception as error:  # noqa: BLE001  whatever a stranger says, the others are served
        _log.warning("connection ended", why=repr(error))
    finally:
        link.close()


class TcpNetwork:
    """Connections without encryption: for one machine, or a network that is nobody else's."""

    async def connect(self, address: str) -> Link:
        """Connect within a second; see `Network.connect`."""
        host, port = host_and_port(address)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            _, link = await loop.create_connection(_TcpLink, host, port)
        return link

    async def listen(self, address: str, serve: Serve) -> _Opened:
        """Take connections; see `Network.listen`."""
        host, port = host_and_port(address)
        opened = _Opened(serve)
        opened.server = await asyncio.get_running_loop().create_server(lambda: _TcpLink(opened), host, port)
        return opened
