"""What was lost on the way, over TCP: messages from before, or all books.

One request of 16 bytes, and packets as an answer; then the next request, if there is one. A connection that asks
nothing for a minute, asks nonsense, or does not take what it asked for, is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np

from archstone.sockets import check_other
from archstone.systems.exchange.feed.packets import (
    HEAD,
    MESSAGE,
    PER_PACKET,
    REQUEST,
    VERSION,
    Ask,
    Carries,
    Packet,
    PacketError,
    read_ask,
    read_packet,
)
from archstone.systems.exchange.feed.publisher import Publisher

__all__ = ["Recover", "Recovery", "over_tcp"]

Recover = Callable[[Ask, int, int, int], Awaitable[Sequence[Packet]]]
"""Asks for something: what, in which session, from which number on, how many. Returns the whole answer.

OSError, TimeoutError, EOFError, PacketError: there is none now; ask again later.
"""

_CHUNK: Final = 44
"""Packets that are written before the reader must have taken some: about 64 KiB."""


class Recovery:
    """Answers requests over TCP."""

    def __init__(
        self,
        publisher: Publisher,
        *,
        host: str = "127.0.0.1",
        port: int = 7_102,
        connections: int = 64,
        idle_s: float = 60.0,
        write_s: float = 10.0,
    ) -> None:
        """Name what is served; nothing is before it is entered.

        Args:
            publisher: What is sent again.
            host: Where to listen.
            port: The same; 0: any that is free (see `port`).
            connections: At once; one more is closed when it comes.
            idle_s: How long one may ask nothing.
            write_s: How long one may not take what it asked for.
        """
        self.host, self.port = host, port
        self._publisher = publisher
        self._limit, self._idle_s, self._write_s = connections, idle_s, write_s
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._come, self.host, self.port, limit=REQUEST.itemsize * 16)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and close all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)
        await self._server.wait_closed()

    def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= self._limit:
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="market data recovery")
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(self._idle_s):
                    request = await reader.readexactly(REQUEST.itemsize)
                answer = self._publisher.answer(*read_ask(request))
                for start in range(0, len(answer), _CHUNK):
                    writer.writelines(answer[start : start + _CHUNK])
                    async with asyncio.timeout(self._write_s):
                        await writer.drain()
                    await asyncio.sleep(0)  # who reads fast is never waited for, and others want a turn
        except (OSError, EOFError, TimeoutError, PacketError):
            pass  # whoever it was asks again, or is gone
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


def over_tcp(host: str = "127.0.0.1", port: int = 7_102, *, limit_s: float = 5.0) -> Recover:
    """Return what asks a recovery server, with a connection for each request. An answer must be there in `limit_s`."""

    async def recover(ask: Ask, session: int, number: int, count: int) -> Sequence[Packet]:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection(host, port)
            check_other(writer.transport)
            try:
                writer.write(np.array((VERSION, ask, count, session, number), REQUEST).tobytes())
                return await _answer(reader, count)
            finally:
                writer.close()

    return recover


async def _answer(reader: asyncio.StreamReader, count: int) -> Sequence[Packet]:
    packets: list[Packet] = []
    found = 0
    while True:
        head = await reader.readexactly(HEAD.itemsize)
        messages = int(np.frombuffer(head, HEAD)[0]["count"])
        if messages > PER_PACKET:
            raise PacketError(f"packet of {messages} messages: at most {PER_PACKET}")
        packets.append(read_packet(head + await reader.readexactly(messages * MESSAGE.itemsize)))
        found += messages
        if packets[-1].kind in {Carries.GONE, Carries.WHOLE}:
            return packets
        if packets[-1].kind == Carries.RESENT and found >= count:
            return packets
