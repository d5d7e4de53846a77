"""How events come to stand at the end of a stream, inside a transaction."""

from collections.abc import Mapping, Sequence
from typing import Final

from archstone import context, world
from archstone.data import Database, Event, MisuseError, headers_of
from archstone.eventsourcing import tables
from archstone.eventsourcing.errors import StreamConflictError
from archstone.eventsourcing.personal import any_personal
from archstone.eventsourcing.rows import EVENTS_PER_ROW, kinds_of, line_of, position_of
from archstone.eventsourcing.sealing import seal
from archstone.eventsourcing.unit import Reads, Unit

__all__ = ["AFTER_APPEND", "append", "append_alone", "version_of"]

AFTER_APPEND: Final = world.declare_point(
    "eventsourcing.after_append", "events are in the transaction that saves them, none of it is on disk"
)


async def append(unit: Unit, stream: str, events: Sequence[Event], *, expected: int | None, dialect: str) -> int:
    """Write `events` after the first `expected` of `stream` (None: after its last); return the position of the last.

    Raises:
        MisuseError: There are no events, or one whose class has no name.
        StreamConflictError: The stream has more or fewer than `expected` events. Nothing was written.
        ErasedPersonError: An event tells something personal about somebody who was erased.
    """
    _check(stream, events)
    if expected is None:
        if dialect == "postgresql":
            await unit.first(str, tables.TAKE_TURN)  # or somebody comes between this look and the row
        expected = await version_of(unit, stream)
    sealed: dict[int, bytes] = {}
    if any_personal(events):
        sealed = await seal(unit, stream, events, first=expected + 1)
    position = 0
    for start in range(0, len(events), EVENTS_PER_ROW):
        part = events[start : start + EVENTS_PER_ROW]
        row = await unit.first(int, tables.APPEND[dialect], **_row(stream, part, expected + start, sealed))
        if row is None:
            raise StreamConflictError(stream, expected, await version_of(unit, stream))
        position = position_of(row, len(part) - 1)
    world.point(AFTER_APPEND)
    return position


async def append_alone(db: Database, stream: str, events: Sequence[Event], *, expected: int) -> int:
    """Write `events` (no more than a row holds, none of them personal) as a transaction of its own: one statement.

    Raises:
        MisuseError, StreamConflictError: As `append`.
    """
    _check(stream, events)
    rows = await db.returning(int, tables.APPEND[db.dialect], **_row(stream, events, expected, {}))
    if not rows:
        raise StreamConflictError(stream, expected, await version_of(db, stream))
    return position_of(rows[0], len(events) - 1)


async def version_of(reads: Reads, stream: str) -> int:
    """Return how many events a stream has."""
    return await reads.first(int, tables.STREAM_VERSION, stream=stream) or 0


def _check(stream: str, events: Sequence[Event]) -> None:
    """Raise MisuseError if there are no events, or one whose class has no name."""
    if not events:
        raise MisuseError(f"stream {stream!r}", "there are no events to append")
    for event in events:
        if not event.event_name:
            kind = type(event).__qualname__
            raise MisuseError(f"stream {stream!r}", f"{kind} has no name: give it one to store it")


def _row(stream: str, events: Sequence[Event], expected: int, sealed: Mapping[int, bytes]) -> dict[str, object]:
    """Return the row of events that follow the first `expected`, some of them sealed already."""
    first = expected + 1
    if sealed:
        lines = [line_of(type(event), sealed=number in sealed) for number, event in enumerate(events, first)]
        payloads = [sealed.get(number) or event.encode() for number, event in enumerate(events, first)]
    else:
        lines = [line_of(type(event), sealed=False) for event in events]
        payloads = [event.encode() for event in events]
    return {
        "stream": stream,
        "version": first,
        "size": len(events),
        "kinds": kinds_of(lines),
        "payloads": b"\n".join(payloads),
        "headers": headers_of(context.current()),
        "at": world.now_us(),
    }
