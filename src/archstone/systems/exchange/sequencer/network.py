"""What nodes say to each other and to clients, and what carries it: a port, so that tests can do it on virtual time.

A message is a header of 40 bytes and a body; all numbers little-endian:

    0   1  kind, see `Say`
    1   3  zero
    4   4  bytes of the body, at most 16 MiB
    8   8  epoch
    16  8  sequence
    24  8  serial
    32  4  zero
    36  4  CRC-32 of the other 36 bytes of the header and the body

    kind      from, to              epoch          sequence          serial        body
    ASK       node, witness         asker's        -                 of the ask    JSON: what, node, other
    GRANTED   witness, node         granted        lease, us         of the ask    -
    REFUSED   whoever, node         the current    -                 of the ask    who leads, if known, UTF-8
    FOLLOW    standby, leader       highest known  -                 -             JSON: node, epochs
    SNAPSHOT  leader, standby       leader's       its last command  bytes left    a piece of a file of `snapshots`
    START     leader, standby       leader's       -                 -             the mark to go on from, 28 bytes
    FRAME     leader, standby       leader's       what is done      -             a frame of `frames`
    BEAT      leader, standby       leader's       what is done      -             -
    BEAT      client, node, client  -              -                 -             -; each is answered by another
    HELD      standby, leader       of the frame   its last command  -             -
    SUBMIT    client, node          -              -                 of the ask    commands, 64 bytes each
    DONE      node, client          time, ns       first command     of the ask    events, 64 bytes each
    REJECTED  node, client          limit if full  retry after, us   of the ask    who leads, if known, UTF-8
    UNKNOWN   node, client          -              -                 of the ask    why, UTF-8
    INVALID   node, client          -              -                 of the ask    why, UTF-8; nothing has happened
    STREAM    client, node          -              after             -             -
    BATCH     node, client          time, ns       first command     how many      commands, then events
    LOOK      client, node          -              -                 -             -
    STATE     node, client          highest known  what is done      -             JSON: see `Node.look`
    DUMP      client, node          -              -                 -             -
    DUMPED    node, client          -              what is done      -             the venue as it is then
    PIECE     node, client          -              -                 -             the first part of one that is longer
    HOLD      client, node          -              -                 of the ask    who wants to submit alone, UTF-8
    HOLDER    node, client          -              -                 of the ask    who does, it or another one, UTF-8
    FULL      node, whoever         -              -                 -             why it is not heard, UTF-8

A body of more than 1 MiB, such as the events of a large batch, comes in several PIECE and then the message itself with
the rest. A node is named by its name and the id of its folder: `identity` of `grant`.
"""

import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

__all__ = [
    "MAX_BODY_BYTES",
    "MESSAGE_BYTES",
    "Link",
    "Listener",
    "Message",
    "Network",
    "Receives",
    "Say",
    "Serve",
    "check_speaker",
    "decode",
    "encode",
    "in_pieces",
    "receive_whole",
]

MESSAGE_BYTES: Final = 40
MAX_BODY_BYTES: Final = 16 << 20
_MAX_WHOLE_BYTES: Final = 1 << 30
_PIECE_BYTES: Final = 1 << 20
"""So that who waits for a long one hears something meanwhile."""
_HEADER: Final = struct.Struct("<BxxxIQQQ4xI")


class Say(IntEnum):
    """Kinds of messages."""

    ASK = 1
    GRANTED = 2
    REFUSED = 3
    FOLLOW = 4
    SNAPSHOT = 5
    START = 6
    FRAME = 7
    BEAT = 8
    HELD = 9
    SUBMIT = 16
    DONE = 17
    REJECTED = 18
    UNKNOWN = 19
    INVALID = 24
    STREAM = 20
    BATCH = 21
    LOOK = 22
    STATE = 23
    PIECE = 25
    DUMP = 26
    DUMPED = 27
    HOLD = 28
    HOLDER = 29
    FULL = 30


_KINDS: Final = frozenset(int(kind) for kind in Say)


class Message(NamedTuple):
    """One message; what a kind does not use is 0 or empty."""

    kind: Say
    epoch: int = 0
    sequence: int = 0
    serial: int = 0
    body: bytes = b""


def encode(message: Message) -> bytes:
    """Return header and body.

    Raises:
        ValueError: Nobody would take it: the body is too long, see `in_pieces`.
    """
    kind, epoch, sequence, serial, body = message
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"a message of {len(body)} bytes: at most {MAX_BODY_BYTES} are taken")
    head = _HEADER.pack(kind, len(body), epoch, sequence, serial, 0)[:36]
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


def decode(data: memoryview) -> Message | None:
    """Return the message that `data` begins with; None if it is not there in full.

    Raises:
        ConnectionError: It is none, or damaged.
    """
    if len(data) < MESSAGE_BYTES:
        return None
    kind, size, epoch, sequence, serial, crc = _HEADER.unpack_from(data)
    if size > MAX_BODY_BYTES:
        raise ConnectionError(f"a message of {size} bytes: at most {MAX_BODY_BYTES} are taken")
    if len(data) < MESSAGE_BYTES + size:
        return None
    body = bytes(data[MESSAGE_BYTES : MESSAGE_BYTES + size])
    if zlib.crc32(body, zlib.crc32(data[:36])) != crc or kind not in _KINDS:
        raise ConnectionError("a message is damaged or of another protocol")
    return Message(Say(kind), epoch, sequence, serial, body)


class Link(Protocol):
    """A connection: messages arrive once, whole and in order, until it ends."""

    @property
    def service(self) -> str:
        """Which service the other end has proved to be. Empty: it need not."""
        ...

    @property
    def pending(self) -> int:
        """How many messages have arrived and wait to be received."""
        ...

    @property
    def busy(self) -> bool:
        """Whether much that was sent is still under way."""
        ...

    def send(self, message: Message) -> None:
        """Send, as far as the connection still is. Whether it arrives nobody knows."""
        ...

    async def drain(self) -> None:
        """Wait until not too much is under way. ConnectionError when it has ended."""
        ...

    async def receive(self) -> Message:
        """Wait for the next message. ConnectionError when it has ended."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def in_pieces(message: Message) -> Iterator[Message]:
    """Give what to send, one right after the other, so that `receive_whole` returns a message of any length."""
    begin, size = 0, len(message.body)
    while size - begin > _PIECE_BYTES:
        yield Message(Say.PIECE, body=message.body[begin : begin + _PIECE_BYTES])
        begin += _PIECE_BYTES
    yield message._replace(body=message.body[begin:]) if begin else message


class Receives(Protocol):
    """What `receive_whole` needs of a link."""

    async def receive(self) -> Message:
        """Wait for the next message; see `Link`."""
        ...


async def receive_whole(link: Receives) -> Message:
    """Wait for the next message, in however many pieces it comes.

    Raises:
        ConnectionError: The connection has ended, or it would have more than 1 GiB.
    """
    message = await link.receive()
    if message.kind is not Say.PIECE:
        return message
    body = bytearray()
    while message.kind is Say.PIECE:
        body += message.body
        if len(body) > _MAX_WHOLE_BYTES:
            raise ConnectionError(f"a message of over {_MAX_WHOLE_BYTES} bytes")
        message = await link.receive()
    return message._replace(body=bytes(body + message.body))


def check_speaker(link: Link, *nodes: str) -> None:
    """See that who speaks for a node is that node, where the other end has proved who it is.

    Args:
        link: Over which it speaks.
        nodes: By its message, by the addresses that are known here: its name, each time.

    Raises:
        PermissionError: It is another service.
    """
    if link.service and {*nodes} != {link.service}:
        raise PermissionError(f"service {link.service!r} speaks for node {' or '.join(map(repr, nodes))}")


Serve = Callable[[Link], Awaitable[None]]
"""Talks with whoever has connected, until it returns."""


class Listener(Protocol):
    """What takes connections."""

    async def close(self) -> None:
        """Take no more, and end those that are open."""
        ...


class Network(Protocol):
    """What connects nodes."""

    async def connect(self, address: str) -> Link:
        """Connect to whoever listens at an address. OSError when nobody who may be there can be reached."""
        ...

    async def listen(self, address: str, serve: Serve) -> Listener:
        """Take connections at an address and let `serve` talk with each."""
        ...
