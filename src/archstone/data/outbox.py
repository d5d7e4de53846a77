"""The outbox: events staged in the transaction of the change they tell of, to be sent by a relay.

The row is there if and only if the change is. `position` grows in commit order, because one writer commits in order.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import orjson

from archstone import world
from archstone.context import Call
from archstone.data.errors import EventError
from archstone.data.event import Event
from archstone.data.schema import Schema
from archstone.data.sql import Statement, compile_statement

__all__ = [
    "OUTBOX",
    "OUTBOX_DELETE",
    "OUTBOX_INSERT",
    "OUTBOX_READ",
    "Envelope",
    "Outbox",
    "OutboxRow",
    "envelope",
    "headers_of",
]


class Envelope(NamedTuple):
    """A message as brokers carry it. The first eight columns of an outbox row after its position, in that order."""

    id: str
    """32 hex digits, unique; receivers drop repeats by it."""
    topic: str
    name: str
    version: int
    key: str
    """Messages of one key keep their order. An event without a key has its id here."""
    payload: bytes
    """JSON of the event's fields."""
    headers: bytes
    """JSON object: traceparent, correlation_id, causation_id, caused_by; absent where unknown."""
    at: int
    """Microseconds since the epoch: when it was published."""


OUTBOX: Final = Schema(
    "data",
    (
        (
            """CREATE TABLE _archstone_outbox (
                position INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL,
                topic TEXT NOT NULL,
                name TEXT NOT NULL,
                version INTEGER NOT NULL,
                key TEXT NOT NULL,
                payload BLOB NOT NULL,
                headers BLOB NOT NULL,
                at INTEGER NOT NULL
            )""",
        ),
    ),
)

OUTBOX_INSERT: Final[Statement] = compile_statement(
    "INSERT INTO _archstone_outbox (id, topic, name, version, key, payload, headers, at)"
    " VALUES (:id, :topic, :name, :version, :key, :payload, :headers, :at)"
)

OUTBOX_READ: Final = (
    "SELECT position, id, topic, name, version, key, payload, headers, at FROM _archstone_outbox "
    "ORDER BY position LIMIT :limit"
)
# One row at a time by its position, not a range: on a database with several writers a lower position can commit later.
OUTBOX_DELETE: Final = "DELETE FROM _archstone_outbox WHERE position = :position"

OutboxRow = tuple[int, str, str, str, int, str, bytes, bytes, int]
"""A position and the fields of its Envelope."""


class Outbox(Protocol):
    """Where a relay finds what was published: a `Database`, or another way to the same table."""

    name: str
    """How logs and metrics name it."""
    outbox_ready: list[Callable[[], None]]
    """Called synchronously, on the loop of the relay, after commits that published. A call too many is harmless."""

    async def unsent(self, limit: int) -> Sequence[OutboxRow]:
        """Return the oldest events that are committed and not forgotten, at most `limit`."""
        ...

    async def forget(self, positions: Sequence[int]) -> None:
        """Delete events that are sent."""
        ...


def headers_of(call: Call) -> bytes:
    """Return the headers of a message that `call` causes, as JSON."""
    headers: dict[str, str] = {}
    if (trace := call.trace) is not None:
        headers["traceparent"] = f"00-{trace.trace_id:032x}-{trace.span_id:016x}-{int(trace.sampled):02x}"
    if call.correlation_id is not None:
        headers["correlation_id"] = call.correlation_id
    if call.causation_id is not None:
        headers["causation_id"] = call.causation_id
    if call.principal.id:
        headers["caused_by"] = call.principal.id
    return orjson.dumps(headers)


def envelope(event: Event, call: Call) -> Envelope:
    """Return the message of `event`, with a new id, published now by `call`.

    Raises:
        EventError: Its class has no name.
    """
    if not event.event_name:
        raise EventError(type(event).__qualname__, "has no name; give it one as a class argument to publish it")
    message_id = world.new_id()
    key = message_id if event.event_key is None else str(getattr(event, event.event_key))
    return Envelope(
        message_id,
        event.event_topic,
        event.event_name,
        event.event_version,
        key,
        event.encode(),
        headers_of(call),
        world.now_us(),
    )
