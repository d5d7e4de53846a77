"""What one can see of sagas from outside: frozen values, read from the tables."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["SagaInfo", "SagaStatistics", "SagaStatus", "StepInfo", "StepState"]

SagaStatus = Literal["queued", "running", "stuck", "done", "failed"]
"""`queued`: has not begun, in its queue or before its time. `running`: at work, waiting for a place, for time or for a
signal, or compensating. `stuck`: waits for a person. `failed`: all undone."""

StepState = Literal["begun", "done", "failed", "undone"]
"""`begun`: on disk, no answer on disk yet. `failed`: for good. `undone`: its undo is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """A step as the journal has it."""

    id: str
    """`branch/name#n`."""
    operation: str
    """`confirm`, `inventory.reserve` or `package.module:function`; `sleep` for a durable sleep, `signal` for a
    wait for one."""
    state: StepState
    arguments: str
    """JSON array."""
    undo: str | None
    """JSON array of operation and arguments; None if there is nothing to undo."""
    answer: str | None
    """JSON; None as long as there is none."""
    begun_at: datetime | None = None
    """None: an older release wrote it, which did not keep instants."""
    ended_at: datetime | None = None
    """When its answer, or its failure for good, was known. None: not yet, or as above."""
    undone_at: datetime | None = None
    attempts: int | None = None
    """Attempts of the process that ended it. None: not ended, or as above."""
    child: str | None = None
    """Id of the saga that this step is. None: it is a call, or could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaInfo:
    """A saga as its row has it."""

    id: str
    number: int
    """Position in the order of starting: what `list(before=)` takes."""
    method: str
    version: int
    status: SagaStatus
    arguments: str
    """JSON array."""
    answer: str | None
    """JSON of the answer (`done`) or of the error (`failed`); None as long as there is none."""
    attempts: int
    """Runs of the body that ended in a bug, since it was started or resumed by hand."""
    why: str | None
    """Why it is stuck, or the last bug of its body; None if there was none."""
    caused_by: str
    """Id of the principal that started it: a record, not authority."""
    correlation_id: str
    trace_id: str | None
    """32 hex digits."""
    started_at: datetime
    finished_at: datetime | None
    failure: str | None = None
    """JSON of the error for which it goes or went back. None: it does not. Filled by `inspect`, as `steps`."""
    parent: str | None = None
    """Id of the saga of which this one is a step. None: it stands by itself."""
    queue: str | None = None
    """Name of the queue in which it waits, or waited. None: it has none."""
    key: str | None = None
    """For whom it is, in its queue. None: nobody."""
    priority: int = 0
    due_at: datetime | None = None
    """Before when it does not begin or join its queue. None: it may."""
    forked_from: str | None = None
    """Id of the saga whose first steps are its own too. None: it began at the beginning."""
    steps: tuple[StepInfo, ...] = ()
    """In the order in which they were begun. Filled by `inspect`, empty from `list`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStatistics:
    """Counts since the engine was opened; `running`, `stuck` and `waiting` are of this moment."""

    running: int
    """Sagas in memory, sleepers included."""
    stuck: int
    waiting: int
    """Sagas on disk that have no place in memory yet."""
    started: int
    """Bodies begun or resumed."""
    finished: int
    failed: int
    queued: int = 0
    """Sagas in queues, as far as this process knows; those that are delayed are not counted before they join."""
    workers: int = 1
    """Processes that share the sagas, as far as this one knows."""
    taken_over: int = 0
    """Sagas of dead workers that this process has made free for the others."""
