"""A trace as lines of text: who called whom, when, for how long, and how it ended."""

from collections.abc import Iterable, Sequence
from typing import Final

from archstone.observability.recorders import SpanRecord

__all__ = ["waterfall"]

_BAR_WIDTH: Final = 32
_NAME_LIMIT: Final = 48
_DEPTH_LIMIT: Final = 12
_SHOWN: Final = frozenset({"error.type", "error.message"})
_FOR_PROGRAMS: Final = frozenset({"database", "engine", "message_id", "published_us", "step"})
"""What the console puts stories together by, and nobody reads."""


def waterfall(spans: Iterable[SpanRecord]) -> str:
    """Return the traces that `spans` belong to, oldest first, each as a header and a line per span.

    A span whose parent is not among them (in another process, or lost in a crash) stands at the margin, marked
    with `^`. Control characters in names are shown as `?`. Empty when there are no spans.
    """
    traces: dict[int, list[SpanRecord]] = {}
    for one in spans:
        traces.setdefault(one.trace_id, []).append(one)
    ordered = sorted(traces.values(), key=lambda trace: (min(one.start_us for one in trace), trace[0].trace_id))
    return "\n".join("\n".join(_trace_lines(trace)) for trace in ordered)


def _trace_lines(trace: Sequence[SpanRecord]) -> list[str]:
    rows = _rows(trace)
    begin_us = min(one.start_us for one in trace)
    whole_us = max(1, max(one.start_us + one.duration_us for one in trace) - begin_us)
    names = [_name(one, depth, orphan=orphan) for one, depth, orphan in rows]
    width = max(len(name) for name in names)
    bad = sum(one.status == "error" for one in trace)
    header = f"trace {trace[0].trace_id:032x}  {len(trace)} spans, {_duration(whole_us)}"
    lines = [header + (f", {bad} in error" if bad else "")]
    for name, (one, _, _) in zip(names, rows, strict=True):
        bar = _bar(one.start_us - begin_us, one.duration_us, whole_us)
        lines.append(f"  {name:<{width}}  {bar}  {_duration(one.duration_us):>8}  {one.status}{_details(one)}".rstrip())
    return lines


def _rows(trace: Sequence[SpanRecord]) -> list[tuple[SpanRecord, int, bool]]:
    """Return the spans parents first, with their depth and whether the parent is missing. No recursion, no cycles."""
    known = {one.span_id for one in trace}
    children: dict[int | None, list[SpanRecord]] = {}
    for one in trace:
        parent = one.parent_id if one.parent_id in known and one.parent_id != one.span_id else None
        children.setdefault(parent, []).append(one)
    rows: list[tuple[SpanRecord, int, bool]] = []
    seen: set[int] = set()
    # Roots last, so they are taken first; the others are found as their children, or are in a cycle and begin one.
    stack = [(one, 0) for one in (*_latest_first(trace), *_latest_first(children.get(None, ())))]
    while stack:
        one, depth = stack.pop()
        if id(one) not in seen:
            seen.add(id(one))
            rows.append((one, depth, depth == 0 and one.parent_id is not None))
            stack.extend((child, depth + 1) for child in _latest_first(children.get(one.span_id, ())))
    return rows


def _latest_first(spans: Iterable[SpanRecord]) -> list[SpanRecord]:
    return sorted(spans, key=lambda one: (one.start_us, one.span_id), reverse=True)


def _name(one: SpanRecord, depth: int, *, orphan: bool) -> str:
    text = "  " * min(depth, _DEPTH_LIMIT) + ("^ " if orphan else "") + _plain(one.name)
    return text[:_NAME_LIMIT]


def _bar(offset_us: int, duration_us: int, whole_us: int) -> str:
    start = min(_BAR_WIDTH - 1, offset_us * _BAR_WIDTH // whole_us)
    length = max(1, min(_BAR_WIDTH - start, round(duration_us * _BAR_WIDTH / whole_us)))
    return "·" * start + "█" * length + "·" * (_BAR_WIDTH - start - length)


def _duration(duration_us: int) -> str:
    if duration_us < 1_000:
        return f"{duration_us} us"
    if duration_us < 1_000_000:
        return f"{duration_us / 1_000:.1f} ms"
    return f"{duration_us / 1_000_000:.2f} s"


def _details(one: SpanRecord) -> str:
    parts = [f"ref={one.ref}"] if one.ref else []
    parts += [f"{key}={value}" for key, value in sorted(one.attributes.items()) if key not in _SHOWN | _FOR_PROGRAMS]
    if "error.type" in one.attributes:
        parts.append(f"{one.attributes['error.type']}: {one.attributes.get('error.message', '')}")
    return ("  " + _plain(" ".join(parts))) if parts else ""


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
