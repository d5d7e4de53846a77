"""Event sourcing and CQRS: state as what happened, and read models made from it.

    Aggregate, apply          decisions as methods; the state is what the recorded events made of it
    EventStore, Recorded      streams with an expected version, one order over all of them, metadata
    upcast                    old forms of events, brought to the present one

Start with `Aggregate` and `EventStore`. Do not use it where nobody will ask how the state came to be: a row is simpler.
"""

from archstone.eventsourcing.aggregate import Aggregate, apply
from archstone.eventsourcing.errors import (
    EventUnreadableError,
    HandlerError,
    NewerEventError,
    NoStreamError,
    StreamConflictError,
)
from archstone.eventsourcing.recorded import Recorded
from archstone.eventsourcing.store import EventStore
from archstone.eventsourcing.unit import Reads, Unit
from archstone.eventsourcing.upcast import Upcast, upcast

__all__ = [
    "Aggregate",
    "EventStore",
    "EventUnreadableError",
    "HandlerError",
    "NewerEventError",
    "NoStreamError",
    "Reads",
    "Recorded",
    "StreamConflictError",
    "Unit",
    "Upcast",
    "apply",
    "upcast",
]
