"""Circuits and limiters that processes share: on a real server that dies, and on a file."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from valkey_for_tests import ValkeyServer

from archstone import world
from archstone.resilience import (
    Breaker,
    CircuitOpenError,
    RateLimit,
    RateLimitedError,
    SettingsError,
    SharedState,
    Signal,
    StoreLostError,
    UnknownStoreError,
    add_listener,
    remove_listener,
    within,
)
from archstone.resilience.stores.memory import MemoryStore
from archstone.resilience.stores.redis import RedisStore


async def fails() -> None:
    raise ConnectionError


async def works() -> int:
    return 42


async def takes(limiter, key: str = "ann") -> bool:
    try:
        await limiter.take(key)
    except RateLimitedError:
        return False
    return True


async def calls(circuit, function=works) -> str:
    try:
        await circuit(function)()
    except CircuitOpenError as error:
        return error.reason
    except ConnectionError:
        return "failed"
    return "worked"


async def test_a_shared_circuit_and_limiter_work_as_their_own_kind_do() -> None:
    async with SharedState("memory:") as shared:
        circuits = [Breaker(2, open_s=5.0).bind("payments", store=shared) for _ in range(2)]
        assert [await calls(circuit, fails) for circuit in circuits] == ["failed", "failed"]
        assert [await calls(circuit) for circuit in circuits] == ["open", "open"]
        statistics = await circuits[1].statistics()
        assert (statistics.state, statistics.opened, statistics.rejected, statistics.retry_after_s) == (
            "open",
            1,
            1,
            5.0,
        )
        await asyncio.sleep(5.0)
        async with circuits[0].admit():
            pass
        assert await calls(circuits[1]) == "worked"
        await circuits[0].open()
        assert await calls(circuits[1]) == "opened by hand"
        await circuits[1].close()
        limiters = [RateLimit(1, burst=2, max_wait_s=1.0).bind("api", store=shared) for _ in range(2)]
        assert [await takes(limiters[at % 2]) for at in range(3)] == [True, True, False]
        before = world.monotonic()
        await limiters[0](works)()
        assert await takes(limiters[0], "ann") is False
        assert world.monotonic() == before
        for _ in range(3):
            await limiters[1].turn("bob")
        assert world.monotonic() - before == pytest.approx(1.0)
        with pytest.raises(SettingsError, match="cost"):
            await limiters[0].take("ann", 3)
        with pytest.raises(SettingsError, match="for_s"):
            await circuits[0].open(for_s=0)


async def test_a_cancelled_trial_gives_its_place_back() -> None:
    async with SharedState("memory:") as shared:
        circuit = Breaker(1, open_s=5.0).bind("payments", store=shared)
        await calls(circuit, fails)
        await asyncio.sleep(5)
        trial = asyncio.create_task(circuit(asyncio.sleep)(100))
        await asyncio.sleep(1)
        assert await calls(circuit) == "half open"
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        assert await calls(circuit) == "worked"
        with pytest.raises(TimeoutError):
            async with within(1.0):
                await circuit(asyncio.sleep)(100)
        assert await calls(circuit) == "open"


class Slow(MemoryStore):
    async def begin(self, circuit, policy):
        begun = await super().begin(circuit, policy)
        await asyncio.sleep(1)
        return begun


async def test_a_caller_cancelled_while_the_store_decides_leaves_no_place_taken() -> None:
    async with SharedState(Slow()) as shared:
        circuit = Breaker(1, open_s=50.0).bind("payments", store=shared)
        await calls(circuit, fails)
        await asyncio.sleep(50)
        trial = asyncio.create_task(calls(circuit))
        await asyncio.sleep(0.5)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        await asyncio.sleep(1)
        assert await calls(circuit) == "worked"


class Lost(MemoryStore):
    lost = True
    asked = 0

    async def take(self, *args):
        self.asked += 1
        if self.lost:
            raise StoreLostError("Lost()", "gone")
        return await super().take(*args)

    async def begin(self, *args):
        if self.lost:
            raise StoreLostError("Lost()", "gone")
        return await super().begin(*args)


@pytest.mark.parametrize(
    ("without_store", "taken", "called"),
    [
        ("allow", [True] * 4, ["failed", "failed", "worked", "worked"]),
        ("refuse", [False] * 4, ["without its store"] * 4),
        ("local", [True, True, False, False], ["failed", "failed", "open", "open"]),
    ],
)
async def test_without_its_store_each_does_what_it_was_told(without_store: str, taken: list, called: list) -> None:
    store, told = Lost(), []
    add_listener(told.append)
    try:
        async with SharedState(store, rest_s=1.0) as shared:
            limiter = RateLimit(0.001, burst=2).bind("api", store=shared, without_store=without_store)
            circuit = Breaker(2, open_s=50.0).bind("payments", store=shared, without_store=without_store)
            assert [await takes(limiter) for _ in range(4)] == taken
            assert store.asked == 1  # it was left alone after that
            assert [await calls(circuit, fails if at < 2 else works) for at in range(4)] == called
            store.lost = False
            await asyncio.sleep(1.0)
            assert [await takes(limiter) for _ in range(3)] == [True, True, False]
    finally:
        remove_listener(told.append)
    lost = [one for one in told if isinstance(one, Signal) and one.kind == "store-lost"]
    assert isinstance(lost[0].error, StoreLostError)


@pytest.mark.real_time
@pytest.mark.parametrize("without_store", ["allow", "refuse", "local"])
async def test_a_server_that_is_killed_and_comes_back(own_server: ValkeyServer, without_store: str) -> None:
    async with SharedState(own_server.url, timeout_s=5.0, rest_s=0.1) as shared:
        limiter = RateLimit(0.001, burst=3).bind("api", store=shared, without_store=without_store)
        circuit = Breaker(1, open_s=60.0).bind("payments", store=shared, without_store=without_store)
        assert [await takes(limiter) for _ in range(4)] == [True, True, True, False]
        assert [await calls(circuit, fails), await calls(circuit)] == ["failed", "open"]
        own_server.signal(signal.SIGKILL)
        wanted = {"allow": (True, "worked"), "refuse": (False, "without its store"), "local": (True, "worked")}
        assert (await takes(limiter), await calls(circuit)) == wanted[without_store]
        own_server.start()  # with nothing in it, scripts neither: state, not truth
        await asyncio.sleep(0.2)
        assert [await takes(limiter) for _ in range(4)] == [True, True, True, False]
        assert [await calls(circuit, fails), await calls(circuit)] == ["failed", "open"]


@pytest.mark.real_time
async def test_a_server_that_hangs_costs_one_time_out_and_not_one_for_each_call(own_server: ValkeyServer) -> None:
    async with SharedState(own_server.url, timeout_s=0.2, rest_s=30.0) as shared:
        limiter = RateLimit(1000).bind("api", store=shared, without_store="allow")
        shared.store.timeout_s = 10.0  # to connect, on a busy machine
        await limiter.take("ann")
        shared.store.timeout_s = 0.2
        own_server.signal(signal.SIGSTOP)
        began = world.monotonic()
        for _ in range(100):
            await limiter.take("ann")
        assert world.monotonic() - began < 100 * 0.2 / 2
        own_server.signal(signal.SIGCONT)


@pytest.mark.real_time
async def test_what_many_ask_at_once_travels_together(redis_url: str) -> None:
    store, trips = RedisStore(redis_url, timeout_s=10.0), []
    send = store._send

    async def counted(runs):
        trips.append(len(runs))
        await send(runs)

    store._send = counted
    async with SharedState(store) as shared:
        limiter = RateLimit(0.001, burst=30).bind(world.new_id(), store=shared)
        taken = await asyncio.gather(*[takes(limiter) for _ in range(100)])
    assert (sum(taken), trips) == (30, [1])


@pytest.mark.real_time
async def test_a_caller_that_is_cancelled_fails_nobody_else(redis_url: str) -> None:
    async with SharedState(redis_url, timeout_s=10.0) as shared:
        limiter = RateLimit(1000, burst=100).bind(world.new_id(), store=shared)
        tasks = [asyncio.create_task(limiter.take("ann")) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers == [answers[0]] + [0.0] * 9
    assert isinstance(answers[0], asyncio.CancelledError)


@pytest.mark.real_time
async def test_a_server_that_was_never_there_is_found_out_by_the_first_question() -> None:
    pytest.importorskip("redis")
    async with SharedState("redis://ann:secret@127.0.0.1:1/0") as shared:
        with pytest.raises(StoreLostError) as raised:
            await shared.store.take("api", RateLimit(1), "ann", 1.0, 0.0)
        assert "secret" not in f"{raised.value}{raised.value!r}{shared.store!r}"
        assert await takes(RateLimit(1).bind("api", store=shared))


TAKER = """
import asyncio, sys
from archstone.resilience import RateLimit, RateLimitedError, SharedState

async def main():
    async with SharedState(sys.argv[1], timeout_s=30.0) as shared:
        limiter, taken = RateLimit(1e-6, burst=100).bind("api", store=shared, without_store="refuse"), 0
        for _ in range(100):
            try:
                await limiter.take("ann")
                taken += 1
            except RateLimitedError:
                pass
        print(taken)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_four_processes_together_take_what_one_may(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/shared.db" if kind == "sqlite" else request.getfixturevalue("own_server").url
    command = [sys.executable, "-c", textwrap.dedent(TAKER), url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    taken = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(taken) == 100


async def test_a_broken_file_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    path.write_bytes(b"no database at all, but long enough to look into it" * 100)
    async with SharedState(f"sqlite:///{path}") as shared:
        assert await takes(RateLimit(1).bind("api", store=shared, without_store="refuse"))
    assert path.with_suffix(".broken").exists()


async def test_a_file_that_is_not_open_is_lost(tmp_path: Path) -> None:
    async with SharedState(f"sqlite:///{tmp_path}/none/shared.db") as shared:
        assert not await takes(RateLimit(1).bind("api", store=shared, without_store="refuse"))


def test_settings_and_schemes_are_checked() -> None:
    with pytest.raises(UnknownStoreError, match="'mysql': use one of memory, redis"):
        SharedState("mysql://x")
    with pytest.raises(SettingsError) as raised:
        SharedState("memory:", timeout_s=0, rest_s=float("nan"))
    assert len(raised.value.faults) == 2


@pytest.mark.real_time
async def test_takes_that_travel_together_pay_each_its_own_cost(redis_url: str) -> None:
    async with SharedState(redis_url, timeout_s=10.0) as shared:
        limiter = RateLimit(0.001, burst=3).bind(world.new_id(), store=shared, without_store="refuse")
        await asyncio.gather(limiter.take("ann", 1), limiter.take("bob", 2), limiter.take("cyd", 3))
        left = [await asyncio.gather(*(takes(limiter, key) for key in ("ann", "bob", "cyd"))) for _ in range(3)]
        assert left == [[True, True, False], [True, False, False], [False, False, False]]
