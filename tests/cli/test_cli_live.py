"""The live view: a terminal of its own for `archstone up`, put back as it was however that ends."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from shop_process import free_port

from archstone.cli import guard, journal, live
from archstone.cli.frame import About, drawn, duration
from archstone.cli.journal import Fault, Journal
from archstone.runtime.pulse import CLASSES, Vitals

ROOT = Path(__file__).parents[2]
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"
SHOWN = b"\x1b[?25h"

VITALS = Vitals(
    ready=True,
    requests=12_345,
    per_s={**dict.fromkeys(CLASSES, 0.0), "2xx": 120.0, "5xx": 0.4},
    p50_s=0.0012,
    p95_s=0.3,
    history=(0.0, 60.0, 120.0),
    sagas_running=3,
    sagas_stuck=1,
    waiting=12,
    retrying=2,
    dead=7,
    unsent=10_000,
    behind_s=2.5,
    loop_lag_s=0.0003,
    memory_bytes=85_000_000,
    cpu_ratio=0.12,
    events=(("orders.placed", 12, 345), ("orders.confirmed", 11, 330)),
    own=(("Pages that are told of changes", 3.0),),
)
ABOUT = About(
    system="shop",
    called="shop",
    addresses=[("http://127.0.0.1:8080", "open this first"), ("http://127.0.0.1:8080/docs", "what can be asked")],
    data=".archstone/shop",
    log=".archstone/shop/archstone.log",
    pid=4711,
    deaths=None,
)
FAULT = Fault("12:00:00", "warning", "handler failed  group=analytics")


def lines_of(
    vitals: Vitals = VITALS, faults: Sequence[Fault] = (FAULT,), *, size: tuple[int, int] = (100, 40)
) -> list[str]:
    return drawn(ABOUT, vitals, faults, up_s=75, size=size).plain.split("\n")


def test_a_picture_tells_what_to_open_and_how_it_does() -> None:
    lines = lines_of()
    assert lines[0] == " shop  running 1 min 15 s · pid 4711 · 85 MB · 12% of a core"
    assert lines[2] == " open     http://127.0.0.1:8080       open this first"
    assert lines[4] == " data     .archstone/shop   log .archstone/shop/archstone.log"
    assert lines[6] == " requests 120 per second    ▄█ most 120"
    assert lines[7] == "          2xx 120  4xx 0  5xx 0.4  shed 0  limited 0   p50 1.2 ms  p95 300 ms"
    assert lines[9] == " sagas    3 running   1 stuck   archstone sagas shop --status stuck"
    assert lines[10] == " queue    12 waiting   2 failed and tried again   7 dead   archstone dead shop"
    assert lines[11] == " outbox   10000+ unsent, 2.5 s behind"
    assert lines[12] == " loop     0.3 ms late"
    assert lines[14] == " log      12:00:00 warning handler failed  group=analytics"
    assert lines[16].split() == ["events", "last", "minute", "since", "the", "start"]
    assert lines[17].split() == ["orders.placed", "12", "345"]
    assert lines[20] == " figures  Pages that are told of changes: 3"
    assert lines[-1].startswith(" q or ctrl-c stops it, its data stays")


@pytest.mark.parametrize("rows", [1, 5, 14, 15, 16, 18, 22, 24, 60])
def test_a_picture_has_as_many_lines_as_the_terminal(rows: int) -> None:
    lines = lines_of(size=(80, rows))
    assert len(lines) == rows
    if rows >= 16:
        assert lines[-1].startswith(" q or ctrl-c")


@pytest.mark.parametrize(
    ("deaths", "told"), [(0, "4711"), (1, "4711  killed 1 time so far"), (2, "killed 2 times so far")]
)
def test_a_picture_tells_that_it_may_be_killed(deaths: int, told: str) -> None:
    last = drawn(replace(ABOUT, deaths=deaths), VITALS, (), up_s=1, size=(100, 40)).plain.split("\n")[-1]
    assert "killed, it is started again: kill -9 4711" in last
    assert last.endswith(told)


@pytest.mark.parametrize(("columns", "pid", "deaths"), [(80, 4711, 0), (80, 4_194_304, 12), (67, 4_194_304, 1)])
def test_a_narrow_terminal_does_not_cut_the_process_to_kill(columns: int, pid: int, deaths: int) -> None:
    about = replace(ABOUT, pid=pid, deaths=deaths)
    *_, first, last = drawn(about, VITALS, (), up_s=1, size=(columns, 24)).plain.split("\n")
    assert (first + last).count(f"kill -9 {pid}") == 1
    assert max(len(first), len(last)) <= columns
    assert "q or ctrl-c stops it" in first + last


def test_what_is_not_there_is_not_shown() -> None:
    quiet = replace(VITALS, events=(), own=(), p50_s=None, p95_s=None, history=(), memory_bytes=0, ready=False)
    text = "\n".join(lines_of(quiet, ()))
    assert "stopping: what is in flight is finished" in text
    assert "p50 -  p95 -" in text
    assert " requests 120 per second" in text
    idle = lines_of(replace(VITALS, per_s=dict.fromkeys(CLASSES, 0.0), history=(0.0,)))
    assert idle[6].rstrip() == " requests 0 per second"
    assert not any(word in text for word in (" log  ", "events", "figures", " MB", "▁"))


@pytest.mark.parametrize(("seconds", "told"), [(5.4, "5 s"), (75, "1 min 15 s"), (3600 * 2 + 60, "2 h 01 min")])
def test_a_duration_is_told_as_people_do(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def line(level: str, event: str, **values: object) -> str:
    return json.dumps({"timestamp": "2026-01-02T03:04:05Z", "level": level, "logger": "x", "event": event, **values})


def test_the_journal_keeps_faults_and_what_is_printed(tmp_path: Path) -> None:
    book = Journal()
    book.write(line("info", "early") + "\n")
    book.open(tmp_path)
    book.write(line("warning", "late\x1b[2J", why="rain", trace_id="77") + "\n" + line("info", "calm") + "\npart")
    book.write(" of a line\n\n")
    failed = {"type": "builtins.KeyError", "message": "'x'"}
    book.write(line("error", "failed", exception=failed) + "\n")
    book.finish()
    assert [each.text for each in book.faults] == ["late [2J  why=rain", "part of a line", "failed  KeyError: 'x'"]
    assert [each.level for each in book.faults] == ["warning", "info", "error"]
    assert book.faults[0].at == "03:04:05"
    assert book.warnings == 2
    events = [json.loads(each)["event"] for each in (tmp_path / "archstone.log").read_text().splitlines()]
    assert events == ["early", "late\x1b[2J", "calm", "part of a line", "failed"]
    assert (tmp_path / "archstone.log").stat().st_mode & 0o777 == 0o600


def test_a_fault_tells_its_reason_before_its_ids() -> None:
    book = Journal()
    book.write(line("warning", "a step failed", saga="a1", step="b2", error="the bank is away", next_s=1) + "\n")
    assert book.faults[0].text == "a step failed  error=the bank is away  saga=a1  step=b2  next_s=1"


def test_what_is_said_again_and_again_is_one_fault() -> None:
    book = Journal()
    for number in range(5):
        book.write(line("error", "failed", number=number) + "\n")
        book.write(line("warning", f"other {number}") + "\n")
    assert book.faults[-2] == Fault("03:04:05", "error", "failed  number=4", 5)
    assert [each.times for each in book.faults] == [1, 1, 1, 1, 5, 1]
    told = "\n".join(lines_of(faults=book.faults[-2:]))
    assert "03:04:05 error 5 times, the last: failed  number=4" in told
    for number in range(500):
        book.write(line("error", f"another {number}") + "\n")
    assert len(book.faults) == 100


def test_the_journal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FILE_BYTES", 1_000)
    book = Journal()
    book.open(tmp_path)
    for number in range(200):
        book.write(line("info", f"line {number}") + "\n")
    book.finish()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["archstone.log", "archstone.log.1"]
    assert all((tmp_path / name).stat().st_size < 1_200 for name in files)
    assert "line 199" in (tmp_path / "archstone.log").read_text()


def test_what_never_reached_a_file_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    book = Journal()
    book.write(line("error", "no room") + "\n")
    book.finish()
    assert "no room" in capsys.readouterr().err


def test_a_journal_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    book = Journal()
    book.open(tmp_path / "missing")
    book.write(line("warning", "still here") + "\n")
    book.finish()
    assert [each.text for each in book.faults] == ["still here"]


@pytest.mark.parametrize(
    ("terminals", "environ", "wanted"),
    [
        ((True, True), {"TERM": "xterm"}, True),
        ((False, True), {"TERM": "xterm"}, False),
        ((True, False), {"TERM": "xterm"}, False),
        ((True, True), {"TERM": "dumb"}, False),
        ((True, True), {}, False),
        ((True, True), {"TERM": "xterm", "CI": "true"}, False),
    ],
)
def test_a_view_is_for_a_person_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminals: tuple[bool, bool], environ: dict[str, str], wanted: bool
) -> None:
    for name in ("TERM", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminals[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminals[1])
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    assert live.wants_view() is wanted


def test_in_the_background_there_is_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    assert not live.wants_view()


class Terminal:
    """A terminal in which `archstone up` runs, and all that it has written there."""

    def __init__(self, data: Path, *words: str) -> None:
        self.data, self.written = data, b""
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        command = [sys.executable, "-m", "archstone.cli", "up", "examples.hello.hello:hello", "--data", str(data)]
        environ = {name: value for name, value in os.environ.items() if name != "CI"}
        self.process = subprocess.Popen(
            [*command, "--port", str(free_port()), *words],
            cwd=ROOT, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, start_new_session=True,
            env={**environ, "TERM": "xterm-256color"}, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - nothing else runs in the parent
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._closing = False
        self._reader.start()

    def _read(self) -> None:
        while not self._closing:
            if select.select([self.ours], [], [], 0.05)[0]:
                self.written += os.read(self.ours, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def until(self, found: Callable[[bytes], bool], *, within_s: float = 60) -> None:
        end = time.perf_counter() + within_s
        while not found(self.written):
            assert time.perf_counter() < end, self.written[-3000:].decode(errors="replace")
            time.sleep(0.05)

    def restored(self) -> bool:
        """Whether the main screen is there, with a cursor, and keys work as before."""
        screen = self.written.rfind(LEFT) > self.written.rfind(ENTERED) and self.written.rstrip().find(SHOWN) > 0
        return screen and termios.tcgetattr(self.theirs)[:6] == self.before[:6]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._closing = True
        self._reader.join()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "hello")
    with contextlib.closing(terminal):
        terminal.until(lambda text: b"running" in text and b"q or ctrl-c" in text)
        yield terminal


@pytest.mark.parametrize("keys", [b"q", b"\x03"])
def test_the_view_ends_with_a_key_and_leaves_the_terminal_as_it_was(terminal: Terminal, keys: bytes) -> None:
    assert not terminal.restored()
    terminal.type(b"x\x1a")  # neither echoed nor a reason to stop
    terminal.type(keys)
    assert terminal.process.wait(60) == 0
    terminal.until(lambda text: b"stopped after" in text)
    assert terminal.restored()
    assert b"0 requests; log " in terminal.written
    events = [json.loads(each)["event"] for each in (terminal.data / "archstone.log").read_text().splitlines()]
    assert events[0] == "ready"
    assert events[-1] == "draining"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_the_terminal_is_put_back_after_a_kill(terminal: Terminal, number: signal.Signals) -> None:
    terminal.process.send_signal(number)
    assert terminal.process.wait(60) == -number
    terminal.until(lambda _: terminal.restored())


def test_plain_asks_for_lines_on_a_terminal_too(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "hello", "--plain")
    with contextlib.closing(terminal):
        terminal.until(lambda text: b"ready" in text and b"its data stays" in text)
        terminal.type(b"\x03")
        assert terminal.process.wait(60) == 0
        assert ENTERED not in terminal.written
        assert not (tmp_path / "hello" / "archstone.log").exists()


def test_a_start_that_fails_is_told_without_a_view(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "letter.txt").touch()
    terminal = Terminal(tmp_path / "hello")
    with contextlib.closing(terminal):
        assert terminal.process.wait(60) == 2
        terminal.until(lambda text: b"it is no data folder" in text)
        assert ENTERED not in terminal.written


def test_killed_under_chaos_the_view_comes_back(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "hello", "--chaos")
    with contextlib.closing(terminal):
        terminal.until(lambda text: b"killed, it is started again" in text)
        pid = json.loads((tmp_path / "hello" / "owner").read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        terminal.until(lambda text: text.count(ENTERED) == 2)
        terminal.until(lambda text: b"killed 1 time so far" in text)
        terminal.type(b"q")
        assert terminal.process.wait(60) == 0
        terminal.until(lambda _: terminal.restored())


def test_a_guard_leaves_alone_what_somebody_else_has_set(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    changed = termios.tcgetattr(theirs)
    changed[3] &= ~termios.ECHO
    command = [sys.executable, "-I", "-S", guard.__file__]
    try:
        facts = f"{changed!r}\n{changed!r}\n".encode()  # the terminal is not what the view has made of it
        subprocess.run(command, input=facts, stdout=theirs, check=True, timeout=60)
        assert termios.tcgetattr(theirs)[:6] == before[:6]
        assert os.read(ours, 100) == guard.RESTORE
    finally:
        os.close(ours)
        os.close(theirs)
