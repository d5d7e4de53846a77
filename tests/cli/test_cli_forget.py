"""What waits on the bus, seen from the command line: messages that failed, and those of a service that is gone."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archstone import cli, simulation
from archstone.cli import verbs
from archstone.cli.find import find_system
from archstone.runtime import OPERATOR, Embedded, Operator, running
from archstone.services import System

HOUSE = """
from archstone.data import Event
from archstone.services import ANYONE, Contract, Service, System, command, on

class Rung(Event, name="{topic}.rung", version=1, key="who"):
    who: str

class Bell(Contract, version="1.0"):
    @command("/rings", public=True, requires=ANYONE, key_required=False)
    async def ring(self, who: str) -> None: ...

class BellService(Service, Bell, name="bell"):
    async def ring(self, who: str) -> None:
        self.tx.publish(Rung(who=who))

class DogService(Service, name="dog"):
    @on(Rung)
    async def bark(self, event: Rung) -> None:
        raise ZeroDivisionError("hoarse")

before = System("house", services=[BellService, DogService])
after = System("house", services=[BellService])
"""


@pytest.fixture
def topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of its own for each test, as an event is defined once in a process; its name is that of the topic."""
    topic = f"house{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{topic}.py").write_text(HOUSE.format(topic=topic))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return topic


async def rung(before: System, data: Path, *, times: int) -> dict[str, Any]:
    """Ring; the dog fails each time, and waits for seconds for another attempt. Return what `dead` answers then."""
    async with running(before, data=data) as run:
        for number in range(times):
            await run.client(before.contracts[0], as_=OPERATOR).ring(f"visitor {number}")
        await asyncio.sleep(10)
        return await Operator(run).answer("dead", {})


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()  # the log of the run before
    monkeypatch.setattr(sys, "argv", ["archstone", *words, "--data", "data"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def test_messages_that_wait_for_another_attempt_are_told_below_the_dead(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = simulation.run(rung(find_system(f"{topic}:before"), tmp_path / "data", times=3))
    assert answer == {"letters": [], "retrying": {"dog": 3}}
    monkeypatch.setattr(verbs, "_ask", lambda *_: answer)
    told = "none\n3 not dead have failed and wait for another attempt: dog 3\n"
    assert said(monkeypatch, capsys, "dead", f"{topic}:before") == (0, told)
    code, out = said(monkeypatch, capsys, "dead", f"{topic}:before", "--json")
    assert (code, json.loads(out)) == (0, answer)


def test_a_group_whose_service_is_gone_is_forgotten_from_the_command_line(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation.run(rung(find_system(f"{topic}:before"), tmp_path / "data", times=3))
    code, told = said(monkeypatch, capsys, "forget", f"{topic}:before", "dog")
    assert code == 2
    assert "group 'dog' is a service of system 'house' and handles its messages: take the service out" in told
    code, told = said(monkeypatch, capsys, "forget", f"{topic}:after", "cat")
    assert code == 2
    assert "no group 'cat' on the bus of system 'house'; those without a service are dog" in told
    told = f"group dog is forgotten: 3 messages and 0 dead letters of topic {topic} dropped\n"
    assert said(monkeypatch, capsys, "forget", f"{topic}:after", "dog") == (0, told)
    code, told = said(monkeypatch, capsys, "forget", f"{topic}:after", "dog")
    assert code == 2
    assert "every group has its service" in told


def test_hints_name_the_system_as_it_was_named(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{topic}:after"
    simulation.run(rung(find_system(f"{topic}:before"), tmp_path / "data", times=0))
    assert said(monkeypatch, capsys, "dead", name, "7")[1].endswith(
        f"no dead letter 7; `archstone dead {name}` lists them\n"
    )
    assert f"`archstone sagas {name}` lists them" in said(monkeypatch, capsys, "sagas", name, "x")[1]
    assert f"`archstone sagas {name} list --status stuck`" in said(monkeypatch, capsys, "sagas", name, "resume")[1]
    monkeypatch.setenv("ARCHSTONE_PORT", "x")
    assert f"`archstone config {name}` lists the names" in said(monkeypatch, capsys, "dead", name)[1]


@pytest.mark.real_time
async def test_a_running_system_is_asked_to_forget(topic: str, tmp_path: Path) -> None:
    from archstone.runtime import ControlServer

    data, after = tmp_path / "data", find_system(f"{topic}:after")
    async with Embedded(find_system(f"{topic}:before"), data):
        pass
    async with Embedded(after, data) as run:
        control = ControlServer(run.folder.socket, Operator(run).answer)
        await control.open()
        command = [sys.executable, "-m", "archstone", "forget", f"{topic}:after", "dog", "--data", str(data)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"group dog is forgotten: 0 messages and 0 dead letters of topic {topic} dropped\n"
        assert await run.bus.groups() == []
        await control.close()
