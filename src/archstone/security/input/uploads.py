"""Take files from strangers: bounded while they come, known by their content, made anew where they can be.

    uploads = Uploads(data / "uploads", kinds=("image/jpeg", "image/png", "application/pdf"), scanner=ClamAv("tcp://..."))
    taken = await uploads.take(request.stream(), name=part.filename)
    taken.path, taken.kind, taken.name

Promise: what is returned is whole on disk, under a name that nobody chose, mode 0600; refused or cancelled, nothing is
left. Its kind is what its bytes are; neither the name nor what a client says of it is believed. Pictures are made anew;
archives are looked through and not unpacked; text is UTF-8 and no page. A PDF is known by its beginning and its end and
is as its sender made it: have it scanned. Serve such files from a host of
their own, or with `Content-Disposition: attachment` and `nosniff`.
Not for files that are worked on as they come: they are taken whole, then looked at.

Source: OWASP, File Upload Cheat Sheet.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from archstone import world
from archstone.errors import ConfigError
from archstone.security.input.archives import ArchiveBounds, check_zip, gunzipped
from archstone.security.input.errors import InputError
from archstone.security.input.images import FORMATS, ImageBounds, made_anew
from archstone.security.input.paths import safe_name

__all__ = ["Scanner", "Taken", "Uploads", "kind_of"]

_PIECE: Final = 65_536
_LOOKED_AT: Final = 8_192
"""Bytes at both ends that tell what a file is."""
_DECODED: Final = (*FORMATS, "application/pdf", "application/zip", "application/gzip", "text/plain", "text/csv")
_ALIASES: Final = {
    "application/x-gzip": "application/gzip",
    "image/jpg": "image/jpeg",
    "image/avif-sequence": "image/avif",
}
_BOUNDS: Final = ArchiveBounds()
_IMAGES: Final = ImageBounds()


class Scanner(Protocol):
    """Looks at a file for malware: `ClamAv`."""

    async def scan(self, pieces: AsyncIterable[bytes]) -> None:
        """Return if it is clean; raise InputError if not, and whatever else if there is no verdict."""
        ...


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was taken."""

    path: Path
    kind: str
    """Its media type."""
    name: str
    """What it was called, made safe: to show, and for `Content-Disposition`."""
    size_bytes: int
    digest: str
    """SHA-256 of what is on disk, hex."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """A folder that takes files of some kinds."""

    folder: Path
    """Made when it is needed, mode 0700."""
    kinds: tuple[str, ...] = field(kw_only=True)
    """Media types that are taken."""
    most_bytes: int = field(kw_only=True, default=10_000_000)
    """Of a file as it comes. Above 0."""
    images: ImageBounds = field(kw_only=True, default=_IMAGES)
    archives: ArchiveBounds = field(kw_only=True, default=_BOUNDS)
    scanner: Scanner | None = field(kw_only=True, default=None)
    """None: nobody looks for malware."""

    def __post_init__(self) -> None:
        unknown = [each for each in self.kinds if each not in _DECODED]
        if unknown or not self.kinds or self.most_bytes <= 0:
            told = f"{', '.join(unknown)}: decoded by nothing here" if unknown else "nothing would be taken"
            raise ConfigError(f"uploads: {told}: take some of {', '.join(_DECODED)}, and most_bytes above 0")

    async def take(self, pieces: AsyncIterable[bytes], *, name: str | None = None) -> Taken:
        """Take a file as it comes. Refused or cancelled, nothing of it is left.

        Args:
            pieces: Its content.
            name: What its sender calls it.

        Raises:
            InputError: It is too long, of another kind, broken, a bomb or infected.
            ScannerError: The scanner gave no verdict.
        """
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        path = self.folder / world.secret_bytes(16).hex()
        try:
            await self._keep(path, pieces)
            if self.scanner is not None:
                await self.scanner.scan(_read(path))
            kind, size_bytes, digest = await asyncio.to_thread(self._looked_at, path)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise
        return Taken(path, kind, safe_name(name), size_bytes, digest)

    async def _keep(self, path: Path, pieces: AsyncIterable[bytes]) -> None:
        size = 0
        with _private(path) as file:
            async for piece in pieces:
                size += len(piece)
                if size > self.most_bytes:
                    raise InputError("large", f"more than {self.most_bytes} bytes")
                await asyncio.to_thread(file.write, piece)
        if size == 0:
            raise InputError("broken", "it is empty")

    def _looked_at(self, path: Path) -> tuple[str, int, str]:
        """Find out what a file is, decode it, and put what was made anew in its place."""
        kind = kind_of(path)
        if kind is None or kind not in _alike(self.kinds, kind):
            told = kind or "nothing that is known"
            raise InputError("kind", f"its content is {told}; taken are {', '.join(self.kinds)}")
        if kind == "text/plain" and kind not in self.kinds:
            kind = "text/csv"
        if kind in FORMATS:
            picture = made_anew(path.read_bytes(), kind, self.images)
            with path.open("r+b") as file:  # makes none: cancelled meanwhile, the file is gone, and stays so
                file.truncate()
                file.write(picture.content)
        elif kind == "application/zip":
            check_zip(path, self.archives)
        elif kind == "application/gzip":
            with path.open("rb") as packed:
                for _ in gunzipped(iter(lambda: packed.read(_PIECE), b""), self.archives):
                    pass
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return kind, path.stat().st_size, digest


def kind_of(path: Path) -> str | None:
    """Return the media type that the bytes of a file have, of those that are decoded here; None for any other.

    Text is UTF-8 without control characters, and without what a browser would take for a page.
    """
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
        file.seek(max(0, path.stat().st_size - _LOOKED_AT))
        tail = file.read()
    if head.startswith(b"%PDF-"):
        return "application/pdf" if b"%%EOF" in tail else None
    found = _by_magic(head)
    if found in _DECODED and not found.startswith("text/"):
        return found
    return "text/plain" if _is_text(path) else None


def _by_magic(head: bytes) -> str:
    import puremagic  # noqa: PLC0415 - of the extra `security`, and only who takes files needs it

    look_up = cast("Callable[[bytes], list[Any]]", puremagic.magic_string)  # pyright: ignore[reportUnknownMemberType]
    try:
        told = [str(each.mime_type) for each in look_up(head)]
    except (puremagic.PureError, ValueError):
        return ""
    kinds = [_ALIASES.get(each, each) for each in told]
    return next((each for each in kinds if each in _DECODED), "")


def _is_text(path: Path) -> bool:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    begins = text.lstrip("\ufeff \t\r\n")[:200].lower()
    page = begins.startswith(("<!doctype", "<html", "<svg", "<?xml", "<script", "<!--", "#!", "<?php"))
    return not page and not any(each < " " and each not in "\t\r\n\f" for each in text)


def _alike(kinds: tuple[str, ...], kind: str) -> tuple[str, ...]:
    # The bytes of a table are those of a text.
    return (*kinds, "text/plain") if "text/csv" in kinds and kind == "text/plain" else kinds


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


async def _read(path: Path) -> AsyncGenerator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
