"""Killed at each crash point of services and started again: what was answered stays, and everything happened once."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import warm

import archstone.services
from archstone import world

CHILD = Path(__file__).parent / "services_crash_child.py"
POINTS = {
    # How many charges, recorded keys and notes are on disk after the kill.
    "services.after_effect_before_record": (0, 0, 0),
    "services.after_commit_before_answer": (1, 1, 0),
    "services.after_rollback_before_record": (1, 1, 0),
    "services.after_handled_before_settle": (1, 2, 1),
}


def run(folder: Path, *, point: str | None = None) -> tuple[int, list[str]]:
    environment = {name: value for name, value in os.environ.items() if name != world.CRASH_VARIABLE}
    if point is not None:
        environment[world.CRASH_VARIABLE] = point
    done = warm.run([CHILD, folder], env=environment)
    return done.returncode, done.stdout.splitlines()


def on_disk(folder: Path) -> tuple[int, int, int]:
    def count(file: str, what: str) -> int:
        with closing(sqlite3.connect(folder / file)) as connection:
            return connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0]

    return (
        count("bank.db", "entries WHERE what = 'charge'"),
        count("bank.db", "_archstone_keys WHERE scope = 'ann'"),
        count("books.db", "entries WHERE what = 'sale'"),
    )


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_started_again_everything_happens_once(tmp_path: Path, point: str) -> None:
    code, _ = run(tmp_path, point=point)
    assert code == -signal.SIGKILL
    assert on_disk(tmp_path) == POINTS[point]
    for _ in range(2):
        assert run(tmp_path) == (0, ["charged 1", "declined poor", "handled"])
        assert on_disk(tmp_path) == (1, 2, 1)


def test_every_crash_point_of_services_has_a_test_here() -> None:
    assert archstone.services.Dispatcher
    assert {name for name in world.crash_points() if name.startswith("services.")} == set(POINTS)
