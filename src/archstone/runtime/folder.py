"""The data folder of one running system: who owns it, its format, and the paths inside.

What is in it is for its owner alone: a folder of one's own that others may enter is closed to them when it is opened.
Only a new or empty folder becomes a data folder; one with other things in it is refused and left as it is.
One process owns a folder at a time, held by an OS lock on the file `owner` that the kernel gives back however the
process ends. A second one is refused by name and process id. The format is checked before any file is opened.
"""

import asyncio
import fcntl
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from archstone import disk
from archstone.errors import ConfigError, RejectedError

__all__ = [
    "FORMAT",
    "LOG",
    "UNKNOWN",
    "DataFolder",
    "FolderError",
    "FolderFormatError",
    "FolderInUseError",
    "owner_of",
    "refuse_strange",
]

FORMAT: Final = 1
"""Version of the folder's layout. A folder of a newer format is refused; an older one is opened."""
UNKNOWN: Final = "unknown"
"""Stands for the name of an owner that has not written its name yet."""
LOG: Final = "archstone.log"
"""What is logged while a view has the terminal; the lines before these are in the file with `.1` behind its name."""
_FORMAT: Final = "format.json"
_EMPTYING: Final = "emptying"
_BARE: Final = frozenset({"owner", "lost+found"})
"""What an empty folder may hold beside files that were not finished: what a process left that died while it made it a
data folder, and what the file system itself puts into the root of a volume."""
_TRIES: Final = 5
_BETWEEN_TRIES_S: Final = 0.02


class FolderInUseError(RejectedError, code="runtime.folder-in-use"):
    """Another process runs on this data folder."""

    def __init__(self, folder: str, system: str, pid: int) -> None:
        super().__init__(folder, system, pid)
        self.folder = folder
        self.system = system
        self.pid = pid

    def __str__(self) -> str:
        return (
            f"data folder {self.folder} is in use by system {self.system!r}, process {self.pid}: "
            "stop that process, or name another folder with --data"
        )


class FolderFormatError(ConfigError, code="runtime.folder-format"):
    """The folder belongs to another system, to no system at all, or was written by a newer release."""

    def __init__(self, folder: str, problem: str) -> None:
        super().__init__(folder, problem)
        self.folder = folder
        self.problem = problem

    def __str__(self) -> str:
        return f"data folder {self.folder}: {self.problem}; name another folder with --data"


class FolderError(ConfigError, code="runtime.folder"):
    """The folder cannot be used: no permission, no folder, no space."""

    def __init__(self, folder: str, why: str) -> None:
        super().__init__(folder, why)
        self.folder = folder
        self.why = why

    def __str__(self) -> str:
        return f"data folder {self.folder} cannot be used: {self.why}; name another with --data"


class DataFolder:
    """A folder, opened and owned between `open` and `close`."""

    def __init__(self, path: Path, system: str) -> None:
        self.path = path
        self.system = system
        self._fd: int | None = None

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.path / "control.sock"

    @property
    def traces(self) -> Path:
        """The span store."""
        return self.path / "traces.db"

    def database_url(self, name: str) -> str:
        """Return the URL of the service database `name`."""
        return f"sqlite:///{(self.path / f'{name}.db').absolute()}"

    async def open(self, *, fresh: bool = False) -> None:
        """Make the folder if it is not there, take the lock, check system and format.

        Args:
            fresh: Empty it first, once it is ours.

        Raises:
            FolderInUseError: another process owns it; carries its system and process id.
            FolderFormatError: it holds another system, a newer format, or things that are no data folder's.
            FolderError: it cannot be made or written. In each case nothing was changed.
        """
        fd = self._file()
        try:
            await self._lock(fd)
            if fresh or (self.path / _EMPTYING).exists():
                self._empty()
            self._check_format()
            _make_private(self.path)
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"system": self.system, "pid": os.getpid()}).encode(), 0)
        except OSError as error:
            os.close(fd)
            raise FolderError(str(self.path), error.strerror or str(error)) from error
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _file(self) -> int:
        try:
            refuse_strange(self.path)
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self.path / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FolderError(str(self.path), error.strerror or str(error)) from error

    async def _lock(self, fd: int) -> None:
        tries = 0
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                # Whoever only asks for the owner (`owner_of`) holds the lock for microseconds: that is no owner.
                if (tries := tries + 1) == _TRIES:
                    system, pid = _read_owner(fd)
                    raise FolderInUseError(str(self.path), system, pid) from error
                await asyncio.sleep(_BETWEEN_TRIES_S)
            else:
                return

    def _empty(self) -> None:
        # The mark comes first and goes last: a process that dies in between leaves a folder that is known as ours, and
        # that the next one goes on to empty instead of running on a part of the data.
        mark = self.path / _EMPTYING
        mark.touch(mode=0o600)
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                if entry.name not in _BARE:
                    shutil.rmtree(entry)
            elif entry.name not in {"owner", _EMPTYING}:
                entry.unlink()
        mark.unlink()

    def _check_format(self) -> None:
        file = self.path / _FORMAT
        if not file.exists():
            disk.remove_unfinished(self.path)
            disk.put(file, json.dumps({"format": FORMAT, "system": self.system}).encode(), mode=0o600)
            return
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            version, system = int(found["format"]), str(found["system"])
        except (ValueError, KeyError, TypeError) as error:
            raise FolderFormatError(str(self.path), "its format.json is damaged: restore a backup") from error
        if system != self.system:
            raise FolderFormatError(str(self.path), f"it belongs to system {system!r}, not {self.system!r}")
        if version > FORMAT:
            problem = f"its format is {version}, this release reads up to {FORMAT}: take a newer release"
            raise FolderFormatError(str(self.path), problem)

    def close(self) -> None:
        """Give the folder back. Idempotent."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def refuse_strange(path: Path) -> None:
    """Refuse a folder that holds something and is no data folder: it must not be used, emptied or replaced.

    Raises:
        FolderFormatError: it has no format.json.
    """
    if not path.is_dir() or (path / _FORMAT).exists() or (path / _EMPTYING).exists():
        return
    names = [each.name for each in path.iterdir()]
    strange = sorted(name for name in names if name not in _BARE and not disk.is_unfinished(name))
    if strange:
        problem = f"it is no data folder (it has {strange[0]!r} and no {_FORMAT}), so it is left alone"
        raise FolderFormatError(str(path), problem)


def owner_of(path: Path) -> tuple[str, int] | None:
    """Return system and process id of the running owner of a folder, or None when nobody runs."""
    try:
        fd = os.open(path / "owner", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_owner(fd)
    finally:
        os.close(fd)
    return None


def _make_private(path: Path) -> None:
    """Let nobody else into a data folder that was there before, if it is ours; never into a common one such as /tmp."""
    found = path.stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o077 and not found.st_mode & stat.S_ISVTX:
        path.chmod(0o700)


def _read_owner(fd: int) -> tuple[str, int]:
    try:
        found = json.loads(os.pread(fd, 4096, 0))
        return str(found["system"]), int(found["pid"])
    except (ValueError, KeyError, TypeError):  # between its lock and its write
        return UNKNOWN, 0
