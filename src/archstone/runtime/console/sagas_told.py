"""Sagas as stories tell them: from their journals, and what open spans add while a step is tried again."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from archstone.gateway.story import SagaStory, StepStory
from archstone.observability import SpanRecord
from archstone.sagas import SagaInfo, StepInfo

__all__ = ["MAX_STEPS", "error_text", "instant_us", "saga_story"]

MAX_STEPS: Final = 200
"""Steps of one saga."""
_TEXT_LIMIT: Final = 300


def saga_story(info: SagaInfo, service: str, *, parent: str | None, spans: Sequence[SpanRecord] = ()) -> SagaStory:
    """Return a saga as a story tells it.

    Args:
        info: With its steps.
        service: Whose it is.
        parent: The saga that it is a part of.
        spans: Open ones: they know how often a step has been tried so far.
    """
    trying = {
        str(span.attributes.get("step")): span for span in spans if span.ref == info.id and "step" in span.attributes
    }
    failure = None if info.failure is None else error_text(info.failure)
    return SagaStory(
        id=info.id,
        service=service,
        method=info.method,
        parent=parent,
        status=info.status,
        going_back=info.failure is not None or info.status == "failed",
        began_us=_us(info.started_at),
        ended_us=None if info.finished_at is None else _us(info.finished_at),
        attempts=info.attempts,
        why=None if info.why is None else info.why[:_TEXT_LIMIT],
        error=failure,
        steps=(*(_step(step, trying, failure) for step in info.steps[:MAX_STEPS]), *_not_written(info, trying)),
        left_out=max(0, len(info.steps) - MAX_STEPS),
    )


def _not_written(info: SagaInfo, trying: Mapping[str, SpanRecord]) -> list[StepStory]:
    """Return the steps that are being made and are written with their effect, so that the journal has none yet."""
    known = {step.id for step in info.steps}
    return [
        StepStory(
            id=step,
            operation=span.name.removeprefix("step "),
            state="begun",
            begun_us=span.start_us,
            ended_us=None,
            undone_us=None,
            attempts=int(span.attributes.get("attempts") or 1),
            can_undo=False,
            error=_last_error(span),
        )
        for step, span in trying.items()
        if step not in known and span.name.startswith("step ")
    ]


def _last_error(span: SpanRecord) -> str | None:
    last = span.attributes.get("last_error")
    return None if last is None else str(last)[:_TEXT_LIMIT]


def _step(step: StepInfo, trying: Mapping[str, SpanRecord], failure: str | None) -> StepStory:
    error, attempts = (failure if step.state == "failed" else None), step.attempts or 1
    if step.state in {"begun", "failed"} and (work := trying.get(step.id)) is not None:
        attempts = max(attempts, int(work.attributes.get("attempts") or 1))
        error = error or _last_error(work)
    return StepStory(
        id=step.id,
        operation=step.operation,
        state=step.state,
        begun_us=instant_us(step.begun_at),
        ended_us=instant_us(step.ended_at),
        undone_us=instant_us(step.undone_at),
        attempts=attempts,
        can_undo=step.undo is not None,
        error=error,
    )


def error_text(encoded: str) -> str:
    """Return the text of an error as the journal has it."""
    found = json.loads(encoded)
    text = cast("dict[str, Any]", found).get("text") if isinstance(found, dict) else None
    return str(text if text is not None else encoded)[:_TEXT_LIMIT]


def instant_us(instant: datetime | None) -> int | None:
    """Return an instant in microseconds since the epoch; None of None."""
    return None if instant is None else _us(instant)


def _us(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)
