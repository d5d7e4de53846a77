"""Rows and journals as the frozen values that people and tools read."""

from datetime import UTC, datetime
from typing import Final, cast

import orjson

from archstone.observability import parse_traceparent
from archstone.sagas.info import SagaInfo, SagaStatus, StepInfo, StepState
from archstone.sagas.journal import Begun, Past
from archstone.sagas.rows import SagaRow

__all__ = ["saga_info"]

_STATUSES: Final[dict[str, SagaStatus]] = {"asleep": "running", "delayed": "queued"}
"""What a status of a row is called outside, where that differs."""


def saga_info(row: SagaRow, past: Past | None = None) -> SagaInfo:
    """Return what a row says, with the steps of its journal if that is given."""
    headers: dict[str, str] = orjson.loads(row.headers)
    trace = parse_traceparent(headers.get("traceparent"))
    return SagaInfo(
        id=row.id,
        number=row.number,
        method=row.method,
        version=row.version,
        status=_STATUSES.get(row.status) or cast("SagaStatus", row.status),
        arguments=row.arguments.decode(),
        answer=None if row.answer is None else row.answer.decode(),
        attempts=row.attempts,
        why=row.why,
        caused_by=headers.get("caused_by", ""),
        correlation_id=headers.get("correlation_id", row.id),
        trace_id=None if trace is None else f"{trace.trace_id:032x}",
        started_at=_instant(row.started_us),
        finished_at=_maybe(row.finished_us),
        failure=None if past is None or past.failure is None else past.failure.decode(),
        parent=row.parent,
        queue=None if row.queue is None else row.queue.partition("/")[2],
        key=row.queue_key or None,
        priority=row.priority,
        due_at=_maybe(row.wake_us) if row.status == "delayed" else None,
        forked_from=row.forked_from,
        steps=() if past is None else tuple(map(_step_info, past.steps.values())),
    )


def _step_info(begun: Begun) -> StepInfo:
    state: StepState = "begun"
    if begun.undone:
        state = "undone"
    elif begun.failed or begun.late:
        state = "failed"
    elif begun.answer is not None:
        state = "done"
    return StepInfo(
        id=begun.step,
        operation=begun.operation,
        state=state,
        arguments=begun.arguments.decode(),
        undo=None if begun.undo is None else f'["{begun.undo[0]}",{begun.undo[1].decode()}]',
        answer=None if begun.answer is None else begun.answer.decode(),
        begun_at=_maybe(begun.begun_us),
        ended_at=_maybe(begun.ended_us),
        undone_at=_maybe(begun.undone_us),
        attempts=begun.attempts,
        child=begun.child,
    )


def _maybe(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _instant(microseconds)


def _instant(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
