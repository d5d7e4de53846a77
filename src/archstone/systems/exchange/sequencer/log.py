"""The command log: frames in files, each after the one before, found whole again after a crash or refused.

What is in a file `segment` describes.

Promise: what was there when `sync` returned is there after any crash. A frame at the very end that is not whole was
being written when the process or the machine died: it is cut off. Whatever else does not fit is refused and left as it
is: a damaged frame before a whole one, a gap, a file that is missing, any other end than the one that `seal` noted.
Not for two processes at once: the folder is locked by whoever opens it.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise, starmap
from pathlib import Path
from typing import Final

from archstone import disk, world
from archstone.errors import BackendError
from archstone.observability import get_logger
from archstone.systems.exchange.sequencer.errors import LogDamagedError
from archstone.systems.exchange.sequencer.frames import NOTHING, Frame, Mark, Position, fault
from archstone.systems.exchange.sequencer.segment import Segment, begin_of, header, name_after, whole_frame

__all__ = ["AFTER_CUT", "AFTER_SEGMENT", "AFTER_WRITE", "MID_SEGMENT", "CommandLog", "LogBrokenError"]

AFTER_WRITE: Final = world.declare_point("exchange.after_write", "a frame is written, and the disk may not have it yet")
MID_SEGMENT: Final = world.declare_point("exchange.mid_segment", "a new file of the log is there, and empty")
AFTER_SEGMENT: Final = world.declare_point("exchange.after_segment", "a new file of the log is begun, without a frame")
AFTER_CUT: Final = world.declare_point(
    "exchange.after_cut", "frames that were never acknowledged are cut off the log, and nothing is there in their place"
)

_RESET: Final = "reset"
"""A note in the folder: all files are to go, and the log to begin anew after the mark in it."""
_SEALED: Final = "sealed"
"""A note in the folder: the log was closed whole, and ends with the mark in it."""

_log = get_logger("archstone.exchange")


class LogBrokenError(BackendError, code="exchange.log-broken", status=503):
    """The disk refused a write or an fsync. What was written since the last fsync may be there or not."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(file, why)
        self.file = file
        self.why = why

    def __str__(self) -> str:
        return f"command log {self.file}: {self.why}: this node takes nothing more; mend the disk and start it again"


class CommandLog:
    """The frames of one node. Nothing here waits for anything but the disk."""

    def __init__(self, folder: Path, *, segment_bytes: int = 64 << 20) -> None:
        """Name the folder; `open` makes and reads it.

        Args:
            folder: Of the log alone.
            segment_bytes: Size at which a file is full.
        """
        self.folder = folder
        self.end = NOTHING
        """Of the last frame."""
        self._segment_bytes = segment_bytes
        self._segments: list[Segment] = []
        self._descriptor: int | None = None
        self._left: list[int] = []
        self._broken = ""

    @property
    def begin(self) -> Mark:
        """What the oldest frame follows."""
        return self._segments[0].begin

    @property
    def begins(self) -> list[int]:
        """Number of the command before each file, oldest first."""
        return [segment.begin.sequence for segment in self._segments]

    @property
    def segments(self) -> int:
        """How many files there are."""
        return len(self._segments)

    def exists(self) -> bool:
        """Whether there is any file of it, before it is opened."""
        return any(self.folder.glob("*.log"))

    def open(self) -> int:
        """Read what is there, from the first byte to the last, and return how many bytes of a torn tail were cut.

        Raises:
            LogDamagedError: It is not what was written; nothing was changed.
        """
        disk.make_folder(self.folder)
        disk.remove_unfinished(self.folder)
        if (unfinished := self.folder / _RESET).exists():
            self._restart(unfinished)
        paths = sorted(self.folder.glob("*.log"))
        for path in paths[:-1]:
            self._segments.append(Segment.scanned(path))
        cut = self._open_last(paths[-1]) if paths else 0
        for earlier, later in pairwise(self._segments):
            if earlier.end != later.begin:
                said = f"it follows command {later.begin.sequence}, the file before ends with {earlier.end.sequence}"
                raise LogDamagedError(str(later.path), 0, f"a gap: {said}")
        self._unseal()
        if not self._segments:
            self._start(NOTHING)
        self.end = self._last.end
        self._reopen()
        return cut

    def seal(self) -> None:
        """Note where a log ends of which the disk has all, before it is closed: the next `open` wants that end."""
        disk.put(self.folder / _SEALED, header(self.end))

    def close(self) -> None:
        """Give the files back. What was not synced is not synced by this."""
        if self._descriptor is not None:
            self._left.append(self._descriptor)
            self._descriptor = None
        self._close_left()

    def append(self, frame: Frame) -> None:
        """Write a frame at the end. The disk has it when `sync` has returned.

        Raises:
            LogBrokenError: It could not be written; whether it is there is not known.
            LogDamagedError: It does not follow the last one.
        """
        self._refuse_broken()
        if (problem := fault(frame, self.end)) is not None:
            raise LogDamagedError(str(self._last.path), self._last.size, problem)
        if self._last.size >= self._segment_bytes:
            self._sync()
            self._roll()
        try:
            self._write(frame)
        except OSError as error:
            raise self._broke(error) from error
        self._last.note(frame)
        self.end = frame.mark
        world.point(AFTER_WRITE)

    def sync(self) -> None:
        """Wait until the disk has all that was appended.

        Raises:
            LogBrokenError: It says that it has not. Asked again it would say that it has, so nobody asks again.
        """
        self._close_left()
        self._sync()

    def _sync(self) -> None:
        self._refuse_broken()
        try:
            disk.sync(self._open_descriptor)
        except OSError as error:
            raise self._broke(error) from error

    def read(self, after: Position) -> Iterator[Frame]:
        """Give the frames after a position, oldest first, to the end; those too that are appended meanwhile.

        The position is the end of a frame, or lies within one, which is then given whole.

        Raises:
            LookupError: They are no longer kept, or what comes next was removed meanwhile.
        """
        if after < self.begin.position:
            raise LookupError(f"frames after command {after.sequence}: kept from {self.begin.sequence + 1} on")
        number = bisect_right([segment.begin.position for segment in self._segments], after) - 1
        segment: Segment | None = self._segments[number]
        while segment is not None:
            for _, frame in segment.frames_after(after):
                if frame.mark.position > after:
                    yield frame
                    after = frame.mark.position
            following = next((each for each in self._segments if each.begin.position > segment.begin.position), None)
            if following is not None and following.begin != segment.end:
                kept = following.begin.sequence
                raise LookupError(f"frames after command {segment.end.sequence}: kept from {kept + 1} on")
            segment = following

    def mark_at(self, position: Position) -> Mark | None:
        """Return the mark whose position this is; None if no frame ends there."""
        if position == self.begin.position:
            return self.begin
        for segment in reversed(self._segments):
            if segment.begin.position < position:
                return segment.mark_at(position)
        return None

    def epochs(self) -> tuple[Position, ...]:
        """Return the place before the oldest frame, then the end of each epoch, oldest first; see `agreement`."""
        begin = self.begin.position
        ends = {epoch: end for segment in self._segments for epoch, end in segment.ends.items()}
        return (begin, *(each for each in starmap(Position, ends.items()) if each > begin))

    def cut(self, position: Position) -> None:
        """Cut off all that comes after the end of a frame, durably.

        Raises:
            LookupError: No frame ends there.
        """
        mark = self.mark_at(position)
        if mark is None:
            raise LookupError(f"no frame ends with command {position.sequence} of epoch {position.epoch}")
        if mark == self.end:
            return
        while len(self._segments) > 1 and self._last.begin.position >= position:
            self._last.path.unlink()
            self._segments.pop()
        self._last.cut(mark)
        self.end = mark
        self._reopen()
        world.point(AFTER_CUT)

    def drop(self, upto: int, *, keep: int = 0) -> None:
        """Remove files that hold nothing after command `upto`, but the newest `keep` of the full ones."""
        before = len(self._segments)
        while len(self._segments) - 1 > keep and self._segments[0].end.sequence <= upto:
            self._segments.pop(0).path.unlink()
        if len(self._segments) < before:
            disk.sync_folder(self.folder)

    def reset(self, mark: Mark) -> None:
        """Forget all and go on after a mark, the place of a snapshot."""
        self.close()
        disk.put(self.folder / _RESET, header(mark))
        self._restart(self.folder / _RESET)
        self._segments.clear()
        self._segments.append(Segment.scanned(next(self.folder.glob("*.log")), last=True))
        self.end = mark
        self._reopen()

    @property
    def _last(self) -> Segment:
        return self._segments[-1]

    @property
    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise LogBrokenError(str(self.folder), "it is not open")
        return self._descriptor

    def _refuse_broken(self) -> None:
        if self._broken:
            raise LogBrokenError(str(self._last.path), self._broken)

    def _broke(self, error: OSError) -> LogBrokenError:
        self._broken = error.strerror or str(error)
        return LogBrokenError(str(self._last.path), self._broken)

    def _unseal(self) -> None:
        """See that a log that was closed whole still is. From now on a crash may leave any end."""
        note = self.folder / _SEALED
        if not note.exists():
            return
        if begin_of(note) != (self._segments[-1].end if self._segments else None):
            raise LogDamagedError(str(note), 0, "the log was closed whole, and ends otherwise now")
        note.unlink()
        disk.sync_folder(self.folder)

    def _refuse_sealed(self, path: Path, offset: int) -> None:
        if (self.folder / _SEALED).exists():
            raise LogDamagedError(str(path), offset, "the log was closed whole, and its end is damaged now")

    def _restart(self, note: Path) -> None:
        """Do what a note says: nothing but the mark in it. A crash in here is mended by doing it again."""
        mark = begin_of(note)
        if mark is None:
            raise LogDamagedError(str(note), 0, "it says after which command the log begins anew, and is damaged")
        for path in self.folder.glob("*.log"):
            path.unlink()
        self._start(mark)
        self._segments.clear()
        note.unlink()
        disk.sync_folder(self.folder)

    def _write(self, frame: Frame) -> None:
        written = os.writev(self._open_descriptor, frame.parts)
        if written < len(frame):
            rest = memoryview(b"".join(frame.parts))[written:]
            while rest:
                rest = rest[os.write(self._open_descriptor, rest) :]

    def _roll(self) -> None:
        try:
            self._start(self.end)
            self._reopen()
        except OSError as error:
            raise self._broke(error) from error

    def _close_left(self) -> None:
        while self._left:
            os.close(self._left.pop())

    def _reopen(self) -> None:
        before = self._descriptor
        self._descriptor = os.open(self._last.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        if before is not None:
            self._left.append(before)  # a thread may be at it, in `sync`: it stays open until the next one

    def _start(self, mark: Mark) -> None:
        """Begin a new file after a mark."""
        path = self.folder / name_after(mark)
        with path.open("wb") as file:
            world.point(MID_SEGMENT)
            file.write(header(mark))
            file.flush()
            disk.sync(file.fileno())
        disk.sync_folder(self.folder)
        self._segments.append(Segment(path, mark, mark))
        world.point(AFTER_SEGMENT)

    def _open_last(self, path: Path) -> int:
        """Read the newest file and cut its torn tail; return how long that was."""
        begin = begin_of(path)
        if begin is None:
            # Its header was being written, and so it has no frame; one that has is damaged.
            if (offset := whole_frame(path, 0)) is not None:
                raise LogDamagedError(str(path), 0, f"no header, and a whole frame at byte {offset}")
            self._refuse_sealed(path, 0)
            size = path.stat().st_size
            path.unlink()
            disk.sync_folder(self.folder)
            return size
        segment = Segment.scanned(path, last=True)
        self._segments.append(segment)
        torn = path.stat().st_size - segment.size
        if torn:
            self._refuse_sealed(path, segment.size)
            _log.warning("torn tail of the command log cut", file=str(path), bytes=torn, after=segment.end.sequence)
            segment.truncate()
        return torn
