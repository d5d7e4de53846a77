"""The events of a database, read: one stream, or all of them in their order."""

from typing import Final, NamedTuple

from archstone.data import Database, Event
from archstone.eventsourcing import tables
from archstone.eventsourcing.recorded import Recorded
from archstone.eventsourcing.rows import EventRow, opened, place_of, position_of, recorded

__all__ = ["Batch", "EventLog"]

LIMIT: Final = 1_000
"""Events that one read returns unless it is told otherwise."""


class Batch(NamedTuple):
    """Events that stand one after another in the order of all streams."""

    position: int
    """Position of the last one."""
    size: int
    """How many there are."""
    at: int | None
    """When the first was recorded, microseconds since the epoch."""
    events: list[Recorded[Event]]
    """Those of them that were wanted."""


class EventLog:
    """What can be read of an event store."""

    def __init__(self, db: Database) -> None:
        self.db = db
        """Where the events are."""

    async def stream(self, stream: str, *, after: int = 0, limit: int = LIMIT) -> list[Recorded[Event]]:
        """Return the events of one stream whose number is above `after`: oldest first, at most `limit`."""
        rows = await self.db.all(EventRow, tables.READ_STREAM, stream=stream, after=after, limit=limit)
        events: list[Recorded[Event]] = []
        for row in rows:
            skip = max(0, after + 1 - row.version)
            events += await self._recorded(row, range(skip, min(row.size, skip + limit - len(events))))
        return events

    async def read(self, *, after: int = 0, limit: int = LIMIT) -> list[Recorded[Event]]:
        """Return the events of all streams whose position is above `after`: in their order, at most `limit`."""
        return (await self.batch(after=after, limit=limit)).events

    async def batch(self, *, after: int, limit: int, names: frozenset[str] | None = None) -> Batch:
        """Return the next `limit` events of all streams, for one who wants those of `names` (None: all)."""
        first, place = place_of(after)
        rows = await self.db.all(EventRow, tables.READ_ALL, row=first, limit=limit + place + 1)
        position, size, at = after, 0, None
        events: list[Recorded[Event]] = []
        for row in rows:
            # What was read before stands at the beginning of the first row, what is too much at the end of the last.
            skip = place + 1 if row.row == first else 0
            taken = min(row.size - skip, limit - size)
            if taken <= 0:
                continue
            at = row.at if at is None else at
            size, position = size + taken, position_of(row.row, skip + taken - 1)
            events += await self._recorded(row, range(skip, skip + taken), names)
        return Batch(position, size, at, events)

    async def recorded_us(self, *, after: int) -> int | None:
        """Return when the next event above position `after` was recorded, microseconds; None where there is none."""
        row, place = place_of(after)
        return await self.db.first(int, tables.RECORDED, row=row, place=place + 1)

    async def last_position(self) -> int:
        """Return the position of the last event; 0 where there is none."""
        row = await self.db.first(tuple[int, int], tables.LAST_ROW)
        return 0 if row is None else position_of(row[0], row[1] - 1)

    async def _recorded(
        self, row: EventRow, places: range, names: frozenset[str] | None = None
    ) -> list[Recorded[Event]]:
        payloads = await opened(self.db, row.stream, row.part, set())
        return recorded(row, payloads, places=places, names=names)
