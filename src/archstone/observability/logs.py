"""Structured logs: one JSON object a line, tied to the call they belong to.

    log = get_logger("orders")
    log.info("placed", order_id=order.id, total=total)

Each line carries `timestamp`, `level`, `logger`, `event`, and from the context `correlation_id`, `trace_id` and
`span_id`. Values whose key speaks of a password, a token, a cookie and the like are replaced, nested ones too, and so
is what looks like a secret inside a text (`archstone.observability.secrets`); an exception becomes an object with its
frames. A log call never raises: what cannot be written is counted in `lines_lost`. Loggers are made at module level;
`configure_logging` takes effect on all of them at once and leaves a structlog configuration that the user's own program
has alone. Unconfigured, warnings go to stderr for people.
"""

import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, cast

import structlog
from structlog.typing import EventDict

from archstone import context, world
from archstone.observability.errors import LogLevelError
from archstone.observability.logline import console_line, json_line, redact
from archstone.observability.secrets import scrub

__all__ = ["LEVELS", "Logger", "configure_logging", "get_logger", "lines_lost"]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""The levels, and their order."""


_BINARY: Final = (io.RawIOBase, io.BufferedIOBase)


class _Output:
    """Where lines go and which; one for the process, read at each log call."""

    __slots__ = ("file", "json", "lost", "stream", "threshold")

    def __init__(self) -> None:
        self.threshold = LEVELS["warning"]
        self.json = False
        self.stream: IO[Any] | None = None
        self.file: IO[bytes] | None = None
        self.lost = 0

    def write(self, line: bytes) -> None:
        """Write one line at once, so that lines of several threads or processes do not mix."""
        try:
            if self.file is not None:
                self.file.write(line)
                return
            stream: object = self.stream if self.stream is not None else sys.stderr
            binary: IO[bytes] | None = (
                cast("IO[bytes]", stream) if isinstance(stream, _BINARY) else getattr(stream, "buffer", None)
            )
            if binary is None:
                cast("IO[str]", stream).write(line.decode())
                return
            binary.write(line)
            binary.flush()
        except (OSError, ValueError):  # disk full, pipe gone, stream closed: the work goes on
            self.lost += 1


class Logger(structlog.BoundLoggerBase):
    """A structlog bound logger: `bind`, `unbind` and `new` give another with more or fewer fixed values."""

    def debug(self, event: str, **values: object) -> None:
        """Say what only somebody who looks for a fault wants to know."""
        if _output.threshold <= 10:
            self._proxy_to_logger("debug", event, **values)

    def info(self, event: str, **values: object) -> None:
        """Say what happened."""
        if _output.threshold <= 20:
            self._proxy_to_logger("info", event, **values)

    def warning(self, event: str, **values: object) -> None:
        """Say what went wrong and was handled."""
        if _output.threshold <= 30:
            self._proxy_to_logger("warning", event, **values)

    def error(self, event: str, **values: object) -> None:
        """Say what went wrong and was not handled. `exc_info=error` adds the exception."""
        if _output.threshold <= 40:
            self._proxy_to_logger("error", event, **values)

    def exception(self, event: str, **values: object) -> None:
        """Say what went wrong, with the exception that is being handled."""
        self.error(event, **{"exc_info": True, **values})

    def critical(self, event: str, **values: object) -> None:
        """Say what stops the program."""
        self._proxy_to_logger("critical", event, **values)


class _Sink:
    """What structlog hands a finished line to, under the name of the level."""

    __slots__ = ()

    def debug(self, line: bytes) -> None:
        _output.write(line)

    info = warning = error = critical = debug


def get_logger(name: str, **values: object) -> Logger:
    """Return a logger whose lines carry `logger=name` and `values`."""
    return Logger(_SINK, _PROCESSORS, {"logger": name, **values})


def configure_logging(
    level: str = "info", *, stream: IO[Any] | None = None, file: Path | None = None, json: bool = True
) -> None:
    """Send the lines of every logger somewhere, from now on.

    Args:
        level: Lines below it are dropped, before anything is computed.
        stream: Text or binary; None with `file` None: stderr, as it is when the line is written.
        file: Appended to, a line a write; created with mode 0600. Takes the place of `stream`.
        json: False: lines for people, with colours on a terminal.

    Raises:
        LogLevelError: There is no such level.
    """
    if level not in LEVELS:
        raise LogLevelError(level, tuple(LEVELS))
    old = _output.file
    _output.threshold, _output.json, _output.stream = LEVELS[level], json, stream
    _output.file = _open(file) if file is not None else None
    if old is not None:
        old.close()


def lines_lost() -> int:
    """Return how many lines could not be written since the process began."""
    return _output.lost


def _line(_sink: object, level: str, values: EventDict) -> bytes:
    """Build the line in one pass: a chain of processors costs a call each."""
    line: dict[str, Any] = {
        "timestamp": datetime.fromtimestamp(world.now_us() / 1_000_000, UTC),
        "level": level,
        "logger": values.pop("logger", None),
        "event": _event(values.pop("event", None)),
    }
    call = context.current()
    if call.correlation_id is not None:
        line["correlation_id"] = call.correlation_id
    if (trace := call.trace) is not None:
        line["trace_id"] = f"{trace.trace_id:032x}"
        line["span_id"] = f"{trace.span_id:016x}"
    redact(values, into=line)
    if _output.json:
        return json_line(line)
    return console_line(line, colors=_is_terminal())


def _event(said: object) -> object:
    return scrub(said) if isinstance(said, str) else said


def _is_terminal() -> bool:
    if _output.file is not None:
        return False
    stream = _output.stream if _output.stream is not None else sys.stderr
    return bool(getattr(stream, "isatty", lambda: False)())


def _open(file: Path) -> IO[bytes]:
    file.touch(mode=0o600, exist_ok=True)
    return file.open("ab", buffering=0)


_output: Final = _Output()
_SINK: Final = _Sink()

_PROCESSORS: Final = (_line,)
