"""Files that only their owner reads: written aside, synced, put in place in one step; refused if others can read."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from archstone import disk
from archstone.security.errors import InsecureKeyFileError, KeyFileError

__all__ = ["PRIVATE", "read_private", "taken", "write_private"]

PRIVATE: Final = 0o600
"""The mode of such a file."""
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
        disk.put(path, content, mode=PRIVATE, replace=replace)
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
