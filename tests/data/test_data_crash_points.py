"""Killed at each crash point of data, a process leaves a file that opens and holds what the point says."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import archstone.data
import archstone.data.engines.sqlite
from archstone import world
from archstone.data import Database

CHILD = """
import asyncio, sys
from pathlib import Path
from archstone.data import Database

async def main():
    folder = Path(sys.argv[1])
    async with Database(f"sqlite:///{folder}/x.db", migrations=folder / "migrations") as db:
        if sys.argv[2] == "insert":
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO a VALUES (1)")
                await tx.execute("INSERT INTO b VALUES (1)")
        print("answered", flush=True)

asyncio.run(main())
"""


def run(folder: Path, what: str, *, point: str | None = None) -> tuple[int, str]:
    environment = dict(os.environ)
    if point is not None:
        environment[world.CRASH_VARIABLE] = point
    done = subprocess.run(
        [sys.executable, "-c", CHILD, folder, what],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_tables.sql").write_text("CREATE TABLE a (n INTEGER); CREATE TABLE b (n INTEGER);")
    return tmp_path


def commits_of_an_opening(folder: Path) -> int:
    """Return how many groups a process commits that opens the migrated file: the point is armed for the next."""
    run(folder, "nothing")
    passes = 1
    while run(folder, "nothing", point=f"data.before_commit:{passes}")[0] != 0:
        passes += 1
    return passes - 1


@pytest.mark.parametrize(("point", "kept"), [("data.before_commit", 0), ("data.after_commit", 1)])
def test_a_transaction_is_there_whole_or_not_at_all_when_killed_around_its_commit(folder: Path, point: str, kept: int):
    commits = commits_of_an_opening(folder)
    code, answered = run(folder, "insert", point=f"{point}:{commits + 1}")
    assert code == -signal.SIGKILL
    assert answered == ""
    with sqlite3.connect(folder / "x.db") as connection:
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (kept,)
        assert connection.execute("SELECT count(*) FROM b").fetchone() == (kept,)
    connection.close()
    assert run(folder, "insert") == (0, "answered\n")


def test_a_migration_is_applied_whole_or_not_at_all_when_killed_in_it(folder: Path):
    code, _ = run(folder, "nothing", point="data.mid_migration")
    assert code == -signal.SIGKILL
    with sqlite3.connect(folder / "x.db") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert not {"a", "b"} & tables
    connection.close()
    assert run(folder, "insert") == (0, "answered\n")


def test_every_crash_point_of_data_has_a_test_here():
    assert archstone.data.Database is Database
    points = {name for name in world.crash_points() if name.startswith("data.")}
    assert points == {"data.before_commit", "data.after_commit", "data.mid_migration"}
