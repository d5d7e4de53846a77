from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.observability import SpanRecord, waterfall


def record(
    span_id: int,
    parent_id: int | None,
    name: str,
    start_us: int,
    duration_us: int,
    *,
    trace_id: int = 0xABC,
    status: str = "ok",
    ref: str | None = None,
    **attributes: str | int,
) -> SpanRecord:
    return SpanRecord(trace_id, span_id, parent_id, name, "internal", start_us, duration_us, status, ref, attributes)


CHECKOUT = [
    record(3, 2, "inventory.reserve", 1_001_000, 2_000),
    record(1, None, "POST /orders", 1_000_000, 8_000, ref="A1"),
    record(4, 2, "payments.charge", 1_003_000, 4_000, status="error", **{
        "error.type": "payments.declined", "error.message": "card\nrefused", "attempt": 1}),
    record(2, 1, "orders.place", 1_000_500, 7_000),
    record(9, 77, "notifications.mail", 2_500_000, 400),
]  # fmt: skip


def test_a_trace_is_drawn_as_a_waterfall() -> None:
    assert waterfall(CHECKOUT) == (
        "trace 00000000000000000000000000000abc  5 spans, 1.50 s, 1 in error\n"
        "  POST /orders           █·······························    8.0 ms  ok  ref=A1\n"
        "    orders.place         █·······························    7.0 ms  ok\n"
        "      inventory.reserve  █·······························    2.0 ms  ok\n"
        "      payments.charge    █·······························    4.0 ms  error"
        "  attempt=1 payments.declined: card?refused\n"
        "  ^ notifications.mail   ·······························█    400 us  ok"
    )


def test_bars_show_when_and_how_long() -> None:
    lines = waterfall([record(1, None, "a", 0, 32), record(2, 1, "b", 8, 16)]).splitlines()
    assert lines[1] == "  a    ████████████████████████████████     32 us  ok"
    assert lines[2] == "    b  ········████████████████········     16 us  ok"


def test_nothing_is_drawn_of_nothing() -> None:
    assert waterfall([]) == ""


def test_traces_come_oldest_first() -> None:
    text = waterfall([record(1, None, "new", 50, 1, trace_id=2), record(1, None, "old", 10, 1, trace_id=9)])
    assert [line.split()[0] for line in text.splitlines()] == ["trace", "old", "trace", "new"]


spans = st.lists(
    st.builds(
        record,
        st.integers(1, 6),
        st.one_of(st.none(), st.integers(1, 8)),
        st.text(max_size=60),
        st.integers(0, 1 << 50),
        st.integers(0, 1 << 50),
        trace_id=st.integers(1, 3),
        status=st.sampled_from(["ok", "error"]),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(spans)
def test_every_span_is_drawn_once_whatever_its_parents(found: list[SpanRecord]) -> None:
    lines = waterfall(found).splitlines()
    assert len(lines) == len(found) + len({one.trace_id for one in found})


def test_a_deep_trace_is_drawn_without_recursion() -> None:
    deep = [record(number, number - 1 or None, "step", number, 1) for number in range(1, 3000)]
    assert len(waterfall(deep).splitlines()) == 3000
