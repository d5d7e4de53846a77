"""Files that are there whole or not at all, after a crash too; folders that are there at all; the price of a sync.

What is written aside has another name until it is whole and on disk. A crash may leave such a file behind, which nobody
looks for: `remove_unfinished` finds it, `is_unfinished` knows it by its name.

Not for what can be made again, which needs no sync, nor for what changes in parts: that is what databases are for.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from archstone import world

__all__ = [
    "AFTER_ASIDE",
    "ASIDE",
    "create",
    "is_unfinished",
    "make_folder",
    "measured_sync_s",
    "put",
    "put_by",
    "remove_unfinished",
    "sync",
    "sync_file",
    "sync_folder",
]

AFTER_ASIDE: Final = world.declare_point(
    "disk.after_aside", "a file is whole on disk under a name that nobody looks for, and has not its own name yet"
)
ASIDE: Final = ".aside"
"""How the name of a file ends, after a dot at its beginning, that is not whole yet."""
_PAGE: Final = bytes(4096)

if sys.platform == "darwin":  # where fsync alone does not reach the disk
    import fcntl

    def _sync_all(descriptor: int) -> None:
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

    _sync_content = _sync_all
elif sys.platform == "win32":
    _sync_all = _sync_content = os.fsync
else:
    _sync_all, _sync_content = os.fsync, os.fdatasync


def sync(descriptor: int) -> None:
    """Wait until the disk has what was written to a file. It may not know yet who may read it, and when it changed."""
    _sync_content(descriptor)


def sync_file(path: Path) -> None:
    """Wait until the disk has all of a file but its name."""
    _sync_path(path, _sync_all)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`: a new file is lost in a power cut until its folder is synced."""
    if os.name == "posix":
        _sync_path(folder, os.fsync)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents where missing, each synced into its parent."""
    missing = [folder, *folder.parents]
    for path in reversed([path for path in missing if not path.exists()]):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def create(path: Path, *parts: bytes, mode: int = 0o666) -> None:
    """Write a file that is not there yet, and wait until the disk has it; its name is safe once its folder is synced.

    Raises:
        FileExistsError: There is one, or a link: none is followed that somebody has put there.
        OSError: It cannot be written. A part of it may be there.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        _sync_all(file.fileno())


def put(path: Path, *parts: bytes, mode: int = 0o666, replace: bool = True) -> None:
    """Write a file: who reads it meets the old one or the new one, whole, after a crash too.

    Several processes may do so at once: one of them is last.

    Args:
        path: Where; its folder is there.
        parts: What, one after another.
        mode: Its permissions, of which the umask takes away.
        replace: False: a file that is there stays, since another process was first.

    Raises:
        OSError: It cannot be written; what was there is there.
    """
    _put(path, lambda aside: create(aside, *parts, mode=mode), replace=replace)


def put_by(path: Path, write: Callable[[Path], object], *, replace: bool = True) -> None:
    """Have a file written by a function that is given another name, and put it in place as `put` does."""

    def written(aside: Path) -> None:
        write(aside)
        sync_file(aside)

    _put(path, written, replace=replace)


def is_unfinished(name: str) -> bool:
    """Whether a file of this name was begun and has not got its own name."""
    return name.startswith(".") and name.endswith(ASIDE)


def remove_unfinished(folder: Path) -> int:
    """Remove what a crash has left in a folder and below it; return how many files that were. Nobody may be writing."""
    found = [*folder.rglob(f".*{ASIDE}")]
    for each in found:
        each.unlink()
    return len(found)


def measured_sync_s(folder: Path, *, growing: bool = False) -> float:
    """Return the seconds that one write and sync of a page takes in `folder`: the quickest of five.

    What else the machine does at that moment only adds; the disk itself never takes less.

    Args:
        folder: On the disk that is asked.
        growing: Whether each page comes after the one before, as in a log, which costs some disks a second write.
    """
    clock, taken = world.clock(), list[float]()
    path = _aside(folder / "sync")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for number in range(5):
            begun_s = clock()
            os.pwrite(descriptor, _PAGE, number * len(_PAGE) if growing else 0)
            sync(descriptor)
            taken.append(clock() - begun_s)
        return min(taken)
    finally:
        os.close(descriptor)
        path.unlink()


def _put(path: Path, write: Callable[[Path], object], *, replace: bool) -> None:
    aside = _aside(path)
    try:
        write(aside)
        world.point(AFTER_ASIDE)
        if replace:
            aside.replace(path)
        else:
            _link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _aside(path: Path) -> Path:
    """Return a name that nobody else takes, not even a process of the same id after a crash."""
    return path.with_name(f".{path.name}.{world.new_id()}{ASIDE}")


def _link(aside: Path, path: Path) -> None:
    """Give the file its name unless another process was first: a link, unlike a rename, does not overwrite."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return


def _sync_path(path: Path, how: Callable[[int], None]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        how(descriptor)
    finally:
        os.close(descriptor)
