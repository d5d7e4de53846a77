"""What a caller has been answered is on disk, even if everything not yet synced is lost."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archstone import world
from archstone.data import Database

HERE = Path(__file__).parent


class Machine:
    """A folder on a disk that forgets what was not synced when the power goes."""

    def __init__(self, root: Path, shim: Path) -> None:
        self.folder = root / "disk"
        self.shadow = root / "shadow"
        self.file = self.folder / "deep" / "er" / "rows.db"
        self.shim = shim
        self.folder.mkdir()
        (self.shadow / "data").mkdir(parents=True)
        (self.shadow / "root").mkdir()

    def run_until_cut(self, *, fault: str, mode: str, point: str | None, answers: int) -> set[int]:
        """Run the child until a crash point or `answers` answers, kill it, and return the rows it reported."""
        environment = os.environ | {
            "LD_PRELOAD": str(self.shim),
            "POWER_CUT_FOLDER": str(self.folder),
            "POWER_CUT_SHADOW": str(self.shadow),
        }
        if point is not None:
            environment[world.CRASH_VARIABLE] = point
        arguments = [sys.executable, HERE / "power_cut_child.py", self.file, fault, mode]
        with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            reported: list[bytes] = []
            for line in child.stdout:
                reported.append(line)
                if point is None and len(reported) == answers:
                    child.send_signal(signal.SIGKILL)
            assert child.wait(timeout=30) == -signal.SIGKILL
        return {int(line) for line in reported if line.endswith(b"\n")}

    def cut_power(self) -> None:
        """Replace the folder by what was synced."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.shadow / "root", self.folder)


async def rows_after_reopening(file: Path) -> set[int]:
    async with Database(f"sqlite:///{file}") as db:
        assert await db.one(str, "SELECT integrity_check FROM pragma_integrity_check") == "ok"
        rows = await db.all(int, "SELECT id FROM rows")
        whole = await db.one(int, "SELECT rows FROM total")
        assert whole == sum(row % 3 != 0 for row in rows), "a transaction is there in half"
        return set(rows)


@pytest.mark.parametrize("mode", ["inline", "thread"])
@pytest.mark.parametrize("point", [None, "data.before_commit:40", "data.after_commit:40"])
@pytest.mark.real_time
async def test_every_answered_row_survives_a_power_cut(tmp_path: Path, shim: Path, mode: str, point: str | None):
    machine = Machine(tmp_path, shim)
    answered = machine.run_until_cut(fault="none", mode=mode, point=point, answers=3000)
    machine.cut_power()
    kept = await rows_after_reopening(machine.file)
    assert len(answered) > 100
    assert answered - kept == set()


@pytest.mark.real_time
async def test_the_power_cut_shows_commits_that_are_not_synced(tmp_path: Path, shim: Path):
    machine = Machine(tmp_path, shim)
    answered = machine.run_until_cut(fault="synchronous-off", mode="inline", point=None, answers=500)
    machine.cut_power()
    kept = await rows_after_reopening(machine.file)
    assert answered - kept != set()


@pytest.mark.parametrize("mode", ["inline", "thread"])
@pytest.mark.real_time
async def test_the_power_cut_shows_answers_released_before_their_commit(tmp_path: Path, shim: Path, mode: str):
    machine = Machine(tmp_path, shim)
    answered = machine.run_until_cut(fault="early-answer", mode=mode, point="data.before_commit:40", answers=0)
    machine.cut_power()
    kept = await rows_after_reopening(machine.file)
    assert answered - kept != set()
