"""FIX 4.4 as bytes: frames out of a stream, fields out of a frame, and messages into bytes.

simplefix (MIT) takes fields apart and puts them together. Where a frame ends, its length and its checksum are looked at
here, before it sees a byte: it does not check them.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import Any, Final

__all__ = ["FieldError", "Framer", "FramingError", "Message", "encoded", "instant"]

_BEGIN: Final = b"8=FIX.4.4\x01"
_LENGTH: Final = re.compile(rb"9=(\d{1,6})\x01")
_TRAILER: Final = re.compile(rb"10=(\d{3})\x01")
_TRAILER_BYTES: Final = 7
_HEAD_BYTES: Final = len(_BEGIN) + 9


def _simplefix() -> Any:
    try:
        return import_module("simplefix")
    except ImportError as error:
        message = "FIX needs the package simplefix: pip install archstone[fix]"
        raise ImportError(message, name="simplefix") from error


class FramingError(ValueError):
    """Where a message ends cannot be told: the connection is of no further use."""


class FieldError(ValueError):
    """A message cannot be meant so: the text says which field, and why."""

    def __init__(self, tag: int, reason: int, text: str) -> None:
        super().__init__(tag, reason, text)
        self.tag = tag
        """0: none in particular."""
        self.reason = reason
        """Of a session-level Reject (373)."""
        self.text = text

    def __str__(self) -> str:
        return f"tag {self.tag}: {self.text}" if self.tag else self.text


class Message:
    """A message that was read."""

    def __init__(self, kind: str, fields: Mapping[int, str], fault: FieldError | None = None) -> None:
        """Take its type (35), and all its fields."""
        self.kind = kind
        self.fields = fields
        self.fault = fault
        """Why it cannot be done, though its type and number can be told. None: nothing is wrong so far."""

    def get(self, tag: int) -> str | None:
        """Return a field; None: it is not there."""
        return self.fields.get(tag)

    def text(self, tag: int) -> str:
        """Return a field that must be there."""
        if (value := self.fields.get(tag)) is None:
            raise FieldError(tag, 1, "required and not there")
        return value

    def number(self, tag: int, *, least: int = 0, most: int = 2**63 - 1) -> int:
        """Return a field that must be there, and a whole number within bounds."""
        value = self.text(tag)
        if not (value.isascii() and value.isdecimal() and len(value) < 20):
            raise FieldError(tag, 6, "a whole number is wanted")
        if not least <= int(value) <= most:
            raise FieldError(tag, 5, f"a number in [{least}, {most}] is wanted")
        return int(value)

    def decimal(self, tag: int) -> Decimal:
        """Return a field that must be there, and a number that is not negative."""
        value = self.text(tag)
        try:
            found = Decimal(value) if re.fullmatch(r"\d{1,18}(\.\d{0,12})?|\.\d{1,12}", value, re.ASCII) else None
        except InvalidOperation:
            found = None
        if found is None:
            raise FieldError(tag, 6, "a number is wanted")
        return found

    def choice(self, tag: int, choices: Mapping[str, Any], default: str | None = None) -> Any:
        """Return what a field stands for, out of a table; without the field, what `default` stands for."""
        value = self.text(tag) if default is None else self.fields.get(tag, default)
        if value not in choices:
            raise FieldError(tag, 5, f"one of {' '.join(choices)} is wanted")
        return choices[value]

    @property
    def is_repeated(self) -> bool:
        """Whether it is a possible duplicate (43=Y)."""
        return self.fields.get(43) == "Y"


class Framer:
    """Takes bytes as they come, and gives whole messages."""

    def __init__(self, *, limit_bytes: int = 8_192) -> None:
        """Begin.

        Args:
            limit_bytes: Of one message; a longer one is a FramingError.
        """
        self.garbled = 0
        """Messages whose checksum was wrong. They are ignored, as FIX wants it; their number is missing then."""
        self._limit_bytes = limit_bytes
        self._rest = b""
        module = _simplefix()
        self._parser, self._faults = module.FixParser, (module.errors.ParsingError, ValueError)

    def feed(self, data: bytes) -> Iterable[Message | FieldError]:
        """Give what is whole: messages, and what is wrong with those that are none. FramingError: nothing follows."""
        self._rest += data
        while (end := self._end()) is not None:
            frame, self._rest = self._rest[:end], self._rest[end:]
            if sum(frame[:-_TRAILER_BYTES]) % 256 != int(frame[-4:-1]):
                self.garbled += 1
                continue
            try:
                yield self._read(frame)
            except FieldError as error:
                yield error

    def _end(self) -> int | None:
        head = self._rest[:_HEAD_BYTES]
        if head[: len(_BEGIN)] != _BEGIN[: len(head)]:
            raise FramingError(f"a message begins with 8=FIX.4.4, not with {head[: len(_BEGIN)]!r}")
        found = _LENGTH.match(self._rest, len(_BEGIN))
        if found is None:
            if len(head) == _HEAD_BYTES:
                raise FramingError("8=FIX.4.4 is followed by 9 and a length of at most six digits")
            return None
        end = found.end() + int(found[1]) + _TRAILER_BYTES
        if end > self._limit_bytes:
            raise FramingError(f"a message of {end} bytes: at most {self._limit_bytes} are taken")
        if len(self._rest) < end:
            return None
        if not _TRAILER.fullmatch(self._rest, end - _TRAILER_BYTES, end):
            raise FramingError(f"after {found[1].decode()} bytes 10 and three digits are wanted")
        return end

    def _read(self, frame: bytes) -> Message:
        parser = self._parser()
        parser.append_buffer(frame)
        try:
            found = parser.get_message()
        except self._faults as error:
            raise FieldError(0, 0, f"fields cannot be told apart: {error}") from error
        if found is None or parser.get_buffer():
            raise FieldError(0, 0, "fields cannot be told apart")
        fields: dict[int, str] = {}
        fault: FieldError | None = None
        for tag, value in found.pairs:
            if int(tag) in fields:
                fault = fault or FieldError(int(tag), 13, "there more than once")
            else:
                fields[int(tag)] = value.decode("utf-8", "replace")
        if 35 not in fields or [*fields][2] != 35:
            raise FieldError(35, 14, "the type is the third field")
        return Message(fields[35], fields, fault)


def encoded(kind: str, fields: Iterable[tuple[int, object]]) -> bytes:
    """Return a message as bytes; a field that is None is left out. What would end a field becomes a space."""
    message = _simplefix().FixMessage()
    message.append_pair(8, "FIX.4.4")
    message.append_pair(35, kind)
    for tag, value in fields:
        if value is not None:
            message.append_pair(tag, str(value).replace("\x01", " "))
    return message.encode()


def instant(at_us: int) -> str:
    """Return microseconds since 1970 as FIX writes an instant: UTC, milliseconds."""
    at = datetime.fromtimestamp(at_us // 1_000 / 1_000, UTC)
    return f"{at:%Y%m%d-%H:%M:%S}.{at_us // 1_000 % 1_000:03}"
