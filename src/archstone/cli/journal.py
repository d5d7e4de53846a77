"""Where log lines go while the terminal shows a view: a bounded file in the data folder, the last faults in memory."""

import contextlib
import io
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from archstone import world
from archstone.runtime.folder import LOG

__all__ = ["Fault", "Journal"]

FILE_BYTES: Final = 5_000_000
_FAULTS: Final = 100
_HELD: Final = 1_000
_PLAIN: Final = frozenset({"timestamp", "level", "logger", "event", "correlation_id", "trace_id", "span_id"})


class Fault(NamedTuple):
    """A line of the log that a person should see."""

    at: str
    """Time of day, UTC."""
    level: str
    text: str
    times: int = 1
    """How often the like was said: the same words by the same logger. This is the last of them."""


class Journal(io.TextIOBase):
    """A text stream for JSON log lines and for whatever else is printed; the file and the one before it are kept.

    Lines that come before `open` are held. What is still held at the end (the folder could not be opened) goes to
    stderr. What cannot be written is lost: a full disk must not stop the system.
    """

    def __init__(self) -> None:
        super().__init__()
        self._faults: dict[tuple[str, ...], Fault] = {}
        self.warnings = 0
        self.path: Path | None = None
        self._held: deque[str] = deque(maxlen=_HELD)
        self._file: io.FileIO | None = None
        self._part = ""
        self._lock = threading.Lock()  # threads print, too

    @property
    def faults(self) -> list[Fault]:
        """Warnings, errors, and what was printed past the log; newest last, at most 100."""
        return list(self._faults.values())

    def open(self, folder: Path) -> None:
        """Write to the data folder from now on."""
        self.path = folder / LOG
        with contextlib.suppress(OSError):
            self._file = _appended(self.path)
        while self._held:
            self._write(self._held.popleft())

    def finish(self) -> None:
        """Close the file; what never reached one is shown."""
        if self._file is not None:
            self._file.close()
            self._file = None
        elif self._held:
            sys.stderr.write("".join(self._held))
            self._held.clear()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, text: str, /) -> int:
        """Take text, a line at a time; what is no line of the log becomes one."""
        with self._lock:
            *lines, self._part = (self._part + text).split("\n")
            for line in lines:
                if line.strip():
                    self._take(line)
        return len(text)

    @contextlib.contextmanager
    def instead_of_output(self) -> Generator[None]:
        """Have what is printed come here: it would break up the view."""
        with contextlib.redirect_stdout(self), contextlib.redirect_stderr(self):
            yield

    def _take(self, line: str) -> None:
        found = _parsed(line)
        if found is None:
            at = datetime.fromtimestamp(world.now_us() / 1e6, UTC).isoformat().replace("+00:00", "Z")
            found = {"timestamp": at, "level": "info", "logger": "printed", "event": line}
            self._note(found, ("printed", line, at))
            line = json.dumps(found)
        elif found.get("level") not in {"debug", "info"}:
            self.warnings += 1
            self._note(found, (str(found.get("logger")), str(found["event"])))
        if self._file is None and self.path is None:
            self._held.append(f"{line}\n")
        else:
            self._write(f"{line}\n")

    def _note(self, line: dict[str, Any], alike: tuple[str, ...]) -> None:
        before = self._faults.pop(alike, None)
        self._faults[alike] = _fault(line, 1 if before is None else before.times + 1)
        if len(self._faults) > _FAULTS:
            del self._faults[next(iter(self._faults))]

    def _write(self, line: str) -> None:
        if self._file is None or self.path is None:
            return
        with contextlib.suppress(OSError):
            if self._file.tell() > FILE_BYTES:
                self._file.close()
                self.path.replace(self.path.with_name(f"{LOG}.1"))
                self._file = _appended(self.path)
            self._file.write(line.encode(errors="backslashreplace"))


def _appended(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "a")


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) and "event" in found else None


def _fault(line: dict[str, Any], times: int) -> Fault:
    exception = line.get("exception")
    told = [str(line["event"])]
    if isinstance(exception, dict):
        named = cast("dict[str, Any]", exception)
        told.append(f"{str(named.get('type')).rpartition('.')[2]}: {named.get('message')}")
    # A terminal cuts what is long, so the reason stands before the ids.
    rest = sorted(line.items(), key=lambda item: item[0] != "error")
    told += [f"{name}={value}" for name, value in rest if name not in _PLAIN and name != "exception"]
    text = "".join(each if each.isprintable() else " " for each in "  ".join(told))
    return Fault(str(line.get("timestamp"))[11:19], str(line.get("level")), text, times)
