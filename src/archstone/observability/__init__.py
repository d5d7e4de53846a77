"""What the system did, and how it is: spans, metrics, logs, and the lag of the loop.

    span, SpanRecord, add_recorder      a block that is timed and belongs to a trace
    SpanStore, waterfall                traces kept in a file, and as lines of text
    counter, gauge, histogram, render   metrics in Prometheus' text format
    get_logger, configure_logging       JSON lines that carry the trace, without secrets
    redact_secrets, SecretsFilter       the same for logging of one's own
    LoopLag                             how late the event loop runs
    Alerts, Alert                       conditions that somebody must hear of
    parse_traceparent, ...              a trace across processes

Everything works alone and costs next to nothing when nobody looks.
"""

from archstone.observability.alerts import Alert, Alerts, Watched
from archstone.observability.errors import LogLevelError, MetricError, SpanStoreError
from archstone.observability.logs import Logger, configure_logging, get_logger, lines_lost
from archstone.observability.looplag import LoopLag
from archstone.observability.metrics import DURATION_BUCKETS_S, Counter, Gauge, Histogram
from archstone.observability.recorders import (
    Attribute,
    Recorder,
    SpanRecord,
    Wants,
    add_opening_recorder,
    add_recorder,
    record_span,
    recorded,
    recorders,
    remove_recorder,
)
from archstone.observability.registry import (
    CONTENT_TYPE,
    Registry,
    counter,
    default_registry,
    gauge,
    histogram,
    render,
)
from archstone.observability.secrets import SecretsFilter, redact_secrets, scrub
from archstone.observability.span import Span, open_spans, span
from archstone.observability.spanstore import SpanStore
from archstone.observability.traceparent import format_traceparent, parse_traceparent
from archstone.observability.waterfall import waterfall

__all__ = [
    "CONTENT_TYPE",
    "DURATION_BUCKETS_S",
    "Alert",
    "Alerts",
    "Attribute",
    "Counter",
    "Gauge",
    "Histogram",
    "LogLevelError",
    "Logger",
    "LoopLag",
    "MetricError",
    "Recorder",
    "Registry",
    "SecretsFilter",
    "Span",
    "SpanRecord",
    "SpanStore",
    "SpanStoreError",
    "Wants",
    "Watched",
    "add_opening_recorder",
    "add_recorder",
    "configure_logging",
    "counter",
    "default_registry",
    "format_traceparent",
    "gauge",
    "get_logger",
    "histogram",
    "lines_lost",
    "open_spans",
    "parse_traceparent",
    "record_span",
    "recorded",
    "recorders",
    "redact_secrets",
    "remove_recorder",
    "render",
    "scrub",
    "span",
    "waterfall",
]
