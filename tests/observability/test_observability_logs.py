import asyncio
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archstone import context
from archstone.context import Call, Trace
from archstone.errors import ConflictError
from archstone.observability import LogLevelError, configure_logging, get_logger, lines_lost, recorded, span
from archstone.observability.logline import json_line, redact

log = get_logger("orders")


class Lines(io.StringIO):
    def read_all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    stream = Lines()
    configure_logging("debug", stream=stream)
    yield stream
    configure_logging("warning", json=False)


async def test_a_line_is_one_json_object_with_what_happened(lines: Lines) -> None:
    log.info("placed", order_id="A1", total=42)
    assert lines.read_all() == [
        {
            "timestamp": "2026-01-01T00:00:00Z",
            "level": "info",
            "logger": "orders",
            "event": "placed",
            "order_id": "A1",
            "total": 42,
        }
    ]


def test_a_line_carries_where_it_belongs(lines: Lines) -> None:
    with context.enter(Call(correlation_id="c1", trace=Trace(0xAB, 0xCD))):
        log.info("here")
    line = lines.read_all()[0]
    assert (line["correlation_id"], line["trace_id"], line["span_id"]) == ("c1", f"{0xAB:032x}", f"{0xCD:016x}")


def test_a_line_within_a_span_names_it(lines: Lines) -> None:
    with recorded() as spans, span("work"):
        log.info("here")
    assert lines.read_all()[0]["span_id"] == f"{spans[0].span_id:016x}"


def test_every_level_has_its_name_and_lower_ones_are_dropped(lines: Lines) -> None:
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(log, level)(level)
    assert [line["level"] for line in lines.read_all()] == ["debug", "info", "warning", "error", "critical"]
    configure_logging("warning", stream=lines)
    log.debug("no")
    log.info("no")
    log.warning("yes")
    assert lines.read_all()[-1]["event"] == "yes"
    assert len(lines.read_all()) == 6


def test_bound_values_stay_with_the_logger(lines: Lines) -> None:
    mine = log.bind(order_id="A1", user="ann")
    mine.unbind("user").info("here")
    log.info("there")
    here, there = lines.read_all()
    assert here["order_id"] == "A1"
    assert "user" not in here
    assert "order_id" not in there


SECRETS = ["password", "Password", "new_password", "access_token", "X-Api-Key", "Authorization", "Set-Cookie", "secret"]


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_never_shows(lines: Lines, key: str) -> None:
    @dataclasses.dataclass
    class Form:
        password: str

    class Model(pydantic.BaseModel):
        refresh_token: str

    log.info(
        "signed in", **{key: "hunter2", "deep": {"list": [{key: "hunter2"}], "form": Form("hunter2")}},
        model=Model(refresh_token="hunter2"), models=(Model(refresh_token="hunter2"),),
    )  # fmt: skip
    assert "hunter2" not in lines.getvalue()
    assert lines.read_all()[0][key] == "[redacted]"


@pytest.mark.parametrize("key", ["order_id", "key", "idempotency_key", "author", "event_id", "passed"])
def test_an_ordinary_key_shows(lines: Lines, key: str) -> None:
    log.info("x", **{key: "value"})
    assert lines.read_all()[0][key] == "value"


def test_an_exception_is_an_object_with_its_cause_and_frames(lines: Lines) -> None:
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ConflictError("outer") from error

    try:
        fail()
    except ConflictError as error:
        error.add_note("seen in a test")
        log.exception("failed", order_id="A1")
    line = lines.read_all()[0]
    exception = line["exception"]
    assert line["level"] == "error"
    assert exception["type"] == "archstone.errors.ConflictError"
    assert exception["code"] == "archstone.conflict"
    assert exception["message"] == "outer"
    assert exception["notes"] == ["seen in a test"]
    assert exception["frames"][-1].endswith("test_an_exception_is_an_object_with_its_cause_and_frames.<locals>.fail")
    assert exception["cause"]["message"] == "'inner'"


def test_an_exception_can_be_given_and_a_group_shows_its_members(lines: Lines) -> None:
    log.error("failed", exc_info=ExceptionGroup("both", [ValueError("a"), OSError("b")]))
    members = lines.read_all()[0]["exception"]["exceptions"]
    assert [one["message"] for one in members] == ["a", "b"]


def test_exc_info_without_an_exception_is_no_fault(lines: Lines) -> None:
    log.exception("nothing is wrong")  # noqa: LOG004
    log.error("nor here", exc_info=None)
    assert ["exception" in line for line in lines.read_all()] == [False, False]


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("speechless")

    __repr__ = __str__


def cycle() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["self"] = found
    return found


@pytest.mark.parametrize(
    "value",
    [
        1 << 80,
        "\ud800",
        Mute(),
        cycle(),
        {1: {2: 3}},
        {"a", "b"},
        b"bytes",
        float("nan"),
        object,
        asyncio.Queue,
        Path("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_log_call_never_raises(lines: Lines, value: object) -> None:
    log.info("strange", value=value, inside=[value], order_id="A1")
    assert lines.read_all()[0]["order_id"] == "A1"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), json_values))
def test_any_values_make_one_line(values: dict[str, Any]) -> None:
    line: dict[str, Any] = {}
    redact(values, into=line)
    text = json_line(line)
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    assert set(json.loads(text)) == {key for key in values if key != "exc_info"} | ({"exception"} & set(line))


def test_lines_go_to_a_file_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "shop.log"
    configure_logging("info", file=path)
    log.info("one")
    log.info("two")
    configure_logging("warning", json=False)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["one", "two"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_binary_stream_and_a_text_stream_over_one_both_work() -> None:
    below = io.BytesIO()
    for stream in (below, io.TextIOWrapper(below, encoding="utf-8")):
        configure_logging("info", stream=stream)
        log.info("hällo")
    configure_logging("warning", json=False)
    assert below.getvalue().decode().count("hällo") == 2


def test_a_stream_that_is_gone_loses_the_line_and_counts_it() -> None:
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    stream.close()
    before = lines_lost()
    log.info("nobody reads this")
    configure_logging("warning", json=False)
    assert lines_lost() == before + 1


def test_unconfigured_a_warning_is_for_people_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("not shown")
    log.warning("low on space", free=3)
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("failed")
    text = capsys.readouterr().err
    assert "not shown" not in text
    assert "low on space" in text
    assert "free=3" in text
    assert "builtins.ValueError: no" in text


def test_an_unknown_level_is_named_with_those_that_exist() -> None:
    with pytest.raises(LogLevelError) as raised:
        configure_logging("loud")
    assert str(raised.value) == "log level 'loud' does not exist: use one of debug, info, warning, error, critical"
