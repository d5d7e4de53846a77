"""A cache in memory beside what a user would pick instead: time of a hit, stampedes, bytes of an entry.

Ours holds entries with a time, tags that are checked, and typed values; peers do less (cachetools and cachebox know no
tags, moka keeps no tags and no jitter) or more (aiocache and cashews run hooks). Where a peer has a way to let waiters
share a load it is switched on.
"""

import asyncio
import gc
import itertools
import tracemalloc
from collections.abc import Awaitable, Callable

from benchmarks.harness import Bench, Row, nanoseconds_per_call

bench = Bench(
    "cache",
    shows="in time of the processor: a hit through an async decorator, get and set in memory; 1,000 misses at once,"
    " bytes for each entry",
    hides="loads that take long (a miss costs what the load costs), large values, several processes; what is forgotten"
    " when memory is full (cache_traces), and Redis (cache_redis)",
)


def per_await(make: Callable[[], Awaitable[Callable[[], Awaitable[object]]]], quick: bool) -> float:
    """Return nanoseconds of one awaited call of what `make` gives, on one loop."""
    with asyncio.Runner() as runner:
        call = runner.run(make())

        async def many(count: int) -> None:
            for _ in range(count):
                await call()

        return nanoseconds_per_call(lambda count: runner.run(many(count)), quick=quick)


# A hit through an async decorator


@bench.contender("archstone")
def archstone_hit(quick: bool) -> float:
    async def make():
        from archstone.cache import Cache

        cache = Cache("memory:")

        @cache.aside("user:{user_id}", tags=["user:{user_id}"])
        async def read(user_id: str) -> str:
            return user_id

        await cache.__aenter__()
        await read("7")
        return lambda: read("7")

    return per_await(make, quick)


@bench.contender("moka-py")
def moka_hit(quick: bool) -> float:
    async def make():
        import moka_py

        @moka_py.cached(maxsize=10_000, ttl=300, wait_concurrent=True)
        async def read(user_id: str) -> str:
            return user_id

        await read("7")
        return lambda: read("7")

    return per_await(make, quick)


@bench.contender("cachebox")
def cachebox_hit(quick: bool) -> float:
    async def make():
        import cachebox

        @cachebox.cached(cachebox.TTLCache(10_000, 300))
        async def read(user_id: str) -> str:
            return user_id

        await read("7")
        return lambda: read("7")

    return per_await(make, quick)


@bench.contender("aiocache")
def aiocache_hit(quick: bool) -> float:
    async def make():
        import aiocache

        @aiocache.cached(ttl=300)
        async def read(user_id: str) -> str:
            return user_id

        await read("7")
        return lambda: read("7")

    return per_await(make, quick)


@bench.contender("cashews")
def cashews_hit(quick: bool) -> float:
    async def make():
        from cashews import Cache

        cache = Cache()
        cache.setup("mem://")

        @cache(ttl="5m", key="user:{user_id}", lock=True)
        async def read(user_id: str) -> str:
            return user_id

        await read("7")
        return lambda: read("7")

    return per_await(make, quick)


# Get and set in memory, of 1,000 keys that are there


KEYS = [f"user:{number}" for number in range(1_000)]


def over_keys(call: Callable[[str], object], quick: bool) -> float:
    def run(count: int) -> None:
        for key in itertools.islice(itertools.cycle(KEYS), count):
            call(key)

    return nanoseconds_per_call(run, quick=quick)


def filled_store():
    from archstone.cache.codec import BYTES
    from archstone.cache.store import Write
    from archstone.cache.stores.memory import MemoryStore

    store = MemoryStore(max_entries=10_000)
    asyncio.run(store.open())
    write = Write(b"value", BYTES, ("tag",))
    for key in KEYS:
        store.put(key, write)
    return store, write


@bench.contender("archstone")
def archstone_get(quick: bool) -> float:
    return over_keys(filled_store()[0].peek, quick)


@bench.contender("archstone")
def archstone_set(quick: bool) -> float:
    store, write = filled_store()
    return over_keys(lambda key: store.put(key, write), quick)


def filled_cachebox():
    import cachebox

    cache = cachebox.TTLCache(10_000, 300)
    for key in KEYS:
        cache[key] = b"value"
    return cache


@bench.contender("cachebox")
def cachebox_get(quick: bool) -> float:
    return over_keys(filled_cachebox().get, quick)


@bench.contender("cachebox")
def cachebox_set(quick: bool) -> float:
    cache = filled_cachebox()
    return over_keys(lambda key: cache.insert(key, b"value"), quick)


@bench.contender("cachetools")
def cachetools_get(quick: bool) -> float:
    import cachetools

    cache = cachetools.TTLCache(10_000, 300)
    cache.update(dict.fromkeys(KEYS, b"value"))
    return over_keys(cache.get, quick)


# 1,000 misses of one key at once: how often it is loaded, and who is served when the first caller is cancelled


Reader = Callable[[Callable[[], Awaitable[str]]], Callable[[str], Awaitable[str]]]


async def stampede(reader: Reader, cancel: bool) -> tuple[int, int]:
    """Return the loads, and how many of the callers that were not cancelled were served."""
    loads = 0

    async def load() -> str:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0.05)
        return "value"

    read = reader(load)
    tasks = [asyncio.ensure_future(read("7")) for _ in range(1_000)]
    await asyncio.sleep(0.01)
    if cancel:
        tasks[0].cancel()
    came = await asyncio.gather(*tasks, return_exceptions=True)
    return loads, sum(each == "value" for each in came[1:])


def ours_reader(load):
    from archstone.cache import Cache

    cache = Cache("memory:")

    @cache.aside("user:{user_id}")
    async def read(user_id: str) -> str:
        return await load()

    opening = asyncio.ensure_future(cache.__aenter__())

    async def opened(user_id: str) -> str:
        await opening
        return await read(user_id)

    return opened


def moka_reader(load):
    import moka_py

    @moka_py.cached(maxsize=1_000, ttl=300, wait_concurrent=True)
    async def read(user_id: str) -> str:
        return await load()

    return read


def aiocache_reader(load):
    import aiocache

    @aiocache.cached_stampede(lease=2, ttl=300)
    async def read(user_id: str) -> str:
        return await load()

    return read


def cashews_reader(load):
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")

    @cache(ttl="5m", key="user:{user_id}", lock=True)
    async def read(user_id: str) -> str:
        return await load()

    return read


def cachebox_reader(load):
    import cachebox

    @cachebox.cached(cachebox.TTLCache(1_000, 300))
    async def read(user_id: str) -> str:
        return await load()

    return read


READERS = {
    "archstone": (ours_reader, "archstone"),
    "moka": (moka_reader, "moka-py"),
    "aiocache": (aiocache_reader, "aiocache"),
    "cashews": (cashews_reader, "cashews"),
    "cachebox": (cachebox_reader, "cachebox"),
}


def register_stampede(name: str) -> None:
    reader, distribution = READERS[name]

    def loads(quick: bool) -> float:
        return asyncio.run(stampede(reader, cancel=False))[0]

    def served(quick: bool) -> float:
        return asyncio.run(stampede(reader, cancel=True))[1]

    loads.__name__, served.__name__ = f"{name}_loads", f"{name}_served"
    bench.contender(distribution)(loads)
    bench.contender(distribution)(served)


for each in READERS:
    register_stampede(each)


# Bytes for each entry, beside key and value


def bytes_each(fill: Callable[[list[str], list[bytes]], object]) -> float:
    count = 20_000
    keys = [f"user:{number}" for number in range(count)]
    values = [b"%d" % number for number in range(count)]
    gc.collect()
    tracemalloc.start()
    kept = fill(keys, values)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    del kept
    return used / count


@bench.contender("archstone")
def archstone_bytes(quick: bool) -> float:
    from archstone.cache.codec import BYTES
    from archstone.cache.store import Write
    from archstone.cache.stores.memory import MemoryStore

    def fill(keys: list[str], values: list[bytes]) -> object:
        store = MemoryStore(max_entries=len(keys))
        for key, value in zip(keys, values, strict=True):
            store.put(key, Write(value, BYTES, ("tag",)))
        return store

    return bytes_each(fill)


@bench.contender("cachetools")
def cachetools_bytes(quick: bool) -> float:
    import cachetools

    def fill(keys: list[str], values: list[bytes]) -> object:
        cache = cachetools.TTLCache(len(keys), 300)
        for key, value in zip(keys, values, strict=True):
            cache[key] = value
        return cache

    return bytes_each(fill)


bench.row(
    Row("cache async decorator, hit", "ns/call", goal=1.5),
    ours="archstone_hit", peers=["moka_hit", "cachebox_hit"], beside=["cashews_hit"],
)  # fmt: skip
bench.row(
    Row("cache async decorator, hit, beside aiocache", "ns/call", goal=40.0),
    ours="archstone_hit",
    peers=["aiocache_hit"],
)
bench.row(
    Row("cache memory get", "ns/call", goal=0.33),
    ours="archstone_get", peers=["cachebox_get"], beside=["cachetools_get"],
)  # fmt: skip
bench.row(Row("cache memory set", "ns/call", goal=0.33), ours="archstone_set", peers=["cachebox_set"])
bench.row(
    Row("cache loads of 1,000 misses at once", "loads", goal=1.0),
    ours="archstone_loads", peers=["moka_loads", "aiocache_loads", "cashews_loads", "cachebox_loads"],
)  # fmt: skip
bench.row(
    Row("cache waiters served of 999, the first cancelled", "callers", goal=1.0, bigger_is_better=True),
    ours="archstone_served", peers=["aiocache_served"], beside=["moka_served", "cashews_served", "cachebox_served"],
)  # fmt: skip
bench.row(Row("cache bytes of an entry", "bytes", goal=0.33), ours="archstone_bytes", peers=["cachetools_bytes"])

if __name__ == "__main__":
    bench.main()
