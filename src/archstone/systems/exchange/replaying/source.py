"""Files in pieces, packed or not."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from archstone.systems.exchange.replaying.messages import DamagedFileError

__all__ = ["PIECE_BYTES", "Source", "is_packed"]

PIECE_BYTES: Final = 1 << 20
_MAGIC: Final = b"\x1f\x8b"


def is_packed(file: Path) -> bool:
    """Return whether a file begins as gzip does, whatever its name."""
    with file.open("rb") as opened:
        return opened.read(2) == _MAGIC


class Source:
    """A file that is read once, from its beginning."""

    def __init__(self, file: Path, *, piece_bytes: int = PIECE_BYTES) -> None:
        """Take a file; it is opened when it is read.

        Args:
            file: Packed by gzip, or not.
            piece_bytes: Size of a piece, unpacked, at most; at least 1.
        """
        self.file = file
        self.size_bytes = file.stat().st_size
        self.read_bytes = 0
        """Of the file as it lies there, so that it tells how far reading has come."""
        self._piece_bytes = piece_bytes

    def pieces(self) -> Iterator[bytes]:
        """Give the bytes of the file, unpacked, none of the pieces empty.

        Raises:
            DamagedFileError: It is packed, and cut or changed.
        """
        packed = is_packed(self.file)
        unpacked_bytes = 0
        with self.file.open("rb") as raw:
            opened = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
            while True:
                try:
                    piece = opened.read(self._piece_bytes)
                except (EOFError, OSError, zlib.error) as error:
                    if not packed:
                        raise
                    place = f"byte {unpacked_bytes:,} once unpacked"
                    raise DamagedFileError(self.file.name, place, f"gzip says: {error}") from error
                self.read_bytes = raw.tell()
                if not piece:
                    return
                unpacked_bytes += len(piece)
                yield piece
