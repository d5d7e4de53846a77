"""Spans: what happened, when, for how long, under what.

    with span("orders.place", ref=order.id, lines=3) as work:
        ...
        work.set("total", total)

A span opens a child of the trace in `context.current()` (or starts a trace), makes itself the parent of what
runs inside, and is handed to the recorders when it ends. Nothing is kept here: `SpanStore.add` is a recorder,
`list.append` is one too. With no recorder a span does nothing and costs 0.15 us; recorded it costs 1.5 us, and in a
trace that nobody wants 0.4 us.

A span whose process dies before its end is lost; its children that ended are not.
"""

from collections.abc import Callable, Collection
from contextvars import Token
from types import TracebackType
from typing import Final, Self, cast

from archstone import world
from archstone.context import Call, Trace, current, leave, new_tuple, set_current
from archstone.errors import ArchstoneError, RejectedError
from archstone.observability.logline import safe_text
from archstone.observability.recorders import Attribute, Recorder, SpanRecord, broken, recording
from archstone.world import World

__all__ = ["Span", "open_spans", "span"]

_TEXT_LIMIT: Final = 300

_ENTRIES: Final = frozenset({"server", "consumer"})
"""Kinds of spans with which a trace comes into a process."""

_open: Final[dict[int, "Span"]] = {}
"""Every open span of the process that is to be recorded, by its id."""
_forget_open: Final = _open.pop

_new: Final = cast("Callable[[type[Span]], Span]", object.__new__)


def span(name: str, /, *, kind: str = "internal", ref: str | None = None, **attributes: Attribute) -> "Span":
    """Measure the `with` block and record it; an exception passes through and becomes the status.

    Cancellation is `cancelled`, neither `ok` nor `error`. In a trace that nobody wants, or that its caller did not
    sample, a span is recorded only if it ends in error, or after one that did.

    Args:
        name: `block.verb`, few distinct values: ids go to `ref` or the attributes.
        kind: `internal`, `server`, `client`, `producer` or `consumer`.
        ref: The business id by which the whole trace can be found.
        attributes: What else to say; never a secret.
    """
    if not recording.listeners:
        return _UNHEARD
    trace = current().trace
    # Filled in here: a constructor of its own would cost a third of an unsampled span.
    work = _new(Span if trace is None or trace.sampled else _Unsampled)
    work.name = name
    work.kind = kind
    work.status = "ok"
    work.ref = ref
    work.attributes = attributes
    return work


class Span:
    """An open span. Made by `span(...)`, for one block."""

    __slots__ = (
        "_parent_id",
        "_start_s",
        "_start_us",
        "_token",
        "_trace",
        "_world",
        "attributes",
        "kind",
        "name",
        "ref",
        "status",
    )

    name: str
    kind: str
    status: str
    """`ok` until `fail`, or an exception, says something else."""
    ref: str | None
    """The business id. May be set while the span is open."""
    attributes: dict[str, Attribute]
    _start_s: float
    _start_us: int
    _token: Token[Call]
    _trace: Trace
    _parent_id: int | None
    _world: World

    def __enter__(self) -> Self:
        here = self._world = world.current()
        chance = here.random()
        principal, deadline_s, parent, key, correlation_id, causation_id, tx, step = current()
        if parent is None:
            trace_id, parent_id, sampled = chance.getrandbits(128) or 1, None, True
        else:
            trace_id, parent_id, sampled = parent
        if sampled and recording.wants is not None and (parent_id is None or self.kind in _ENTRIES):
            # A trace that goes on here from elsewhere is asked about where it comes in, and for once not in between.
            sampled = recording.wants(trace_id)
        self._parent_id = parent_id
        span_id = chance.getrandbits(64) or 1
        trace = self._trace = new_tuple(Trace, (trace_id, span_id, sampled))
        self._token = set_current(
            new_tuple(Call, (principal, deadline_s, trace, key, correlation_id, causation_id, tx, step))
        )
        self._start_us = here.now_us()
        self._start_s = here.monotonic()
        _open[span_id] = self
        if recording.openings:
            self._tell_opening(recording.openings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        duration_us = int((self._world.monotonic() - self._start_s) * 1_000_000)
        leave(self._token)
        if error is not None:
            self.fail(error)
        trace_id, span_id, sampled = self._trace
        _forget_open(span_id, None)
        if not sampled and not _rescued(trace_id, self.status):
            return
        record = new_tuple(
            SpanRecord,
            (
                trace_id,
                span_id,
                self._parent_id,
                self.name,
                self.kind,
                self._start_us,
                duration_us,
                self.status,
                self.ref,
                self.attributes,
            ),
        )
        for recorder in recording.listeners:
            try:
                recorder(record)
            except Exception as broke:  # noqa: BLE001 - whatever it is, the work goes on
                broken(recorder, broke)

    @property
    def trace_id(self) -> int:
        """The trace it belongs to. It must have been entered."""
        return self._trace[0]

    def set(self, key: str, value: Attribute) -> None:
        """Add an attribute, or replace one."""
        self.attributes[key] = value

    def so_far(self) -> SpanRecord:
        """Return what can be said of it while it is open: status `open`, and the duration until now."""
        trace_id, span_id, _ = self._trace
        duration_us = int((self._world.monotonic() - self._start_s) * 1_000_000)
        ref, attributes = self.ref, dict(self.attributes)
        return SpanRecord(
            trace_id,
            span_id,
            self._parent_id,
            self.name,
            self.kind,
            self._start_us,
            duration_us,
            "open",
            ref,
            attributes,
        )

    def _tell_opening(self, listeners: tuple[Recorder, ...]) -> None:
        record = self.so_far()
        for listener in listeners:
            try:
                listener(record)
            except Exception as broke:  # noqa: BLE001 - whatever it is, the work goes on
                broken(listener, broke)

    def fail(self, error: BaseException) -> None:
        """Give the span the status of `error` without raising it: for code that handles the error itself."""
        self.status = _status_of(error)
        self.attributes["error.type"] = error.code if isinstance(error, ArchstoneError) else type(error).__qualname__
        self.attributes["error.message"] = safe_text(error)[:_TEXT_LIMIT]


class _Unsampled(Span):
    """A span below one that is not to be recorded. It becomes one that is only if it ends in error, or after one.

    It opens nothing in the context: what runs inside keeps the trace, and the span, of the nearest span above that
    did. That one is also its parent when it is recorded after all, even where others of this kind are between them.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        self._start_s = world.current().monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
        elif self.status != "error" and not recording.rescued:
            return
        above = current().trace
        if above is None or not _rescued(above.trace_id, self.status):
            return
        here = self._world = world.current()
        self._parent_id = above.span_id
        self._trace = Trace(above.trace_id, here.random().getrandbits(64) or 1, sampled=True)
        self._start_us = here.now_us() - int((here.monotonic() - self._start_s) * 1_000_000)
        self._token = set_current(current())
        super().__exit__(None, None, None)


def open_spans(*, traces: Collection[int] = (), ref: str | None = None) -> list[SpanRecord]:
    """Return what goes on now in these traces, or under this business id, in no order; status `open`.

    It looks at every open span of the process: some hundred nanoseconds each. Of a trace that is not to be
    recorded only the first span is among them.
    """
    found = [each for each in list(_open.values()) if each.trace_id in traces or (ref is not None and each.ref == ref)]
    return [each.so_far() for each in found]


def _rescued(trace_id: int, status: str) -> bool:
    """Return whether a span that ends so in a trace that was not to be recorded is recorded all the same."""
    if status == "error":
        recording.rescue(trace_id)
        return True
    return trace_id in recording.rescued


class _Unheard(Span):
    """The span of a process in which nobody listens: one for all, and it keeps nothing."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        pass

    def set(self, key: str, value: Attribute) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        pass


_UNHEARD: Final = _Unheard()
_UNHEARD.attributes = {}


def _status_of(error: BaseException) -> str:
    if not isinstance(error, Exception):
        return "cancelled"  # CancelledError, GeneratorExit, and an exit of the process
    if isinstance(error, RejectedError) or (isinstance(error, ArchstoneError) and error.status < 500):
        return "refused"
    return "error"
