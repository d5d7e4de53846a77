"""What goes on now: spans that are open, and who is told when one begins."""

from collections.abc import Iterator

import pytest

from archstone import context
from archstone.context import Call
from archstone.observability import (
    SpanRecord,
    add_opening_recorder,
    add_recorder,
    open_spans,
    recorded,
    remove_recorder,
    span,
)


@pytest.fixture
def told() -> Iterator[list[SpanRecord]]:
    records: list[SpanRecord] = []
    with recorded(), context.enter(Call()):
        add_opening_recorder(records.append)
        yield records
        remove_recorder(records.append)


def test_a_span_is_open_from_its_beginning_to_its_end(told: list[SpanRecord]) -> None:
    with span("outer", ref="o1", lines=2):
        with span("inner") as inner:
            outer_id = told[0].span_id
            now = {each.name: each for each in open_spans(traces=[inner.trace_id])}
            assert set(now) == {"outer", "inner"}
            assert (now["inner"].parent_id, now["inner"].status) == (outer_id, "open")
            assert (now["outer"].ref, now["outer"].attributes) == ("o1", {"lines": 2})
            assert [each.name for each in open_spans(ref="o1")] == ["outer"]
        assert [each.name for each in open_spans(traces=[inner.trace_id])] == ["outer"]
    assert open_spans(traces=[inner.trace_id], ref="o1") == []


def test_beginnings_are_told_only_to_who_asked_and_until_removed(told: list[SpanRecord]) -> None:
    with span("first"):
        pass
    remove_recorder(told.append)
    with span("second"):
        pass
    assert [(each.name, each.status) for each in told] == [("first", "open")]


def test_an_opening_recorder_that_raises_is_taken_off_and_the_work_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(record: SpanRecord) -> None:
        raise RuntimeError(record.name)

    add_recorder(broken, wants=lambda _: True)
    add_opening_recorder(broken)
    with span("work"):
        pass
    assert "raised and was removed" in capsys.readouterr().err
    with span("more work"):
        pass
    assert capsys.readouterr().err == ""


def test_a_span_that_ends_by_an_error_is_not_open_any_more(told: list[SpanRecord]) -> None:
    with pytest.raises(KeyError), span("bad", ref="o2"):
        raise KeyError
    assert open_spans(ref="o2") == []


def test_a_change_to_a_record_so_far_does_not_reach_the_span(told: list[SpanRecord]) -> None:
    with span("work", ref="o3", tries=1) as work:
        open_spans(ref="o3")[0].attributes["tries"] = 5
        assert work.attributes == {"tries": 1}
