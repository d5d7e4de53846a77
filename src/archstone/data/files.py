"""Files that are there whole or not at all, after a crash too; and folders that are there at all."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from archstone import world

__all__ = ["make_folder", "measured_sync_s", "put", "put_by", "remove_unfinished", "sync_folder"]

_ASIDE: Final = ".aside"

if sys.platform == "darwin":  # where fsync alone does not reach the disk
    import fcntl

    def _sync(descriptor: int) -> None:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
else:
    _sync = os.fsync


def put(path: Path, *parts: bytes, mode: int = 0o666, replace: bool = True) -> None:
    """Write a file: who reads it meets the old one or the new one, whole, after a crash too.

    Several processes may do so at once: one of them is last. A crash may leave a file that `remove_unfinished` finds.

    Args:
        path: Where; its folder is there.
        parts: What, one after another.
        mode: Its permissions, of which the umask takes away.
        replace: False: a file that is there stays, since another process was first.

    Raises:
        OSError: It cannot be written; what was there is there.
    """

    def write(aside: Path) -> None:
        # Exclusively: no link that somebody has put there is followed.
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)

    put_by(path, write, replace=replace)


def put_by(path: Path, write: Callable[[Path], object], *, replace: bool = True) -> None:
    """Have a file written by a function that is given another name, and put it in place as `put` does."""
    aside = path.with_name(f".{path.name}.{world.new_id()}{_ASIDE}")
    try:
        write(aside)
        _sync_path(aside, _sync)
        if replace:
            aside.replace(path)
        else:
            _link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_unfinished(folder: Path) -> int:
    """Remove what a crash has left in a folder and below it; return how many files that were. Nobody may be writing."""
    found = [*folder.rglob(f".*{_ASIDE}")]
    for each in found:
        each.unlink()
    return len(found)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents where missing, each synced into its parent."""
    missing = [folder, *folder.parents]
    for path in reversed([path for path in missing if not path.exists()]):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: a new file is lost in a power cut until its folder is synced."""
    if os.name == "posix":
        _sync_path(folder, os.fsync)


def measured_sync_s(folder: Path, clock: Callable[[], float], *, sync: Callable[[int], object] = os.fsync) -> float:
    """Return the seconds that a page more and a sync take of a file in `folder`: the quickest of five.

    What else the machine does at that moment only adds; the disk itself never takes less. A crash may leave a file that
    `remove_unfinished` finds.

    Raises:
        OSError: The disk takes no page.
    """
    path = folder / f".sync-measured.{os.getpid()}{_ASIDE}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        taken: list[float] = []
        for _ in range(5):
            begin_s = clock()
            os.write(descriptor, bytes(4096))
            sync(descriptor)
            taken.append(clock() - begin_s)
        return min(taken)
    finally:
        os.close(descriptor)
        path.unlink()


def _sync_path(path: Path, sync: Callable[[int], None]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _link(aside: Path, path: Path) -> None:
    """Give the file its name unless another process was first: a link, unlike a rename, does not overwrite."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return
