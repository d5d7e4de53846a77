"""The event store: streams of events in a database, appended to when nobody else was first, read in one order.

    store = EventStore(db)
    await store.open()
    await store.save(User.create("42", email="ann@example.com"))

    user = await store.load(User, "42")
    user.change_email("ann@example.org")
    await store.save(user)                                 # StreamConflictError if somebody saved it meanwhile

Promise: what `save` has answered is on disk, all events of it or none, in the order in which they were recorded; no
event is ever changed or lost. Positions become visible in their order: who has read up to one never finds another below
it later.
"""

from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from archstone import world
from archstone.data import Event, MisuseError, TransactionLostError
from archstone.eventsourcing import tables
from archstone.eventsourcing.aggregate import Aggregate
from archstone.eventsourcing.appending import append, append_alone
from archstone.eventsourcing.errors import HandlerError, NoStreamError
from archstone.eventsourcing.log import EventLog
from archstone.eventsourcing.personal import PersonErased, any_personal
from archstone.eventsourcing.rows import EVENTS_PER_ROW, Part, decoded, opened
from archstone.eventsourcing.sealing import all_known, persons_of
from archstone.eventsourcing.snapshots import form_of, restore, state_of
from archstone.eventsourcing.unit import Reads, Unit

__all__ = ["AFTER_SAVE", "SAVED", "EventStore"]

A = TypeVar("A", bound=Aggregate)
T = TypeVar("T")

Publish = bool | Collection[type[Event]]
"""Which events are also staged in the outbox: all, none, or those of some classes."""

AFTER_SAVE: Final = world.declare_point(
    "eventsourcing.after_save", "events are on disk, nobody has been told and no projection knows"
)
SAVED: Final = "events"
"""What is signalled in the database after each commit of events: `db.listen(SAVED, callback)`."""
ROWS: Final = 500
"""Rows of a stream that are read in one turn of the loop."""


class EventStore(EventLog):
    """The events of one database: appended to here, read as its base says."""

    async def open(self) -> None:
        """Create the tables if they are missing. The database must be open."""
        await self.db.ensure(tables.EVENTS_SCHEMA)

    async def load(self, kind: type[A], id: str, *, tx: Unit | None = None) -> A:
        """Return the aggregate as its events made it; in `tx`, also those that it has saved.

        Raises:
            NoStreamError: Nothing was ever recorded under this id.
            NewerEventError, EventUnreadableError: An event cannot be read.
        """
        found = await self.find(kind, id, tx=tx)
        if found is None:
            raise NoStreamError(kind.stream_of(id))
        return found

    async def find(self, kind: type[A], id: str, *, tx: Unit | None = None) -> A | None:
        """Return the aggregate, or None where nothing was ever recorded under this id."""
        reads: Reads = tx or self.db
        stream = _stored(kind).stream_of(id)
        aggregate = kind(id)
        parts = await reads.all(Part, tables.LOAD, stream=stream, rows=ROWS)
        # Which of the two comes first the statement cannot say without a sort.
        snapshot = next((part for part in parts if not part.size), None)
        if snapshot is not None:
            parts.remove(snapshot)
            fits = snapshot.kinds == form_of(kind).tag and restore(
                aggregate, snapshot.payloads, version=snapshot.version
            )
            if not fits:
                parts = await reads.all(Part, tables.REBUILD, stream=stream, after=0, rows=ROWS)
        while True:
            for part in parts:
                payloads = await opened(reads, stream, part, aggregate.persons)
                skip = aggregate.version + 1 - part.version
                aggregate.replay(decoded(stream, part, payloads, skip=skip))
            if len(parts) < ROWS:
                return aggregate if aggregate.version else None
            await sleep(0)
            parts = await reads.all(Part, tables.REBUILD, stream=stream, after=aggregate.version, rows=ROWS)

    async def save(self, aggregate: Aggregate, *, tx: Unit | None = None, publish: Publish = False) -> int:
        """Store what the aggregate has recorded; return the position of the last event, 0 if there was none.

        Args:
            aggregate: If this raises, nothing of it was stored. After a conflict load it again.
            tx: The transaction in which it is stored. When that is rolled back, the aggregate is worth nothing any
                more: load it again. None: one of its own, durable when this returns.
            publish: Also stage the events in the outbox, for other services: all, or those of some classes. Personal
                fields leave in the clear.

        Raises:
            StreamConflictError: Somebody else has saved it since it was loaded.
        """
        _stored(type(aggregate))
        if not aggregate.pending:
            return 0
        events = tuple(aggregate.pending)
        persons = persons_of(events)
        aggregate.persons |= persons
        snapshot = _snapshot(aggregate) if _due(aggregate) else None
        stream, expected = aggregate.stream, aggregate.stored_version
        if tx is None and snapshot is None and not publish and not persons:
            position = await self._alone(stream, events, expected)
        else:

            async def save(unit: Unit) -> int:
                position = await self._append(unit, stream, events, expected=expected, publish=publish)
                if snapshot is not None:
                    await _put(unit, aggregate, snapshot)
                return position

            position = await self._in(tx, save)
        # Not simply cleared: somebody may have recorded more while this waited for the disk.
        del aggregate.pending[: len(events)]
        return position

    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        expected: int | None = None,
        tx: Unit | None = None,
        publish: Publish = False,
    ) -> int:
        """Store events (at least one) at the end of a stream; return the position of the last. What `save` does.

        Args:
            stream: Its name, such as `user/42`.
            events: Oldest first.
            expected: Events that the stream must have by now, 0 for a new one. None: as many as it has.
            tx: As in `save`.
            publish: As in `save`.

        Raises:
            StreamConflictError: The stream has more or fewer than `expected` events. Nothing was stored.
        """
        if tx is None and expected is not None and not publish and not any_personal(events):
            return await self._alone(stream, events, expected)
        return await self._in(tx, lambda unit: self._append(unit, stream, events, expected=expected, publish=publish))

    async def snapshot(self, aggregate: Aggregate, *, tx: Unit | None = None) -> None:
        """Store the state of an aggregate that has been saved, in place of an older snapshot.

        Raises:
            MisuseError: It has recorded events that are not saved.
            HandlerError: It has attributes that a snapshot would lose.
        """
        if aggregate.pending or not aggregate.version:
            raise MisuseError(f"aggregate {aggregate.stream}", "has unsaved events, or none: save it first")
        row = _snapshot(aggregate)
        await self._in(tx, lambda unit: _put(unit, aggregate, row))

    async def erase(self, person: str, *, tx: Unit | None = None, publish: bool = False) -> int:
        """Destroy the key of a person: what stored events hold about them reads as placeholders from now on.

        A `PersonErased` is appended, so that projections drop what they have copied. Repeating it does nothing. See
        `sealing` for what it does not reach: backups keep the key for as long as they are kept.

        Args:
            person: Their id, as the fields named by `Personal` hold it.
            tx: As in `save`.
            publish: Also tell other services, who may hold copies.

        Returns:
            The position of the `PersonErased`, 0 if they had been erased before.
        """

        async def erase(unit: Unit) -> int:
            if not await unit.execute(tables.ERASE_KEY, person=person, at=world.now_us()):
                return 0
            # A snapshot holds the state in the clear.
            await unit.execute(tables.DROP_SNAPSHOTS_OF_PERSON, person=person)
            await unit.execute(tables.FORGET_SNAPSHOT_PERSON, person=person)
            stream = f"archstone.person/{person}"
            return await self._append(unit, stream, [PersonErased(person=person)], expected=None, publish=publish)

        return await self._in(tx, erase)

    async def _in(self, tx: Unit | None, work: Callable[[Unit], Awaitable[T]]) -> T:
        """Do `work` in `tx`, or in a transaction of its own."""
        if tx is not None:
            return await work(tx)
        return await self.db.run(work)

    async def _alone(self, stream: str, events: Sequence[Event], expected: int) -> int:
        """Store events that nothing else goes with: by one statement, where that can be."""
        if len(events) <= EVENTS_PER_ROW:
            with suppress(TransactionLostError):  # then once more, as often as is worth it
                position = await append_alone(self.db, stream, events, expected=expected)
                self._saved()
                return position
        return await self.db.run(lambda unit: self._append(unit, stream, events, expected=expected, publish=False))

    async def _append(
        self, unit: Unit, stream: str, events: Sequence[Event], *, expected: int | None, publish: Publish
    ) -> int:
        position = await append(unit, stream, events, expected=expected, dialect=self.db.dialect)
        if publish:
            for event in events:
                if publish is True or type(event) in publish:
                    unit.publish(event)
        unit.after_commit(self._saved)
        return position

    def _saved(self) -> None:
        world.point(AFTER_SAVE)
        self.db.signal(SAVED)


def _due(aggregate: Aggregate) -> bool:
    """Whether a snapshot belongs to the save of what is pending."""
    every = aggregate.snapshot_every
    return every is not None and aggregate.version // every > aggregate.stored_version // every


def _snapshot(aggregate: Aggregate) -> dict[str, object]:
    """Return the row of its snapshot, as it is now."""
    return {
        "stream": aggregate.stream,
        "version": aggregate.version,
        "form": form_of(type(aggregate)).tag,
        "state": state_of(aggregate),
        "at": world.now_us(),
    }


async def _put(unit: Unit, aggregate: Aggregate, row: dict[str, object]) -> None:
    """Store a snapshot, unless it holds something about somebody who has been erased since it was loaded."""
    if aggregate.persons:
        if not await all_known(unit, aggregate.persons):
            return
        await unit.many(
            tables.PUT_SNAPSHOT_PERSON,
            [{"person": person, "stream": aggregate.stream} for person in sorted(aggregate.persons)],
        )
    await unit.execute(tables.PUT_SNAPSHOT, **row)


def _stored(kind: type[A]) -> type[A]:
    """Return `kind`, which must have a name.

    Raises:
        HandlerError: It has none.
    """
    if not kind.aggregate_name:
        raise HandlerError(kind.__qualname__, "has no name: give it one as a class argument to store it")
    return kind
