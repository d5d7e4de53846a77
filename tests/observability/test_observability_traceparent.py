import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone.context import Trace
from archstone.observability import format_traceparent, parse_traceparent

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SPAN_ID = 0x00F067AA0BA902B7
HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

traces = st.builds(Trace, st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.booleans())


def test_the_example_of_the_recommendation_is_read_and_written() -> None:
    assert parse_traceparent(HEADER) == Trace(TRACE_ID, SPAN_ID, True)
    assert format_traceparent(Trace(TRACE_ID, SPAN_ID, True)) == HEADER


@settings(deadline=None)
@given(traces)
def test_what_is_written_is_read_back(trace: Trace) -> None:
    assert parse_traceparent(format_traceparent(trace)) == trace


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        HEADER.upper(),
        HEADER + " ",
        " " + HEADER,
        HEADER + "\n",
        HEADER + "-more",
        HEADER[:-1],
        "ff" + HEADER[2:],
        HEADER.replace("-", "_"),
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473\u0664-00f067aa0ba902b7-01",
        "01" + HEADER[2:] + "more",
        "01" + HEADER[2:] + "-" + "x" * 500,
        "0x" + HEADER[2:],
    ],
)
def test_what_breaks_the_form_is_no_trace(text: str | None) -> None:
    assert parse_traceparent(text) is None


def test_a_later_version_is_read_as_far_as_this_one_goes() -> None:
    assert parse_traceparent("01" + HEADER[2:]) == Trace(TRACE_ID, SPAN_ID, True)
    assert parse_traceparent("cc" + HEADER[2:] + "-what.comes") == Trace(TRACE_ID, SPAN_ID, True)


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_only_the_lowest_flag_says_sampled(flags: str, sampled: bool) -> None:
    assert parse_traceparent(HEADER[:-2] + flags) == Trace(TRACE_ID, SPAN_ID, sampled)


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[0-9a-f]{2}-[0-9a-fA-F]{30,33}-[0-9a-f]{16}-[0-9a-f]{2}.?")))
def test_any_text_is_a_valid_trace_or_none(text: str) -> None:
    trace = parse_traceparent(text)
    if trace is not None:
        assert 0 < trace.trace_id < 1 << 128
        assert 0 < trace.span_id < 1 << 64
        assert re.match(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", text)


@settings(deadline=None)
@given(traces, st.integers(0, 54), st.characters())
def test_one_changed_character_never_raises(trace: Trace, place: int, character: str) -> None:
    text = format_traceparent(trace)
    parse_traceparent(text[:place] + character + text[place + 1 :])
