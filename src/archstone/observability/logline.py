"""How one log line is made: secrets out, exceptions in, then JSON or text for people."""

import dataclasses
import json
import sys
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Final, cast

import orjson
import structlog

from archstone.errors import ArchstoneError
from archstone.observability.secrets import REDACTED, holds_card_number, scrub, speaks_of_a_secret

__all__ = ["REDACTED", "console_line", "exception_value", "json_line", "redact", "safe_text", "speaks_of_a_secret"]

_DEPTH_LIMIT: Final = 6
_FRAMES_LIMIT: Final = 30
_CAUSES_LIMIT: Final = 5
_TEXT_LIMIT: Final = 2_000
_OPTIONS: Final = (
    orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
)


def redact(values: Mapping[str, Any], *, into: MutableMapping[str, Any]) -> None:
    """Copy `values` into `into` without secrets, and `exc_info` as an object under `exception`."""
    for key, value in values.items():
        if key == "exc_info":
            error = _exception_of(value)
            if error is not None:
                into["exception"] = exception_value(error)
        elif speaks_of_a_secret(key):
            into[key] = REDACTED
        elif value.__class__ is str:
            into[key] = scrub(value)
        elif value.__class__ in _PLAIN:
            into[key] = value
        else:
            into[key] = _cleaned(value, 1)


def exception_value(error: BaseException, *, causes: int = _CAUSES_LIMIT) -> dict[str, Any]:
    """Return an exception as an object: type, code, message, notes, frames (innermost last), cause."""
    value: dict[str, Any] = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if isinstance(error, ArchstoneError):
        value["code"] = error.code
    value["message"] = safe_text(error)
    if notes := getattr(error, "__notes__", None):
        value["notes"] = [safe_text(note) for note in notes[:10]]
    value["frames"] = _frames(error.__traceback__)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and causes:
        value["cause"] = exception_value(cause, causes=causes - 1)
    if isinstance(error, BaseExceptionGroup) and causes:
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions[:10]
        value["exceptions"] = [exception_value(one, causes=causes - 1) for one in inner]
    return value


def json_line(line: Mapping[str, Any]) -> bytes:
    """Return the line as JSON with a newline. What JSON cannot say is said as text; it never raises."""
    try:
        return orjson.dumps(line, default=safe_text, option=_OPTIONS)
    except (TypeError, ValueError):  # an integer above 64 bits, half a surrogate pair, a cycle, a failing __str__
        return json.dumps(_sayable(line, _DEPTH_LIMIT)).encode() + b"\n"


def console_line(line: dict[str, Any], *, colors: bool) -> bytes:
    """Return the line for people, its exception as an indented list of frames."""
    line["timestamp"] = line["timestamp"].isoformat(timespec="milliseconds")[11:23]
    if line["logger"] is None:
        del line["logger"]
    exception = line.pop("exception", None)
    render = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, pad_event_to=0)
    text = str(render(None, line["level"], line))
    if exception is not None:
        text += "\n" + "\n".join(_exception_lines(exception))
    return text.encode(errors="backslashreplace") + b"\n"


def _exception_lines(exception: Mapping[str, Any]) -> list[str]:
    lines = [f"    {frame}" for frame in exception["frames"]]
    lines.append(f"  {exception['type']}: {exception['message']}")
    if cause := exception.get("cause"):
        lines = [*_exception_lines(cause), "  which led to", *lines]
    return lines


def _exception_of(value: object) -> BaseException | None:
    if isinstance(value, BaseException):
        return value
    if isinstance(value, tuple) and len(cast("tuple[object, ...]", value)) == 3:
        value = cast("tuple[object, ...]", value)[1]
        return value if isinstance(value, BaseException) else None
    return sys.exception() if value else None


def _frames(where: TracebackType | None) -> list[str]:
    frames: list[str] = []
    while where is not None:
        code = where.tb_frame.f_code
        frames.append(f"{code.co_filename}:{where.tb_lineno} in {code.co_qualname}")
        where = where.tb_next
    return frames[-_FRAMES_LIMIT:]


def _cleaned(value: Any, depth: int) -> Any:
    """Return `value` with the secrets inside it replaced; deeper than the limit it becomes text without content."""
    if isinstance(value, _ATOMS):
        return _atom(value)
    if isinstance(value, Mapping):
        if depth >= _DEPTH_LIMIT:
            return "{...}"
        items = cast("Mapping[object, object]", value).items()
        return {
            str(key): REDACTED if speaks_of_a_secret(str(key)) else _cleaned(inner, depth + 1) for key, inner in items
        }
    if isinstance(value, Sequence | set | frozenset):
        if depth >= _DEPTH_LIMIT:
            return "[...]"
        return [_cleaned(inner, depth + 1) for inner in cast("Collection[object]", value)]
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return _cleaned(fields, depth)
    if callable(dump := getattr(value, "model_dump", None)):
        return _cleaned(dump(), depth)
    return value


def _atom(value: object) -> object:
    if isinstance(value, str):
        return scrub(value)
    return REDACTED if value.__class__ is int and holds_card_number(cast("int", value)) else value


def _sayable(value: object, depth: int) -> object:
    """Return what `json` can write without failing: the slow way, for the line that orjson refused."""
    if isinstance(value, Mapping) and depth:
        return {str(key): _sayable(inner, depth - 1) for key, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list) and depth:
        return [_sayable(inner, depth - 1) for inner in cast("list[object]", value)]
    return value if isinstance(value, int | float | None) else safe_text(cast("object", value))


def safe_text(value: object) -> str:
    """Return `str(value)` without secrets, cut to 2,000 characters; a text about the failure when `__str__` fails."""
    try:
        return scrub(str(value))[:_TEXT_LIMIT]
    except Exception as error:  # noqa: BLE001 - a log line must not fail on a broken __str__
        return f"<{type(value).__qualname__}: {type(error).__qualname__}>"


_PLAIN: Final = frozenset({float, bool, type(None)})
_ATOMS: Final = (str, int, float, bytes, bytearray, type, type(None))
