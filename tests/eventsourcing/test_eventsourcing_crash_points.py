"""Killed at each crash point of event sourcing, and started again, nothing is lost and nothing counts twice."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import warm
from es_crash_child import USERS

from archstone import world
from archstone.data import Database
from archstone.eventsourcing import appending, store, worker
from archstone.eventsourcing.rows import position_of

pytestmark = pytest.mark.slow

CHILD = Path(__file__).parent / "es_crash_child.py"


class Place:
    """A folder and a database that outlive the processes."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def run(self, point: str | None = None) -> tuple[int, str]:
        environment = dict(os.environ)
        environment.pop(world.CRASH_VARIABLE, None)
        if point is not None:
            environment[world.CRASH_VARIABLE] = point
        done = warm.run([CHILD, self.folder, self.url], env=environment)
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        return done.returncode, done.stdout.strip()

    def rows(self, statement: str) -> list[tuple[int, ...]]:
        async def fetch() -> list[tuple[int, ...]]:
            async with Database(self.url) as db:
                return [tuple(map(int, row)) for row in await db.all(tuple[Any, ...], statement)]

        return asyncio.run(fetch())

    def outside(self) -> list[int]:
        """Return the positions that were written outside the database, repeats included."""
        return [int(line) for line in (self.folder / "outside.txt").read_text().split()]

    def events(self) -> list[int]:
        """Return the positions of all events."""
        saves = self.rows("SELECT position, size FROM _archstone_events ORDER BY position")
        return [position_of(row, place) for row, size in saves for place in range(size)]

    def lives(self) -> list[tuple[int, ...]]:
        return self.rows("SELECT version, live FROM _archstone_projections ORDER BY version")

    def position(self) -> int:
        """Return the checkpoint of the first version."""
        return self.rows("SELECT position FROM _archstone_projections WHERE version = 1")[0][0]


def assert_nothing_is_lost_and_nothing_counts_twice(place: Place) -> None:
    positions = place.events()
    assert len(positions) == 2 * USERS
    for version in (1, 2):
        found = place.rows(f"SELECT position FROM names_v{version}_effects ORDER BY position")
        assert [position for (position,) in found] == positions
    assert place.rows("SELECT SUM(size) FROM _archstone_events GROUP BY stream") == [(2,)] * USERS
    assert place.lives() == [(1, 0), (2, 1)]
    assert place.rows("SELECT COUNT(*) FROM _archstone_outbox") == [(2 * USERS,)]
    assert sorted(set(place.outside())) == positions


POINTS: list[tuple[str, int, Callable[[Place], bool]]] = [
    (appending.AFTER_APPEND, 1, lambda place: place.events() == []),
    (appending.AFTER_APPEND, 7, lambda place: len(place.events()) == 12),
    (store.AFTER_SAVE, 1, lambda place: len(place.events()) == 2),
    (store.AFTER_SAVE, 7, lambda place: len(place.events()) == 14),
    (worker.AFTER_OUTSIDE, 1, lambda place: place.position() == 0 and bool(place.outside())),
    (worker.AFTER_EFFECTS, 1, lambda place: place.position() == 0),
    (worker.AFTER_EFFECTS, 3, lambda place: 0 < place.position() < max(place.outside())),
    (worker.AFTER_CHECKPOINT, 1, lambda place: place.position() == max(place.outside())),
    (worker.AFTER_CHECKPOINT, 3, lambda place: place.position() == max(place.outside())),
    (worker.BEFORE_SWAP, 1, lambda place: place.lives() == [(1, 1), (2, 0)]),
    (worker.AFTER_SWAP, 1, lambda place: place.lives() == [(1, 0), (2, 1)]),
]
"""Where it is killed, at which pass, and what is on disk then."""
ONCE = [each for each in POINTS if each[1] == 1]


def kill_and_start_again(place: Place, point: str, says: Callable[[Place], bool]) -> None:
    code, _ = place.run(point)
    assert code == -signal.SIGKILL
    events, position = place.events(), place.position()
    effects = [position for (position,) in place.rows("SELECT position FROM names_v1_effects ORDER BY position")]
    assert len(events) % 2 == 0
    assert effects == [each for each in events if each <= position]
    assert says(place)
    assert place.run() == (0, "done")
    assert_nothing_is_lost_and_nothing_counts_twice(place)


@pytest.mark.real_time
@pytest.mark.parametrize(("point", "passes", "says"), POINTS, ids=[f"{point}:{passes}" for point, passes, _ in POINTS])
def test_nothing_is_lost_and_nothing_counts_twice_although_the_process_was_killed(
    tmp_path: Path, point: str, passes: int, says: Callable[[Place], bool]
):
    kill_and_start_again(Place(tmp_path, f"sqlite:///{tmp_path}/events.db"), f"{point}:{passes}", says)


@pytest.mark.real_time
@pytest.mark.parametrize(("point", "passes", "says"), ONCE, ids=[point for point, _, _ in ONCE])
def test_nor_on_postgresql(tmp_path: Path, postgres_url: str, point: str, passes: int, says: Callable[[Place], bool]):
    kill_and_start_again(Place(tmp_path, postgres_url), f"{point}:{passes}", says)


def test_every_crash_point_of_event_sourcing_has_a_test_here():
    points = {name for name in world.crash_points() if name.startswith("eventsourcing.")}
    assert points == {point for point, _, _ in POINTS}
