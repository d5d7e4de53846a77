"""One process writes a file, held by a lock of the operating system on a file beside it (trap T4).

Four processes with busy time-outs shared one SQLite file 20,772 : 1 : 1 : 1, so nobody shares. The lock goes when the
process goes, however it dies; the file stays, because removing it would race with the next holder.
"""

import fcntl
import os
from pathlib import Path

from archstone.data.errors import DatabaseInUseError

__all__ = ["FileLock"]


class FileLock:
    """The lock of one database file: `<file>.lock`, holding the pid and the name of its owner."""

    __slots__ = ("_descriptor", "_file", "_owner", "_path")

    def __init__(self, file: Path, *, owner: str) -> None:
        self._file = file
        self._path = Path(f"{file}.lock")
        self._owner = owner
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock without waiting.

        Raises:
            DatabaseInUseError: It is held; the text names the holder's pid and name.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {self._owner}\n".encode(), 0)
        except BlockingIOError as error:
            pid, _, owner = os.pread(descriptor, 4096, 0).decode(errors="replace").strip().partition(" ")
            os.close(descriptor)
            raise DatabaseInUseError(str(self._file), int(pid) if pid.isdigit() else None, owner) from error
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. Releasing twice is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
