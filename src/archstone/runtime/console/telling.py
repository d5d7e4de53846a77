"""Puts a story together: spans from the store, sagas from their engines, events from outboxes and queues.

Each source is asked by key, never scanned, and each answer is bounded; a story of an order costs about a millisecond.
"""

from collections.abc import Sequence
from hashlib import blake2s
from typing import Final, NamedTuple

import orjson

from archstone import world
from archstone.gateway.story import EventTold, SagaStory, Story, TraceStory
from archstone.messaging import Bus, DeadLetter
from archstone.observability import SpanRecord, SpanStore, open_spans
from archstone.runtime.console.events_told import Facts, Unsent, events_of
from archstone.runtime.console.rows import Journal, Whose, own_spans, saga_parents, traces_of
from archstone.runtime.console.sagas_told import saga_story
from archstone.runtime.wiring import Parts
from archstone.sagas import SagaInfo, Sagas, SagaUnknownError
from archstone.services import System

__all__ = ["Teller"]

_SAGAS: Final = 30
_KEYS: Final = 10
_LETTERS: Final = 50
_SAGA: Final = "saga "
_UNSENT: Final = (
    "SELECT id, name, at FROM (SELECT * FROM _archstone_outbox ORDER BY position LIMIT 500) WHERE key = :key LIMIT 50"
)


class _Known(NamedTuple):
    """A saga that was found."""

    info: SagaInfo
    service: str


class Teller:
    """Tells stories of one running system."""

    def __init__(self, system: System, parts: Parts, *, spans: SpanStore, bus: Bus) -> None:
        self._parts = parts
        self._spans = spans
        self._bus = bus
        self._whose = Whose(
            {
                operation.full_name: service.service_info.name
                for service in system.services
                for operation in service.service_info.operations
            }
        )
        self._groups: dict[str, str] = {}
        self.starts_us: tuple[int, ...] = ()
        """Instants at which the system started, oldest first."""

    def engines(self) -> list[tuple[str, Sagas]]:
        """Return the engines of all services, by name."""
        parts = self._parts.services.items()
        return [(name, part.dispatcher.sagas) for name, part in parts if part.dispatcher.sagas is not None]

    async def find(self, saga: str, engine: str | None = None) -> tuple[str, Sagas, SagaInfo] | None:
        """Return a saga with its engine, None if there is none; `engine` is asked first."""
        engines = self.engines()
        engines.sort(key=lambda pair: pair[0] != engine)
        for name, sagas in engines:
            try:
                return name, sagas, await sagas.inspect(saga)
            except SagaUnknownError:
                continue
        return None

    async def tell(self, ref: str) -> Story:
        """Return the story of `ref` as it is now."""
        now = open_spans(ref=ref)
        root = await self.find(ref)
        also = {span.trace_id for span in now}
        if root is not None and root[2].trace_id is not None:
            also.add(int(root[2].trace_id, 16))
        ended = self._spans.about(ref, also=also)
        traces = also | {span.trace_id for span in ended}
        known = {span.span_id for span in ended}
        now = [span for span in open_spans(traces=traces, ref=ref) if span.span_id not in known]
        spans = own_spans([*ended, *now], ref)
        sagas = await self._sagas(spans, root)
        return await self._story(ref, spans, sagas)

    async def _sagas(self, spans: Sequence[SpanRecord], root: tuple[str, Sagas, SagaInfo] | None) -> list[_Known]:
        found: dict[str, _Known] = {}
        if root is not None:
            found[root[2].id] = _Known(root[2], root[0])
        for span in spans:
            if span.ref is None or span.ref in found or not span.name.startswith(_SAGA) or len(found) >= _SAGAS:
                continue
            saga = await self.find(span.ref, str(span.attributes.get("engine")))
            if saga is not None:
                found[span.ref] = _Known(saga[2], saga[0])
        return sorted(found.values(), key=lambda known: known.info.started_at)

    async def _story(self, ref: str, spans: Sequence[SpanRecord], known: Sequence[_Known]) -> Story:
        now_us = world.now_us()
        parents = saga_parents(spans)
        going = [span for span in spans if span.status == "open"]
        sagas: list[SagaStory] = []
        for info, service in known:
            parent = parents[info.id] if info.id in parents else _around(info, known)
            sagas.append(saga_story(info, service, parent=parent, spans=going))
        journals = [
            Journal(saga, None if each.info.trace_id is None else int(each.info.trace_id, 16))
            for saga, each in zip(sagas, known, strict=True)
        ]
        traces = traces_of(spans, journals, whose=self._whose, starts_us=self.starts_us, now_us=now_us)
        events = await self._events(ref, spans)
        began = [*(trace.began_us for trace in traces), *(saga.began_us for saga in sagas)]
        began += [event.published_us for event in events]
        began_us = min(began, default=None)
        return Story(
            ref=ref,
            mark=_mark(traces, sagas, events),
            found=began_us is not None,
            live=_goes_on(traces, sagas, events),
            now_us=now_us,
            began_us=began_us,
            traces=traces,
            sagas=tuple(sagas),
            events=events,
            starts_us=() if began_us is None else tuple(each for each in self.starts_us if each > began_us),
        )

    async def _events(self, ref: str, spans: Sequence[SpanRecord]) -> tuple[EventTold, ...]:
        keys = dict.fromkeys([ref, *(span.ref for span in spans if span.kind == "producer" and span.ref is not None)])
        under_way = [each for key in list(keys)[:_KEYS] for each in self._bus.under_way(key)]
        letters: list[DeadLetter] = []
        for key in list(keys)[:_KEYS]:
            letters += await self._bus.letters(key=key, limit=_LETTERS)
        facts = Facts(await self._unsent(ref), under_way, letters, self._bus.wanting, self._bus.behind())
        return events_of(spans, facts, self._groups)

    async def _unsent(self, ref: str) -> list[Unsent]:
        found: list[Unsent] = []
        for name, part in self._parts.services.items():
            if part.relay.lag_s > 0:
                rows = await part.database.all(tuple[str, str, int], _UNSENT, key=ref)
                found += [Unsent(message_id, event, name, at) for message_id, event, at in rows]
        return found


def _around(info: SagaInfo, known: Sequence[_Known]) -> str | None:
    """Return the saga in whose step a saga began, as far as its instants tell: the spans between them were lost."""
    began = [
        (step.begun_at, other.id)
        for other, _ in known
        if other.id != info.id and other.trace_id == info.trace_id
        for step in other.steps
        if step.begun_at is not None
        and step.begun_at <= info.started_at
        and (step.ended_at is None or info.started_at <= step.ended_at)
    ]
    return max(began)[1] if began else None


def _goes_on(traces: Sequence[TraceStory], sagas: Sequence[SagaStory], events: Sequence[EventTold]) -> bool:
    return (
        any(row.status == "open" for trace in traces for row in trace.rows)
        or any(saga.status == "running" for saga in sagas)
        or any(event.sent_us is None for event in events)
        or any(each.state in {"waiting", "running", "retrying"} for event in events for each in event.handlings)
    )


def _mark(traces: Sequence[TraceStory], sagas: Sequence[SagaStory], events: Sequence[EventTold]) -> str:
    rows = [
        (row.id, row.status, row.attempts, row.error, None if row.status == "open" else row.duration_us)
        for trace in traces
        for row in trace.rows
    ]
    return blake2s(orjson.dumps((rows, sagas, events)), digest_size=8).hexdigest()
