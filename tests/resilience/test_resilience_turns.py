"""Turns of a loop in virtual time: work moves the clock, so that a turn is as long as what is done in it."""

import asyncio
from collections import Counter
from contextlib import ExitStack

import pytest

from archstone import world
from archstone.errors import ConfigError
from archstone.resilience import Gate, OverloadedError, Shed

WORK_S = 0.001


class Clock(world.World):
    """Moves when somebody works."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


class House:
    """A gate, and work behind it that takes a millisecond of the loop for each request."""

    def __init__(self, clock: Clock, gate: Gate) -> None:
        self.clock, self.gate = clock, gate
        self.seen: Counter[str] = Counter()
        self.reasons: set[str] = set()

    async def turn(self, *, ordinary: int, paying: int = 0, other_s: float = 0.0, health: bool = True) -> float:
        """Have requests arrive together, the paying ones last, a health check behind them; return its wait."""
        began_s = self.clock.now_s
        work = [asyncio.create_task(self.request("ordinary")) for _ in range(ordinary)]
        work += [asyncio.create_task(self.request("paying")) for _ in range(paying)]
        if other_s:
            work.append(asyncio.create_task(self.other(other_s)))
        work.append(asyncio.create_task(self.other(0.0)))
        await asyncio.gather(*work)
        wait_s = self.clock.now_s - began_s
        self.clock.now_s += 0.001  # the loop reads what has come meanwhile
        return wait_s

    async def request(self, kind: str) -> None:
        try:
            with self.gate.admit(1 if kind == "paying" else 0):
                self.clock.now_s += WORK_S
                self.seen[kind] += 1
        except OverloadedError as error:
            self.reasons.add(error.reason)
            self.clock.now_s += WORK_S / 50
            self.seen[f"{kind} refused"] += 1

    async def over(self) -> None:
        with self.gate.admit():
            pass

    async def other(self, took_s: float) -> None:
        self.clock.now_s += took_s


@pytest.fixture
def house() -> House:
    return House(Clock(), Shed(10_000, turn_s=0.015).bind("house"))


async def test_below_capacity_nothing_is_refused(house: House) -> None:
    with world.use(house.clock):
        for _ in range(200):
            await house.turn(ordinary=10, paying=2)
    assert house.seen == {"ordinary": 2000, "paying": 400}
    assert not house.gate.overloaded


async def test_one_long_turn_is_no_overload(house: House) -> None:
    with world.use(house.clock):
        for number in range(100):
            await house.turn(ordinary=5, other_s=0.5 if number == 50 else 0)
        assert house.seen == {"ordinary": 500}


async def test_above_capacity_turns_stay_short_and_the_paying_are_served_first(house: House) -> None:
    with world.use(house.clock):
        waits_s = [await house.turn(ordinary=100, paying=10) for _ in range(200)]
    assert house.reasons == {"loop turn"}
    assert house.seen["paying refused"] == 0
    assert house.seen["ordinary refused"] > 10_000
    assert house.seen["ordinary"] > 400, "what is left is theirs"
    settled = sorted(waits_s[20:])
    assert settled[int(len(settled) * 0.99)] < 0.045
    assert settled[len(settled) // 2] < 0.03


async def test_other_work_takes_the_place_of_ordinary_requests(house: House) -> None:
    with world.use(house.clock):
        for _ in range(100):
            await house.turn(ordinary=50, paying=2, other_s=0.02)
    assert house.seen["paying refused"] == 0
    # A fifth of a turn is theirs whatever else there is, so that nobody starves.
    assert 400 <= house.seen["ordinary"] < 800


async def test_when_refusing_does_not_make_turns_short_requests_keep_their_part(house: House) -> None:
    with world.use(house.clock):
        waits_s = [await house.turn(ordinary=200, paying=60, other_s=0.03) for _ in range(100)]
    # As much again at most for requests, of which the paying are served more.
    assert max(waits_s[20:]) < 0.09
    assert house.seen["paying"] > 500
    assert house.seen["ordinary"] > 500


async def test_when_turns_are_far_too_long_and_some_are_inside_nothing_more_is_taken_on(house: House) -> None:
    with world.use(house.clock), ExitStack() as inside:
        for _ in range(6):
            inside.enter_context(house.gate.admit())
        for _ in range(50):
            await house.turn(ordinary=200, paying=60, other_s=0.5)
        house.seen.clear()
        for _ in range(50):
            await house.turn(ordinary=200, paying=60, other_s=0.5)
        assert house.seen["paying"] + house.seen["ordinary"] == 50, "the first of each turn"
        with pytest.raises(OverloadedError, match=r"loop turn 0\.\d+ s against a limit of 0\.09 s"):
            await asyncio.gather(house.over(), house.over())


async def test_one_visitor_on_a_slow_machine_is_served(house: House) -> None:
    """What a browser asks at once is no flood, however long other work makes the turns."""
    with world.use(house.clock), ExitStack() as inside:
        for _ in range(5):
            inside.enter_context(house.gate.admit())
        for _ in range(50):
            await house.turn(ordinary=6, paying=6, other_s=0.5)
        assert house.gate.overloaded
    assert house.seen == {"ordinary": 300, "paying": 300}


async def test_paying_alone_are_refused_too_when_there_are_too_many(house: House) -> None:
    with world.use(house.clock):
        waits_s = [await house.turn(ordinary=0, paying=200) for _ in range(100)]
    assert house.seen["paying refused"] > 15_000
    assert max(waits_s[20:]) < 0.06


async def test_when_the_flood_is_over_nobody_is_refused(house: House) -> None:
    with world.use(house.clock):
        for _ in range(100):
            await house.turn(ordinary=200)
        assert house.gate.overloaded
        house.clock.now_s += 0.3
        house.seen.clear()
        for _ in range(100):
            await house.turn(ordinary=10)
    assert house.seen == {"ordinary": 1000}
    assert not house.gate.overloaded


async def test_a_server_is_told_of_a_crowd_only_in_overload_and_some_still_pass(house: House) -> None:
    with world.use(house.clock):
        await house.turn(ordinary=100)
        assert not house.gate.overloaded
        for _ in range(50):
            await house.turn(ordinary=100)
        assert house.gate.overloaded
        passed = [not house.gate.crowded() for _ in range(500)]
    assert 6 <= sum(passed) < 100
    assert passed == sorted(passed, reverse=True)
    assert str(house.gate.crowd_error()).startswith("gate 'house' is shedding: loop turn 0.015 s against a limit of")


def test_a_turn_must_be_longer_than_nothing() -> None:
    with pytest.raises(ConfigError, match="turn_s=0 must be above 0, or None"):
        Shed(1, turn_s=0)
