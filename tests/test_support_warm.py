"""What tests start in place of processes of their own is a process like those: tests/support/warm.py."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import warm

PROGRAM = """
import os, sys, time
from beside import HERE
from archstone import world

print(HERE, *sys.argv[1:], os.environ.get("TOLD"), len(os.environ), os.getcwd(), hash("seed"), world.new_id()[-18:])
print("wrong", file=sys.stderr)
if sys.argv[1] == "wait":
    time.sleep(60)
world.point("test.nobody_declares_it")
sys.exit(3)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("HERE = __name__")
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


def test_it_has_the_words_the_environment_the_folder_and_the_neighbours_of_a_process(program: Path) -> None:
    done = warm.run([program, "a", "b c"], env={"TOLD": "x"})
    assert (done.returncode, done.stderr) == (3, "wrong\n")
    assert done.stdout.startswith(f"beside a b c x 1 {Path.cwd()} ")


def test_a_process_and_its_successor_differ_in_their_hashes_and_in_their_chance(program: Path) -> None:
    first, second = (warm.run([program, "a"]).stdout.split()[-2:] for _ in range(2))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_it_dies_at_a_crash_point(program: Path) -> None:
    done = warm.run([program, "a"], env={**os.environ, "ARCHSTONE_CRASH": "test.nobody_declares_it"})
    assert done.returncode == -signal.SIGKILL


def test_it_can_be_waited_for_and_killed(program: Path) -> None:
    with (program.parent / "log").open("wb") as log:
        child = warm.spawn([program, "wait"], env=os.environ, stdout=log, stderr=log)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.01)
    assert child.poll() is None
    os.kill(child.pid, 0)
    child.kill()
    assert child.wait(30) == -signal.SIGKILL
    assert child.poll() == -signal.SIGKILL
    child.kill()  # which a dead one does not mind


def test_a_module_and_a_mistake_are_told_as_python_does() -> None:
    done = warm.run(["-m", "archstone.cli", "--version"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("archstone ")
    done = warm.run(["-m", "archstone.nowhere"])
    assert done.returncode == 1
    assert "No module named archstone.nowhere" in done.stderr
