"""Every store against the suite, and broken stores that the suite must catch."""

import asyncio
import contextlib
import inspect

import pytest

from archstone import simulation
from archstone.cache.stores.memory import MemoryStore
from archstone.cache.testing import StoreConformance


class TestMemory(StoreConformance):
    @pytest.fixture
    async def store(self):
        store = MemoryStore()
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, store):
        return store


class TestMemoryByBytes(TestMemory):
    @pytest.fixture
    async def store(self):
        store = MemoryStore(max_bytes=1_000_000)
        await store.open()
        yield store
        await store.close()


class ForgetsTime(MemoryStore):
    def put(self, key, write, stamp=None):
        super().put(key, write._replace(keep_s=1e9), stamp)


class WritesTagsAfterwards(MemoryStore):
    """The stamp of a load is that of its end."""

    def settle(self, lease, write):
        return super().settle(lease._replace(stamp=self._number), write)


class AnybodyFills(MemoryStore):
    def settle(self, lease, write):
        self.put(lease.key, write, lease.stamp)
        return True


class AnybodyReleases(MemoryStore):
    def _end(self, lease):
        return self._leases.pop(lease.key, None) is not None


class NeverBusy(MemoryStore):
    def lease(self, key, lease_s):
        self._leases.pop(key, None)
        return super().lease(key, lease_s)


class RefusesForEver(MemoryStore):
    """A lease that has run out still stands."""

    def lease(self, key, lease_s):
        return super().lease(key, 1e9)


class KeepsLeases(MemoryStore):
    """Invalidating a key leaves its load alone."""

    def expel(self, *, keys=(), tags=()):
        held = dict(self._leases)
        super().expel(keys=keys, tags=tags)
        self._leases = held


class ServesStaleForFresh(MemoryStore):
    async def claim(self, key, codec, *, lease_s, refresh=False):
        return self.find(key) or self.lease(key, lease_s)


class ForgetsCounters(MemoryStore):
    """A tag's number goes back when it is forgotten."""

    def expel(self, *, keys=(), tags=()):
        super().expel(keys=keys, tags=tags)
        self._moved.clear()


class MixesUp(MemoryStore):
    async def read(self, keys, codec):
        return [self.find(key) for key in sorted(keys)]


class DropsTheWhole(MemoryStore):
    """Any tag clears everything."""

    def expel(self, *, keys=(), tags=()):
        super().expel(keys=keys, tags=tags)
        if tags:
            self.clear()


FAULTY = [
    ForgetsTime, WritesTagsAfterwards, AnybodyFills, AnybodyReleases, NeverBusy, RefusesForEver, KeepsLeases,
    ServesStaleForFresh, ForgetsCounters, MixesUp, DropsTheWhole,
]  # fmt: skip


def failures(make):
    """Return which tests of the suite fail for a store."""
    found = []
    suite = StoreConformance()
    for name, test in inspect.getmembers(suite, inspect.ismethod):
        if not name.startswith("test_"):
            continue
        with simulation.Stage(seed=1) as stage:
            store = make()
            stage.run(store.open())
            wanted = inspect.signature(test).parameters
            try:
                stage.run(test(**dict.fromkeys(wanted, store)))
            except Exception:
                found.append(name)
                for task in asyncio.all_tasks(stage.loop):
                    task.cancel()
                    stage.run(_ended(task))
    return found


async def _ended(task):
    with contextlib.suppress(BaseException):
        await task


@pytest.mark.parametrize("store", FAULTY)
def test_the_suite_catches_a_broken_store(store):
    assert failures(store)


def test_the_suite_finds_nothing_in_a_sound_one():
    assert failures(MemoryStore) == []
