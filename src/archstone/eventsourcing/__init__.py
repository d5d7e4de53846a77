"""Event sourcing and CQRS: state as what happened, and read models made from it.

    Aggregate, apply          decisions as methods; the state is what the recorded events made of it
    Personal                  fields that can be made unreadable for good when a person asks for it
    EventStore, Recorded      streams with an expected version, one order over all of them, metadata
    upcast                    old forms of events, brought to the present one
    Projection, when          read models made from events: effect and checkpoint in one transaction
    External, Target          read models where no transaction reaches: caches, search servers
    Projector                 runs a projection: catch-up, live, rebuild beside and swap, lag, read-your-writes

Start with `Aggregate` and `EventStore`. Do not use it where nobody will ask how the state came to be: a row is simpler.
"""

from archstone.eventsourcing.aggregate import Aggregate, apply
from archstone.eventsourcing.checkpoint import LiveProjection, live_projections, live_version
from archstone.eventsourcing.errors import (
    ErasedPersonError,
    EventUnreadableError,
    HandlerError,
    NewerEventError,
    NoStreamError,
    ProjectionBehindError,
    ProjectionFailedError,
    ProjectionMovedError,
    StreamConflictError,
    TargetError,
)
from archstone.eventsourcing.external import Change, Document, External, Target
from archstone.eventsourcing.personal import ERASED, Personal, PersonErased
from archstone.eventsourcing.progress import ProjectorStatistics
from archstone.eventsourcing.projection import Projection, when
from archstone.eventsourcing.projector import Projector
from archstone.eventsourcing.recorded import Recorded
from archstone.eventsourcing.settings import ProjectorSettings
from archstone.eventsourcing.store import EventStore
from archstone.eventsourcing.tables import EVENTS_SCHEMA
from archstone.eventsourcing.unit import Reads, Unit
from archstone.eventsourcing.upcast import Upcast, upcast

__all__ = [
    "ERASED",
    "EVENTS_SCHEMA",
    "Aggregate",
    "Change",
    "Document",
    "ErasedPersonError",
    "EventStore",
    "EventUnreadableError",
    "External",
    "HandlerError",
    "LiveProjection",
    "NewerEventError",
    "NoStreamError",
    "PersonErased",
    "Personal",
    "Projection",
    "ProjectionBehindError",
    "ProjectionFailedError",
    "ProjectionMovedError",
    "Projector",
    "ProjectorSettings",
    "ProjectorStatistics",
    "Reads",
    "Recorded",
    "StreamConflictError",
    "Target",
    "TargetError",
    "Unit",
    "Upcast",
    "apply",
    "live_projections",
    "live_version",
    "upcast",
    "when",
]
