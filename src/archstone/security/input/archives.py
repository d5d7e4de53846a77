"""Archives of strangers: looked through before anything is unpacked, by what comes out and not by what they say.

Promise: a bomb is found after at most `unpacked_bytes` have been made, of which 64 KiB are in memory at once. Refused
are names that lead out of a folder, links, entries that share bytes (Fifield's bomb), and encrypted ones. Archives in
archives are counted as bytes and never opened.

Source: Fifield 2019, A better zip bomb, section 3.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from archstone.resilience import check
from archstone.security.input.errors import InputError
from archstone.security.input.paths import safe_join

__all__ = ["ArchiveBounds", "check_zip", "gunzipped"]

_PIECE: Final = 65_536
_HEAD_BYTES: Final = 30
"""Of a local entry in a zip, without its name."""
_SLACK_BYTES: Final = 1_000_000
"""A ratio means nothing below this: a page of spaces packs to nothing."""
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveBounds:
    """How much may come out."""

    unpacked_bytes: int = 200_000_000
    """Of all entries. Above 0."""
    entries: int = 10_000
    """At least 1."""
    expansion: float = 100.0
    """Unpacked over packed, beyond the first megabyte. Above 1."""

    def __post_init__(self) -> None:
        check(
            self,
            unpacked_bytes=(self.unpacked_bytes > 0, "above 0"),
            entries=(self.entries >= 1, "at least 1"),
            expansion=(self.expansion > 1, "above 1"),
        )


_BOUNDS: Final = ArchiveBounds()


def check_zip(file: Path, bounds: ArchiveBounds = _BOUNDS) -> None:
    """Look through a zip file; it blocks, so call it in a thread.

    Raises:
        InputError: It is broken, a bomb, or holds an entry that must not be unpacked.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > bounds.entries:
                raise InputError("bomb", f"{len(entries)} entries, at most {bounds.entries}")
            _check_entries(entries)
            _count(archive, entries, bounds)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("broken", f"no zip file that can be read ({type(error).__name__})") from error


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    end = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if entry.flag_bits & 0x1:
            raise InputError("kind", "an entry is encrypted, so nobody can look at it")
        if entry.compress_type not in _METHODS:
            raise InputError("kind", f"an entry is packed in a way that is not taken ({entry.compress_type})")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError("path", "an entry is a link")
        safe_join(Path("inside"), entry.filename.rstrip("/"))
        if entry.header_offset < end:
            raise InputError("bomb", "entries share their bytes")
        end = entry.header_offset + _HEAD_BYTES + entry.compress_size


def _count(archive: zipfile.ZipFile, entries: Iterable[zipfile.ZipInfo], bounds: ArchiveBounds) -> None:
    made = packed = 0
    for entry in entries:
        packed += entry.compress_size
        with archive.open(entry) as stream:
            while piece := stream.read(_PIECE):
                made += len(piece)
                _check_made(made, packed, bounds)


def gunzipped(pieces: Iterable[bytes], bounds: ArchiveBounds = _BOUNDS) -> Iterator[bytes]:
    """Yield what gzip has packed, at most 64 KiB at a time.

    Raises:
        InputError: It is broken, or would become too much; what was yielded before is to be thrown away.
    """
    unpacker = zlib.decompressobj(wbits=31)
    made = packed = 0
    whole = False
    for piece in pieces:
        packed += len(piece)
        left = piece.lstrip(b"\0") if whole else piece  # padding may follow the end
        while left:
            whole = False
            try:
                out = unpacker.decompress(left, _PIECE)
            except zlib.error as error:
                raise InputError("broken", "it is not packed by gzip") from error
            made += len(out)
            _check_made(made, packed, bounds)
            if out:
                yield out
            left = unpacker.unconsumed_tail
            if unpacker.eof:  # another member may follow, as gzip files have them
                whole = True
                left, unpacker = unpacker.unused_data.lstrip(b"\0"), zlib.decompressobj(wbits=31)
    if not whole:
        raise InputError("broken", "it is cut off")


def _check_made(made: int, packed: int, bounds: ArchiveBounds) -> None:
    if made > bounds.unpacked_bytes:
        raise InputError("bomb", f"more than {bounds.unpacked_bytes} bytes come out")
    if made > _SLACK_BYTES and made > packed * bounds.expansion:
        raise InputError("bomb", f"more than {bounds.expansion:g} times as much comes out")
