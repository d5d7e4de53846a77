"""Every store against the suite, and broken stores that the suite must catch."""

import asyncio
import contextlib
import inspect

import pytest

from archstone import simulation
from archstone.cache import Cache, CacheConfigError
from archstone.cache.codec import TypedCodec
from archstone.cache.store import Write
from archstone.cache.stores.memory import MemoryStore
from archstone.cache.stores.sqlite import SqliteStore
from archstone.cache.testing import StoreConformance

CODEC = TypedCodec(str)


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


class TestSqlite(StoreConformance):
    @pytest.fixture
    async def store(self, tmp_path):
        store = SqliteStore(f"sqlite:///{tmp_path / 'cache.db'}")
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, store):
        return store


def written(value, *tags):
    return Write(value, CODEC, tags)


async def values(store, *keys):
    return [entry and entry.value for entry in await store.read(keys, CODEC)]


async def test_a_file_is_warm_after_a_restart_and_knows_what_was_invalidated(tmp_path):
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    async with Cache(url) as cache:
        await cache.set_many({"a": "a", "b": "b"}, tags=["t"])
        await cache.set("c", "c", tags=["u"])
        await cache.invalidate(tag="u")
    async with Cache(url) as cache:
        assert await cache.get_many(["a", "b", "c"], str) == {"a": "a", "b": "b"}
        await cache.invalidate(tag="t")
        assert await cache.get_many(["a", "b"], str) == {}


async def test_a_file_is_bounded_in_entries_and_in_tags(tmp_path):
    store = SqliteStore(f"sqlite:///{tmp_path / 'cache.db'}?max_entries=3&max_tags=2")
    await store.open()
    for number in range(30):
        await store.write({f"k{number}": written("v")._replace(keep_s=100 + number, fresh_s=50)})
    assert await store._db.one(int, "SELECT count(*) FROM _archstone_cache") <= 3 + 3
    assert await values(store, "k0", "k29") == [None, "v"]
    await store.write({"old": written("a", "x")})
    for number in range(5):
        await store.invalidate(tags=(f"t{number}",))
    assert await store._db.one(int, "SELECT count(*) FROM _archstone_cache_tags") == 2
    await store.write({"new": written("b", "x", "t1")})
    assert await values(store, "old", "new", "k29") == [None, "b", "v"]
    await store.close()


def test_a_file_refuses_parameters_that_it_does_not_know():
    for url in ("sqlite:///c.db?max_entries=0", "sqlite:///c.db?most=1"):
        with pytest.raises(CacheConfigError, match="max_entries or max_tags"):
            Cache(url)


class ForgetsTime(MemoryStore):
    def put(self, key, write, stamp=None):
        super().put(key, write._replace(keep_s=1e9), stamp)


class WritesTagsAfterwards(MemoryStore):
    """The stamp of a load is that of its end."""

    def settle(self, lease, write):
        return super().settle(lease._replace(stamp=self.number), write)


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
