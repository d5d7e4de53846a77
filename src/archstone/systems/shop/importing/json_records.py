"""JSON as it comes: an array of objects, an object that holds one somewhere, or an object per line.

The array is read element by element. Numbers become `Decimal`: a price never passes through a float.
"""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from io import TextIOWrapper
from typing import Any, Final, cast

from archstone.systems.shop.importing.records import MAX_RECORD_CHARACTERS, FileUnreadableError, Record

__all__ = ["json_records"]

_CHUNK: Final = 256 * 1024
_MAX_DEPTH: Final = 8
_SPACE: Final = " \t\r\n\ufeff"
_decoder: Final = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=str)


def json_records(name: str, text: TextIOWrapper, *, rows_at: str | None, lines: bool) -> Iterator[Record]:
    """Return the records of a JSON file.

    Args:
        name: Of the file, for errors.
        text: The open file, at its beginning.
        rows_at: Dotted path of the array inside an object. None: the only array of objects.
        lines: Whether it is certain that each line is an object of its own.
    """
    if lines or _looks_like_lines(text):
        return _line_records(name, text)
    return _array_records(_Text(name, text), rows_at)


def _looks_like_lines(text: TextIOWrapper) -> bool:
    """Whether the first line is a whole object and another one follows."""
    first = ""
    while not first.strip(_SPACE) and (line := text.readline(MAX_RECORD_CHARACTERS)):
        first = line
    rest = text.read(_CHUNK).lstrip(_SPACE)
    text.seek(0)
    if not first.lstrip(_SPACE).startswith("{") or not rest.startswith("{"):
        return False
    return _decoded(first)[0] is not None


def _decoded(line: str) -> tuple[Mapping[str, Any] | None, str]:
    """Return the object that a line holds, or None and why it holds none."""
    try:
        found: object = _decoder.decode(line.strip(_SPACE))
    except (ValueError, RecursionError) as error:
        return None, f"it is not JSON ({error})"
    if not isinstance(found, dict):
        return None, _no_object(found)
    return cast("Mapping[str, Any]", found), ""


def _no_object(found: object) -> str:
    kind = "array" if isinstance(found, list) else "null" if found is None else "single value"
    return f"it is no object with fields, it is a JSON {kind}"


def _line_records(name: str, text: TextIOWrapper) -> Iterator[Record]:
    number = 0
    while line := text.readline(MAX_RECORD_CHARACTERS):
        number += 1
        if len(line) == MAX_RECORD_CHARACTERS:
            raise FileUnreadableError(name, number, f"is longer than {MAX_RECORD_CHARACTERS} characters")
        if line.strip(_SPACE):
            fields, fault = _decoded(line)
            yield Record(number, fields, fault)


def _array_records(text: "_Text", rows_at: str | None) -> Iterator[Record]:
    found: list[str] = []
    for path, record in _walk(text, (), rows_at):
        if path not in found:
            found.append(path)
            if len(found) > 1:
                what = f"it holds two arrays of objects, {found[0]} and {path}: name one with --rows-at"
                raise text.broken(what)
        yield record
    if text.peek():
        raise text.broken("after the end of the JSON text comes more")
    if not found and rows_at is not None:
        raise text.broken(f"there is no array of objects at {rows_at!r}")


def _walk(text: "_Text", path: tuple[str, ...], rows_at: str | None) -> Iterator[tuple[str, Record]]:
    """Yield the elements of every array of objects at or below this value that is asked for; skip the rest."""
    opening = text.peek()
    if opening == "[" and (rows_at is None or rows_at == ".".join(path)):
        yield from _elements(text, path)
    elif opening == "{" and len(path) < _MAX_DEPTH:
        text.take("{")
        while text.peek() != "}":
            key = text.value()
            text.take(":")
            yield from _walk(text, (*path, str(key)), rows_at)
            if text.peek() != "}":
                text.take(",")
        text.take("}")
    else:
        text.value()


def _elements(text: "_Text", path: tuple[str, ...]) -> Iterator[tuple[str, Record]]:
    text.take("[")
    plain = bool(path) and text.peek() not in {"{", "]"}  # an array of numbers or texts inside an object is no table
    while text.peek() != "]":
        line = text.line()
        found = text.value()
        if not plain:
            if isinstance(found, dict):
                record = Record(line, cast("Mapping[str, Any]", found))
            else:
                record = Record(line, None, _no_object(found))
            yield ".".join(path) or "the file", record
        if text.peek() != "]":
            text.take(",")
    text.take("]")


class _Text:
    """A window on the text that moves forward only."""

    def __init__(self, name: str, file: TextIOWrapper) -> None:
        self._name = name
        self._file = file
        self._held = ""
        self._at = 0
        self._ended = False
        self._lines = 1
        self._counted = 0

    def line(self) -> int:
        """Return the line on which the next character stands."""
        self._lines += self._held.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._lines

    def peek(self) -> str:
        """Return the next character that is not space, without taking it; empty at the end."""
        while True:
            held, at = self._held, self._at
            while at < len(held) and held[at] in _SPACE:
                at += 1
            self._at = at
            if at < len(held):
                return held[at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        """Take the next character, which must be `wanted`."""
        found = self.peek()
        if found != wanted:
            raise self.broken(f"expected {wanted!r}, found {found!r}" if found else "it breaks off")
        self._at += 1

    def value(self) -> object:
        """Take one whole JSON value."""
        if not self.peek():
            raise self.broken("it breaks off")
        while True:
            try:
                found, end = _decoder.raw_decode(self._held, self._at)
            except RecursionError as error:
                raise self.broken("it is nested too deeply") from error
            except ValueError as error:
                # Perhaps only the end of the window; a value that stays broken is refused when it is too long for one.
                if len(self._held) - self._at < MAX_RECORD_CHARACTERS and self._more():
                    continue
                raise self._refusal(error) from error
            if end == len(self._held) and self._more():
                continue  # a number may go on
            if end - self._at > MAX_RECORD_CHARACTERS:
                raise self.broken(f"a record is longer than {MAX_RECORD_CHARACTERS} characters")
            self._at = end
            return found

    def broken(self, what: str) -> FileUnreadableError:
        """Return the error that says what is wrong at the next character."""
        return FileUnreadableError(self._name, self.line(), f"is not the JSON that is read here: {what}")

    def _refusal(self, error: ValueError) -> FileUnreadableError:
        if len(self._held) - self._at >= MAX_RECORD_CHARACTERS:
            return self.broken(f"a record is broken, or longer than {MAX_RECORD_CHARACTERS} characters")
        line = self.line()
        if isinstance(error, json.JSONDecodeError):
            line += self._held.count("\n", self._at, error.pos)
            what = "it breaks off" if error.pos >= len(self._held) else error.msg
            return FileUnreadableError(self._name, line, f"is not JSON: {what}")
        return FileUnreadableError(self._name, line, f"is not JSON: {error}")

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        if self._ended:
            return False
        self.line()
        chunk = self._file.read(_CHUNK)
        self._held = self._held[self._at :] + chunk
        self._at = self._counted = 0
        self._ended = not chunk
        return bool(chunk)
