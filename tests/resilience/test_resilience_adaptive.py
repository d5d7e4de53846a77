import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.observability import default_registry
from archstone.resilience import Adaptive, BulkheadFullError, SettingsError, within


class Server:
    """Works on `capacity` calls at once, 100 ms each; the others wait in line."""

    def __init__(self, capacity: int) -> None:
        self.capacity = asyncio.Semaphore(capacity)
        self.work_s = 0.1
        self.inside = self.most = 0

    async def ask(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            async with self.capacity:
                await asyncio.sleep(self.work_s)
        finally:
            self.inside -= 1


async def flood(throttle, server: Server, seconds: float, callers: int = 100) -> tuple[int, int]:
    """Ask with as many callers as there are, each again and again; return how many were served and refused."""
    ask, served, refused, end = throttle(server.ask), 0, 0, world.monotonic() + seconds

    async def caller() -> None:
        nonlocal served, refused
        while world.monotonic() < end:
            try:
                await ask()
                served += 1
            except BulkheadFullError:
                refused += 1
                await asyncio.sleep(0.1)

    await asyncio.gather(*[caller() for _ in range(callers)])
    return served, refused


@pytest.mark.parametrize("capacity", [5, 20, 60])
async def test_it_finds_what_the_other_side_can_do(capacity: int) -> None:
    server, throttle = Server(capacity), Adaptive(20, highest=500, window=40 * capacity // 4).bind("server")
    await flood(throttle, server, 6.0, callers=200)
    server.most = 0
    served, refused = await flood(throttle, server, 4.0, callers=200)
    assert served >= 0.8 * capacity * 4.0 / 0.1  # it is kept busy
    assert server.most <= 3 * capacity + 4  # and has no long line
    assert refused > 0


async def test_it_shrinks_when_the_other_side_becomes_slow_and_grows_when_it_recovers() -> None:
    server, throttle = Server(1000), Adaptive(50, highest=80, window=1000).bind("server")
    await flood(throttle, server, 5.0)
    assert throttle.statistics().limit > 70
    server.work_s = 1.0
    await flood(throttle, server, 5.0)
    shrunk = throttle.statistics().limit
    assert shrunk < 40
    server.work_s = 0.1
    await flood(throttle, server, 5.0)
    assert throttle.statistics().limit > 70


async def test_a_limit_that_nobody_reaches_does_not_grow() -> None:
    throttle = Adaptive(20).bind("idle")
    for _ in range(100):
        async with throttle.admit():
            await asyncio.sleep(0.1)
    assert throttle.statistics().limit == 20
    assert throttle.statistics().usual_s == pytest.approx(0.1)


async def test_above_the_limit_calls_are_refused_at_once() -> None:
    throttle = Adaptive(1, highest=1, retry_after_s=0.25).bind("one")
    async with throttle.admit():
        with pytest.raises(BulkheadFullError) as raised:
            await throttle(asyncio.sleep)(1)
    assert (raised.value.limit, raised.value.retry_after_s, world.monotonic()) == (1, 0.25, 0)
    assert throttle.statistics().rejected == 1
    assert default_registry.gauge("archstone_adaptive_limit", "", ("adaptive",)).labels("one").value == 1


async def test_errors_and_cancellations_teach_nothing_and_time_outs_do() -> None:
    throttle = Adaptive(1).bind("server")
    with pytest.raises(ConnectionError):
        async with throttle.admit():
            raise ConnectionError
    hanging = asyncio.create_task(throttle(asyncio.sleep)(9))
    await asyncio.sleep(1)
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert throttle.statistics().usual_s is None
    with pytest.raises(TimeoutError):
        async with within(2.0), throttle.admit():
            await asyncio.sleep(9)
    for _ in range(9):
        async with throttle.admit():
            await asyncio.sleep(1.0)
    assert throttle.statistics().usual_s == pytest.approx(1.1)
    assert throttle.statistics().in_flight == 0


class Model:
    """The rule in the words of its paper, with probes."""

    def __init__(self, policy: Adaptive) -> None:
        self.policy, self.limit, self.usual, self.ended = policy, float(policy.initial), None, 0
        self.probe_since: float | None = 0.0
        self.probed: list[float] = []
        self.round: list[float] = []

    def allowed(self) -> int:
        half = self.probe_since is not None and self.usual is not None
        return max(self.policy.lowest, int(self.limit) // 4) if half else int(self.limit)

    def sample(self, began: float, now: float, in_flight: int) -> None:
        took = now - began
        if self.probe_since is not None:
            self.probed += [took] if began >= self.probe_since else []
            if len(self.probed) == 10:
                self.usual, self.probed, self.probe_since, self.ended = sum(self.probed) / 10, [], None, 0
            return
        self.ended += 1
        if self.ended == self.policy.window:
            self.probe_since = now
        self.round += [took] if in_flight >= self.limit / 2 else []
        if len(self.round) == int(self.limit):
            mean, self.round = sum(self.round) / len(self.round), []
            gradient = max(0.5, min(1.0, self.policy.tolerance * self.usual / mean))
            new = self.limit * gradient + self.limit**0.5
            self.limit = self.limit * (1 - self.policy.smoothing) + new * self.policy.smoothing
            self.limit = max(self.policy.lowest, min(self.policy.highest, self.limit))


@given(st.lists(st.tuples(st.integers(1, 10), st.floats(0.001, 10)), max_size=30))
async def test_its_limit_is_that_of_the_published_rule(rounds: list[tuple[int, float]]) -> None:
    policy = Adaptive(5, lowest=2, highest=30, window=10)
    throttle, model = policy.bind("model"), Model(policy)
    for callers, took in rounds:
        began = []
        for _ in range(callers):
            try:
                began.append(throttle.begin())
            except BulkheadFullError:
                assert len(began) == model.allowed()
        await asyncio.sleep(took)
        for number, began_s in enumerate(began):
            model.sample(began_s, world.monotonic(), len(began) - number)
            throttle.end(began_s, None)
            assert math.isclose(throttle.limit, model.limit, rel_tol=1e-9)
            assert 2 <= throttle.limit <= 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial": 0},
        {"initial": 1001},
        {"lowest": 0},
        {"highest": 0},
        {"tolerance": 0.9},
        {"smoothing": 0},
        {"window": 9},
        {"retry_after_s": -1},
    ],
)
def test_settings_out_of_bounds_are_refused(wrong: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Adaptive(**wrong)
