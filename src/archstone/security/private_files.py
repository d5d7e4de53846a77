"""Files that only their owner reads: written aside, synced, put in place in one step; refused if others can read."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from archstone import world
from archstone.security.errors import InsecureKeyFileError, KeyFileError

__all__ = ["put", "read_private", "taken", "write_private"]

_GROUP_AND_OTHERS: Final = 0o077


def read_private(path: Path) -> bytes | None:
    """Return what a file of keys holds; None if there is none.

    Raises:
        InsecureKeyFileError: Its mode lets others in.
        KeyFileError: It cannot be read.
    """
    try:
        return taken(path, InsecureKeyFileError)
    except OSError as error:
        raise KeyFileError(str(path), error.strerror or str(error)) from error


def write_private(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file of keys with mode 0600, durably; whoever reads meets the old one or the new one, whole.

    Args:
        path: Where; the folder is there.
        content: What.
        replace: False: a file that is there stays, since another process was first.

    Raises:
        KeyFileError: It cannot be written.
    """
    try:
        put(path, content, replace=replace)
    except OSError as error:
        raise KeyFileError(str(path), error.strerror or str(error)) from error


def taken(path: Path, insecure: Callable[[str, int], Exception]) -> bytes | None:
    """Return what a file holds, None if there is none; `insecure` makes the error of a mode that lets others in."""
    try:
        # No link is followed: a link could be turned to a file that somebody else owns.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and mode & _GROUP_AND_OTHERS:
            raise insecure(str(path), mode)
        return file.read()


def put(path: Path, content: bytes, *, replace: bool) -> None:
    """Write aside, fsync, then put in place in one step, as `write_private`; what fails is an OSError."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{world.new_id()}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            aside.replace(path)
        else:
            _link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _link(aside: Path, path: Path) -> None:
    """Give the file its name unless another process was first: a link, unlike a rename, does not overwrite."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
