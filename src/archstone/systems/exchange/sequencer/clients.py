"""What a node answers to who is no node: commands, the stream, and a look at it."""

import asyncio
import json
from collections.abc import Callable
from typing import Protocol

import numpy as np

from archstone.errors import RejectedError
from archstone.systems.exchange.matching import COMMAND, Commands
from archstone.systems.exchange.sequencer.errors import FrameTooLargeError, NotLeadingError, SequencerFullError
from archstone.systems.exchange.sequencer.holder import Holder
from archstone.systems.exchange.sequencer.intake import Waiting
from archstone.systems.exchange.sequencer.leading import Leading
from archstone.systems.exchange.sequencer.network import Link, Message, Say, in_pieces
from archstone.systems.exchange.sequencer.port import Batch
from archstone.systems.exchange.sequencer.replica import Replica

__all__ = ["serve_client"]


class Door(Protocol):
    """What a node lets clients at."""

    holder: Holder

    @property
    def leading(self) -> Leading | None: ...
    @property
    def replica(self) -> Replica: ...
    def look(self) -> dict[str, object]: ...
    def put(self, commands: Commands) -> Waiting: ...


async def serve_client(door: Door, link: Link, message: Message) -> None:
    """Answer a client that has begun with `message`, until its connection ends."""
    if message.kind is Say.STREAM:
        await _stream(door, link, message.sequence)
        return
    try:
        while True:
            await _answer(door, link, message)
            await link.drain()
            message = await link.receive()
    finally:
        door.holder.leave(link)


async def _answer(door: Door, link: Link, message: Message) -> None:
    match message.kind:
        case Say.SUBMIT:
            _submit(door, link, message)
        case Say.BEAT:
            link.send(message)
        case Say.HOLD:
            _hold(door, link, message)
        case Say.LOOK:
            done, epoch = door.replica.done.sequence, door.replica.log.end.epoch
            link.send(Message(Say.STATE, epoch, done, body=json.dumps(door.look()).encode()))
        case Say.DUMP:
            dumped = Message(Say.DUMPED, sequence=door.replica.done.sequence, body=door.replica.venue.dump())
            for piece in in_pieces(dumped):
                link.send(piece)
                await link.drain()
        case _:
            pass


async def _stream(door: Door, link: Link, after: int) -> None:
    try:
        async for batch in door.replica.follow(after):
            body = batch.commands.tobytes() + batch.events.tobytes()
            for piece in in_pieces(Message(Say.BATCH, batch.at_ns, batch.first, len(batch.commands), body)):
                link.send(piece)
                await link.drain()
    except LookupError as error:
        link.send(Message(Say.UNKNOWN, body=str(error).encode()))


def _hold(door: Door, link: Link, message: Message) -> None:
    if door.leading is None:
        link.send(_refusal(message.serial, NotLeadingError("", "")))
        return
    if not message.body:
        raise ConnectionAbortedError("who wants to submit alone says no name")
    door.holder.take(link, message.body.decode())
    _tell_holder(door, link, message.serial)


def _tell_holder(door: Door, link: Link, serial: int) -> None:
    link.send(Message(Say.HOLDER, serial=serial, body=door.holder.name.encode()))


def _submit(door: Door, link: Link, message: Message) -> None:
    if door.leading is not None and not door.holder.admits(link):
        _tell_holder(door, link, message.serial)
        return
    try:
        waiting = door.put(np.frombuffer(message.body, COMMAND))
    except (RejectedError, FrameTooLargeError, ValueError) as error:
        link.send(_refusal(message.serial, error))
        return
    waiting.answer.add_done_callback(_answering(link, message.serial))


def _answering(link: Link, serial: int) -> Callable[[asyncio.Future[Batch]], None]:
    def tell(answer: asyncio.Future[Batch]) -> None:
        if answer.cancelled():
            return
        if (error := answer.exception()) is not None:
            link.send(_refusal(serial, error))
            return
        batch = answer.result()
        for piece in in_pieces(Message(Say.DONE, batch.at_ns, batch.first, serial, batch.events.tobytes())):
            link.send(piece)

    return tell


def _refusal(serial: int, error: BaseException) -> Message:
    """Return REJECTED or INVALID where nothing has happened, else UNKNOWN."""
    if isinstance(error, RejectedError):
        leader = error.leader if isinstance(error, NotLeadingError) else ""
        limit = error.limit if isinstance(error, SequencerFullError) else 0
        return Message(Say.REJECTED, limit, round(error.retry_after_s * 1e6), serial, leader.encode())
    if isinstance(error, FrameTooLargeError | ValueError):
        return Message(Say.INVALID, 0, 0, serial, str(error).encode())
    return Message(Say.UNKNOWN, 0, 0, serial, str(error).encode())
