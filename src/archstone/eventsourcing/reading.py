"""Rows of events as events."""

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import ValidationError

from archstone.data import Event
from archstone.eventsourcing.errors import EventUnreadableError
from archstone.eventsourcing.recorded import Recorded
from archstone.eventsourcing.sealing import unseal
from archstone.eventsourcing.unit import Reads
from archstone.eventsourcing.upcast import decoder

__all__ = ["EventRow", "StreamRow", "events_of", "open_all", "open_stream", "recorded"]

EventRow = tuple[int, str, int, str, int, int, bytes, bytes, int]
"""Position, stream, version, name, form, sealed, payload, headers, at."""
StreamRow = tuple[int, str, int, int, bytes]
"""Version, name, form, sealed, payload: of a stream that is known."""

_TOLD: Final = 300
"""Characters of a validation error that are told."""


async def open_stream(reads: Reads, stream: str, rows: list[StreamRow], persons: set[str]) -> list[StreamRow]:
    """Return rows of one stream with personal fields in the clear, or placeholders; add to `persons` whose they are."""
    places = [index for index, row in enumerate(rows) if row[3]]
    if not places:
        return rows
    payloads, found = await unseal(reads, [(stream, rows[index][0], rows[index][4]) for index in places])
    persons |= found
    rows = list(rows)
    for index, payload in zip(places, payloads, strict=True):
        rows[index] = (*rows[index][:4], payload)
    return rows


async def open_all(reads: Reads, rows: list[EventRow]) -> list[EventRow]:
    """Return rows of any streams with personal fields in the clear, or placeholders."""
    places = [index for index, row in enumerate(rows) if row[5]]
    if not places:
        return rows
    payloads, _ = await unseal(reads, [(rows[index][1], rows[index][2], rows[index][6]) for index in places])
    rows = list(rows)
    for index, payload in zip(places, payloads, strict=True):
        row = rows[index]
        rows[index] = (*row[:6], payload, *row[7:])
    return rows


def events_of(stream: str, rows: Iterable[StreamRow]) -> Iterator[Event]:
    """Yield the events of one stream.

    Raises:
        NewerEventError, EventUnreadableError: One cannot be read.
    """
    for version, name, form, _, payload in rows:
        try:
            yield decoder(name, form)(payload)
        except ValidationError as error:
            raise unreadable(stream, version, name, form, error) from error


def recorded(rows: Iterable[EventRow]) -> list[Recorded[Event]]:
    """Return rows with all that is known about their events.

    Raises:
        NewerEventError, EventUnreadableError: One cannot be read.
    """
    return [recorded_one(row) for row in rows]


def recorded_one(row: EventRow) -> Recorded[Event]:
    """Return one of them."""
    position, stream, version, name, form, _, payload, headers, at = row
    try:
        event = decoder(name, form)(payload)
    except ValidationError as error:
        raise unreadable(stream, version, name, form, error) from error
    return Recorded(position, stream, version, event, at, headers)


def unreadable(stream: str, version: int, name: str, form: int, error: ValidationError) -> EventUnreadableError:
    """Return what to raise for a payload that does not fit. The text names fields and rules, never values."""
    faults = "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
    return EventUnreadableError(stream, version, f"{name} version {form}", faults[:_TOLD])
