"""What observing costs: a span, a counter with labels, a log line, each beside what a user would pick instead."""

import io

from benchmarks.harness import Bench, Row, nanoseconds_per_call

bench = Bench(
    "observe",
    shows="in time of the processor: the cost of a span, of counting under a label, and of a JSON log line",
    hides="writing spans to a file or a collector, and what a disk does to log lines: both go to memory here",
)


@bench.contender("archstone")
def archstone_span(quick: bool) -> float:
    from collections import deque

    from archstone.observability import add_recorder, span

    add_recorder(deque(maxlen=1000).append)

    def run(count: int) -> None:
        for _ in range(count):
            with span("orders.place", ref="A1"):
                pass

    with span("request"):
        return nanoseconds_per_call(run, quick=quick)


@bench.contender("archstone")
def archstone_span_stored(quick: bool) -> float:
    import tempfile
    from pathlib import Path

    from archstone.observability import SpanStore, add_recorder, span

    with tempfile.TemporaryDirectory() as folder:
        store = SpanStore(Path(folder) / "traces.db", spans_per_s=1e9, max_buffer=1_000_000)
        store.open()
        add_recorder(store.add)

        def run(count: int) -> None:
            for number in range(count):
                with span("orders.place", ref="A1"):
                    pass
                if number % 500 == 499:
                    store.flush()

        with span("request"):
            cost = nanoseconds_per_call(run, quick=quick)
        store.close()
        return cost


@bench.contender("archstone")
def archstone_span_unheard(quick: bool) -> float:
    from archstone.observability import span

    def run(count: int) -> None:
        for _ in range(count):
            with span("orders.place", ref="A1"):
                pass

    return nanoseconds_per_call(run, quick=quick)


@bench.contender("opentelemetry-sdk")
def opentelemetry_batch(quick: bool) -> float:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("benchmark")

    def run(count: int) -> None:
        for _ in range(count):
            with tracer.start_as_current_span("orders.place", attributes={"ref": "A1"}):
                pass

    try:
        with tracer.start_as_current_span("request"):
            return nanoseconds_per_call(run, quick=quick)
    finally:
        provider.shutdown()


@bench.contender("opentelemetry-api")
def opentelemetry_noop(quick: bool) -> float:
    from opentelemetry.trace import NoOpTracer

    tracer = NoOpTracer()

    def run(count: int) -> None:
        for _ in range(count):
            with tracer.start_as_current_span("orders.place", attributes={"ref": "A1"}):
                pass

    return nanoseconds_per_call(run, quick=quick)


@bench.contender("archstone")
def archstone_counter(quick: bool) -> float:
    from archstone.observability import Registry

    requests = Registry().counter("requests", "Requests.", ("method", "status"))

    def run(count: int) -> None:
        for _ in range(count):
            requests.labels("GET", "200").inc()

    return nanoseconds_per_call(run, quick=quick)


@bench.contender("prometheus_client")
def prometheus_counter(quick: bool) -> float:
    from prometheus_client import CollectorRegistry, Counter

    requests = Counter("requests", "Requests.", ("method", "status"), registry=CollectorRegistry())

    def run(count: int) -> None:
        for _ in range(count):
            requests.labels("GET", "200").inc()

    return nanoseconds_per_call(run, quick=quick)


@bench.contender("archstone", "structlog", "orjson")
def archstone_logs(quick: bool) -> float:
    from archstone import context
    from archstone.observability import configure_logging, get_logger

    stream = io.BytesIO()
    configure_logging("info", stream=stream)
    log = get_logger("orders")

    def run(count: int) -> None:
        stream.seek(0)
        for number in range(count):
            log.info("placed", order_id="A1", total=4200, number=number)

    with context.enter(context.Call(correlation_id="c1")):
        return 1e9 / nanoseconds_per_call(run, quick=quick)


@bench.contender("structlog", "orjson")
def structlog_logs(quick: bool) -> float:
    import orjson
    import structlog

    stream = io.BytesIO()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.BytesLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger().bind(logger="orders")
    structlog.contextvars.bind_contextvars(correlation_id="c1")

    def run(count: int) -> None:
        stream.seek(0)

        for number in range(count):
            log.info("placed", order_id="A1", total=4200, number=number)

    return 1e9 / nanoseconds_per_call(run, quick=quick)


# The goals of a span are figures on the reference machine (2 us, 0.3 us); those beside OpenTelemetry are the same
# figures as ratios to what it took there (18.9 and 3.2 us).
bench.row(
    Row("span recorded", "ns/span", goal=9.45),
    ours="archstone_span",
    peers=["opentelemetry_batch"],
    beside=["archstone_span_stored"],
)
bench.row(Row("span recorded, figure", "ns/span", goal=2000), ours="archstone_span")
bench.row(
    Row("span unheard", "ns/span", goal=10.7),
    ours="archstone_span_unheard",
    peers=["opentelemetry_noop"],
)
bench.row(Row("span unheard, figure", "ns/span", goal=300), ours="archstone_span_unheard")
bench.row(Row("counter with labels", "ns/call", goal=3.0), ours="archstone_counter", peers=["prometheus_counter"])
bench.row(Row("log lines", "lines/s", goal=1.0, bigger_is_better=True), ours="archstone_logs", peers=["structlog_logs"])

if __name__ == "__main__":
    bench.main()
