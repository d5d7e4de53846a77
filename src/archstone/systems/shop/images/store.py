"""Files that can be made again: pictures as they were fetched, and made small. Bounded; what was read last stays.

Promise: what `get` returns is what was put, whole, or it is None. A file holds a digest before its content, so that
neither a crash, nor a power cut (nothing is synced), nor a failing disk gives half a picture. A file is written under
another name and renamed. No crash point hangs on it: whatever is lost is fetched again, and nobody was promised that
it is there. The folder carries the mark by which programs that back up know a cache, Archstone's own included.

When it was read last is the time of the file, so that the order outlives the process.
"""

import asyncio
import hashlib
import os
import re
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final

from archstone import world
from archstone.systems.shop.images.failures import ImageError

__all__ = ["ImageStore"]

MOST_FILES: Final = 50_000
_NAME: Final = re.compile(r"[0-9a-f]{32}(?:-[0-9]{1,4})?")
_DIGEST_BYTES: Final = 16
_MARK: Final = "CACHEDIR.TAG"
_MARKED: Final = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Pictures that the shop can fetch again: a backup need not hold them. See bford.info/cachedir.\n"
)


class ImageStore:
    """A folder of files, by names of 32 hex digits and perhaps a width. Nothing is touched before the first call."""

    def __init__(self, folder: Path, *, most_bytes: int, most_files: int = MOST_FILES) -> None:
        """Name the folder, which is made when it is needed, and how much it may hold."""
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_files = most_files
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._opened = False
        self._opening = asyncio.Lock()

    @property
    def kept_bytes(self) -> int:
        """How much it holds."""
        return self._bytes

    def __contains__(self, name: object) -> bool:
        """Whether there is a file of that name, as far as is known since the first `get`. It may be damaged."""
        return name in self._sizes

    async def get(self, name: str) -> bytes | None:
        """Return a file's content, which is kept longer for it; None if there is none. A damaged one is deleted."""
        await self._open()
        if name not in self._sizes:
            return None
        content = await asyncio.to_thread(_read, self._folder / name, world.now_us())
        if content is None:
            await self.drop(name)
        elif name in self._sizes:
            self._sizes.move_to_end(name)
        return content

    async def put(self, name: str, content: bytes) -> None:
        """Keep a file; those read longest ago make room. Cancelled: it is kept whole or not at all.

        Raises:
            ImageError: the disk does not take it.
        """
        await self._open()
        try:
            await asyncio.to_thread(_write, self._folder / name, content, world.now_us())
        except OSError as error:
            raise ImageError("disk", f"it cannot be kept ({error.strerror or error})") from error
        self._count(name, _DIGEST_BYTES + len(content))
        await self._make_room()

    async def drop(self, name: str) -> None:
        """Delete a file, if it is there."""
        self._forget(name)
        await asyncio.to_thread(_unlink, [self._folder / name])

    async def _open(self) -> None:
        """Make the folder, and find what the last process left in it."""
        if self._opened:
            return
        async with self._opening:
            if self._opened:
                return
            try:
                found = await asyncio.to_thread(_scan, self._folder)
            except OSError as error:
                raise ImageError("disk", f"its folder cannot be used ({error.strerror or error})") from error
            for name, size in found:
                self._count(name, size)
            self._opened = True
        await self._make_room()

    def _count(self, name: str, size: int) -> None:
        self._forget(name)
        self._sizes[name] = size
        self._bytes += size

    def _forget(self, name: str) -> None:
        self._bytes -= self._sizes.pop(name, 0)

    async def _make_room(self) -> None:
        gone: list[Path] = []
        while self._sizes and (self._bytes > self._most_bytes or len(self._sizes) > self._most_files):
            name, size = self._sizes.popitem(last=False)
            self._bytes -= size
            gone.append(self._folder / name)
        if gone:
            await asyncio.to_thread(_unlink, gone)


def _scan(folder: Path) -> list[tuple[str, int]]:
    """Return the files and their sizes, read longest ago first. What was being written is deleted."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / _MARK).write_text(_MARKED, encoding="ascii")
    found: list[tuple[int, str, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".tmp"):
                _unlink([Path(entry.path)])
            elif _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                told = entry.stat(follow_symlinks=False)
                found.append((told.st_mtime_ns, entry.name, told.st_size))
    return [(name, size) for _, name, size in sorted(found)]


def _read(file: Path, now_us: int) -> bytes | None:
    try:
        whole = file.read_bytes()
        if _digest(whole[_DIGEST_BYTES:]) != whole[:_DIGEST_BYTES]:
            return None
        os.utime(file, ns=(now_us * 1000, now_us * 1000))
    except OSError:
        return None
    return whole[_DIGEST_BYTES:]


def _write(file: Path, content: bytes, now_us: int) -> None:
    aside = file.with_name(f".{file.name}.tmp")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(_digest(content) + content)
        os.utime(aside, ns=(now_us * 1000, now_us * 1000))
        aside.replace(file)
    except BaseException:
        _unlink([aside])  # a full disk is not to be filled with what is not whole
        raise


def _unlink(files: list[Path]) -> None:
    for file in files:
        with suppress(OSError):
            file.unlink()


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
