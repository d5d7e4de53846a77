"""What a saga remembers: entries, appended and never changed.

An entry is a JSON array, a row of the journal holds one or several, so that the answer of a step and the
beginning of the next are one statement and one commit.

    ["begin", step, ordinal, operation, [arguments], [undo, [arguments]] or null, at_us]
    ["sleep", step, ordinal, until_us, at_us]
    ["signal", step, ordinal, name, until_us or null, at_us]
    ["child", step, ordinal, operation, [arguments], id or null, at_us]
    ["late", step, at_us]
    ["answer", step, answer, at_us, attempts]
    ["failed", step or null, error, at_us, attempts]
    ["undone", step, at_us]

A failure without a step is a cancellation by hand. A child without an id could not be started. `late` is the answer of
a wait whose time was up. Instants and attempts are for people: nothing depends on them, and what an older release wrote
has none.

`ordinal` counts the steps of a branch in the order in which the body asked for them. By branch and ordinal a
replay finds the entry again, and sees that the code asks for something else than it did before.
"""

import json
from collections.abc import Iterable
from typing import Any

import orjson

__all__ = [
    "Begun",
    "Past",
    "answer_entry",
    "begin_entry",
    "child_entry",
    "failed_entry",
    "late_entry",
    "signal_entry",
    "sleep_entry",
    "undone_entry",
]


def begin_entry(  # noqa: PLR0917 - the order of the entry
    step: str, ordinal: int, operation: str, arguments: bytes, undo: bytes, at_us: int
) -> bytes:
    """Return the entry before an effect. `undo` is `null` or what `undo_json` returns."""
    return b'["begin","%b",%d,"%b",%b,%b,%d]' % (step.encode(), ordinal, operation.encode(), arguments, undo, at_us)


def sleep_entry(step: str, ordinal: int, until_us: int, *, at_us: int) -> bytes:
    """Return the entry before a durable sleep."""
    return b'["sleep","%b",%d,%d,%d]' % (step.encode(), ordinal, until_us, at_us)


def signal_entry(step: str, ordinal: int, name: str, until_us: int | None, *, at_us: int) -> bytes:
    """Return the entry before a wait for a signal."""
    until = b"null" if until_us is None else b"%d" % until_us
    return b'["signal","%b",%d,"%b",%b,%d]' % (step.encode(), ordinal, name.encode(), until, at_us)


def child_entry(  # noqa: PLR0917 - the order of the entry
    step: str, ordinal: int, operation: str, arguments: bytes, child: str | None, at_us: int
) -> bytes:
    """Return the entry of a step that is a saga of its own."""
    named = orjson.dumps(child)
    return b'["child","%b",%d,"%b",%b,%b,%d]' % (step.encode(), ordinal, operation.encode(), arguments, named, at_us)


def late_entry(step: str, *, at_us: int) -> bytes:
    """Return the entry after a wait for a signal that did not come in time."""
    return b'["late","%b",%d]' % (step.encode(), at_us)


def answer_entry(step: str, answer: bytes, *, at_us: int, attempts: int = 1) -> bytes:
    """Return the entry after an effect. `attempts` are those of the process that got the answer."""
    return b'["answer","%b",%b,%d,%d]' % (step.encode(), answer, at_us, attempts)


def failed_entry(step: str | None, error: bytes, *, at_us: int, attempts: int = 1) -> bytes:
    """Return the entry of the failure that ends the saga. `step` None: somebody cancelled it."""
    where = b"null" if step is None else b'"%b"' % step.encode()
    return b'["failed",%b,%b,%d,%d]' % (where, error, at_us, attempts)


def undone_entry(step: str, *, at_us: int) -> bytes:
    """Return the entry after an undo."""
    return b'["undone","%b",%d]' % (step.encode(), at_us)


class Begun:
    """A step that is in the journal."""

    __slots__ = (
        "answer", "arguments", "attempts", "begun_us", "child", "ended_us", "failed", "late", "operation", "ordinal",
        "step", "undo", "undone", "undone_us", "until_us", "waits",
    )  # fmt: skip

    def __init__(self, step: str, ordinal: int) -> None:
        self.step = step
        self.ordinal = ordinal
        self.operation = "sleep"
        self.arguments = b"[]"
        self.undo: tuple[str, bytes] | None = None
        """Operation and arguments."""
        self.child: str | None = None
        """Id of the saga that it is."""
        self.answer: bytes | None = None
        self.until_us: int | None = None
        """Only of a sleep, or of a wait that has a limit: the instant at which it ends."""
        self.waits = False
        """Whether it is a sleep or a wait for a signal: it does nothing that could be undone."""
        self.late = False
        """Whether its signal did not come in time."""
        self.failed = False
        self.undone = False
        self.begun_us: int | None = None
        self.ended_us: int | None = None
        """When its answer or its failure for good was known."""
        self.undone_us: int | None = None
        self.attempts: int | None = None
        """Of the process that ended it; None as long as it has not ended."""


class Past:
    """A journal, read: what a replay may ask for again, and what a compensation has to undo."""

    def __init__(self) -> None:
        self.steps: dict[str, Begun] = {}
        """In the order in which they were begun."""
        self.failure: bytes | None = None
        """JSON of the error that ended the saga; None if no step failed for good and nobody cancelled it."""
        self.failed_us: int | None = None
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
        """Return the begun steps that have an undo that is not made, or are sagas themselves, newest first."""
        return [each for each in reversed(self.steps.values()) if (each.undo or each.child) and not each.undone]

    def _add(self, entry: list[Any]) -> None:
        kind, step = entry[0], entry[1]
        match kind:
            case "begin" | "sleep" | "signal" | "child":
                self._add_begun(kind, step, entry)
            case "answer":
                self.steps[step].answer = _text(entry[2])
                self._ended(step, entry)
            case "late":
                self.steps[step].late, self.steps[step].ended_us = True, _kept(entry, 2)
            case "failed":
                self.failure, self.failed_us = _text(entry[2]), _kept(entry, 3)
                if step is not None:
                    self.steps[step].failed = True
                    self._ended(step, entry)
            case "undone":
                self.steps[step].undone = True
                self.steps[step].undone_us = _kept(entry, 2)
            case _:
                raise ValueError(kind)

    def _add_begun(self, kind: str, step: str, entry: list[Any]) -> None:
        begun = self.steps[step] = Begun(step, entry[2])
        self._left[step.partition("/")[0], begun.ordinal] = begun
        begun.waits = kind in {"sleep", "signal"}
        if kind == "begin":
            begun.operation, begun.arguments = entry[3], _text(entry[4])
            begun.undo = (entry[5][0], _text(entry[5][1])) if entry[5] is not None else None
            begun.begun_us = _kept(entry, 6)
        elif kind == "child":
            begun.operation, begun.arguments, begun.child = entry[3], _text(entry[4]), entry[5]
            begun.begun_us = _kept(entry, 6)
        elif kind == "sleep":
            begun.until_us, begun.begun_us = entry[3], _kept(entry, 4)
        else:
            begun.operation, begun.arguments = "signal", _text([entry[3]])
            begun.until_us, begun.begun_us = entry[4], _kept(entry, 5)

    def _ended(self, step: str, entry: list[Any]) -> None:
        self.steps[step].ended_us, self.steps[step].attempts = _kept(entry, 3), _kept(entry, 4)


def _kept(entry: list[Any], place: int) -> int | None:
    return entry[place] if len(entry) > place else None


def _text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
