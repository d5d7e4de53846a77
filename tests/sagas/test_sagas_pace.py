"""How many sagas may run follows the lag of the loop, and only as far as it is used."""

import pytest

from archstone import world
from archstone.sagas.pace import Pace

LATE_S, CALM_S = 0.05, 0.001


class Clock(world.World):
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


class Loop:
    """A loop whose lag the test sets."""

    def __init__(self, *, least: int, most: int) -> None:
        self.lag_s = CALM_S
        self.clock = Clock()
        self.pace = Pace(lambda: self.lag_s, least=least, most=most)


@pytest.fixture
def loop() -> Loop:
    return Loop(least=16, most=1000)


def looks(loop: Loop, times: int) -> list[int]:
    """Return how many may run, asked ten times a second while all that may do."""
    with world.use(loop.clock):
        rooms = [loop.pace.room(1000)]
        for _ in range(times):
            loop.clock.now_s += 0.1
            rooms.append(loop.pace.room(rooms[-1]))
    return rooms


def test_it_begins_with_few_and_grows_while_the_loop_is_not_late(loop: Loop) -> None:
    rooms = looks(loop, 40)
    assert rooms[0] < 20
    assert rooms == sorted(rooms)
    assert rooms[-1] == 1000
    assert rooms[5] < 100, "not all at once"


def test_it_shrinks_while_the_loop_is_late_but_not_below_the_least(loop: Loop) -> None:
    looks(loop, 40)
    loop.lag_s = LATE_S
    rooms = looks(loop, 15)
    assert rooms == sorted(rooms, reverse=True)
    assert rooms[1] in range(400, 700)
    assert rooms[-1] == 16


def test_what_is_not_used_does_not_grow(loop: Loop) -> None:
    with world.use(loop.clock):
        for _ in range(100):
            loop.clock.now_s += 0.1
            assert loop.pace.room(5) == 16


def test_it_changes_once_in_fifty_milliseconds_however_often_it_is_asked(loop: Loop) -> None:
    with world.use(loop.clock):
        loop.clock.now_s += 0.1
        assert len({loop.pace.room(1000) for _ in range(100)}) == 1


def test_the_least_is_never_more_than_the_most() -> None:
    loop = Loop(least=16, most=3)
    assert looks(loop, 5) == [3] * 6
