"""What a system knows about one business id, as values that a page shows: JSON-able, frozen, bounded.

Instants are microseconds since the epoch, UTC. Everything is told from spans, journals, outboxes and queues as they
stand, so it can be asked for while it goes on, and after a crash: what a killed process did not live to write as a
span is told from the journal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "Attribute",
    "EventTold",
    "Handling",
    "HandlingState",
    "Row",
    "RowStatus",
    "SagaStory",
    "StepStory",
    "Story",
    "TraceStory",
]

Attribute: TypeAlias = str | int | float | bool | None

RowStatus = Literal["open", "ok", "refused", "error", "cancelled", "lost"]
"""`open`: it goes on. `refused`: an answer that the caller can act on. `lost`: its process died before its end."""

HandlingState = Literal["waiting", "running", "retrying", "handled", "dead"]
"""`waiting`: in the queue. `running`: its handler is at work. `retrying`: it failed and comes again. `handled`: for
good. `dead`: given up; a dead letter, until it is replayed or dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a waterfall: a span, or a step that only the journal tells of."""

    id: str
    """Unique in its story."""
    parent: str | None
    """Id of the row above it in the tree. None: at the margin."""
    depth: int
    """0 at the margin."""
    name: str
    """`Orders.place`, `step inventory.reserve`, `handle analytics`, `send orders.order-placed`."""
    kind: str
    """`server`, `client`, `producer`, `consumer` or `internal`."""
    service: str | None
    """Which service did it. None: not known."""
    offset_us: int
    """From the beginning of its trace, microseconds. At least 0."""
    duration_us: int
    """Microseconds; so far, while it is open."""
    status: RowStatus
    error: str | None
    """Text of what went wrong. None: nothing did, so far."""
    attempts: int
    """Which attempt this is or how many it took, from 1."""
    journal: bool
    """Whether only the journal tells of it, because no span was kept."""
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStory:
    """One trace as a waterfall: rows in the order of a tree, parents first."""

    id: str
    """32 hex digits."""
    began_us: int
    duration_us: int
    """From the first beginning to the last end, microseconds; so far, while a row is open."""
    rows: tuple[Row, ...]
    left_out: int
    """Rows beyond the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStory:
    """A step of a saga."""

    id: str
    """`branch/name#n`."""
    operation: str
    """What it calls; `sleep` for a durable sleep."""
    state: Literal["begun", "done", "failed", "undone"]
    begun_us: int | None
    """None: written by a release that did not keep it."""
    ended_us: int | None
    """When its answer, or its failure for good, was known. None: not yet, or not kept."""
    undone_us: int | None
    attempts: int
    """Attempts so far of the process that tried last, from 1."""
    can_undo: bool
    """Whether it has an undo."""
    error: str | None
    """Why it failed for good, or what its last attempt met while it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStory:
    """A saga with its steps as they stand."""

    id: str
    service: str
    method: str
    parent: str | None
    """Id of the saga in whose trace it began, as a part of it. None: it stands by itself."""
    status: Literal["queued", "running", "stuck", "done", "failed"]
    going_back: bool
    """Whether it is being undone, or was."""
    began_us: int
    ended_us: int | None
    attempts: int
    """Runs of its body that ended in a bug."""
    why: str | None
    """Why it is stuck, or the last bug of its body."""
    error: str | None
    """What made it go back."""
    steps: tuple[StepStory, ...]
    left_out: int
    """Steps beyond the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What one group made of one event."""

    group: str
    state: HandlingState
    attempts: int
    """Attempts so far, from 0."""
    began_us: int | None
    """When the last attempt began. None: there was none, or it is not known any more."""
    ended_us: int | None
    error: str | None
    """What the last attempt met. None: nothing."""
    letter: int | None
    """Number of the dead letter, for an operator. None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTold:
    """An event whose key is the business id."""

    id: str
    name: str
    service: str | None
    """Who published it. None: not known."""
    published_us: int
    sent_us: int | None
    """When it left the outbox. None: it is still there."""
    handlings: tuple[Handling, ...]
    """By group; empty when nobody wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is known about one business id."""

    ref: str
    mark: str
    """Changes when the story does, but for the time that goes by. Give it to `after`."""
    found: bool
    """Whether anything is known."""
    live: bool
    """Whether something goes on: a row is open, a saga runs, an event waits."""
    now_us: int
    """When it was told."""
    began_us: int | None
    """The first instant told of."""
    traces: tuple[TraceStory, ...]
    """Oldest first."""
    sagas: tuple[SagaStory, ...]
    """Oldest first; those that a saga is made of come after it."""
    events: tuple[EventTold, ...]
    """In the order of publishing."""
    starts_us: tuple[int, ...]
    """Instants since its beginning at which the system was started again: a second life, after a crash or a stop."""
