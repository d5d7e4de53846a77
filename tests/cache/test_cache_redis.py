"""The store on a real Valkey: the suite, alone and as a cluster, and what happens when the server is away."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from valkey_for_tests import valkey_server

from archstone import world
from archstone.cache import Cache, CacheConfigError, CacheStoreError
from archstone.cache.codec import TypedCodec
from archstone.cache.store import Write
from archstone.cache.testing import StoreConformance

pytestmark = pytest.mark.real_time


def store_of(url, **options):
    pytest.importorskip("redis")
    from archstone.cache.stores.redis import RedisStore

    return RedisStore(url, **options)


class TestRedis(StoreConformance):
    unit_s = 0.05

    @pytest.fixture
    def prefix(self):
        return f"test-{world.new_id()}"

    @pytest.fixture
    async def store(self, redis_url, prefix):
        store = store_of(redis_url, prefix=prefix)
        await store.open()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, redis_url, prefix, store):
        other = store_of(redis_url, prefix=prefix)
        await other.open()
        yield other
        await other.close()


@pytest.fixture(scope="module")
def cluster():
    with valkey_server("--cluster-enabled", "yes") as server:
        server.cli("cluster", "addslotsrange", "0", "16383")
        while "cluster_state:ok" not in server.cli("cluster", "info"):
            pass
        yield server


class TestCluster(TestRedis):
    @pytest.fixture
    def redis_url(self, cluster):
        return f"{cluster.url}?cluster=1&slots=5"


CODEC = TypedCodec(str)


async def test_numbers_that_the_server_has_dropped_make_all_tagged_entries_wrong(redis_url):
    prefix = f"test-{world.new_id()}"
    store = store_of(redis_url, prefix=prefix)
    await store.open()
    await store.write({"tagged": Write("a", CODEC, ("t",)), "plain": Write("b", CODEC)})
    await store.invalidate(tags=("t",))
    await store.write({"tagged": Write("a", CODEC, ("t",))})
    await store._client.delete(f"{{{prefix}}}:t")
    assert [entry and entry.value for entry in await store.read(("tagged", "plain"), CODEC)] == [None, "b"]
    await store.write({"tagged": Write("c", CODEC, ("t",))})
    assert [entry and entry.value for entry in await store.read(("tagged",), CODEC)] == ["c"]
    await store.close()


async def test_tags_that_are_forgotten_make_older_entries_wrong_and_the_set_stays_bounded(redis_url):
    store = store_of(f"{redis_url}?max_tags=3", prefix=f"test-{world.new_id()}")
    await store.open()
    await store.write({"old": Write("a", CODEC, ("x",)), "plain": Write("b", CODEC)})
    for number in range(10):
        await store.invalidate(tags=(f"t{number}",))
    assert await store._client.zcard(f"{store._home('k')}:t") == 5
    await store.write({"new": Write("c", CODEC, ("x", "t1"))})
    found = await store.read(("old", "plain", "new"), CODEC)
    assert [entry and entry.value for entry in found] == [None, "b", "c"]
    await store.close()


async def test_a_value_that_cannot_be_decoded_is_absent_and_loaded_anew(redis_url):
    async with Cache(store_of(redis_url, prefix=f"test-{world.new_id()}")) as cache:
        await cache.set("k", "text")
        assert await cache.get("k", int) is None

        async def load() -> int:
            return 7

        assert await cache.load("k", load, int) == 7
        assert await cache.get("k", int) == 7


async def test_a_password_is_in_no_text():
    store = store_of("redis://ann:secret@127.0.0.1:1/0?prefix=p")
    await store.open()
    with pytest.raises(CacheStoreError) as failed:
        await store.read(("k",), CODEC)
    assert "secret" not in repr(store) + str(failed.value) + store.label
    await store.close()


def test_settings_out_of_range_are_told():
    pytest.importorskip("redis")
    for url, text in (("redis://h?slots=0", "slots=0"), ("redis://h?max_tags=x", "max_tags=x")):
        with pytest.raises(CacheConfigError, match=text):
            Cache(url)
    with pytest.raises(CacheConfigError, match="must not contain braces"):
        Cache("redis://h?prefix={a}")


async def test_with_the_server_gone_loads_go_to_the_origin_bounded_and_it_is_used_again_when_it_is_back():
    with valkey_server() as server:
        loads = now = most = 0

        async with Cache(f"{server.url}?prefix=p", max_loads=3) as cache:

            @cache.aside("k:{key}")
            async def load(key: int) -> int:
                nonlocal loads, now, most
                loads, now = loads + 1, now + 1
                most = max(most, now)
                await asyncio.sleep(0.01)
                now -= 1
                return key

            assert await load(1) == 1
            server.stop()
            assert await asyncio.gather(*(load(n % 10) for n in range(200))) == [n % 10 for n in range(200)]
            assert most == 3
            assert loads < 60  # who asks at once shares a load, also now
            with pytest.raises(CacheStoreError):
                await cache.invalidate(key="k:1")
            server.start()
            await asyncio.sleep(1.1)
            before = loads
            assert [await load(1), await load(1)] == [1, 1]
            assert loads == before + 1
            assert await cache.get("k:1", int) == 1


async def test_a_connection_that_the_server_cuts_is_made_anew(redis_url):
    async with Cache(store_of(redis_url, prefix=f"test-{world.new_id()}")) as cache:
        await cache.set("k", 1)
        await cache._store._client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await cache.get("k", int) == 1


def test_a_thousand_misses_in_four_processes_make_one_load(redis_url, tmp_path):
    pytest.importorskip("redis")
    loads = tmp_path / "loads"
    url = f"{redis_url}?prefix=test-{world.new_id()}"
    command = [sys.executable, str(Path(__file__).with_name("cache_child.py")), url, str(loads), "250"]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        assert [child.stdout.readline() for child in children] == ["ready\n"] * 4
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        assert [child.stdout.readline() for child in children] == ["250 value of one\n"] * 4
        assert sorted(loads.read_text().split()) == ["one", "warm"]
    finally:
        for child in children:
            child.communicate(timeout=30)


async def test_a_loader_that_dies_is_taken_over_when_its_lease_has_run_out(redis_url):
    store = store_of(redis_url, prefix=f"test-{world.new_id()}")
    async with Cache(store) as cache:
        dead = await store.claim("k", CODEC, lease_s=0.2)

        async def load() -> str:
            return "mine"

        assert await cache.load("k", load, str) == "mine"
        assert not await store.fill(dead, Write("late", CODEC))
        assert await cache.get("k", str) == "mine"


async def test_tiers_before_a_cluster_hear_of_each_other(cluster):
    url = f"{cluster.url}?cluster=1&slots=3&prefix=test-{world.new_id()}"
    async with Cache(["memory:", url]) as one, Cache(["memory:", url]) as two, asyncio.timeout(30):
        while not (one.store._live and two.store._live):
            await asyncio.sleep(0.01)
        await one.set("k", "v1", tags=["t"])
        while two.store.near.peek("k") is None:  # that it was written may be heard after it was read
            assert await two.get("k", str) == "v1"
            await asyncio.sleep(0.01)
        await one.invalidate(tag="t")
        while two.store.near.peek("k") is not None:
            await asyncio.sleep(0.01)
        assert await two.get("k", str) is None


async def test_reads_of_one_moment_share_a_round_trip_and_one_cancelled_takes_nobody_with_it(redis_url):
    store = store_of(redis_url, prefix=f"test-{world.new_id()}")
    await store.open()
    await store.write({f"k{number}": Write(f"v{number}", CODEC) for number in range(300)})

    async def scripts() -> int:
        return (await store._client.info("commandstats"))["cmdstat_evalsha"]["calls"]

    await store.read(("k0",), CODEC)
    before = await scripts()
    tasks = [asyncio.create_task(store.read((f"k{number}",), CODEC)) for number in range(300)]
    await asyncio.sleep(0)
    tasks[7].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert await scripts() == before + 1
    assert isinstance(found.pop(7), asyncio.CancelledError)
    assert [entries[0].value for entries in found] == [f"v{number}" for number in range(300) if number != 7]
    await store.close()
