"""Snapshots: a venue as it was after a command, so that a start need not do all commands again.

A file (`00000000000000001000.snapshot`, the number of the last command in it) is a header of 64 bytes and what the
venue dumped:

    0   8  the letters AFRSNP, 0, 1
    8   8  epoch
    16  8  number of the last command
    24  8  time of its frame
    32  4  CRC-32 of its frame
    36  4  zero
    40  8  digest of the venue
    48  8  bytes of the dump
    56  4  CRC-32 of the dump
    60  4  CRC-32 of these 60 bytes

Promise: a snapshot is there whole or not at all. One that is damaged is passed over, with a warning.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Final, NamedTuple, Self

from archstone import disk, world
from archstone.observability import get_logger
from archstone.systems.exchange.sequencer.frames import Mark

__all__ = ["AFTER_SNAPSHOT", "Snapshot", "Snapshots"]

AFTER_SNAPSHOT: Final = world.declare_point(
    "exchange.after_snapshot", "a snapshot is on disk, and the older ones and the files of the log before it still are"
)

_HEADER: Final = struct.Struct("<8sQQqI4xQQI")
_MAGIC: Final = b"AFRSNP\x00\x01"
_HEADER_BYTES: Final = 64
_RECEIVED: Final = "received"

_log = get_logger("archstone.exchange")


class Snapshot(NamedTuple):
    """A venue at a mark of the log."""

    mark: Mark
    digest: int
    dump: bytes

    @property
    def head(self) -> bytes:
        """The header, as described above."""
        head = _HEADER.pack(_MAGIC, *self.mark, self.digest, len(self.dump), zlib.crc32(self.dump))
        return head + zlib.crc32(head).to_bytes(4, "little")

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """Return what header and dump say; None if they are damaged."""
        head = data[: _HEADER_BYTES - 4]
        if len(data) < _HEADER_BYTES or zlib.crc32(head) != int.from_bytes(data[60:64], "little"):
            return None
        magic, epoch, sequence, at_ns, crc, digest, size, of_dump = _HEADER.unpack(head)
        dump = data[_HEADER_BYTES:]
        if magic != _MAGIC or len(dump) != size or zlib.crc32(dump) != of_dump:
            return None
        return cls(Mark(epoch, sequence, at_ns, crc), digest, dump)


class Snapshots:
    """Those of one node."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        """Name the folder, which `open` makes, and how many of the newest stay."""
        self.folder = folder
        self._keep = keep

    def open(self) -> None:
        """Make the folder, and remove what was not finished."""
        disk.make_folder(self.folder)
        disk.remove_unfinished(self.folder)

    def write(self, snapshot: Snapshot) -> None:
        """Keep one durably. May run in a thread."""
        disk.put(self._path(snapshot.mark.sequence), snapshot.head, snapshot.dump)
        world.point(AFTER_SNAPSHOT)

    def newest(self) -> list[int]:
        """Return after which commands there are those that stay whatever the log keeps, rising."""
        return self.sequences()[-self._keep :]

    def prune(self, begins: Sequence[int]) -> None:
        """Remove all but the newest, and the oldest one of each file of the log, by which its commands are done again.

        Args:
            begins: The number of the command before each file that is kept, rising.
        """
        found = self.sequences()
        stay = {*self.newest()}
        for begin, end in pairwise([*begins, inf]):
            stay |= {*[each for each in found if begin <= each < end][:1]}
        for sequence in found:
            if sequence not in stay:
                self._path(sequence).unlink()

    def sequences(self) -> list[int]:
        """Return after which commands there are some, rising."""
        return sorted(int(path.stem) for path in self.folder.glob("*.snapshot"))

    def newest_first(self, upto: int | None = None) -> Iterator[Snapshot]:
        """Give those that are whole, none after command `upto`. None: all."""
        for sequence in reversed(self.sequences()):
            if upto is not None and sequence > upto:
                continue
            snapshot = Snapshot.decode(self._path(sequence).read_bytes())
            if snapshot is None:
                _log.warning("damaged snapshot passed over", file=str(self._path(sequence)))
            else:
                yield snapshot

    def receive(self, snapshot: Snapshot) -> None:
        """Keep one of another node aside, durably, until `accept` or `discard`."""
        disk.put(self.folder / _RECEIVED, snapshot.head, snapshot.dump)

    def received(self) -> Snapshot | None:
        """Return what was received and neither accepted nor discarded."""
        path = self.folder / _RECEIVED
        return Snapshot.decode(path.read_bytes()) if path.exists() else None

    def accept(self, snapshot: Snapshot) -> None:
        """Make what was received the only one."""
        for sequence in self.sequences():
            self._path(sequence).unlink()
        (self.folder / _RECEIVED).replace(self._path(snapshot.mark.sequence))
        disk.sync_folder(self.folder)

    def discard(self) -> None:
        """Forget what was received."""
        (self.folder / _RECEIVED).unlink(missing_ok=True)

    def _path(self, sequence: int) -> Path:
        return self.folder / f"{sequence:020d}.snapshot"
