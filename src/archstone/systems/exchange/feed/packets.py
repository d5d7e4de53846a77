"""Market data as bytes: packets of numbered messages, the same over multicast and over the recovery connection.

All numbers are little-endian. docs/exchange/feed.md has the tables.
"""

import zlib
from collections.abc import Iterable
from enum import IntEnum
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archstone.systems.exchange.feed.values import Changes, Level, Phased, Trade

__all__ = [
    "HEAD",
    "MESSAGE",
    "PER_PACKET",
    "REQUEST",
    "Ask",
    "Carries",
    "Message",
    "Messages",
    "Packet",
    "PacketError",
    "messages_of",
    "packed",
    "read_ask",
    "read_packet",
    "snapshot_of",
]

VERSION: Final = 1
HEAD: Final = np.dtype(
    [
        ("version", "u1"),
        ("kind", "u1"),
        ("count", "<u2"),
        ("session", "<u4"),
        ("number", "<u8"),
        ("sent_ns", "<u8"),
        ("check", "<u4"),
        ("spare", "<u4"),
    ]
)
"""32 bytes before the messages of a packet. `check` is the CRC-32 of the head with `check` 0 and of the messages."""
MESSAGE: Final = np.dtype(
    [
        ("kind", "u1"),
        ("side", "u1"),
        ("last", "u1"),
        ("spare", "u1"),
        ("book", "<u4"),
        ("sequence", "<u8"),
        ("at_ns", "<u8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("more", "<u8"),
    ]
)
"""48 bytes. `last` is 1 in the last message of what happened at once: books are whole after it."""
REQUEST: Final = np.dtype([("version", "u1"), ("kind", "u1"), ("count", "<u2"), ("session", "<u4"), ("number", "<u8")])
"""16 bytes that a client asks the recovery connection with."""

PER_PACKET: Final = 30
"""Messages of one packet at most: it fits into one Ethernet frame."""

Messages = npt.NDArray[np.void]
"""Of `MESSAGE`, shape (n,)."""


class Carries(IntEnum):
    """What a packet is."""

    LIVE = 1
    """The next messages; without any it says which number is next (a heartbeat)."""
    RESENT = 2
    """Messages from before, as asked for."""
    SNAPSHOT = 3
    """A part of all books as they were before message `number`."""
    WHOLE = 4
    """The snapshot is complete. `number` is the next message after it."""
    GONE = 5
    """What was asked for is not kept any more (or not there yet); ask for a snapshot. `number` is the oldest kept."""
    OVER = 6
    """The publisher has stopped; no message follows in this session."""


class Message(IntEnum):
    """What a message says."""

    LEVEL = 1
    TRADE = 2
    PHASE = 3
    LAST = 4
    """The price of the last trade; in snapshots only."""


class Ask(IntEnum):
    """What a client asks for."""

    RESEND = 1
    """`count` messages from `number` on."""
    SNAPSHOT = 2


class PacketError(ValueError):
    """Bytes that are no packet: the text says what is wrong."""


class Packet(NamedTuple):
    """A packet that was read."""

    kind: Carries
    session: int
    number: int
    """Of the first message."""
    sent_ns: int
    messages: Messages


def packed(kind: Carries, session: int, number: int, *, sent_ns: int = 0, messages: Messages | None = None) -> bytes:
    """Return a packet of at most `PER_PACKET` messages."""
    count = 0 if messages is None else len(messages)
    head = np.array((VERSION, kind, count, session, number, sent_ns, 0, 0), HEAD)
    body = b"" if messages is None else messages.tobytes()
    head["check"] = zlib.crc32(body, zlib.crc32(head.tobytes()))
    return head.tobytes() + body


def read_packet(data: bytes) -> Packet:
    """Return a packet. PacketError if the bytes are none."""
    if len(data) < HEAD.itemsize:
        raise PacketError(f"packet of {len(data)} bytes: the head alone has {HEAD.itemsize}")
    head = np.frombuffer(data, HEAD, 1)[0].copy()
    if head["version"] != VERSION:
        raise PacketError(f"packet of version {head['version']}: this reads version {VERSION}")
    count, check = int(head["count"]), int(head["check"])
    if count > PER_PACKET or len(data) != HEAD.itemsize + count * MESSAGE.itemsize:
        raise PacketError(f"packet of {len(data)} bytes: {count} messages need another number, or are too many")
    head["check"] = 0
    if zlib.crc32(data[HEAD.itemsize :], zlib.crc32(head.tobytes())) != check:
        raise PacketError(f"packet of {len(data)} bytes: it is damaged")
    if int(head["kind"]) not in _CARRIES:
        raise PacketError(f"packet of kind {head['kind']}: there is none")
    messages = np.frombuffer(data, MESSAGE, count, HEAD.itemsize)
    return Packet(Carries(int(head["kind"])), int(head["session"]), int(head["number"]), int(head["sent_ns"]), messages)


_CARRIES: Final = frozenset(int(each) for each in Carries)


def read_ask(data: bytes) -> tuple[Ask, int, int, int]:
    """Return what is asked for, session, first number and count. PacketError if the bytes are no request."""
    if len(data) != REQUEST.itemsize:
        raise PacketError(f"request of {len(data)} bytes: it has {REQUEST.itemsize}")
    row = np.frombuffer(data, REQUEST, 1)[0]
    version, kind, count, session, number = (int(each) for each in row.tolist())
    if version != VERSION or kind not in {Ask.RESEND, Ask.SNAPSHOT}:
        raise PacketError(f"request of version {version}, kind {kind}: this knows version {VERSION}, kinds 1 and 2")
    return Ask(kind), session, number, count


def messages_of(changes: Changes) -> Messages:
    """Return what has changed as messages: phases, then trades, then levels. The last of them is marked."""
    phases = [_phase(each, changes) for each in changes.phases]
    trades = [_trade(each) for each in changes.trades]
    return _marked(np.array([*phases, *trades, *_levels(changes.levels, changes)], MESSAGE))


def snapshot_of(changes: Changes, lasts: Iterable[tuple[int, int]]) -> Messages:
    """Return whole books as messages: their phases, the prices of their last trades (`lasts`), all levels."""
    phases = [_phase(each, changes) for each in changes.phases]
    told = [(Message.LAST, 0, 0, 0, book, changes.sequence, changes.at_ns, price, 0, 0) for book, price in lasts]
    levels = np.zeros(len(changes.levels), MESSAGE)  # column by column: there are thousands
    told_of = np.fromiter(chain.from_iterable(changes.levels), np.int64).reshape(-1, len(Level._fields))
    for name, column in zip(("book", "side", "price", "quantity", "more"), told_of.T, strict=True):
        levels[name] = column
    levels["kind"], levels["sequence"], levels["at_ns"] = Message.LEVEL, changes.sequence, changes.at_ns
    return _marked(np.concatenate([np.array([*phases, *told], MESSAGE), levels]))


_Row = tuple[Any, ...]


def _marked(messages: Messages) -> Messages:
    messages["last"][-1:] = 1
    return messages


def _phase(phased: Phased, changes: Changes) -> _Row:
    return (Message.PHASE, 0, 0, 0, phased.book, changes.sequence, changes.at_ns, 0, phased.phase, 0)


def _trade(trade: Trade) -> _Row:
    fields = (trade.book, trade.sequence, trade.at_ns, trade.price, trade.quantity, trade.part)
    return (Message.TRADE, trade.side, 0, 0, *fields)


def _levels(levels: Iterable[Level], changes: Changes) -> Iterable[_Row]:
    for each in levels:
        where = (Message.LEVEL, each.side, 0, 0, each.book, changes.sequence, changes.at_ns)
        yield (*where, each.price, each.quantity, each.orders)
