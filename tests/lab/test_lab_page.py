"""The page and the words: whole without anything of others, the same in dark and light, two runs beside each other."""

import asyncio
import copy
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from archstone.lab import LabError
from archstone.lab.child import run_in_child
from archstone.lab.page import page_of, pictures_of
from archstone.lab.plot import Plot, Series
from archstone.lab.prober import Probe
from archstone.lab.record import Record
from archstone.lab.report import Phase, report_of
from archstone.lab.summary import lines_of, rows_of
from archstone.lab.surge import SurgeSettings


@pytest.fixture
def report() -> dict[str, Any]:
    record = Record()
    record.trail_from_s = 3
    phases = (
        Phase(name="base", from_s=0, to_s=1, rate_per_s=10),
        Phase(name="surge", from_s=1, to_s=3, rate_per_s=100),
        Phase(name="recovery", from_s=3, to_s=5, rate_per_s=10),
    )
    for phase in phases:
        for number in range(int(phase.rate_per_s * len(phase.seconds))):
            kind = "checkout" if number % 10 == 0 else "browse"
            shed = phase.name == "surge" and kind == "browse" and number % 2
            due_s = phase.from_s + number / phase.rate_per_s
            record.add(kind, due_s, outcome="shed" if shed else "ok", took_s=0.001 if shed else 0.005)
    probes = [Probe(n / 20, f"/health/{('live', 'ready')[n % 2]}", 0.002, 200) for n in range(100)]
    settings = SurgeSettings(system="<shop>", traffic="-", url="http://x").model_dump(mode="json")
    about = {
        "system": "<shop>", "at_us": 1_790_000_000_000_000, "settings": settings,
        "machine": {"cpus": 2, "system": "Linux", "python": "3.11"}, "outcome": {"oversold": 0, "accepted": 12},
    }  # fmt: skip
    return report_of(record, phases, probes, began_s=0, about=about)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_a_page_asks_nobody_for_anything(report: dict[str, Any]) -> None:
    page = page_of(report)
    assert not re.search(r"(src|href)=|url\(|@import|<script|https?://(?!x\b)", page)
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    tags = Tags(page)
    assert tags.seen.count("svg") == 5
    assert set(tags.open) <= {"p"}, "what is opened is closed"
    assert "<shop>" not in page, "names are told, not obeyed"
    assert "&lt;shop&gt;" in page
    for told in ("oversold", "health checks", "2.0 ms at p99", "checkout served in the surge", "100.0 %", "0 s after"):
        assert told in page


def test_an_earlier_run_is_drawn_beside_and_its_figures_stand_in_brackets(report: dict[str, Any]) -> None:
    earlier = copy.deepcopy(report)
    earlier["outcome"]["accepted"] = 7
    page = page_of(report, earlier=earlier)
    assert page.count("earlier") > page_of(report).count("earlier") + 8
    assert "<small>(7)</small>" in page
    assert "Dashed and in brackets: the run of 2026-" in page


def test_the_table_has_a_row_for_each_phase_and_kind_and_no_empty_columns(report: dict[str, Any]) -> None:
    columns, rows = rows_of(report)
    assert columns == ["phase", "kind", "served_per_s", "due", "ok", "shed", "p50", "p95", "p99", "max"]
    assert [row[:2] for row in rows[3:6]] == [["surge", "all"], ["", "browse"], ["", "checkout"]]
    assert {len(row) for row in rows} == {len(columns)}


def test_what_is_not_known_is_told_so(report: dict[str, Any]) -> None:
    report["outcome"]["oversold"] = None
    report["recovery_s"] = None
    report["health"]["/health/live"]["failed"] = 3
    told = dict(lines_of(report))
    assert told["oversold"] == "not known"
    assert told["recovered"] == "not within the time"
    assert told["health checks"] == "2.0 ms at p99, 3 failed"


@pytest.mark.parametrize("values", [[], [None, None], [0.0, 0.0], [1.0], [0.5, None, 4000.0, 1.0]])
@pytest.mark.parametrize("log", [False, True])
def test_any_values_can_be_drawn(values: list[float | None], log: bool) -> None:
    svg = Plot(title="<t>", unit="ms", series=[Series("one", values)], log=log).svg()
    runs = re.findall("x+", "".join("." if value is None else "x" for value in values))
    assert svg.count("<polyline") == len(runs)
    assert "nan" not in svg
    assert "<t>" not in svg


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                status = b"200 OK" if head.split()[1] != b"/gone" else b"404 Not Found"
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n{}" % status)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.real_time
async def test_a_surge_runs_in_a_process_of_its_own(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    told: list[str] = []
    settings = SurgeSettings(
        system="s", traffic="lab_visits", url=url, rps=20, times=5, base_s=1, surge_s=1, recovery_s=2
    )
    report = await run_in_child(settings, lambda name, what: told.append(name))
    assert [phase["all"]["ok"] for phase in report["phases"]] == [20, 100, 40]
    assert set(told) == {"phase", "note", "progress"}
    assert page_of(report)
    with pytest.raises(LabError, match="no load model: module no_such_visits"):
        await run_in_child(settings.model_copy(update={"traffic": "no_such_visits"}), lambda *_: None)


def test_a_plot_can_stand_alone_in_a_document(report: dict[str, Any]) -> None:
    pictures = pictures_of(report)
    assert len(pictures) == 5
    for picture in pictures.values():
        root = ET.fromstring(picture)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ">checkout</tspan>" in pictures["Served, by kind"]
