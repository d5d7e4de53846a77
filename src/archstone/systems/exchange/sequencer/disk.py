"""Files that are there, whole, when a call has returned."""

import fcntl
import os
from pathlib import Path
from typing import Final

from archstone import world

__all__ = ["AFTER_ASIDE", "make", "put", "remove", "sync", "sync_folder"]

AFTER_ASIDE: Final = world.declare_point(
    "exchange.after_aside",
    "a snapshot, an id, the end of a log, or what the witness keeps, is whole on disk under a name nobody looks for",
)
_ASIDE: Final = ".aside"


def sync(descriptor: int) -> None:
    """Wait until the disk has what was written: on macOS, too, where fsync alone does not."""
    if (full := getattr(fcntl, "F_FULLFSYNC", None)) is not None:
        fcntl.fcntl(descriptor, full)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there; all of them are after a crash too."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def put(path: Path, *parts: bytes) -> None:
    """Write a file of one's own: who reads it meets the old one or the new one, whole, after a crash too."""
    aside = path.with_name(path.name + _ASIDE)
    try:
        with aside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            sync(file.fileno())
    except OSError:
        aside.unlink(missing_ok=True)  # or half of it takes the room that the log needs next
        raise
    world.point(AFTER_ASIDE)
    aside.replace(path)
    sync_folder(path.parent)


def remove(folder: Path) -> None:
    """Remove what a process left behind that died while it wrote aside."""
    for path in folder.glob(f"*{_ASIDE}"):
        path.unlink()
