"""A network on virtual time: messages take a while, processes die, and cables are cut."""

import asyncio
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from random import Random

from archstone.systems.exchange.sequencer.network import Link, Message, Serve, decode, encode

__all__ = ["Cables", "MemoryNetwork"]


class _End:
    """One end of a link."""

    def __init__(self, cables: "Cables", mine: str, other: str) -> None:
        self.cables, self.mine, self.other = cables, mine, other
        self.service = ""
        self.peer: _End | None = None
        self.inbox: deque[Message] = deque()
        self.some = asyncio.Event()
        self.over = False
        self.last_at = 0.0

    @property
    def pending(self) -> int:
        return len(self.inbox)

    @property
    def busy(self) -> bool:
        return False

    def send(self, message: Message) -> None:
        self._deliver(encode(message))

    async def drain(self) -> None:
        await asyncio.sleep(0)
        if self.over:
            raise ConnectionResetError

    async def receive(self) -> Message:
        while not self.inbox:
            if self.over:
                raise ConnectionResetError
            self.some.clear()
            await self.some.wait()
        return self.inbox.popleft()

    def close(self) -> None:
        if not self.over:
            self._deliver(b"")
            self.end()

    def end(self) -> None:
        self.over = True
        self.some.set()

    def _deliver(self, data: bytes) -> None:
        """Let it arrive after a while, in order; nothing arrives over a cable that is cut, even when it is mended."""
        peer, loop = self.peer, asyncio.get_running_loop()
        if self.over or peer is None or self.cables.is_cut(self.mine, self.other):
            return
        self.last_at = max(self.last_at, loop.time() + self.cables.delay_s())
        loop.call_at(self.last_at, self._arrive, peer, data)

    def _arrive(self, peer: "_End", data: bytes) -> None:
        if self.cables.is_cut(self.mine, self.other) or peer.over:
            return
        if not data:
            peer.end()
            return
        message = decode(memoryview(data))
        assert message is not None
        peer.inbox.append(message)
        peer.some.set()


class Cables:
    """What lies between all processes of a test."""

    def __init__(self, random: Random, *, slowest_s: float = 0.004) -> None:
        self.random, self.slowest_s = random, slowest_s
        self.served: dict[str, tuple[str, Serve, list[asyncio.Task[None]]]] = {}
        self.ends: list[_End] = []
        self.cut: set[frozenset[str]] = set()

    def delay_s(self) -> float:
        return self.random.uniform(0.0001, self.slowest_s)

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.cut

    def mend(self) -> None:
        """Mend all cables; links over those that were cut end."""
        was, self.cut = self.cut, set()
        for end in self.ends:
            if frozenset((end.mine, end.other)) in was:
                end.end()
        self.ends = [end for end in self.ends if not end.over]

    def die(self, name: str, *, silently: bool) -> None:
        """End all links of a process. Silently: its machine died, and the others hear nothing."""
        for end in self.ends:
            if end.mine == name:
                if not silently:
                    end.close()
                end.end()
        self.ends = [end for end in self.ends if not end.over]


class _Listener:
    def __init__(self, cables: Cables, address: str) -> None:
        self.cables, self.address = cables, address

    async def close(self) -> None:
        _, _, tasks = self.cables.served.pop(self.address)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class MemoryNetwork:
    """The network as one process sees it. See `Network`."""

    def __init__(self, cables: Cables, name: str) -> None:
        self.cables, self.name = cables, name

    async def connect(self, address: str) -> Link:
        await asyncio.sleep(self.cables.delay_s())
        if address not in self.cables.served or self.cables.is_cut(self.name, self.cables.served[address][0]):
            await asyncio.sleep(0.01)
            raise ConnectionRefusedError
        other, serve, tasks = self.cables.served[address]
        mine, theirs = _End(self.cables, self.name, other), _End(self.cables, other, self.name)
        mine.peer, theirs.peer = theirs, mine
        self.cables.ends += [mine, theirs]
        tasks[:] = [task for task in tasks if not task.done()]
        tasks.append(asyncio.create_task(_served(serve(theirs), theirs)))
        return mine

    async def listen(self, address: str, serve: Serve) -> _Listener:
        self.cables.served[address] = (self.name, serve, [])
        return _Listener(self.cables, address)


async def _served(talk: Awaitable[None], end: _End) -> None:
    try:
        with suppress(ConnectionError, TimeoutError):
            await talk
    finally:
        end.close()
