"""Who is told of spans that have ended.

A recorder is a callable that takes one `SpanRecord`. It is called on the hot path, in the task whose span ended:
it keeps the record and returns; it does not write, wait or raise. One that raises is taken off and reported,
since a broken recorder must not break the work it watches.
"""

import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "Attribute",
    "Recorder",
    "SpanRecord",
    "Wants",
    "add_opening_recorder",
    "add_recorder",
    "record_span",
    "recorded",
    "recorders",
    "remove_recorder",
]

_RESCUED_LIMIT: Final = 1_000

Attribute: TypeAlias = str | int | float | bool | None
"""What a span can say about itself. Text is kept as it is: never put a secret here."""


class SpanRecord(NamedTuple):
    """A span that has ended."""

    trace_id: int
    span_id: int
    parent_id: int | None
    """None: the first span of its trace. The parent may be in another process, or not recorded."""
    name: str
    kind: str
    """`internal`, `server`, `client`, `producer` or `consumer`, as OpenTelemetry has them."""
    start_us: int
    """Wall clock, microseconds since the epoch."""
    duration_us: int
    status: str
    """`ok`; `refused`: an answer that the caller can act on (status below 500, or try later); `error`; `cancelled`."""
    ref: str | None
    """The business id (order id) by which somebody will look for the trace."""
    attributes: dict[str, Attribute]


Recorder: TypeAlias = Callable[[SpanRecord], None]
"""Takes a span that has ended. Quick, never waits, never raises."""


Wants: TypeAlias = Callable[[int], bool]
"""Says of a trace id, when the first span of its trace begins here, whether the recorder will keep the trace."""


class _Recording:
    """The recorders of this process: one slot read by every span, so that nobody listening costs one test."""

    __slots__ = ("listeners", "openings", "rescued", "wants", "wishes")

    def __init__(self) -> None:
        self.listeners: tuple[Recorder, ...] = ()
        self.openings: tuple[Recorder, ...] = ()
        """Told of spans that begin, as long as somebody watches."""
        self.wishes: dict[Recorder, Wants | None] = {}
        self.wants: Wants | None = None
        """Whether anybody wants a trace. None: somebody wants every one."""
        self.rescued: dict[int, None] = {}
        """Traces that were not to be recorded until one of their spans ended in error; the oldest are forgotten."""

    def rescue(self, trace_id: int) -> None:
        """Have what ends in this trace from now on recorded."""
        if len(self.rescued) >= _RESCUED_LIMIT and trace_id not in self.rescued:
            del self.rescued[next(iter(self.rescued))]
        self.rescued[trace_id] = None

    def choose(self) -> None:
        """Set who is told and what is wanted from `wishes`."""
        self.listeners = tuple(self.wishes)
        if not self.listeners:
            self.rescued.clear()
        wishes = [wants for wants in self.wishes.values() if wants is not None]
        if not wishes or len(wishes) < len(self.wishes):
            self.wants = None
        else:
            self.wants = wishes[0] if len(wishes) == 1 else lambda trace_id: any(wants(trace_id) for wants in wishes)


recording = _Recording()


def recorders() -> tuple[Recorder, ...]:
    """Return those who are told, in the order in which they were added."""
    return recording.listeners


def add_recorder(recorder: Recorder, *, wants: Wants | None = None) -> None:
    """Tell `recorder` of every span that ends from now on. Adding it twice is adding it once.

    Args:
        recorder: What is told.
        wants: Asked once per trace and process, so that a trace that no recorder wants costs next to nothing: of
            such a trace only spans in error are recorded, and what ends after them. None: it wants every trace.
    """
    recording.wishes.setdefault(recorder, wants)
    recording.choose()


def remove_recorder(recorder: Recorder) -> None:
    """Tell `recorder` no more, neither of ends nor of beginnings. Nothing happens if it was never added."""
    recording.wishes.pop(recorder, None)
    recording.choose()
    recording.openings = tuple(each for each in recording.openings if each != recorder)


def add_opening_recorder(recorder: Recorder) -> None:
    """Tell `recorder` also of every span that begins: its record so far, with the status `open`.

    That costs 2 us a span, so only while somebody watches. `remove_recorder` ends it.
    """
    if recorder not in recording.openings:
        recording.openings = (*recording.openings, recorder)


def record_span(record: SpanRecord) -> None:
    """Tell all recorders of something that was measured without a `with` block."""
    for recorder in recording.listeners:
        try:
            recorder(record)
        except Exception as broke:  # noqa: BLE001 - whatever it is, the work goes on
            broken(recorder, broke)


@contextmanager
def recorded() -> Generator[list[SpanRecord]]:
    """Collect the spans that end within the block: for tests and for looking around."""
    spans: list[SpanRecord] = []
    listener = spans.append
    add_recorder(listener)
    try:
        yield spans
    finally:
        remove_recorder(listener)


def broken(recorder: Recorder, error: Exception) -> None:
    """Take a recorder off that raised, and say so on stderr: the log may be what is broken."""
    remove_recorder(recorder)
    text = "".join(traceback.format_exception(error))
    sys.stderr.write(f"recorder {recorder!r} raised and was removed: spans no longer reach it\n{text}")
