"""Killed at each crash point of event sourcing, and started again, nothing is lost and nothing counts twice."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from es_crash_child import USERS

from archstone import world
from archstone.eventsourcing import appending, store, worker
from archstone.eventsourcing.rows import position_of

CHILD = Path(__file__).parent / "es_crash_child.py"


def run(folder: Path, point: str | None = None) -> tuple[int, str]:
    environment = dict(os.environ)
    environment.pop(world.CRASH_VARIABLE, None)
    if point is not None:
        environment[world.CRASH_VARIABLE] = point
    done = subprocess.run(
        [sys.executable, CHILD, folder], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode, done.stdout.strip()


def rows(folder: Path, statement: str) -> list[tuple[int, ...]]:
    with closing(sqlite3.connect(folder / "events.db")) as connection:
        return connection.execute(statement).fetchall()


def counts(folder: Path) -> tuple[int, int, int]:
    """Return events, effects of the first version, and position of its checkpoint."""
    (events,) = rows(folder, "SELECT COALESCE(SUM(size), 0) FROM _archstone_events")[0]
    (effects,) = rows(folder, "SELECT COUNT(*) FROM names_v1_effects")[0]
    (position,) = rows(folder, "SELECT position FROM _archstone_projections WHERE version = 1")[0]
    return events, effects, position


def event_positions(folder: Path) -> list[int]:
    saves = rows(folder, "SELECT position, size FROM _archstone_events ORDER BY position")
    return [position_of(row, place) for row, size in saves for place in range(size)]


def outside(folder: Path) -> list[int]:
    """Return the positions that were written outside the database, repeats included."""
    return [int(line) for line in (folder / "outside.txt").read_text().split()]


def assert_nothing_is_lost_and_nothing_counts_twice(folder: Path) -> None:
    positions = [(position,) for position in event_positions(folder)]
    assert len(positions) == 2 * USERS
    for version in (1, 2):
        assert rows(folder, f"SELECT position FROM names_v{version}_effects ORDER BY position") == positions
    assert rows(folder, "SELECT SUM(size) FROM _archstone_events GROUP BY stream") == [(2,)] * USERS
    assert lives(folder) == [(1, 0), (2, 1)]
    assert rows(folder, "SELECT COUNT(*) FROM _archstone_outbox") == [(2 * USERS,)]
    assert sorted(set(outside(folder))) == [position for (position,) in positions]


def lives(folder: Path) -> list[tuple[int, ...]]:
    return rows(folder, "SELECT version, live FROM _archstone_projections ORDER BY version")


POINTS: list[tuple[str, int, Callable[[Path], bool]]] = [
    (appending.AFTER_APPEND, 1, lambda folder: counts(folder)[0] == 0),
    (appending.AFTER_APPEND, 7, lambda folder: counts(folder)[0] == 12),
    (store.AFTER_SAVE, 1, lambda folder: counts(folder)[0] == 2),
    (store.AFTER_SAVE, 7, lambda folder: counts(folder)[0] == 14),
    (worker.AFTER_OUTSIDE, 1, lambda folder: counts(folder)[2] == 0 and bool(outside(folder))),
    (worker.AFTER_EFFECTS, 1, lambda folder: counts(folder)[2] == 0),
    (worker.AFTER_EFFECTS, 3, lambda folder: 0 < counts(folder)[2] < max(outside(folder))),
    (worker.AFTER_CHECKPOINT, 1, lambda folder: counts(folder)[2] == max(outside(folder))),
    (worker.AFTER_CHECKPOINT, 3, lambda folder: counts(folder)[2] == max(outside(folder))),
    (worker.BEFORE_SWAP, 1, lambda folder: lives(folder) == [(1, 1), (2, 0)]),
    (worker.AFTER_SWAP, 1, lambda folder: lives(folder) == [(1, 0), (2, 1)]),
]
"""Where it is killed, at which pass, and what is on disk then."""


@pytest.mark.real_time
@pytest.mark.parametrize(("point", "passes", "says"), POINTS)
def test_nothing_is_lost_and_nothing_counts_twice_although_the_process_was_killed(
    tmp_path: Path, point: str, passes: int, says: Callable[[Path], bool]
):
    code, _ = run(tmp_path, f"{point}:{passes}")
    assert code == -signal.SIGKILL
    events, effects, position = counts(tmp_path)
    assert events % 2 == 0
    assert effects == len([each for each in event_positions(tmp_path) if each <= position])
    assert says(tmp_path)
    assert run(tmp_path) == (0, "done")
    assert_nothing_is_lost_and_nothing_counts_twice(tmp_path)


def test_every_crash_point_of_event_sourcing_has_a_test_here():
    points = {name for name in world.crash_points() if name.startswith("eventsourcing.")}
    assert points == {point for point, _, _ in POINTS}
