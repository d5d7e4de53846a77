import asyncio
from collections.abc import Iterator

import pytest

from archstone import context
from archstone.context import Call, Principal, Trace
from archstone.errors import ConflictError, RejectedError
from archstone.observability import SpanRecord, add_recorder, recorded, recorders, remove_recorder, span
from archstone.observability.recorders import recording


@pytest.fixture
def spans() -> Iterator[list[SpanRecord]]:
    with recorded() as found:
        yield found


def test_a_span_starts_a_trace_and_its_children_continue_it(spans: list[SpanRecord]) -> None:
    with span("outer", kind="server", ref="A1"), span("inner", lines=3) as work:
        work.set("total", 42)
    inner, outer = spans
    assert outer.parent_id is None
    assert (inner.trace_id, inner.parent_id) == (outer.trace_id, outer.span_id)
    assert (inner.name, inner.kind, inner.status, inner.ref) == ("inner", "internal", "ok", None)
    assert inner.attributes == {"lines": 3, "total": 42}
    assert (outer.kind, outer.ref) == ("server", "A1")
    assert 0 < outer.span_id < 1 << 64
    assert 0 < outer.trace_id < 1 << 128


def test_everything_else_of_the_call_travels_on(spans: list[SpanRecord]) -> None:
    call = Call(Principal("ann"), 12.5, Trace(7, 8, True), "key", "correlation", "cause", "tx", "step")
    with context.enter(call):
        with span("work"):
            assert context.current()._replace(trace=call.trace) == call
            assert context.current().trace == Trace(7, context.current().trace.span_id, True)
        assert context.current() is call
    assert (spans[0].trace_id, spans[0].parent_id) == (7, 8)


async def test_a_span_lasts_as_long_as_its_block(spans: list[SpanRecord]) -> None:
    with span("slow"):
        await asyncio.sleep(1.5)
    assert spans[0].duration_us == 1_500_000


async def test_tasks_started_inside_belong_to_the_span(spans: list[SpanRecord]) -> None:
    async def part(name: str) -> None:
        with span(name):
            await asyncio.sleep(1)

    with span("whole"):
        await asyncio.gather(part("a"), part("b"))
    a, b, whole = spans
    assert {a.parent_id, b.parent_id} == {whole.span_id}
    assert a.span_id != b.span_id


@pytest.mark.parametrize(
    ("error", "status", "type_", "message"),
    [
        (ValueError("no"), "error", "ValueError", "no"),
        (ConflictError("changed"), "refused", "archstone.conflict", "changed"),
        (RejectedError("full"), "refused", "archstone.rejected", "full"),
        (asyncio.CancelledError(), "cancelled", "CancelledError", ""),
        (SystemExit(1), "cancelled", "SystemExit", "1"),
    ],
)
def test_an_exception_passes_through_and_becomes_the_status(
    spans: list[SpanRecord], error: BaseException, status: str, type_: str, message: str
) -> None:
    with pytest.raises(type(error)) as raised, span("work"):
        raise error
    assert raised.value is error
    assert spans[0].status == status
    assert spans[0].attributes == {"error.type": type_, "error.message": message}


def test_an_error_that_cannot_say_what_it_is_does_not_hide_itself(spans: list[SpanRecord]) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("speechless")

    with pytest.raises(Mute), span("work"):
        raise Mute
    assert "RuntimeError" in str(spans[0].attributes["error.message"])


def test_a_long_error_text_is_cut(spans: list[SpanRecord]) -> None:
    with span("work") as work:
        work.fail(ValueError("x" * 10_000))
    assert spans[0].status == "error"
    assert len(str(spans[0].attributes["error.message"])) == 300


def test_a_trace_that_its_caller_did_not_sample_records_errors_only(spans: list[SpanRecord]) -> None:
    with context.enter(Call(trace=Trace(7, 8, False))):
        with span("well"):
            assert context.current().trace.sampled is False
        with pytest.raises(ValueError), span("badly"):
            raise ValueError
    assert [one.name for one in spans] == ["badly"]


def test_errors_below_unsampled_spans_are_recorded_with_the_spans_that_end_after_them(spans: list[SpanRecord]) -> None:
    with context.enter(Call(trace=Trace(7, 8, False))), span("around") as work:
        work.set("n", 1)
        with span("well"):
            pass
        with span("reported") as failing:
            failing.fail(ValueError("no"))
        with pytest.raises(ConflictError), span("refused"):
            raise ConflictError("changed")
    assert [one.name for one in spans] == ["reported", "refused", "around"]
    assert [one.status for one in spans] == ["error", "refused", "ok"]
    assert {(one.trace_id, one.parent_id) for one in spans} == {(7, 8)}
    assert spans[2].attributes == {"n": 1}
    with context.enter(Call(trace=Trace(9, 8, False))), pytest.raises(ConflictError), span("refused"):
        raise ConflictError("changed")
    assert len(spans) == 3


def test_the_traces_that_are_recorded_after_an_error_are_bounded(spans: list[SpanRecord]) -> None:
    for trace_id in range(1, 1200):
        with context.enter(Call(trace=Trace(trace_id, 8, False))), span("work") as work:
            work.fail(ValueError())
    assert len(recording.rescued) == 1000
    assert len(spans) == 1199


def test_nobody_listening_changes_nothing_and_keeps_nothing() -> None:
    before = context.current()
    with span("unheard", ref="A1", n=1) as work:
        work.set("x", 1)
        work.fail(ValueError())
        assert context.current() is before
    assert work.attributes == {}


def test_a_span_begun_unheard_stays_so_and_its_end_is_no_fault() -> None:
    with span("unheard"), recorded() as spans:
        pass
    assert spans == []


def test_a_recorder_that_raises_is_taken_off_and_the_work_goes_on(
    spans: list[SpanRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(record: SpanRecord) -> None:
        raise OSError("disk")

    add_recorder(broken)
    with span("work"):
        pass
    assert broken not in recorders()
    assert "OSError: disk" in capsys.readouterr().err
    with span("more"):
        pass
    assert [one.name for one in spans] == ["work", "more"]


def test_a_recorder_added_twice_is_told_once_and_removing_a_stranger_is_nothing() -> None:
    spans: list[SpanRecord] = []
    recorder = spans.append
    add_recorder(recorder)
    add_recorder(recorder)
    with span("work"):
        pass
    remove_recorder(recorder)
    remove_recorder(recorder)
    with span("more"):
        pass
    assert [one.name for one in spans] == ["work"]
