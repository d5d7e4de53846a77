"""The suite of `archstone.resilience.testing` on every store, and on stores that are broken on purpose."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from archstone import simulation
from archstone.resilience import Begun, CircuitState, Store, Taken
from archstone.resilience.stores.memory import MemoryStore
from archstone.resilience.stores.redis import RedisStore
from archstone.resilience.stores.sqlite import SqliteStore
from archstone.resilience.testing import StoreConformance


class TestMemory(StoreConformance):
    @pytest.fixture
    async def stores(self) -> tuple[Store, Store]:
        store = MemoryStore()
        return store, store


class TestSqlite(StoreConformance):
    @pytest.fixture
    async def stores(self, tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
        one, other = (SqliteStore(f"sqlite:///{tmp_path}/shared.db") for _ in range(2))
        await one.open()
        await other.open()
        yield one, other
        await one.close()
        await other.close()


@pytest.mark.real_time
class TestRedis(StoreConformance):
    unit_s = 0.03
    slack = 1.2
    exact_time = False  # on a clock that can be set: test_resilience_scripts

    @pytest.fixture
    async def stores(self, redis_url: str) -> AsyncIterator[tuple[Store, Store]]:
        one, other = (RedisStore(redis_url, timeout_s=10.0) for _ in range(2))
        await one.open()
        await other.open()
        yield one, other
        await one.close()
        await other.close()


class NeverRefuses(MemoryStore):
    async def take(self, *args) -> Taken:
        return Taken(True, 0.0)


class ChargesTheRefused(MemoryStore):
    async def take(self, limiter, policy, key, cost, max_wait_s) -> Taken:
        taken = await super().take(limiter, policy, key, cost, max_wait_s)
        if not taken.taken and policy.kind == "bucket":
            self._paid_at_s[(limiter, key)] += cost / policy.rate_per_s
        return taken


class OneKeyForAll(MemoryStore):
    async def take(self, limiter, policy, key, cost, max_wait_s) -> Taken:
        return await super().take(limiter, policy, "all", cost, max_wait_s)


class EveryTrialAtOnce(MemoryStore):
    async def begin(self, circuit, policy) -> Begun:
        state = self._state(circuit)
        begun = await super().begin(circuit, policy)
        if state.name == "half open":
            return Begun(state.epoch, None, begun.moved)
        return begun


class LeaksTrials(MemoryStore):
    async def end(self, circuit, policy, epoch, outcome):
        return None if outcome == 2 else await super().end(circuit, policy, epoch, outcome)


class KeepsTrialsOfTheDead(MemoryStore):
    async def begin(self, circuit, policy) -> Begun:
        state = self._state(circuit)
        if state.name == "half open":
            state.until_s = float("inf")
        return await super().begin(circuit, policy)


class CountsLateResults(MemoryStore):
    async def end(self, circuit, policy, epoch, outcome):
        return await super().end(circuit, policy, self._state(circuit).epoch, outcome)


class WindowWithoutAnEnd(MemoryStore):
    async def end(self, circuit, policy, epoch, outcome):
        if not isinstance(policy.failures, int):
            endless = dataclasses.replace(policy.failures, over_calls=None, over_s=1e9)
            policy = dataclasses.replace(policy, failures=endless)
        return await super().end(circuit, policy, epoch, outcome)


class WindowOf(MemoryStore):
    """A window of seconds of another length."""

    part = 1.0

    async def end(self, circuit, policy, epoch, outcome):
        if not isinstance(policy.failures, int) and policy.failures.over_s is not None:
            other = dataclasses.replace(policy.failures, over_s=policy.failures.over_s * self.part)
            policy = dataclasses.replace(policy, failures=other)
        return await super().end(circuit, policy, epoch, outcome)


class WindowATenthTooShort(WindowOf):
    part = 0.9


class WindowATenthTooLong(WindowOf):
    part = 1.1


class SharesNothing(MemoryStore):
    """Two of them have two states."""


FAULTY = [
    NeverRefuses, ChargesTheRefused, OneKeyForAll, EveryTrialAtOnce, LeaksTrials, KeepsTrialsOfTheDead,
    CountsLateResults, WindowWithoutAnEnd, WindowATenthTooShort, WindowATenthTooLong, SharesNothing,
]  # fmt: skip
TESTS = [name for name in dir(StoreConformance) if name.startswith("test_")]


@pytest.mark.parametrize("broken", FAULTY)
def test_a_broken_store_is_caught(broken: type[MemoryStore]) -> None:
    caught = []
    for name in TESTS:
        one = broken()
        stores = (one, broken()) if broken is SharesNothing else (one, one)
        try:
            simulation.run(lambda name=name, stores=stores: getattr(StoreConformance(), name)(stores))
        except AssertionError:
            caught.append(name)
    assert caught


def test_the_state_of_a_circuit_is_plain_data() -> None:
    assert [field.name for field in dataclasses.fields(CircuitState)] == [
        "name", "epoch", "until_s", "failures", "free", "worked", "window",
    ]  # fmt: skip
