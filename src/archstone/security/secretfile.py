"""Files that hold secrets: for their owner alone, never half written, no link followed."""

import os
import stat
from pathlib import Path
from typing import Final

from archstone import world
from archstone.security.errors import InsecureKeyFileError, KeyFileError

__all__ = ["read_secret_file", "write_secret_file"]

_GROUP_AND_OTHERS: Final = 0o077


def read_secret_file(path: Path) -> bytes | None:
    """Return what the file holds; None: there is none.

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


def write_secret_file(path: Path, text: str, *, replace: bool) -> None:
    """Write aside, fsync, then put in place in one step: no reader ever meets half a file.

    Args:
        path: Where; the folder is there.
        text: What.
        replace: False: a file that is there stays, since another process was first.

    Raises:
        KeyFileError: It cannot be written.
    """
    try:
        _write(path, text, replace=replace)
    except OSError as error:
        raise KeyFileError(str(path), error.strerror or str(error)) from error


def _write(path: Path, text: str, *, replace: bool) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.{world.new_id()}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
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
