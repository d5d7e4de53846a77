"""Files that only their owner reads: written aside, synced, put in place in one step; refused if others can read."""

import os
import stat
from pathlib import Path
from typing import Final

from archstone import world
from archstone.security.errors import InsecureKeyFileError, KeyFileError

__all__ = ["read_private", "write_private"]

_GROUP_AND_OTHERS: Final = 0o077


def read_private(path: Path) -> bytes | None:
    """Return what a file holds; None if there is none.

    Raises:
        InsecureKeyFileError: Its mode lets others in.
        KeyFileError: It cannot be read.
    """
    try:
        # No link is followed: a link could be turned to a file that somebody else owns.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError(str(path), error.strerror or str(error)) from error
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name == "posix" and mode & _GROUP_AND_OTHERS:
            raise InsecureKeyFileError(str(path), mode)
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600, durably; whoever reads meets the old one or the new one, whole.

    Raises:
        KeyFileError: It cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.{world.new_id()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise KeyFileError(str(path), error.strerror or str(error)) from error


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
