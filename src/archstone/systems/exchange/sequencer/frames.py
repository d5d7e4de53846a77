"""Frames: commands that are done together, as they lie in a file and travel to another node.

A frame is a header of 64 bytes and its commands, 64 bytes each; all numbers little-endian:

    0   4  the letters AFRM
    4   4  CRC-32 of all that follows, to the last command
    8   8  epoch of the leader that made it
    16  8  number of the first command
    24  8  when, nanoseconds since 1970
    32  4  how many commands
    36  4  flags; 1: the digest means something
    40  8  digest of the venue before these commands
    48  4  CRC-32 of the frame before, 0 of the first one
    52  4  bytes of the whole frame
    56  8  zero

The last eight bytes of a command are its number, which is never zero: so no command can be mistaken for a header.
A leader begins its epoch with a frame without commands; no other frame is empty.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np

from archstone.systems.exchange.matching import COMMAND, Commands

__all__ = [
    "FRAME_HEADER_BYTES",
    "MAX_COMMANDS",
    "NOTHING",
    "Frame",
    "Mark",
    "Position",
    "agreement",
    "decode",
    "fault",
    "size_of",
]

MAX_COMMANDS: Final = 65_536
"""Of a frame."""
FRAME_HEADER_BYTES: Final = 64
_HEADER: Final = struct.Struct("<4sIQQqIIQIIQ")
_MARK: Final = struct.Struct("<QQqI")
_MAGIC: Final = b"AFRM"
_WITH_DIGEST: Final = 1
_RECORD_BYTES: Final = COMMAND.itemsize


class Position(NamedTuple):
    """How far a log has come. Of two logs the one with the greater position is ahead."""

    epoch: int
    sequence: int
    """Number of the last command; 0: none."""


class Mark(NamedTuple):
    """The end of a frame: all that the next one must fit to."""

    epoch: int
    sequence: int
    at_ns: int
    crc: int

    @property
    def position(self) -> Position:
        """Where that is."""
        return Position(self.epoch, self.sequence)

    def encode(self) -> bytes:
        """Return epoch, number, time and CRC-32 in 28 bytes."""
        return _MARK.pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `encode` made. ValueError: it is something else."""
        if len(data) != _MARK.size:
            raise ValueError(f"a mark has {_MARK.size} bytes, not {len(data)}")
        return cls(*_MARK.unpack(data))


NOTHING: Final = Mark(0, 0, 0, 0)
"""The beginning of every log."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Commands that are done together."""

    head: bytes
    """The header, as described above."""
    commands: Commands
    epoch: int
    first: int
    at_ns: int
    digest: int | None
    """Of the venue before these commands. None: not noted."""
    crc: int
    before: int
    """CRC-32 of the frame before."""

    @property
    def last(self) -> int:
        """Number of the last command; of an empty frame, of the last one before it."""
        return self.first + len(self.commands) - 1

    @property
    def mark(self) -> Mark:
        """Its end."""
        return Mark(self.epoch, self.last, self.at_ns, self.crc)

    @property
    def parts(self) -> tuple[bytes, memoryview]:
        """Its bytes, in two pieces."""
        return self.head, _bytes(self.commands)

    def __len__(self) -> int:
        """Count the bytes of the whole frame."""
        return FRAME_HEADER_BYTES + _RECORD_BYTES * len(self.commands)

    @classmethod
    def after(
        cls, mark: Mark, commands: Commands, *, at_ns: int, digest: int | None = None, epoch: int | None = None
    ) -> Self:
        """Return the frame that follows a mark. Its commands are numbered here; its time does not go back.

        Args:
            mark: The end of the log.
            commands: Of `COMMAND`, contiguous; their numbers are written into them.
            at_ns: When.
            digest: Of the venue before the commands.
            epoch: Of the leader. None: that of the mark.
        """
        epoch = mark.epoch if epoch is None else epoch
        first, at_ns = mark.sequence + 1, max(at_ns, mark.at_ns)
        commands["sequence"] = np.arange(first, first + len(commands), dtype="<u8")
        flags, noted = (0, 0) if digest is None else (_WITH_DIGEST, digest)
        size = FRAME_HEADER_BYTES + _RECORD_BYTES * len(commands)
        head = _HEADER.pack(_MAGIC, 0, epoch, first, at_ns, len(commands), flags, noted, mark.crc, size, 0)
        crc = zlib.crc32(_bytes(commands), zlib.crc32(head[8:]))
        head = head[:4] + crc.to_bytes(4, "little") + head[8:]
        return cls(head, commands, epoch, first, at_ns, digest, crc, mark.crc)


def decode(data: bytes | bytearray | memoryview) -> Frame | None:
    """Return the frame that `data` begins with; None if it does not begin with a whole and undamaged one."""
    view = memoryview(data)
    if len(view) < FRAME_HEADER_BYTES:
        return None
    head = bytes(view[:FRAME_HEADER_BYTES])
    magic, crc, epoch, first, at_ns, count, flags, noted, before, size, zero = _HEADER.unpack(head)
    fits = magic == _MAGIC and not zero and count <= MAX_COMMANDS and flags in {0, _WITH_DIGEST}
    if not fits or size != FRAME_HEADER_BYTES + _RECORD_BYTES * count or len(view) < size:
        return None
    body = view[FRAME_HEADER_BYTES:size]
    if zlib.crc32(body, zlib.crc32(head[8:])) != crc:
        return None
    commands = np.frombuffer(body, COMMAND)
    return Frame(head, commands, epoch, first, at_ns, noted if flags else None, crc, before)


def size_of(head: bytes) -> int | None:
    """Return how many bytes the frame has that begins with this header; None if it is none."""
    if len(head) < FRAME_HEADER_BYTES or head[:4] != _MAGIC:
        return None
    size = int(_HEADER.unpack(head[:FRAME_HEADER_BYTES])[9])
    return size if size >= FRAME_HEADER_BYTES else None


def fault(frame: Frame, mark: Mark) -> str | None:
    """Return why a frame cannot follow a mark; None if it can."""
    rules = {
        f"it begins with command {frame.first}, and {mark.sequence + 1} is next": frame.first == mark.sequence + 1,
        "it follows another frame than the one before it": frame.before == mark.crc,
        f"its epoch is {frame.epoch}, the one before {mark.epoch}": _epoch_fits(frame, mark),
        "its time is before that of the frame before": frame.at_ns >= mark.at_ns,
        "its commands are numbered otherwise": _numbered(frame),
    }
    return next((problem for problem, holds in rules.items() if not holds), None)


def agreement(mine: Sequence[Position], theirs: Sequence[Position]) -> Position | None:
    """Return up to where two logs are equal; None if one of them no longer has that place.

    In an epoch one leader makes frames, and the other log has a first part of them. So the logs are equal up to the end
    of the shorter one in the last epoch that both know, and differ from there on.

    Args:
        mine: The place before the oldest frame, then the end of each epoch, oldest first.
        theirs: The same of the other.

    Source: Ongaro and Ousterhout 2014, section 5.3, "log matching"; Apache Kafka, KIP-101, for the ends of epochs.
    """
    ends, others = dict(mine), dict(theirs)
    common = max(ends.keys() & others.keys(), default=None)
    if common is None:
        return None
    found = Position(common, min(ends[common], others[common]))
    return found if found >= max(mine[0], theirs[0]) else None


def _bytes(commands: Commands) -> memoryview:
    return commands.view("u1").data


def _epoch_fits(frame: Frame, mark: Mark) -> bool:
    return frame.epoch == mark.epoch if len(frame.commands) else frame.epoch > mark.epoch


def _numbered(frame: Frame) -> bool:
    places = frame.commands["sequence"] - np.uint64(frame.first)  # the last number there is has none after it
    return bool((places == np.arange(len(frame.commands), dtype="<u8")).all())
