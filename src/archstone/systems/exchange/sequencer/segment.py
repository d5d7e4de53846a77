"""One file of the command log: a mark, and the frames that follow it.

A file (`00000000000000000001-0000000000.log`: number of its first command, epoch before it) begins with 64 bytes, the
mark that its first frame follows; then come frames, as `frames` describes them:

    0   8  the letters AFRLOG, 0, 1
    8   8  epoch of the frame before
    16  8  number of the last command before
    24  8  time of the frame before
    32  4  CRC-32 of the frame before
    36 24  zero
    60  4  CRC-32 of these 60 bytes
"""

import os
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Final, Self

from archstone import disk
from archstone.systems.exchange.sequencer.errors import LogDamagedError
from archstone.systems.exchange.sequencer.frames import (
    FRAME_HEADER_BYTES,
    Frame,
    Mark,
    Position,
    decode,
    fault,
    size_of,
)

__all__ = ["Segment", "begin_of", "header", "name_after", "whole_frame"]

_HEADER: Final = struct.Struct("<8sQQqI24xI")
_MAGIC: Final = b"AFRLOG\x00\x01"
_HEADER_BYTES: Final = 64
_READ_BYTES: Final = 1 << 16
_INDEX_BYTES: Final = 1 << 16


@dataclass(slots=True)
class Segment:
    """A file, as far as it is read or written."""

    path: Path
    begin: Mark
    end: Mark
    """Of its last frame."""
    size: int = _HEADER_BYTES
    """Up to the end of its last frame."""
    ends: dict[int, int] = field(default_factory=dict[int, int])
    """The last command of each epoch that has frames in it, oldest first."""
    index: list[tuple[Position, int]] = field(default_factory=list[tuple[Position, int]])
    """What is before some of its frames, and where they begin, so that nobody reads a whole file to find one."""

    @classmethod
    def scanned(cls, path: Path, *, last: bool = False) -> Self:
        """Read a file from the first byte to the last. What is torn at the end of the `last` one is beyond `size`.

        Raises:
            LogDamagedError: It is not what was written.
        """
        begin = begin_of(path)
        if begin is None:
            raise LogDamagedError(str(path), 0, "its header is damaged")
        total = path.stat().st_size
        found = cls(path, begin, begin)
        for offset, frame in cls(path, begin, begin, total).frames(_HEADER_BYTES):
            if (problem := fault(frame, found.end)) is not None:
                raise LogDamagedError(str(path), offset, problem)
            found.note(frame)
        if (size := found.size) < total:
            whole = whole_frame(path, size)
            if whole is not None:
                raise LogDamagedError(str(path), size, f"a damaged frame, and a whole one behind it at byte {whole}")
            if not last:
                raise LogDamagedError(str(path), size, "a damaged frame, and another file follows")
        return found

    def note(self, frame: Frame) -> None:
        """Count a frame that is at the end now."""
        if self.size - (self.index[-1][1] if self.index else 0) >= _INDEX_BYTES:
            self.index.append((self.end.position, self.size))
        self.end, self.size = frame.mark, self.size + len(frame)
        self.ends[frame.epoch] = frame.last

    def frames(self, offset: int) -> Iterator[tuple[int, Frame]]:
        """Give the frames from an offset on, with theirs, up to the size or the first that is not whole."""
        with self.path.open("rb", buffering=_READ_BYTES) as file:
            file.seek(offset)
            while offset < self.size:
                head = file.read(FRAME_HEADER_BYTES)
                length = size_of(head)
                if length is None or offset + length > self.size:
                    return
                frame = decode(head + file.read(length - FRAME_HEADER_BYTES))
                if frame is None:
                    return
                yield offset, frame
                offset += length

    def frames_after(self, position: Position) -> Iterator[tuple[int, Frame]]:
        """Give the frames after a position, and some before it, with where each begins; those too that come meanwhile.

        Raises:
            LogDamagedError: One that was whole is no longer; those before it were given.
        """
        end = self._offset(bisect_right(self.index, position, key=itemgetter(0)))
        for offset, frame in self.frames(end):
            end = offset + len(frame)
            yield offset, frame
        if end < self.size:
            raise LogDamagedError(str(self.path), end, "a frame that was whole is damaged")

    def mark_at(self, position: Position) -> Mark | None:
        """Return the mark whose position this is; None if no frame ends there."""
        begin = self._offset(bisect_left(self.index, position, key=itemgetter(0)))
        marks = (frame.mark for _, frame in self.frames(begin))
        return next((mark for mark in marks if mark.position == position), None)

    def cut(self, mark: Mark) -> None:
        """Cut off what comes after the end of a frame, durably."""
        frames = self.frames_after(mark.position)
        self.size = next((offset for offset, frame in frames if frame.mark.position > mark.position), self.size)
        self.index = [each for each in self.index if each[1] < self.size]
        self.ends = {epoch: min(end, mark.sequence) for epoch, end in self.ends.items() if epoch <= mark.epoch}
        self.end = mark
        self.truncate()

    def truncate(self) -> None:
        """Have nothing behind the last frame, durably."""
        with self.path.open("r+b") as file:
            file.truncate(self.size)
            os.fsync(file.fileno())
        disk.sync_folder(self.path.parent)

    def _offset(self, found: int) -> int:
        return self.index[found - 1][1] if found else _HEADER_BYTES


def name_after(mark: Mark) -> str:
    """Return what a file is called that begins after a mark."""
    return f"{mark.sequence + 1:020d}-{mark.epoch:010d}.log"


def header(mark: Mark) -> bytes:
    """Return with what a file begins."""
    head = _HEADER.pack(_MAGIC, *mark, 0)[:60]
    return head + zlib.crc32(head).to_bytes(4, "little")


def begin_of(path: Path) -> Mark | None:
    """Return the mark with which a file begins; None if it is not there whole."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if len(head) < _HEADER_BYTES or zlib.crc32(head[:60]) != int.from_bytes(head[60:], "little"):
        return None
    magic, epoch, sequence, at_ns, crc, _ = _HEADER.unpack(head)
    return Mark(epoch, sequence, at_ns, crc) if magic == _MAGIC else None


def whole_frame(path: Path, offset: int) -> int | None:
    """Return where a whole frame begins after `offset`; None if there is none.

    Frames lie at multiples of 64, where no command can be mistaken for a header. Elsewhere what looks like one may be
    what somebody wrote into the fields of two commands, so that a log that was torn there would be refused.
    """
    data = path.read_bytes()
    while (offset := data.find(b"AFRM", offset + 1)) >= 0:
        if offset % FRAME_HEADER_BYTES == 0 and decode(memoryview(data)[offset:]) is not None:
            return offset
    return None
