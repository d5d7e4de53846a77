"""Files that are there whole or not at all, after a crash too."""

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["remove_unfinished", "synced", "write_whole"]

_ASIDE = ".aside-"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have a file written under another name, synced, and given its own; folders are made.

    A crash leaves the file as it was before, and perhaps one that `remove_unfinished` finds.
    """
    made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{_ASIDE}{path.name}")
    write(aside)
    synced(aside)
    aside.replace(path)
    for folder in (path.parent, *(each.parent for each in made)):
        synced(folder)


def synced(path: Path) -> None:
    """Return when what was written to a file, or which names a folder has, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(folder: Path) -> int:
    """Remove what a crash has left in a folder and below it; return how many files that were."""
    found = [*folder.rglob(f"{_ASIDE}*")]
    for each in found:
        each.unlink()
    return len(found)
