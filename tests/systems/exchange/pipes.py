"""Connections in memory, on virtual time: they deliver in pieces, hold back who does not read, and can be cut."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["Pipes"]


class End(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, protocol: Any, random: Random) -> None:
        super().__init__()
        self.protocol, self.random = protocol, random
        self.other: End
        self.inbox = bytearray()
        self.high = 65_536
        self.holding = False
        self.paused = self.closing = self.lost = self.ended = False

    def write(self, data: bytes) -> None:
        if not self.closing and not self.lost and not self.other.lost:
            self.other.inbox += data
            if len(self.other.inbox) > self.high and not self.holding:
                self.holding = True
                self.protocol.pause_writing()
            self.other.later()

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        self.high = high

    def later(self) -> None:
        asyncio.get_running_loop().call_soon(self.deliver)

    def deliver(self) -> None:
        while self.inbox and not self.paused and not self.lost:
            count = min(len(self.inbox), self.random.choice((1, 7, 64, 200, 5_000)))
            data = bytes(self.inbox[:count])
            del self.inbox[:count]
            if self.other.holding and len(self.inbox) <= self.other.high // 4:
                self.other.holding = False
                self.other.protocol.resume_writing()
            if not isinstance(self.protocol, asyncio.BufferedProtocol):
                self.protocol.data_received(data)
                continue
            while data:
                view = self.protocol.get_buffer(len(data))
                count = min(len(view), len(data))
                assert count, "an empty buffer"
                view[:count] = data[:count]
                data = data[count:]
                self.protocol.buffer_updated(count)
        if self.ended and not self.inbox and not self.lost:
            self.protocol.eof_received()
            self.close()

    def get_write_buffer_size(self) -> int:
        return len(self.other.inbox)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self.later()

    def is_closing(self) -> bool:
        return self.closing or self.lost

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.other.ended = True
            self.other.later()
            asyncio.get_running_loop().call_soon(self.lose)

    def abort(self) -> None:
        self.closing = True
        self.other.ended = True
        self.other.inbox.clear()
        self.other.later()
        asyncio.get_running_loop().call_soon(self.lose)

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)


class Pipes:
    """Makes connections to a server's protocol."""

    def __init__(self, server: Callable[[], Any], *, seed: object = 0) -> None:
        self.server = server
        self.random = Random(f"{seed}")
        self.ends: list[tuple[End, End]] = []
        self.down = False
        self.made = 0

    async def connect(self, protocol: Callable[[], Any]) -> object:
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionRefusedError("down")
        self.made += 1
        client, server = End(protocol(), self.random), End(self.server(), self.random)
        client.other, server.other = server, client
        self.ends = [pair for pair in self.ends if not all(end.lost for end in pair)] + [(client, server)]
        for end in (server, client):
            end.protocol.connection_made(end)
        return client

    def cut(self) -> None:
        """End every connection: some of what is under way still comes, the rest never does."""
        for pair in self.ends:
            for end in pair:
                if not end.lost:
                    del end.inbox[self.random.randint(0, len(end.inbox)) :]
                    end.deliver()
            for end in pair:
                end.lose()
