"""`up --chaos`: killed and there again, without an end for good and without anybody left behind."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from shop_http import eventually
from shop_process import free_port

from archstone import world
from archstone.messaging.relay import AFTER_SEND
from archstone.runtime import ControlError, ask, revive

ROOT = Path(__file__).parents[2]
BACK_S = 3.0
"""On a machine on which a first start, of two processes, takes no longer."""


class Run:
    """`up --chaos` of the smallest system there is."""

    first_s: float
    """What its first start took, where that was waited for."""

    def __init__(self, data: Path, *words: str, **more: Any) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.with_name("log")
        command = [sys.executable, "-m", "archstone.cli", "up", "examples.hello.hello:hello", *words]
        with self.log.open("ab") as log:
            self.parent = subprocess.Popen(
                [*command, "--data", str(data), "--port", str(self.port)],
                **{"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **more},
            )

    def ready(self) -> float:
        """Return, once it answers, the seconds that took."""

        def status() -> int | None:
            assert self.parent.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.url}/health/ready", timeout=30).status_code
            return None

        begun = time.perf_counter()
        eventually(status, lambda found: found == 200)
        return time.perf_counter() - begun

    @property
    def pid(self) -> int:
        return int(json.loads((self.data / "owner").read_text())["pid"])

    def ask(self, verb: str, **arguments: object) -> Any:
        return asyncio.run(ask(self.data / "control.sock", verb, arguments))

    def greet(self, name: str) -> int:
        return httpx.post(f"{self.url}/api/v1/greetings", json={"name": name}, headers=KEY, timeout=30).status_code

    def greeted(self, name: str) -> int:
        return int(httpx.get(f"{self.url}/api/v1/greetings/{name}", timeout=30).text)

    def close(self) -> None:
        self.parent.kill()
        self.parent.wait()


KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path / "hello", "--chaos")
    try:
        run.first_s = run.ready()
        yield run
    finally:
        run.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")  # a zombie is gone, too: nobody may be there to bury it
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_what_is_killed_by_an_operator_is_there_again_on_the_same_port(run: Run) -> None:
    assert run.greet("Ann") == 200
    back_s: list[float] = []
    limit_s = max(BACK_S, run.first_s)
    while len(back_s) < 3 and not (back_s and min(back_s) < limit_s):
        before = run.pid
        assert run.ask("kill") == {"pid": before, "point": None}
        eventually(lambda: gone(before), bool)  # noqa: B023 - asked at once
        begun = time.perf_counter()
        # Not refused in between, so that one request that waits is all it takes to see it again.
        assert httpx.get(f"{run.url}/health/live", timeout=30).status_code == 200
        run.ready()
        back_s.append(time.perf_counter() - begun)
        assert run.pid != before
    assert min(back_s) < limit_s, (back_s, run.first_s)
    eventually(lambda: run.greeted("Ann"), lambda times: times == 1)
    assert "killed: starting it again" in run.log.read_text()


def test_what_is_killed_from_outside_is_there_again(run: Run) -> None:
    before = run.pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: gone(before), bool)
    run.ready()
    assert run.pid != before


def test_a_system_can_be_killed_where_it_hurts(run: Run) -> None:
    before = run.pid
    with pytest.raises(ControlError, match=r"no crash point 'lunch'; there are .*messaging.after_send"):
        run.ask("kill", point="lunch")
    assert run.ask("kill", point=AFTER_SEND) == {"pid": before, "point": AFTER_SEND}
    assert AFTER_SEND in world.crash_points()
    run.greet("Bob")
    eventually(lambda: gone(before), bool)
    run.ready()
    eventually(lambda: run.greeted("Bob"), lambda times: times == 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_drains_the_child_and_leaves_nobody(run: Run, number: signal.Signals) -> None:
    child = run.pid
    run.parent.send_signal(number)
    assert run.parent.wait(60) == 0
    assert gone(child)
    assert "draining" in run.log.read_text()
    assert "second signal" not in run.log.read_text()


def test_a_child_whose_parent_is_killed_drains_and_ends(run: Run) -> None:
    child = run.pid
    run.parent.kill()
    eventually(lambda: gone(child), bool)
    eventually(lambda: '"draining"' in run.log.read_text(), bool)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", run.port))


def test_ctrl_c_is_told_to_the_child_once(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ["--chaos", "--plain"]
    run = Run(tmp_path / "hello", *words, stdin=theirs, start_new_session=True, preexec_fn=lambda: _own(theirs))
    try:
        run.ready()
        os.write(ours, b"\x03")
        assert run.parent.wait(60) == 0, run.log.read_text()
        assert "second signal" not in run.log.read_text()
    finally:
        run.close()
        os.close(ours)
        os.close(theirs)


def _own(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def test_fresh_empties_the_folder_at_the_first_start_alone(tmp_path: Path) -> None:
    run = Run(tmp_path / "hello", "--chaos", "--fresh")
    try:
        run.ready()
        run.greet("Ann")
        eventually(lambda: run.greeted("Ann"), lambda times: times == 1)
        run.ask("kill")
        time.sleep(0.3)
        run.ready()
        assert run.greeted("Ann") == 1
    finally:
        run.close()


def test_without_chaos_there_is_no_such_verb(tmp_path: Path) -> None:
    run = Run(tmp_path / "hello")
    try:
        run.ready()
        with pytest.raises(ControlError, match=r"no verb 'kill'; there are admin, audit, audit-verify, backup, "):
            run.ask("kill")
    finally:
        run.close()


def revived(tmp_path: Path, program: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a program under the parent; return how that ended and how often it was started."""
    starts = tmp_path / "starts"
    whole = f"import os, sys, signal, time; open({str(starts)!r}, 'a').write('x')\n{program}"
    with socket.socket() as listener:
        command = [sys.executable, "-I", "-S", revive.__file__, str(listener.fileno()), "text"]
        done = subprocess.run(
            [*command, sys.executable, "-S", "-c", whole],
            pass_fds=[listener.fileno()], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    return done, len(starts.read_text())


def test_what_is_killed_at_its_start_again_and_again_is_given_up(tmp_path: Path) -> None:
    done, starts = revived(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert (done.returncode, starts) == (128 + signal.SIGKILL, 3)
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("archstone: killed: starting it again (signal 9, pid ")
    assert lines[-1].startswith("archstone: killed 3 times at its start: not started again; look at its log")


@pytest.mark.parametrize("code", [0, 2, 7])
def test_what_ends_by_itself_is_not_started_again(tmp_path: Path, code: int) -> None:
    done, starts = revived(tmp_path, f"sys.exit({code})")
    assert (done.returncode, done.stderr, starts) == (code, "", 1)


def test_what_was_asked_to_be_killed_is_started_as_often_as_it_takes(tmp_path: Path) -> None:
    program = (
        "import socket\n"
        f"if len(open({str(tmp_path / 'starts')!r}).read()) == 5: sys.exit(0)\n"
        f"link = socket.socket(fileno=int(os.environ[{revive.LIFELINE!r}].split(',')[0]))\n"
        f"link.send({revive.READY + revive.KILLING!r})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done, starts = revived(tmp_path, program)
    assert (done.returncode, starts) == (0, 5)


def test_a_crash_point_strikes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(world.CRASH_VARIABLE, "data.after_commit")
    program = f"if {world.CRASH_VARIABLE!r} in os.environ: os.kill(os.getpid(), signal.SIGKILL)"
    done, starts = revived(tmp_path, program)
    assert (done.returncode, starts) == (0, 2)
