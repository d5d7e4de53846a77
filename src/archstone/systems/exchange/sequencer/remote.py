"""A sequencer in other processes, asked over the network: whoever of the two nodes leads.

async with RemoteSequencer(TcpNetwork(), ("127.0.0.1:7101", "127.0.0.1:7102")) as sequencer:
batch = await sequencer.submit(commands)
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np

from archstone import world
from archstone.errors import InvalidError
from archstone.systems.exchange.matching import COMMAND, EVENT, Commands
from archstone.systems.exchange.sequencer.errors import NotLeadingError, SequencerFullError, UnavailableError
from archstone.systems.exchange.sequencer.network import Link, Message, Network, Say, whole
from archstone.systems.exchange.sequencer.port import Batch

__all__ = ["RemoteSequencer"]

_PAUSE_S: Final = 0.05


class _Line:
    """A connection to one node, and who waits for its answers."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.waiting: dict[int, asyncio.Future[Message]] = {}
        self.listening = asyncio.create_task(self._listen())
        self._serial = 0

    async def ask(self, commands: Commands) -> Message:
        self._serial += 1
        serial = self._serial
        answer = self.waiting[serial] = asyncio.get_running_loop().create_future()
        try:
            self.link.send(Message(Say.SUBMIT, serial=serial, body=commands.tobytes()))
            return await answer
        finally:
            self.waiting.pop(serial, None)

    async def _listen(self) -> None:
        try:
            while True:
                message = await whole(self.link)
                if (answer := self.waiting.get(message.serial)) is not None and not answer.done():
                    answer.set_result(message)
        except ConnectionError:
            pass
        finally:
            self.link.close()
            for answer in self.waiting.values():
                if not answer.done():
                    answer.set_exception(UnavailableError("the connection to the node has ended"))


class RemoteSequencer:
    """See `Sequencer`. What was sent when a connection ended has `UnavailableError`: it is not sent again."""

    def __init__(self, network: Network, addresses: Sequence[str], *, patience_s: float = 2.0) -> None:
        """Name the nodes; nothing is connected yet.

        Args:
            network: What carries messages.
            addresses: Of the nodes that keep commands.
            patience_s: How long to look for who leads before `submit` is refused.
        """
        self._network = network
        self._addresses = list(addresses)
        self._patience_s = patience_s
        self._line: _Line | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Connect to nobody yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the connection; whoever waits has `UnavailableError`."""
        await self._hang_up()

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done by who leads; see `Sequencer.submit`."""
        until_s = world.monotonic() + self._patience_s
        while (line := await self._connected(until_s)) is not None:
            message = await line.ask(commands)
            if message.kind is not Say.REJECTED or message.epoch:
                return _batch(message, commands)
            await self._turn_away(line)
        raise NotLeadingError(" or ".join(self._addresses), "")

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give what was done after command `after`, then all that comes, by the other node when one is gone."""
        while True:
            try:
                link = await self._network.connect(self._addresses[0])
            except OSError:
                link = None
            if link is not None:
                try:
                    link.send(Message(Say.STREAM, sequence=after))
                    while True:
                        batch = _streamed(await whole(link), after)
                        yield batch
                        after = batch.last
                except ConnectionError:
                    pass
                finally:
                    link.close()
            self._addresses.reverse()
            await asyncio.sleep(_PAUSE_S)

    async def _connected(self, until_s: float) -> _Line | None:
        """Return a connection to a node that may lead; None: not in time."""
        async with self._turn:
            while world.monotonic() < until_s:
                if self._line is not None and not self._line.listening.done():
                    return self._line
                try:
                    self._line = _Line(await self._network.connect(self._addresses[0]))
                except OSError:
                    self._addresses.reverse()
                    await asyncio.sleep(_PAUSE_S)
        return None

    async def _turn_away(self, line: _Line) -> None:
        """Try the other node next: this one does not lead."""
        async with self._turn:
            if self._line is line:
                await self._hang_up()
                self._addresses.reverse()
                await asyncio.sleep(_PAUSE_S)

    async def _hang_up(self) -> None:
        if self._line is not None:
            self._line.link.close()
            await self._line.listening
            self._line = None


def _batch(message: Message, commands: Commands) -> Batch:
    match message.kind:
        case Say.DONE:
            kept = commands.copy()
            kept["sequence"] = np.arange(message.sequence, message.sequence + len(kept), dtype="<u8")
            return Batch(message.sequence, message.epoch, kept, np.frombuffer(message.body, EVENT))
        case Say.REJECTED:
            raise SequencerFullError(message.epoch, message.epoch, message.sequence / 1e6)
        case Say.INVALID:
            raise InvalidError(message.body.decode(errors="replace"))
        case _:
            raise UnavailableError(message.body.decode(errors="replace"))


def _streamed(message: Message, after: int) -> Batch:
    if message.kind is not Say.BATCH:
        raise LookupError(f"commands after {after}: {message.body.decode(errors='replace')}")
    size = message.serial * COMMAND.itemsize
    commands, events = message.body[:size], message.body[size:]
    return Batch(message.sequence, message.epoch, np.frombuffer(commands, COMMAND), np.frombuffer(events, EVENT))
