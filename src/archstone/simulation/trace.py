"""A trace of everything a simulated run does, kept as one hash.

Two runs with the same seed have the same hash, in any process and under any PYTHONHASHSEED; where they do not,
something depends on what a seed does not decide: the order of a set of strings, an address, a thread, the real
clock. `Trace(keep=True)` also keeps the records, so that the first difference can be read.
"""

import asyncio
import functools
import hashlib
from collections.abc import Callable
from typing import Any

from archstone.observability.recorders import SpanRecord
from archstone.simulation.task import NumberedTask

__all__ = ["Trace", "callback_label", "first_difference"]

Part = str | bytes | int | float | bool | None


class Trace:
    """A running hash over records of a kind and its parts."""

    def __init__(self, *, keep: bool = False) -> None:
        """Make an empty trace.

        Args:
            keep: Also keep every record, for `first_difference`. Memory grows with the run.
        """
        self._hash = hashlib.blake2b(digest_size=16)
        self.count = 0
        """Records so far."""
        self.kinds: dict[str, int] = {}
        """Records so far, by kind: `callback`, `sql`, `span`, `message`."""
        self.records: list[str] | None = [] if keep else None

    def add(self, kind: str, *parts: Part) -> None:
        """Add one record. Parts are values that are the same in every run: no address, no real time."""
        # repr keeps "1" and 1 and ("a,b",) and ("a", "b") apart.
        record = f"{kind} {parts!r}"
        self._hash.update(record.encode("utf-8", "surrogatepass"))
        self._hash.update(b"\n")
        self.count += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self.records is not None:
            self.records.append(record)

    def sql(self, statement: str) -> None:
        """Add an SQL statement with its values; given to sqlite3 as the trace callback."""
        self.add("sql", statement)

    def span(self, record: SpanRecord) -> None:
        """Add a span that has ended, with all it says; a recorder of `observability`."""
        attributes = [f"{name}={value!r}" for name, value in record.attributes.items()]
        self.add("span", *record[:-1], *attributes)

    def message(self, topic: str, identity: str, payload: bytes) -> None:
        """Add a message that was handed to a bus: for a broker that keeps it where no SQL statement shows it."""
        self.add("message", topic, identity, payload)

    def digest(self) -> str:
        """Return the hash of all records so far, 32 hex digits."""
        return self._hash.hexdigest()


def first_difference(one: Trace, other: Trace) -> str | None:
    """Return the first record in which two kept traces differ, or None when they are equal."""
    left, right = one.records or [], other.records or []
    for index, (mine, theirs) in enumerate(zip(left, right, strict=False)):
        if mine != theirs:
            return f"record {index}: {mine} against {theirs}"
    if len(left) != len(right):
        return f"record {min(len(left), len(right))}: one trace has {len(left)} records, the other {len(right)}"
    return None


def callback_label(handle: asyncio.Handle) -> str:
    """Return a name of what a handle runs that holds no address: a task's label, or the function's full name."""
    return _label(getattr(handle, "_callback"))  # noqa: B009  typeshed does not know the attribute


def _label(callback: Callable[..., Any]) -> str:
    while isinstance(callback, functools.partial):
        callback = callback.func
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, NumberedTask):
        return owner.label
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    module = getattr(callback, "__module__", None) or type(owner).__module__
    return f"{module}.{name}"
