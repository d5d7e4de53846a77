"""Which traces are kept when there are more than can be: whole ones, chosen by their id."""

from typing import Final

from archstone import world
from archstone.observability.recorders import SpanRecord

__all__ = ["Sampler"]

_BITS: Final = 56
"""The last 56 bits of a trace id are random (W3C trace context, level 2), so they choose without bias."""
_MASK: Final = (1 << _BITS) - 1
_RATIO_EVERY_S: Final = 1.0
_OUT: Final = -1


class Sampler:
    """Decide per trace, once, and remember it, so that a trace is whole or absent.

    Below `spans_per_s` everything is kept. Above it the ratio of traces kept follows the traffic of the interval
    before; a burst that the ratio has not seen yet is cut when the spans of one second are used up. A span in
    error makes its trace kept: what was set aside of it comes back, what comes later is kept.

    `wants` decides when a trace begins, so that one that will not be kept is not even recorded: then nothing of it is
    set aside, and an error brings back itself, the spans around it and what comes later.

    Args:
        spans_per_s: Spans kept a second in the long run, above 0. Traces already chosen are finished beyond it.
        max_traces: Decisions remembered, oldest forgotten first.
        max_aside: Spans of sampled-out traces held for the case that they fail; the oldest traces go first.
        max_trace_spans: Spans kept of one trace as long as it is remembered; the rest is in `overlong`.
    """

    def __init__(
        self,
        spans_per_s: float,
        *,
        max_traces: int = 20_000,
        max_aside: int = 20_000,
        max_trace_spans: int = 10_000,
    ) -> None:
        self._spans_per_s = spans_per_s
        self._max_traces = max_traces
        self._max_aside = max_aside
        self._max_trace_spans = max_trace_spans
        self._decided: dict[int, int] = {}  # trace to the number of its spans kept; _OUT: sampled out
        self._aside: dict[int, list[SpanRecord]] = {}
        self._aside_spans = 0
        self._ratio = 1.0
        self._left = spans_per_s
        self._seen = self._kept_spans = self._kept_traces = self._declined = 0
        self._spans_per_trace = 1.0
        self._since_s = self._filled_s = world.monotonic()
        self.sampled_out = 0
        """Traces not kept so far because of the rate, those that came back not counted."""
        self.overlong = 0
        """Spans not kept because their trace has as many as it may. For the owner to take and set to 0."""

    def keep(self, trace_id: int, *, spans: int = 0) -> None:
        """Keep this trace whatever comes: it was begun before, and `spans` of it are kept."""
        self._remember(trace_id, spans)

    def wants(self, trace_id: int) -> bool:
        """Decide on a trace that begins, unless that is done: whether its spans shall be recorded."""
        kept = self._decided.get(trace_id)
        if kept is None:
            kept = self._decide(trace_id)
            self._declined += kept < 0
        return kept >= 0

    def _decide(self, trace_id: int) -> int:
        chosen = self._left > 0 and (self._ratio >= 1.0 or (trace_id & _MASK) < self._ratio * (_MASK + 1))
        kept = 0 if chosen else _OUT
        self._remember(trace_id, kept)
        self.sampled_out += not chosen
        self._kept_traces += chosen
        return kept

    def take(self, record: SpanRecord) -> list[SpanRecord] | None:
        """Return what is to be kept now because of this span, or None: the usual case first in a list of one."""
        self._seen += 1
        trace_id = record.trace_id
        kept = self._decided.get(trace_id)
        if kept is None:
            kept = self._decide(trace_id)
        if kept >= self._max_trace_spans:
            self.overlong += 1
            return None
        if kept >= 0:
            self._decided[trace_id] = kept + 1
            self._left -= 1
            self._kept_spans += 1
            return [record]
        if record.status != "error":
            self._set_aside(record)
            return None
        return self._bring_back(record)

    def _bring_back(self, record: SpanRecord) -> list[SpanRecord]:
        aside = self._aside.pop(record.trace_id, [])
        self._aside_spans -= len(aside)
        self.sampled_out -= 1
        fitting = aside[: self._max_trace_spans - 1]
        self.overlong += len(aside) - len(fitting)
        found = [*fitting, record]
        self._remember(record.trace_id, len(found))
        self._left -= len(found)
        return found

    def adapt(self) -> None:
        """Allow the spans of the time since the last call, and set the ratio once a second. Call it more often."""
        now_s = world.monotonic()
        self._left = min(self._spans_per_s, self._left + (now_s - self._filled_s) * self._spans_per_s)
        self._filled_s = now_s
        passed_s = now_s - self._since_s
        if passed_s >= _RATIO_EVERY_S:
            # Not more often: traffic that is uneven within the second would be sampled though it is below the rate.
            if self._kept_traces:
                self._spans_per_trace = max(1.0, self._kept_spans / self._kept_traces)
            # Spans of traces declined when they began were not seen: they are taken to be as large as the others.
            offered = self._seen + self._declined * self._spans_per_trace
            self._ratio = min(1.0, self._spans_per_s * passed_s / max(1.0, offered))
            self._seen = self._kept_spans = self._kept_traces = self._declined = 0
            self._since_s = now_s

    def _remember(self, trace_id: int, kept: int) -> None:
        decided = self._decided
        if len(decided) >= self._max_traces and trace_id not in decided:
            del decided[next(iter(decided))]
        decided[trace_id] = kept

    def _set_aside(self, record: SpanRecord) -> None:
        self._aside.setdefault(record.trace_id, []).append(record)
        self._aside_spans += 1
        while self._aside_spans > self._max_aside:
            self._aside_spans -= len(self._aside.pop(next(iter(self._aside))))
