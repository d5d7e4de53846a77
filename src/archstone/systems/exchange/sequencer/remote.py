"""A sequencer in other processes, asked over the network: whoever of the two nodes leads.

async with RemoteSequencer(TcpNetwork(), ("127.0.0.1:7101", "127.0.0.1:7102")) as sequencer:
batch = await sequencer.submit(commands)
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

import numpy as np

from archstone import world
from archstone.errors import InvalidError
from archstone.systems.exchange.matching import COMMAND, EVENT, Commands
from archstone.systems.exchange.sequencer.errors import (
    FrameTooLargeError,
    NotLeadingError,
    OtherHolderError,
    SequencerFullError,
    UnavailableError,
)
from archstone.systems.exchange.sequencer.frames import MAX_COMMANDS
from archstone.systems.exchange.sequencer.grant import identity, name_of
from archstone.systems.exchange.sequencer.network import Link, Message, Network, Say, receive_whole
from archstone.systems.exchange.sequencer.port import Batch, Dump

__all__ = ["Looked", "RemoteSequencer"]

_PAUSE_S: Final = 0.05
_DUMP_S: Final = 30.0
_BEAT_S: Final = 0.25
_MISSED: Final = 4
"""Signs of life that a node owes, each after `_BEAT_S`, when it is taken for dead: its machine may be, or it hangs."""


class Looked(NamedTuple):
    """How a node stands."""

    address: str
    state: Literal["leads", "follows", "away"]
    """Away: it cannot be reached, or does not answer."""
    last: int = 0
    """Number of the last command that it has done."""


class _Line:
    """A connection to one node, and who waits for its answers."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.waiting: dict[int, asyncio.Future[Message]] = {}
        self.holds = False
        """Whether the node has said that it takes commands over this one alone."""
        self.heard = False
        """Whether the node has ever said anything."""
        self.silent = False
        """Whether it has ended since the node gave no sign of life."""
        self.listening = asyncio.create_task(self._listen())
        self._serial = 0
        self._quiet = 0

    async def ask(self, kind: Say, body: bytes) -> Message:
        self._serial += 1
        serial = self._serial
        answer = self.waiting[serial] = asyncio.get_running_loop().create_future()
        try:
            self.link.send(Message(kind, serial=serial, body=body))
            return await answer
        finally:
            self.waiting.pop(serial, None)

    async def receive(self) -> Message:
        """Hear something, be it a piece of an answer: the node lives."""
        message = await self.link.receive()
        self.heard, self._quiet = True, 0
        return message

    async def _listen(self) -> None:
        beating, why = asyncio.create_task(self._beat()), "the connection to the node has ended"
        try:
            while True:
                message = await receive_whole(self)
                if (answer := self.waiting.get(message.serial)) is not None and not answer.done():
                    answer.set_result(message)
        except ConnectionError as error:
            why = f"the node gave no sign of life for {_MISSED * _BEAT_S:g} s" if self.silent else str(error) or why
        finally:
            beating.cancel()
            self.link.close()
            for answer in self.waiting.values():
                if not answer.done():
                    answer.set_exception(UnavailableError(why))

    async def _beat(self) -> None:
        while self._quiet < _MISSED:
            self._quiet += 1
            self.link.send(Message(Say.BEAT))
            await asyncio.sleep(_BEAT_S)
        self.silent = True
        self.link.close()


class _Stream:
    """A connection over which batches come, and how far they have."""

    def __init__(self, link: Link, after: int) -> None:
        self.link = link
        self.after = after


class _GoneError(LookupError):
    """A node keeps no more what comes next."""


class RemoteSequencer:
    """See `Sequencer`. What was sent when a connection ended has `UnavailableError`: it is not sent again."""

    def __init__(
        self, network: Network, addresses: Sequence[str], *, patience_s: float = 2.0, holder: str = ""
    ) -> None:
        """Name the nodes; nothing is connected yet.

        Args:
            network: What carries messages.
            addresses: Of the nodes that keep commands.
            patience_s: How long to look for who leads before `submit` is refused; and how long a stream may lack what
                is known to be kept before it is taken from the other node.
            holder: How this process calls itself, to submit alone: see `hold`. Empty: beside others that do so too.
        """
        self._network = network
        self._addresses = tuple(addresses)
        self._at = 0
        """Which of them `submit` asks next."""
        self._patience_s = patience_s
        self._holder = identity(holder, world.secret_bytes(8).hex()) if holder else ""
        self._last = 0
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

    @property
    def last(self) -> int:
        """The highest number that it has heard of; see `Sequencer.last`. Ask `look` before it is believed."""
        return self._last

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done by who leads; see `Sequencer.submit`.

        Raises:
            OtherHolderError: Another process submits, and is to be alone. Nothing has happened.
        """
        if len(commands) > MAX_COMMANDS:
            raise FrameTooLargeError(len(commands), MAX_COMMANDS)
        batch = _batch(await self._led(Say.SUBMIT, commands.tobytes()), commands)
        self._last = max(self._last, batch.last)
        return batch

    async def hold(self) -> None:
        """Be who alone submits, from now on and for as long as the connection to who leads is there.

        Whoever else submits, or wants to hold too, has `OtherHolderError`. A new connection holds before it is used;
        call this now and then, or nobody holds from the end of one until something is submitted.

        Raises:
            OtherHolderError: Another process does already.
            NotLeadingError, UnavailableError: Nobody leads.
        """
        await self._led(Say.HOLD, self._holder.encode())

    async def _led(self, kind: Say, body: bytes) -> Message:
        """Return what who leads answers."""
        until_s = world.monotonic() + self._patience_s
        while (line := await self._connected(until_s)) is not None:
            message = await line.ask(kind, body)
            if message.kind is Say.HOLDER:
                self._check_holder(message)
            if message.kind is not Say.REJECTED or message.epoch:
                return message
            await self._turn_away(line)
        raise NotLeadingError(" or ".join(self._addresses), "")

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give what was done after command `after`, then all that comes, by the other node when one is gone."""
        at = self._at  # its own: who else finds a node away must not turn this one back to it
        gone = 0
        while True:
            try:
                link = await self._network.connect(self._addresses[at])
            except OSError:
                link = None
            if link is not None:
                stream = _Stream(link, after)
                watching = asyncio.create_task(self._watch(stream))
                try:
                    link.send(Message(Say.STREAM, sequence=after))
                    while True:
                        batch = _streamed(await receive_whole(link), after)
                        self._last, gone = max(self._last, batch.last), 0
                        stream.after = after = batch.last
                        yield batch
                except _GoneError:
                    gone += 1  # one that began anew with a snapshot has less than the other
                    if gone == len(self._addresses):
                        raise
                except ConnectionError:
                    pass
                finally:
                    watching.cancel()
                    link.close()
            at = (at + 1) % len(self._addresses)
            await asyncio.sleep(_PAUSE_S)

    async def dump(self) -> Dump:
        """Return the venue as it is at who leads; see `Sequencer.dump`.

        Raises:
            NotLeadingError: Nobody leads.
        """
        for found in await self.look():
            if found.state == "leads":
                try:
                    message = await self._asked(found.address, Say.DUMP, _DUMP_S)
                except (OSError, TimeoutError):
                    break
                self._last = max(self._last, message.sequence)
                return Dump(message.sequence, message.body)
        raise NotLeadingError(" or ".join(self._addresses), "")

    async def look(self) -> list[Looked]:
        """Ask each node how it stands. Once one leads, `last` is what that one has, or more."""
        found = [await self._looked(address) for address in self._addresses]
        for place, each in enumerate(found):
            if each.state == "leads":
                self._last = max(self._last, each.last)
                self._at = place if self._line is None else self._at
        return found

    async def _looked(self, address: str) -> Looked:
        try:
            message = await self._asked(address, Say.LOOK, self._patience_s)
        except (OSError, TimeoutError):
            return Looked(address, "away")
        leads = json.loads(message.body)["leading"]
        return Looked(address, "leads" if leads else "follows", message.sequence)

    async def _asked(self, address: str, what: Say, within_s: float) -> Message:
        """Ask a node over a connection for this alone. OSError, TimeoutError: it does not answer."""
        link = await self._network.connect(address)
        try:
            link.send(Message(what))
            async with asyncio.timeout(within_s):
                return await receive_whole(link)
        finally:
            link.close()

    async def _watch(self, stream: _Stream) -> None:
        """End a stream that lacks what is kept: its node has lost who leads, and may not know that yet."""
        while True:
            before, known = stream.after, self._last
            await asyncio.sleep(self._patience_s)
            if stream.after == before < known:
                stream.link.close()

    async def _connected(self, until_s: float) -> _Line | None:
        """Return a connection to a node that may lead, and may be used; None: not in time."""
        async with self._turn:
            while world.monotonic() < until_s:
                if self._line is None or self._line.listening.done():
                    await self._connect()
                elif not self._holder or self._line.holds or await self._holds(self._line):
                    return self._line
                else:
                    await self._hang_up()
                    await self._turn_on()
        return None

    async def _connect(self) -> None:
        if self._line is not None and (self._line.silent or not self._line.heard):
            await self._turn_on()  # its system, or a proxy before it, takes connections, and that is all
        try:
            self._line = _Line(await self._network.connect(self._addresses[self._at]))
        except OSError:
            await self._turn_on()

    async def _holds(self, line: _Line) -> bool:
        """Hold over a new connection; return whether its node leads. OtherHolderError: another one holds."""
        try:
            answer = await line.ask(Say.HOLD, self._holder.encode())
        except UnavailableError:
            return False
        if answer.kind is not Say.HOLDER:
            return False
        self._check_holder(answer)
        line.holds = True
        return True

    def _check_holder(self, answer: Message) -> None:
        if (holder := answer.body.decode(errors="replace")) != self._holder:
            raise OtherHolderError(name_of(holder))

    async def _turn_away(self, line: _Line) -> None:
        """Try the other node next: this one does not lead."""
        async with self._turn:
            if self._line is line:
                await self._hang_up()
                await self._turn_on()

    async def _turn_on(self) -> None:
        self._at = (self._at + 1) % len(self._addresses)
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
        raise _GoneError(f"commands after {after}: {message.body.decode(errors='replace')}")
    size = message.serial * COMMAND.itemsize
    commands, events = message.body[:size], message.body[size:]
    return Batch(message.sequence, message.epoch, np.frombuffer(commands, COMMAND), np.frombuffer(events, EVENT))
