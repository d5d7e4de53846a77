"""Spans and journals as waterfalls: pure functions from records to rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from archstone.gateway.story import Row, RowStatus, SagaStory, StepStory, TraceStory
from archstone.observability import SpanRecord

__all__ = ["MAX_ROWS", "Journal", "Whose", "own_spans", "saga_parents", "traces_of"]

MAX_ROWS: Final = 400
"""Rows of one trace."""
_SAGA: Final = "saga "
_HIDDEN: Final = frozenset(
    {
        "error.type",
        "error.message",
        "last_error",
        "attempt",
        "attempts",
        "engine",
        "step",
        "message_id",
        "published_us",
        "database",
    }
)


@dataclass(frozen=True, slots=True)
class Whose:
    """Which service a span belongs to."""

    operations: Mapping[str, str]
    """Service by name of an operation: `Orders.place`."""

    def service(self, span: SpanRecord) -> str | None:
        """Return the service that a span names by itself; None: that of the span above it."""
        if (engine := span.attributes.get("engine")) is not None:
            return str(engine)
        if (database := span.attributes.get("database")) is not None:
            return str(database).rpartition("/")[2]
        if span.kind == "consumer":
            return span.name.removeprefix("handle ").partition(".")[0]
        return self.operations.get(span.name)


@dataclass(frozen=True, slots=True)
class Journal:
    """What the journal of a saga knows that spans may not."""

    saga: SagaStory
    trace: int | None


@dataclass(slots=True)
class _Node:
    row: Row
    parent: str | None
    start_us: int
    children: list["_Node"] = field(default_factory=list["_Node"])


def own_spans(spans: Sequence[SpanRecord], ref: str) -> list[SpanRecord]:
    """Return the spans that are about `ref`: whole traces of its own, and of traces shared with others only its part.

    Periodic work handles many orders in one trace. There, what belongs to `ref` is what handles its messages, with
    what lies above and below.
    """
    kept: list[SpanRecord] = []
    for trace in _by_trace(spans).values():
        if any(span.ref == ref and span.kind not in {"consumer", "producer"} for span in trace):
            kept += trace
        else:
            kept += _part(trace, ref)
    return kept


def _part(trace: list[SpanRecord], ref: str) -> list[SpanRecord]:
    if not any(span.ref not in {None, ref} and span.kind in {"consumer", "producer"} for span in trace):
        return trace
    by_id = {span.span_id: span for span in trace}
    wanted = {span.span_id for span in trace if span.ref == ref}
    for span_id in list(wanted):
        above = by_id[span_id].parent_id
        while above is not None and above in by_id and above not in wanted:
            if by_id[above].ref not in {None, ref}:
                break
            wanted.add(above)
            above = by_id[above].parent_id
    below = {span.span_id for span in trace if span.ref == ref}
    for span in sorted(trace, key=lambda one: one.start_us):
        if span.parent_id in below and span.span_id not in wanted:
            below.add(span.span_id)
    return [span for span in trace if span.span_id in wanted or span.span_id in below]


def saga_parents(spans: Iterable[SpanRecord]) -> dict[str, str | None]:
    """Return for each saga, by its id, the saga in whose step it began, None if it stands by itself.

    Those are left out of which it cannot be said, because a span between them was lost.
    """
    by_id = {span.span_id: span for span in spans}
    parents: dict[str, str | None] = {}
    for span in by_id.values():
        if span.name.startswith(_SAGA) and span.ref is not None:
            top = _first_of(span, by_id)
            if top is not None and (top.ref != span.ref or top.kind == "consumer"):
                parents[span.ref] = top.ref if top.name.startswith(_SAGA) else None
    return parents


def _first_of(span: SpanRecord, by_id: Mapping[int, SpanRecord]) -> SpanRecord | None:
    """Return the first span above that is a saga, leads here by an event, or is the root; None: one is missing."""
    seen: set[int] = set()
    while span.parent_id is not None and span.parent_id not in seen:
        seen.add(span.parent_id)
        found = by_id.get(span.parent_id)
        if found is None or found.name.startswith(_SAGA) or found.kind == "consumer" or found.parent_id is None:
            return found
        span = found
    return None


def traces_of(
    spans: Sequence[SpanRecord], journals: Sequence[Journal], *, whose: Whose, starts_us: Sequence[int], now_us: int
) -> tuple[TraceStory, ...]:
    """Return a waterfall for each trace, oldest first, with what only journals tell of."""
    found = _by_trace(spans)
    for journal in journals:
        if journal.trace is not None:
            found.setdefault(journal.trace, [])
    told: list[TraceStory] = []
    for trace_id, trace in found.items():
        mine = [journal.saga for journal in journals if journal.trace == trace_id]
        nodes = _nodes(trace, mine, starts_us=starts_us, now_us=now_us)
        if nodes:
            told.append(_trace(trace_id, nodes, {id(span): whose.service(span) for span in trace}, trace))
    return tuple(sorted(told, key=lambda trace: trace.began_us))


def _by_trace(spans: Iterable[SpanRecord]) -> dict[int, list[SpanRecord]]:
    traces: dict[int, list[SpanRecord]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    return traces


def _nodes(
    trace: list[SpanRecord], sagas: list[SagaStory], *, starts_us: Sequence[int], now_us: int
) -> dict[str, _Node]:
    nodes = {f"{span.span_id:016x}": _span_node(span) for span in trace}
    for saga in sagas:
        mine = [span for span in trace if span.ref == saga.id]
        _add_lost(nodes, saga, mine, starts_us=starts_us, now_us=now_us)
    return nodes


def _add_lost(
    nodes: dict[str, _Node], saga: SagaStory, mine: list[SpanRecord], *, starts_us: Sequence[int], now_us: int
) -> None:
    """Add the rows of a saga that its journal knows and no span tells: sleeps, and what died with its process."""
    bodies = [span for span in mine if span.name.startswith(_SAGA)]
    lost: list[_Node] = []
    for step in saga.steps:
        if step.begun_us is None:
            continue
        until_us = next((each for each in starts_us if each > step.begun_us), None)
        told = any(
            span.attributes.get("step") == step.id
            and not span.name.startswith("undo ")
            and (until_us is None or span.start_us < until_us)
            for span in mine
        )
        if not told:
            lost.append(_step_node(saga, step, until_us=until_us, now_us=now_us))
    orphans = [
        node for span in mine if span.parent_id is not None
        and not span.name.startswith(_SAGA) and f"{span.parent_id:016x}" not in nodes
        and (node := nodes.get(f"{span.span_id:016x}")) is not None
    ]  # fmt: skip
    for node in (*lost, *orphans):
        body = next((span for span in reversed(bodies) if span.start_us <= node.start_us), None)
        if body is not None:
            node.parent = f"{body.span_id:016x}"
        else:
            node.parent = _lost_body(nodes, saga, (*lost, *orphans), bodies, now_us=now_us)
    nodes.update({node.row.id: node for node in lost})


def _lost_body(
    nodes: dict[str, _Node], saga: SagaStory, children: Sequence[_Node], bodies: Sequence[SpanRecord], *, now_us: int
) -> str:
    """Return the id of the row for the life of a saga whose span was lost, or never kept."""
    row_id = f"saga:{saga.id}"
    if row_id not in nodes:
        ended = saga.ended_us is not None and all(child.row.status != "lost" for child in children)
        last_us = max([child.start_us + child.row.duration_us for child in children], default=saga.began_us)
        end_us = saga.ended_us if ended and saga.ended_us is not None else last_us
        status: RowStatus = "lost"
        if ended:
            status = "ok" if saga.status == "done" else "error"
        elif any(child.row.status == "open" for child in children):
            status, end_us = "open", now_us
        row = _row(row_id, f"{_SAGA}{saga.method}", saga.service, duration_us=end_us - saga.began_us, status=status)
        # Each life of a saga has the same parent, which the journal keeps.
        above = next((f"{span.parent_id:016x}" for span in bodies if span.parent_id is not None), None)
        nodes[row_id] = _Node(row, above, saga.began_us)
    return row_id


def _step_node(saga: SagaStory, step: StepStory, *, until_us: int | None, now_us: int) -> _Node:
    begun_us = step.begun_us or saga.began_us
    ended_us = step.ended_us
    died = until_us is not None and (ended_us is None or ended_us >= until_us)
    status: RowStatus = "ok" if step.state in {"done", "undone"} and ended_us is not None else "error"
    if died and step.operation != "sleep":
        status, ended_us = "lost", begun_us
    elif ended_us is None:
        status = "open" if saga.status == "running" else "lost"
    end_us = now_us if status == "open" else (ended_us or begun_us)
    name = "sleep" if step.operation == "sleep" else f"step {step.operation}"
    row = _row(f"{saga.id}/{step.id}", name, saga.service, duration_us=end_us - begun_us, status=status)
    return _Node(replace(row, error=step.error, attempts=step.attempts), None, begun_us)


def _row(row_id: str, name: str, service: str, *, duration_us: int, status: RowStatus) -> Row:
    return Row(
        id=row_id, parent=None, depth=0, name=name, kind="internal", service=service, offset_us=0,
        duration_us=max(0, duration_us), status=status, error=None, attempts=1, journal=True, attributes={},
    )  # fmt: skip


def _span_node(span: SpanRecord) -> _Node:
    attributes = span.attributes
    error = attributes.get("error.message", attributes.get("last_error"))
    attempts = attributes.get("attempts", attributes.get("attempt"))
    row = Row(
        id=f"{span.span_id:016x}",
        parent=None,
        depth=0,
        name=span.name,
        kind=span.kind,
        service=None,
        offset_us=0,
        duration_us=max(0, span.duration_us),
        status=cast("RowStatus", span.status),
        error=None if error is None else str(error),
        attempts=attempts if isinstance(attempts, int) else 1,
        journal=False,
        attributes={key: value for key, value in attributes.items() if key not in _HIDDEN},
    )
    return _Node(row, None if span.parent_id is None else f"{span.parent_id:016x}", span.start_us)


def _trace(
    trace_id: int, nodes: dict[str, _Node], services: Mapping[int, str | None], trace: list[SpanRecord]
) -> TraceStory:
    named = {f"{span.span_id:016x}": services[id(span)] for span in trace}
    began_us = min(node.start_us for node in nodes.values())
    end_us = max(node.start_us + node.row.duration_us for node in nodes.values())
    rows = _in_order(nodes, named, began_us)
    return TraceStory(
        id=f"{trace_id:032x}",
        began_us=began_us,
        duration_us=end_us - began_us,
        rows=tuple(rows[:MAX_ROWS]),
        left_out=max(0, len(rows) - MAX_ROWS),
    )


def _in_order(nodes: dict[str, _Node], named: Mapping[str, str | None], began_us: int) -> list[Row]:
    """Return the rows of a tree, parents first, each with its service. No recursion, and no cycle is followed."""
    roots: list[_Node] = []
    for node in nodes.values():
        above = nodes.get(node.parent or "")
        (roots if above is None or above is node else above.children).append(node)
    rows: list[Row] = []
    stack: list[tuple[_Node, Row | None]] = [(node, None) for node in _latest_first(roots)]
    while stack:
        node, above = stack.pop()
        row = replace(
            node.row,
            parent=None if above is None else above.id,
            depth=0 if above is None else above.depth + 1,
            service=node.row.service or named.get(node.row.id) or (None if above is None else above.service),
            offset_us=node.start_us - began_us,
        )
        rows.append(row)
        stack.extend((child, row) for child in _latest_first(node.children))
    return rows


def _latest_first(nodes: Iterable[_Node]) -> list[_Node]:
    return sorted(nodes, key=lambda node: (node.start_us, node.row.id), reverse=True)
