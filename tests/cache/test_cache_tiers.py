"""Memory before a store that processes share: what one invalidates the others do not serve, within a bound."""

import asyncio

import pytest

from archstone import world
from archstone.cache import Cache, CacheConfigError, CacheStoreError, codec_for
from archstone.cache.stores.memory import MemoryStore
from archstone.cache.stores.tiers import Tiers
from archstone.cache.testing import StoreConformance


class Shared:
    """A far store that several openings share, and its announcements, which can be lost."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.openings: list[Opening] = []
        self.deaf = False


class Opening(MemoryStore):
    """One process's way to it. It answers a turn later, as over a network."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared = shared
        self.reads = 0
        self.delay_s = 0.01
        self.away = False

    near = None  # type: ignore[assignment]

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        self.shared.openings.remove(self)

    async def _travel(self) -> None:
        if self.away:
            raise CacheStoreError("far", "travelling")
        await asyncio.sleep(self.delay_s)

    async def read(self, keys, codec):
        self.reads += 1
        found = await self.shared.store.read(keys, codec)
        await self._travel()
        return found

    async def claim(self, key, codec, *, lease_s, refresh=False):
        await self._travel()
        return await self.shared.store.claim(key, codec, lease_s=lease_s, refresh=refresh)

    async def fill(self, lease, write):
        kept = await self.shared.store.fill(lease, write)
        if kept:
            self._tell([lease.key], [])
        await self._travel()
        return kept

    async def release(self, lease):
        await self.shared.store.release(lease)

    async def write(self, writes):
        await self._travel()
        await self.shared.store.write(writes)
        self._tell(list(writes), [])

    async def invalidate(self, *, keys=(), tags=()):
        await self._travel()
        await self.shared.store.invalidate(keys=keys, tags=tags)
        self._tell(list(keys), list(tags))

    def _tell(self, keys, tags):
        for opening in self.shared.openings:
            if opening is not self and not self.shared.deaf:
                opening.heard(keys, tags)

    def listen(self, heard, *, live):
        self.heard, self.live = heard, live
        self.shared.openings.append(self)
        self.task = asyncio.create_task(asyncio.Event().wait())
        live(True)
        return self.task


@pytest.fixture
async def shared():
    shared = Shared()
    await shared.store.open()
    return shared


class TestTiers(StoreConformance):
    @pytest.fixture
    async def store(self, shared):
        store = Tiers(Opening(shared))
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, shared, store):
        other = Tiers(Opening(shared))
        await other.open()
        yield other
        await other.close()


def reading(cache, source):
    @cache.aside("k:{key}", tags=["t"])
    async def read(key: str) -> str:
        return source["value"]

    return read


async def test_a_near_hit_asks_nobody_and_an_invalidation_elsewhere_ends_it(shared):
    a, b, source = Opening(shared), Opening(shared), {"value": "v1"}
    async with Cache(Tiers(a)) as one, Cache(Tiers(b)) as two:
        first, second = reading(one, source), reading(two, source)
        assert (await first("x"), await second("x")) == ("v1", "v1")
        before = a.reads, b.reads
        assert (await first("x"), await second("x")) == ("v1", "v1")
        assert (a.reads, b.reads) == before
        source["value"] = "v2"
        await one.invalidate(tag="t")
        assert (await first("x"), await second("x")) == ("v2", "v2")
        source["value"] = "v3"
        await two.invalidate(key="k:x")
        assert (await first("x"), await second("x")) == ("v3", "v3")


async def test_a_value_on_its_way_here_is_not_kept_near_when_it_is_invalidated_meanwhile(shared):
    a, b, source = Opening(shared), Opening(shared), {"value": "v1"}
    async with Cache(Tiers(a)) as one, Cache(Tiers(b)) as two:
        first, second = reading(one, source), reading(two, source)
        await first("x")
        b.delay_s = 1
        travelling = asyncio.create_task(second("x"))  # has read v1 afar, and is on its way
        await asyncio.sleep(0.5)
        source["value"] = "v2"
        await one.invalidate(tag="t")
        assert await travelling == "v1"
        assert await second("x") == "v2"


async def test_who_asks_after_an_invalidation_elsewhere_gets_no_value_whose_load_began_before(shared):
    source = {"value": "v1"}
    async with Cache(Tiers(Opening(shared))) as one, Cache(Tiers(Opening(shared))) as two:

        @two.aside("k", tags=["t"])
        async def slow() -> str:
            value = source["value"]
            await asyncio.sleep(1)
            return value

        early = asyncio.create_task(slow())
        await asyncio.sleep(0.5)
        source["value"] = "v2"
        await one.invalidate(tag="t")
        late = asyncio.create_task(slow())
        await early
        assert await late == "v2"
        assert two.statistics().refused == 1


async def test_who_joins_a_refresh_that_another_process_makes_waits_for_its_value(shared):
    far = Opening(shared)
    async with Cache(far, ttl_s=10, jitter_ratio=0, refresh_ahead_ratio=0.8) as cache:
        far.listen(lambda keys, tags: None, live=lambda live: None)
        source = {"value": "v1"}

        async def load() -> str:
            return source["value"]

        far.delay_s = 0
        assert await cache.load("k", load, str) == "v1"
        await shared.store.claim("k", codec_for(str), lease_s=15, refresh=True)  # another process, which dies
        await asyncio.sleep(9.9)
        far.delay_s = 0.05
        early = asyncio.create_task(cache.load("k", load, str))
        await asyncio.sleep(0.01)
        far.delay_s = 2  # its refresh takes so long to hear that somebody else is at it
        assert await early == "v1"
        await asyncio.sleep(0.5)
        far.delay_s, source["value"] = 0.05, "v2"
        assert await cache.load("k", load, str) == "v2"


async def test_if_no_word_arrives_a_near_entry_is_stale_for_near_s_at_most(shared):
    a, b, source = Opening(shared), Opening(shared), {"value": "v1"}
    async with Cache(Tiers(a, near_s=10)) as one, Cache(Tiers(b, near_s=10)) as two:
        first, second = reading(one, source), reading(two, source)
        await first("x")
        await second("x")
        kept_s = world.monotonic()
        shared.deaf = True
        source["value"] = "v2"
        await one.invalidate(tag="t")
        while await second("x") == "v1":
            await asyncio.sleep(0.25)
        assert world.monotonic() - kept_s <= 10.5
        assert world.monotonic() - kept_s > 9  # else this shows nothing


async def test_while_announcements_may_be_lost_nothing_is_kept_near(shared):
    a, source = Opening(shared), {"value": "v1"}
    async with Cache(Tiers(a)) as one:
        first = reading(one, source)
        await first("x")
        a.live(False)
        reads = a.reads
        await first("x")
        await first("x")
        assert a.reads == reads + 2
        a.live(True)
        await first("x")
        await first("x")
        assert a.reads == reads + 3


async def test_with_the_far_store_away_near_entries_serve_for_their_time(shared):
    a, source = Opening(shared), {"value": "v1"}
    async with Cache(Tiers(a, near_s=10)) as one:
        first = reading(one, source)
        await first("x")
        a.away, source["value"] = True, "v2"
        assert await first("x") == "v1"
        await asyncio.sleep(11)
        assert await first("x") == "v2"
        with pytest.raises(CacheStoreError):
            await one.invalidate(tag="t")


def test_tiers_are_memory_and_one_more():
    for stores in (["memory:"], ["redis://h", "memory:"], ["memory:", "memory:"]):
        pytest.importorskip("redis")
        with pytest.raises(CacheConfigError, match=r"tiers are two|does not announce"):
            Cache(stores)
    with pytest.raises(CacheConfigError, match="max_entries=0"):
        Cache(["memory:?max_entries=0", "redis://h"])


# On a real server


@pytest.fixture
def pair(redis_url):
    pytest.importorskip("redis")
    url = f"{redis_url}?prefix=test-{world.new_id()}"
    return Cache(["memory:", url]), Cache(["memory:", url])


async def live(*caches):
    async with asyncio.timeout(20):
        while not all(cache._store._live for cache in caches):
            await asyncio.sleep(0.01)


async def until(read, value, limit_s=20.0):
    async with asyncio.timeout(limit_s):
        while await read("x") != value:
            await asyncio.sleep(0.01)


@pytest.mark.real_time
async def test_two_processes_on_a_server_hear_of_each_other(pair):
    source = {"value": "v1"}
    async with pair[0] as one, pair[1] as two:
        first, second = reading(one, source), reading(two, source)
        await live(one, two)
        assert (await first("x"), await second("x")) == ("v1", "v1")
        assert two._store.near.peek("k:x") is not None
        for number in range(2, 6):
            source["value"] = f"v{number}"
            await (one, two)[number % 2].invalidate(tag="t")
            await until(first, f"v{number}", 2.0)
            await until(second, f"v{number}", 2.0)


@pytest.mark.real_time
async def test_a_cut_announcement_connection_empties_what_is_near(pair):
    source = {"value": "v1"}
    async with pair[0] as one, pair[1] as two:
        first, second = reading(one, source), reading(two, source)
        await live(one, two)
        await first("x")
        await second("x")
        await one._store._far._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        async with asyncio.timeout(20):
            while two._store._live:
                await asyncio.sleep(0.01)
        source["value"] = "v2"
        await one.invalidate(tag="t")
        assert await second("x") == "v2"
        await live(one, two)


class TestTiersOnRedis(StoreConformance):
    unit_s = 0.05

    @pytest.fixture
    def url(self, redis_url):
        pytest.importorskip("redis")
        return f"{redis_url}?prefix=test-{world.new_id()}"

    @pytest.fixture
    async def store(self, url):
        async with Cache(["memory:", url]) as cache:
            await live(cache)
            yield cache._store

    @pytest.fixture
    async def other(self, store):
        # Through one process: across them the bound is that of a message, and the suite wants none.
        return store


TestTiersOnRedis.pytestmark = [pytest.mark.real_time]
