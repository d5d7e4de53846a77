"""The standby's side: take the leader's frames, hold them, say so, and do what the leader says is done."""

import asyncio
import json
from typing import Final

from archstone.errors import LostError
from archstone.systems.exchange.sequencer.errors import LogDamagedError, LogsDifferError
from archstone.systems.exchange.sequencer.frames import Mark, Position, decode
from archstone.systems.exchange.sequencer.grant import identity
from archstone.systems.exchange.sequencer.network import Link, Message, Say
from archstone.systems.exchange.sequencer.replica import Replica
from archstone.systems.exchange.sequencer.snapshots import Snapshot

__all__ = ["FencedError", "follow_leader", "follow_message", "followed"]

_SYNC_AFTER: Final = 64
"""Frames that are written before they are synced together, while more of them have arrived."""


class FencedError(LostError, code="exchange.fenced", status=503):
    """Frames came from a leader of an epoch that is over."""

    def __init__(self, node: str, epoch: int, known: int) -> None:
        super().__init__(node, epoch, known)
        self.node = node
        self.epoch = epoch
        self.known = known

    def __str__(self) -> str:
        return f"node {self.node!r} takes nothing from a leader of epoch {self.epoch}: it knows of {self.known}"


def follow_message(node: str, epochs: tuple[Position, ...]) -> Message:
    """Return with what a standby begins: who it is, see `identity`, and the ends of its epochs."""
    return Message(Say.FOLLOW, epochs[-1].epoch, body=json.dumps({"node": node, "epochs": epochs}).encode())


def followed(message: Message) -> tuple[str, tuple[Position, ...]]:
    """Return who wants to follow, and the ends of its epochs."""
    said = json.loads(message.body)
    return str(said["node"]), tuple(Position(int(epoch), int(sequence)) for epoch, sequence in said["epochs"])


async def follow_leader(replica: Replica, link: Link, *, name: str, silence_s: float) -> None:
    """Follow whoever is at the other end until it says nothing for `silence_s` or the connection ends.

    Raises:
        ConnectionError, TimeoutError: The leader is gone.
        FencedError: It is an old one.
        LogsDifferError: Its log is another one.
        VenueDiffersError, LogBrokenError, LogDamagedError: This node cannot go on.
    """
    link.send(follow_message(identity(name, replica.id), replica.log.epochs()))
    known, unsynced, pieces = replica.log.end.epoch, 0, bytearray()
    while True:
        async with asyncio.timeout(silence_s):
            message = await link.receive()
        if message.kind is Say.REFUSED:
            raise ConnectionRefusedError("the other node does not lead")
        if message.epoch < known:
            raise FencedError(name, message.epoch, known)
        known = message.epoch
        if message.kind is Say.SNAPSHOT:
            pieces += message.body
            if message.serial == 0:
                await _begin_with(replica, bytes(pieces), name)
            continue
        _take(replica, message, name)
        unsynced += message.kind in {Say.FRAME, Say.START}
        if unsynced and (not link.pending or unsynced >= _SYNC_AFTER):
            await replica.sync()
            end, unsynced = replica.log.end, 0
            link.send(Message(Say.HELD, end.epoch, end.sequence))
        if message.kind in {Say.FRAME, Say.BEAT}:
            replica.do(message.sequence)
            replica.snapshot_if_due()


def _take(replica: Replica, message: Message, name: str) -> None:
    match message.kind:
        case Say.START:
            _begin(replica, Mark.decode(message.body), name)
        case Say.FRAME:
            frame = decode(message.body)
            if frame is None:
                raise ConnectionError("a frame was damaged on its way")
            try:
                replica.append(frame)
            except LogDamagedError as error:
                raise ConnectionError(f"a frame does not follow the one before: {error.problem}") from error
        case _:
            pass


async def _begin_with(replica: Replica, data: bytes, name: str) -> None:
    snapshot = Snapshot.decode(data)
    if snapshot is None:
        raise ConnectionError("a snapshot was damaged on its way")
    if snapshot.mark.sequence < replica.done.sequence:
        raise LogsDifferError(name, snapshot.mark.sequence)
    await replica.begin_with(snapshot)


def _begin(replica: Replica, mark: Mark, name: str) -> None:
    """Cut off what the leader does not have, and see that the rest is the same."""
    try:
        replica.cut(mark.position)
    except LookupError as error:
        raise LogsDifferError(name, mark.sequence) from error
    if replica.log.end != mark:
        raise LogsDifferError(name, mark.sequence)
