"""The verbs about sagas: list, show, resume, cancel, fork and signal, whether the system runs or not."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from archstone import cli, simulation
from archstone.cli import sagas as verbs
from archstone.cli.find import find_system
from archstone.runtime import OPERATOR, ControlServer, Embedded, Operator, running

DESK = """
from archstone.errors import DomainError
from archstone.sagas import saga
from archstone.services import ANYONE, Contract, Service, System, command

class Desk(Contract, version="1.0"):
    @command("/sales", public=True, requires=ANYONE, key_required=False)
    async def sell(self, sale: str) -> None: ...

    @command("/looks", public=True, requires=ANYONE, key_required=False)
    async def look(self, sale: str) -> None: ...

class DeskService(Service, Desk, name="desk"):
    done = []

    async def sell(self, sale: str) -> None:
        await self.tx.start(self.sale, sale, id=sale)

    async def look(self, sale: str) -> None:
        await self.tx.start(self.broken, sale, id=sale)

    @saga()
    async def sale(self, sale: str) -> int:
        await self.step(self.hold, sale, undo=(self.free, sale))
        amount = await self.step.receive("paid", int)
        return await self.step.child(self.book, amount)

    @saga(version={version})
    async def broken(self, sale: str) -> str:
        await self.step(self.hold, sale)
        return "mended"

    @saga()
    async def book(self, amount: int) -> int:
        await self.step(self.hold, str(amount))
        return amount

    async def hold(self, sale: str) -> None:
        self.done.append(sale)

    async def free(self, sale: str) -> None:
        self.done.append("free " + sale)

desk = System("desk", services=[DeskService])
"""


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    module = f"desk{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{module}.py").write_text(DESK.format(version=1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return f"{module}:desk"


class Terminal:
    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.name, self.monkeypatch, self.capsys = name, monkeypatch, capsys

    def say(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        self.monkeypatch.setattr(sys, "argv", ["archstone", "sagas", self.name, *words, "--data", "data"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = self.capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err


@pytest.fixture
def terminal(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(name, monkeypatch, capsys)


async def happened(name: str, *, version: int | None = None) -> None:
    """Sell twice; three looks, of a version that is gone if one is named."""
    system = find_system(name)
    async with running(system, data=Path("data")) as run:
        desk = run.client(system.contracts[0], as_=OPERATOR)
        for sale in ("s1", "s2"):
            await desk.sell(sale)
        for sale in ("l1", "l2", "l3"):
            await desk.look(sale)
        await asyncio.sleep(5)
    if version is not None:
        async with Embedded(system, Path("data")) as run:
            (part,) = run.parts.services.values()
            await part.database.execute(
                "UPDATE _archstone_sagas SET version = :v, status = 'stuck', finished_us = NULL, why = 'gone',"
                " answer = NULL WHERE method = 'broken'",
                v=version,
            )


async def lived(name: str) -> None:
    async with running(find_system(name), data=Path("data")):
        await asyncio.sleep(5)


def test_sagas_are_listed_by_status_name_and_age(name: str, terminal: Terminal) -> None:
    simulation.run(happened(name))
    code, out = terminal.say("list", "--json")
    assert [(each["id"], each["status"]) for each in json.loads(out)["sagas"]] == [
        ("l3", "done"), ("l2", "done"), ("l1", "done"), ("s2", "running"), ("s1", "running"),
    ]  # fmt: skip
    assert terminal.say("list", "--name", "sale", "--status", "running", "--limit", "1")[1].splitlines()[1][:2] == "s2"
    assert terminal.say("--name", "sale") == terminal.say("list", "--name", "sale"), "the verb may be left out"
    assert terminal.say("list", "--older", "7d")[0] == 0
    code, out = terminal.say("list", "--status", "odd")
    assert code == 2
    assert "a saga is " in out


def test_one_saga_is_shown_with_its_steps_and_the_sagas_that_are_its_steps(name: str, terminal: Terminal) -> None:
    simulation.run(happened(name))
    code, out = terminal.say("show", "s1")
    assert code == 0
    assert "main/signal.paid#1  signal" in out
    assert terminal.say("s1") == (0, out), "the verb may be left out"
    assert terminal.say("signal", "s1", "paid", "7")[1] == "signal paid is sent to saga s1\n"
    simulation.run(lived(name))
    shown = json.loads(terminal.say("show", "s1", "--json")[1])
    assert (shown["saga"]["answer"], shown["steps"][-1]["child"]) == ("7", "s1/main/book#1")
    assert "s1/main/book#1" in terminal.say("show", "s1")[1]
    assert "parent  s1\n" in terminal.say("show", "s1/main/book#1")[1]
    assert "no saga 'show me' in any service" in terminal.say("show", "show me")[1]


def test_a_signal_is_sent_once_per_key_and_must_be_json(name: str, terminal: Terminal) -> None:
    simulation.run(happened(name))
    assert terminal.say("signal", "s1", "paid", "7", "--key", "k") == (0, "signal paid is sent to saga s1\n")
    assert terminal.say("signal", "s1", "paid", "7", "--key", "k") == (0, "signal paid was sent before to saga s1\n")
    assert "has ended: it is done" in terminal.say("signal", "l1", "paid", "7")[1]


def test_stuck_sagas_are_resumed_one_or_all_of_them(name: str, terminal: Terminal) -> None:
    simulation.run(happened(name, version=1))
    assert terminal.say("resume", "l1") == (0, "saga l1 goes on, once the system runs\n")
    code, out = terminal.say("resume", "l1")
    assert (code, "is running: only a stuck one can be resumed" in out) == (2, True)
    code, out = terminal.say("resume", "--all", "--name", "broken")
    assert (code, sorted(out.splitlines())) == (0, [f"saga l{n} goes on, once the system runs" for n in (2, 3)])
    assert terminal.say("resume", "--all") == (0, "none is stuck\n")
    code, out = terminal.say("resume", "s1", "s2")
    assert code == 2
    assert "2 of 2 sagas were refused" in out
    simulation.run(lived(name))
    assert terminal.say("list", "--status", "stuck") == (0, "none\n")


def test_many_are_acted_upon_in_parts(name: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation.run(happened(name, version=1))
    monkeypatch.setattr(verbs, "_AT_ONCE", 2)
    code, out = terminal.say("resume", "--all", "--json")
    assert code == 0
    assert [each["done"] for each in json.loads(out)["outcomes"]] == [True] * 3


def test_a_version_that_is_gone_is_seen_and_forked_to_another(name: str, terminal: Terminal) -> None:
    simulation.run(happened(name, version=9))
    assert " 9 " in terminal.say("list", "--name", "broken")[1]
    code, out = terminal.say("fork", "l1", "--from", "main/hold#1", "--as", "l1-again", "--version", "1")
    assert (code, out) == (0, "saga l1-again begins, once the system runs\n")
    code, out = terminal.say("fork", "l1", "--from", "main/hold#1", "--as", "l1-again", "--version", "1")
    assert (code, out) == (0, "saga l1-again was forked from it before\n")
    assert "it has no such step, but main/hold#1" in terminal.say("fork", "l1", "--from", "x", "--as", "y")[1]
    simulation.run(lived(name))
    assert '"mended"' in terminal.say("show", "l1-again")[1]
    assert "forked_from  l1\n" in terminal.say("show", "l1-again")[1]


def test_what_does_not_run_cannot_be_cancelled(name: str, terminal: Terminal) -> None:
    simulation.run(happened(name))
    code, out = terminal.say("cancel", "s1")
    assert code == 2
    assert f"a saga is cancelled while its system runs: `archstone up {name}`" in out


@pytest.mark.real_time
async def test_a_running_system_is_asked_to_cancel(name: str, tmp_path: Path) -> None:
    system = find_system(name)
    async with running(system, data=tmp_path / "data") as run:
        for sale in ("s1", "s2"):
            await run.client(system.contracts[0], as_=OPERATOR).sell(sale)
        await asyncio.sleep(0.2)
        control = ControlServer(run.folder.socket, Operator(run).answer)
        await control.open()
        command = [sys.executable, "-m", "archstone", "sagas", name, "cancel", "s1", "s2", "nobody", "--data", "data"]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
        )
        assert done.stdout.splitlines() == [f"saga s{n} is cancelled and goes back" for n in (1, 2)]
        assert "1 of 3 sagas were refused" in done.stderr
        assert done.returncode == 2
        await control.close()
    assert [each for each in system.services[0].done if each.startswith("free")] == ["free s1", "free s2"]
