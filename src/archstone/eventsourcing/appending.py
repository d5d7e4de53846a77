"""How events come to stand at the end of a stream, inside a transaction."""

from collections.abc import Mapping, Sequence
from typing import Final

from archstone import context, world
from archstone.data import Event, MisuseError, headers_of
from archstone.eventsourcing import tables
from archstone.eventsourcing.errors import StreamConflictError
from archstone.eventsourcing.personal import personal_fields
from archstone.eventsourcing.rows import EVENTS_PER_ROW, kinds_of, line_of, position_of
from archstone.eventsourcing.sealing import seal
from archstone.eventsourcing.unit import Unit

__all__ = ["AFTER_APPEND", "append"]

AFTER_APPEND: Final = world.declare_point(
    "eventsourcing.after_append", "events are in the transaction that saves them, none of it is on disk"
)

# "archstone" in ASCII, cut to 63 bits: a number that nobody else's advisory lock is likely to have.
_ORDER_LOCK: Final = int.from_bytes(b"archston") >> 1
_TAKE_ORDER: Final = "SELECT pg_advisory_xact_lock(CAST(:lock AS BIGINT))"


async def append(unit: Unit, stream: str, events: Sequence[Event], *, expected: int | None, dialect: str) -> int:
    """Write `events` after the first `expected` of `stream` (None: after its last); return the position of the last.

    Raises:
        MisuseError: There are no events, or one whose class has no name.
        StreamConflictError: The stream has more or fewer than `expected` events. Nothing was written.
        ErasedPersonError: An event tells something personal about somebody who was erased.
    """
    kinds = _kinds(stream, events)
    if dialect == "postgresql":
        # Positions are drawn from a sequence when rows are written, and seen when their transaction commits. Without
        # the lock: A draws 7, B draws 8, B commits, a reader goes on from 8, A commits, and 7 is never read. With it,
        # whoever draws a position commits before anybody draws the next (docs/decisions).
        await unit.execute(_TAKE_ORDER, lock=_ORDER_LOCK)
    if expected != 0:
        found = await _version(unit, stream)
        if expected is None:
            expected = found
        elif expected != found:
            raise StreamConflictError(stream, expected, found)
    sealed: dict[int, bytes] = {}
    if any(map(personal_fields, kinds)):
        sealed = await seal(unit, stream, events, first=expected + 1)
    position = 0
    for start in range(0, len(events), EVENTS_PER_ROW):
        part = events[start : start + EVENTS_PER_ROW]
        row = await unit.first(int, tables.INSERT_EVENTS, **_row(stream, part, expected + start, sealed))
        if row is None:
            raise StreamConflictError(stream, expected, await _version(unit, stream))
        position = position_of(row, len(part) - 1)
    world.point(AFTER_APPEND)
    return position


async def _version(unit: Unit, stream: str) -> int:
    return await unit.first(int, tables.STREAM_VERSION, stream=stream) or 0


def _kinds(stream: str, events: Sequence[Event]) -> set[type[Event]]:
    """Return the classes of `events`.

    Raises:
        MisuseError: There are no events, or one whose class has no name.
    """
    kinds = {type(event) for event in events}
    if not kinds:
        raise MisuseError(f"stream {stream!r}", "there are no events to append")
    for kind in kinds:
        if not kind.event_name:
            raise MisuseError(f"stream {stream!r}", f"{kind.__qualname__} has no name: give it one to store it")
    return kinds


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
