"""What a saga remembers: entries, appended and never changed.

An entry is a JSON array, a row of the journal holds one or several, so that the answer of a step and the
beginning of the next are one statement and one commit.

    ["begin", step, ordinal, operation, [arguments], [undo, [arguments]] or null]
    ["sleep", step, ordinal, until_us]
    ["answer", step, answer]
    ["failed", step or null, error]
    ["undone", step]

`ordinal` counts the steps of a branch in the order in which the body asked for them. By branch and ordinal a
replay finds the entry again, and sees that the code asks for something else than it did before.
"""

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["Begun", "Past", "answer_entry", "begin_entry", "failed_entry", "sleep_entry", "undone_entry"]


def begin_entry(step: str, ordinal: int, operation: str, arguments: bytes, undo: bytes) -> bytes:
    """Return the entry before an effect. `undo` is `null` or what `undo_json` returns."""
    return b'["begin","%b",%d,"%b",%b,%b]' % (step.encode(), ordinal, operation.encode(), arguments, undo)


def sleep_entry(step: str, ordinal: int, until_us: int) -> bytes:
    """Return the entry before a durable sleep."""
    return b'["sleep","%b",%d,%d]' % (step.encode(), ordinal, until_us)


def answer_entry(step: str, answer: bytes) -> bytes:
    """Return the entry after an effect."""
    return b'["answer","%b",%b]' % (step.encode(), answer)


def failed_entry(step: str, error: bytes) -> bytes:
    """Return the entry of the failure that ends the saga."""
    return b'["failed","%b",%b]' % (step.encode(), error)


def undone_entry(step: str) -> bytes:
    """Return the entry after an undo."""
    return b'["undone","%b"]' % step.encode()


class Begun:
    """A step that is in the journal."""

    __slots__ = ("answer", "arguments", "failed", "operation", "ordinal", "step", "undo", "undone", "until_us")

    def __init__(self, step: str, ordinal: int) -> None:
        self.step = step
        self.ordinal = ordinal
        self.operation = "sleep"
        self.arguments = b"[]"
        self.undo: tuple[str, bytes] | None = None
        """Operation and arguments."""
        self.answer: bytes | None = None
        self.until_us: int | None = None
        """Only of a sleep: the instant at which it ends."""
        self.failed = False
        self.undone = False


class Past:
    """A journal, read: what a replay may ask for again, and what a compensation has to undo."""

    def __init__(self) -> None:
        self.steps: dict[str, Begun] = {}
        """In the order in which they were begun."""
        self.failure: bytes | None = None
        """JSON of the error that ended the saga; None if no step failed for good."""
        self._left: dict[tuple[str, int], Begun] = {}

    @classmethod
    def read(cls, rows: Iterable[bytes]) -> "Past":
        """Return the past that the rows hold, given in order."""
        past = cls()
        for row in rows:
            for entry in json.loads(row):
                past._add(entry)
        return past

    def take(self, branch: str, ordinal: int) -> Begun | None:
        """Return the step that the body asked for here before, once; None if it had not come so far."""
        return self._left.pop((branch, ordinal), None)

    def left(self) -> Begun | None:
        """Return a step that the body has not asked for again, None if there is none."""
        return next(iter(self._left.values()), None)

    def to_undo(self) -> list[Begun]:
        """Return the begun steps that have an undo that is not made, newest first."""
        return [each for each in reversed(self.steps.values()) if each.undo is not None and not each.undone]

    def _add(self, entry: list[Any]) -> None:
        kind, step = entry[0], entry[1]
        match kind:
            case "begin":
                begun = self._begin(step, entry[2])
                begun.operation, begun.arguments = entry[3], _text(entry[4])
                begun.undo = (entry[5][0], _text(entry[5][1])) if entry[5] is not None else None
            case "sleep":
                self._begin(step, entry[2]).until_us = entry[3]
            case "answer":
                self.steps[step].answer = _text(entry[2])
            case "failed":
                self.failure = _text(entry[2])
                self.steps[step].failed = True
            case "undone":
                self.steps[step].undone = True
            case _:
                raise ValueError(kind)

    def _begin(self, step: str, ordinal: int) -> Begun:
        begun = self.steps[step] = Begun(step, ordinal)
        self._left[step.partition("/")[0], ordinal] = begun
        return begun


def _text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
