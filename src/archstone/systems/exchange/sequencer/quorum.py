"""The leader's side of keeping frames on two disks: the standby's stream, its word, the witness's consent, a lease."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from archstone import world
from archstone.errors import LostError
from archstone.observability import get_logger
from archstone.systems.exchange.sequencer.frames import Frame, Position, agreement
from archstone.systems.exchange.sequencer.grant import Ask, Asked, identity, name_of
from archstone.systems.exchange.sequencer.leading import Leading
from archstone.systems.exchange.sequencer.network import Link, Message, Say
from archstone.systems.exchange.sequencer.node_settings import NodeSettings
from archstone.systems.exchange.sequencer.replica import Replica
from archstone.systems.exchange.sequencer.snapshots import Snapshot
from archstone.systems.exchange.sequencer.witness import Asking

__all__ = ["AFTER_SEND", "NoLongerLeadingError", "Quorum", "lease_end_s"]

AFTER_SEND: Final = world.declare_point(
    "exchange.after_send", "a frame is on its way to the standby, and the leader's disk may not have it yet"
)

_PIECE_BYTES: Final = 1 << 18

_log = get_logger("archstone.exchange")


class NoLongerLeadingError(LostError, code="exchange.no-longer-leading", status=503):
    """This node has stopped leading."""

    def __init__(self, node: str, epoch: int, why: str) -> None:
        super().__init__(node, epoch, why)
        self.node = node
        self.epoch = epoch
        self.why = why

    def __str__(self) -> str:
        return f"node {self.node!r} no longer leads in epoch {self.epoch}: {self.why}"


def lease_end_s(asked_s: float, granted: Message, settings: NodeSettings) -> float:
    """Return until when a lease holds that was asked for at `asked_s`, by this node's clock, less the margin."""
    return asked_s + granted.sequence / 1e6 * (1 - settings.drift_ratio)


class _Follower:
    """A standby that is connected."""

    def __init__(self, link: Link, node: str, epoch: int, sent: Position) -> None:
        self.link = link
        self.node = node
        self.epoch = epoch
        """Of the leader."""
        self.sent = sent
        """The end of the last frame that was sent."""
        self.live = False
        """Whether new frames are sent as they come; else they are read from the log."""
        self.backlog = 0
        """The last command that was done when it had been sent all."""

    def send(self, frame: Frame, done: int) -> None:
        self.sent = frame.mark.position
        self.link.send(Message(Say.FRAME, self.epoch, done, 0, b"".join(frame.parts)))


class Quorum:
    """One node's leadership of one epoch."""

    def __init__(self, replica: Replica, name: str, asking: Asking, settings: NodeSettings, leading: Leading) -> None:
        """Begin alone, as the witness has granted."""
        self.leading = leading
        self._replica = replica
        self._name = name
        self._me = identity(name, replica.id)
        self._asking = asking
        self._settings = settings
        self._follower: _Follower | None = None
        self._joined = ""
        self._changes = asyncio.Lock()
        self._news = asyncio.Event()

    @property
    def joined(self) -> str:
        """Who has joined over its present connection, and so may lead after this node; see `identity`. Empty: nobody.

        A standby whose word is needed already may not before the witness has granted JOIN.
        """
        return self._joined

    async def keep(self, frame: Frame) -> None:
        """Put a frame into the log and return when it is kept for good; see `Leading`.

        Raises:
            NoLongerLeadingError: That cannot be said any more; the frame may be kept or not.
        """
        self._replica.append(frame)
        if (follower := self._follower) is not None and follower.live:
            follower.live = not follower.link.busy
            if follower.live:
                follower.send(frame, self._replica.done.sequence)
        world.point(AFTER_SEND)
        await self._replica.sync()
        if not self.leading.may_acknowledge(frame.last, world.monotonic()):
            await self._wait(frame.last)

    async def renew(self) -> None:
        """Hold the lease, for as long as the witness lets this node.

        Raises:
            NoLongerLeadingError: Another leads.
        """
        while True:
            await asyncio.sleep(self._settings.renew_s)
            asked_s = world.monotonic()
            if (granted := await self._ask(Ask.RENEW)) is not None:
                self.leading = self.leading.renewed(lease_end_s(asked_s, granted, self._settings))
                self._tell()

    async def serve(self, link: Link, node: str, epochs: Sequence[Position]) -> None:
        """Send a standby what it lacks and then all that comes, and hear what it holds, until the connection ends.

        While another one is on record as standby, such as the same node before its folder was emptied, nobody else is
        served before the witness has granted ALONE.
        """
        if not await self._admits(node):
            return
        position = await self._begin(link, epochs)
        if not self.leading.hears(node):
            return  # meanwhile another one has come to join
        self.close()
        follower = self._follower = _Follower(link, node, self.leading.epoch, position)
        self._joined = ""
        self.leading = self.leading.connected()
        _log.warning("standby connected", node=node, epoch=self.leading.epoch, after=position.sequence)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stream(follower))
                tasks.create_task(self._listen(follower))
        except* (ConnectionError, NoLongerLeadingError):
            pass  # of the latter, the next renewal tells
        finally:
            if self._follower is follower:
                self._follower = None
                self._tell()

    def close(self) -> None:
        """End the standby's connection, and hear nothing more over it: it is to look for who leads."""
        if self._follower is not None:
            self._follower.link.close()
            self._follower = None

    async def _admits(self, node: str) -> bool:
        if not self.leading.hears(node):
            with suppress(NoLongerLeadingError):  # the next renewal tells
                await self._part()
        return self.leading.hears(node)

    async def _begin(self, link: Link, epochs: Sequence[Position]) -> Position:
        """Tell a standby from where it goes on: where both logs are equal, or a snapshot."""
        log, epoch = self._replica.log, self.leading.epoch
        position = agreement(log.epochs(), epochs)
        mark = None if position is None else log.mark_at(position)
        if mark is None:
            # A dump takes its time, in which the standby would hear nothing: the newest one that is kept will do.
            kept = next(self._replica.snapshots.newest_first(), None)
            snapshot = kept if kept is not None and kept.mark.position >= epochs[-1] else self._replica.dumped()
            await self._send(link, snapshot)
            mark = snapshot.mark
        link.send(Message(Say.START, epoch, body=mark.encode()))
        return mark.position

    async def _send(self, link: Link, snapshot: Snapshot) -> None:
        data = memoryview(snapshot.head + snapshot.dump)
        while data:
            piece, data = bytes(data[:_PIECE_BYTES]), data[_PIECE_BYTES:]
            link.send(Message(Say.SNAPSHOT, self.leading.epoch, snapshot.mark.sequence, len(data), piece))
            await link.drain()

    async def _stream(self, follower: _Follower) -> None:
        while True:
            for frame in self._replica.log.read(follower.sent):
                follower.send(frame, self._replica.done.sequence)
                await follower.link.drain()
            # Nothing has been awaited since the end of the log was seen: what comes from now on is sent by `keep`.
            follower.live, follower.backlog = True, self._replica.done.sequence
            await self._beat(follower)

    async def _beat(self, follower: _Follower) -> None:
        """Give signs of life while frames are sent as they come, and let the standby join as soon as it can."""
        while follower.live:
            if not self._joined:
                await self._join(follower)
            follower.link.send(Message(Say.BEAT, self.leading.epoch, self._replica.done.sequence))
            await asyncio.sleep(self._settings.beat_s)
            await follower.link.drain()

    async def _listen(self, follower: _Follower) -> None:
        while True:
            message = await follower.link.receive()
            # Until it has the frame that begins this epoch, what it holds may be cut off.
            if message.kind is Say.HELD and message.epoch == self.leading.epoch and self._follower is follower:
                self.leading = self.leading.told(message.sequence)
                self._tell()

    async def _join(self, follower: _Follower) -> None:
        """Need the standby's word once it has caught up; tell the witness once it holds all that is done.

        Were its word not needed before it holds all, a leader with much to do would always have done more by then. All
        is looked at in the turn to ask: while this waited for it, the witness may have granted ALONE, and who was
        connected may lack what was acknowledged since.
        """
        async with self._changes:
            held = self.leading.held
            if self._follower is not follower or held is None or held < follower.backlog:
                return
            self.leading = self.leading.needing(follower.node)
            if held < self._replica.done.sequence:
                return  # what is done from now on it holds: so it does at one of the next signs of life
            self.leading = self.leading.asking()
            if await self._ask(Ask.JOIN, follower.node) is not None:
                self._joined = follower.node

    async def _part(self) -> None:
        """Go on alone, if the witness grants it."""
        async with self._changes:
            if not self.leading.standby:
                return  # who waited before this one was granted it
            # Of an answer that never comes nobody knows what it was: who is connected has to join anew in any case.
            self._joined = ""
            self.leading = self.leading.asking()
            if await self._ask(Ask.ALONE) is None:
                await asyncio.sleep(self._settings.retry_s)
                return
            self.leading = self.leading.parted()
            self.close()
            self._tell()
            _log.warning("goes on alone", node=self._name, epoch=self.leading.epoch)

    async def _wait(self, last: int) -> None:
        """Wait until a frame is kept for good."""
        try:
            async with asyncio.timeout(self._settings.give_up_s):
                while not self.leading.may_acknowledge(last, world.monotonic()):
                    if not await self._word(last):
                        await self._part()
                    elif world.monotonic() >= self.leading.until_s:
                        await self._news.wait()
        except TimeoutError as error:
            why = f"no word of standby or witness in {self._settings.give_up_s:g} s"
            raise NoLongerLeadingError(self._name, self.leading.epoch, why) from error

    async def _word(self, last: int) -> bool:
        """Wait for the standby to hold a command, as long as it may take; return whether it does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.standby_s):
                while self._follower is not None and not self.leading.holds(last):
                    await self._news.wait()
        return self.leading.holds(last)

    async def _ask(self, what: Ask, other: str = "") -> Message | None:
        leading = self.leading
        answer = await self._asking.ask(Asked(what, self._me, leading.epoch, leading.serial, other))
        if answer is not None and answer.kind is not Say.GRANTED:
            why = f"epoch {answer.epoch} is {name_of(answer.body.decode())!r}'s"
            raise NoLongerLeadingError(self._name, leading.epoch, why)
        return answer

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
