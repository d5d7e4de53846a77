"""A cache beside what a user would pick instead: time of a hit, hit ratio, stampedes, memory, with and without Redis.

Ours holds entries with a time, tags that are checked, and typed values; peers do less (cachetools and cachebox know no
tags, moka keeps no tags and no jitter) or more (aiocache and cashews run hooks). Where a peer has a way to let waiters
share a load it is switched on.
"""

import asyncio
import bisect
import gc
import itertools
import random
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Bench, Measured, Row, nanoseconds_per_call

bench = Bench(
    "cache",
    shows="a hit through an async decorator, get and set in memory, hit ratios at 1 % capacity, 1,000 misses at once,"
    " bytes for each entry, and a hit through Redis",
    hides="loads that take long (a miss costs what the load costs), large values, several processes, other traces:"
    " real ones differ; a hit on Redis runs over loopback",
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


# Hit ratios: 100,000 keys, popular as by Zipf (exponent 1), room for 1,000


NAMES, ROOM = 100_000, 1_000


def trace(kind: str, quick: bool) -> list[int]:
    """Return keys in the order asked for: `zipf`; `scans`, a sixth of them never seen again; `shift`, another taste
    after each tenth."""
    chance = random.Random(7)
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(NAMES)))
    names = list(range(NAMES))
    chance.shuffle(names)
    asked: list[int] = []
    fresh = itertools.count(NAMES)
    for _ in range(10):
        if kind == "shift":
            chance.shuffle(names)
        for _ in range(5 if quick else 10):
            asked += [names[bisect.bisect(weights, chance.random() * weights[-1])] for _ in range(10_000)]
            if kind == "scans":
                asked += itertools.islice(fresh, 2_000)
    return asked


def ratio(make: Callable[[], Callable[[int], bool]], kind: str, quick: bool) -> Measured:
    """Return the part of the trace that hit, and the microseconds of each request."""
    asked = trace(kind, quick)
    ask = make()
    begun = time.perf_counter()
    hits = sum(map(ask, asked))
    took = time.perf_counter() - begun
    return Measured(hits / len(asked), {"us_per_request": f"{took / len(asked) * 1e6:.2f}"})


def ours_asked() -> Callable[[int], bool]:
    from archstone.cache.codec import BYTES
    from archstone.cache.store import Write
    from archstone.cache.stores.memory import MemoryStore

    store = MemoryStore(max_entries=ROOM)
    asyncio.run(store.open())
    write = Write(b"value", BYTES)

    def ask(key: int) -> bool:
        if store.peek(key) is not None:  # type: ignore[arg-type] - the store does not mind
            return True
        store.put(key, write)  # type: ignore[arg-type]
        return False

    return ask


def theine_asked() -> Callable[[int], bool]:
    from theine import Cache

    cache = Cache(ROOM)

    def ask(key: int) -> bool:
        _, found = cache.get(key)
        if not found:
            cache.set(key, b"value")
        return found

    return ask


def mapping_asked(cache) -> Callable[[int], bool]:
    def ask(key: int) -> bool:
        if cache.get(key) is not None:
            return True
        cache[key] = b"value"
        return False

    return ask


def lru_asked() -> Callable[[int], bool]:
    import cachetools

    return mapping_asked(cachetools.LRUCache(ROOM))


def lfu_asked() -> Callable[[int], bool]:
    import cachebox

    return mapping_asked(cachebox.LFUCache(ROOM))


def moka_asked() -> Callable[[int], bool]:
    import moka_py

    cache = moka_py.Moka(ROOM)

    def ask(key: int) -> bool:
        if cache.get(key) is not None:
            return True
        cache.set(key, b"value")
        return False

    return ask


ASKED = {
    "archstone": (ours_asked, "archstone"),
    "theine": (theine_asked, "theine"),
    "lru": (lru_asked, "cachetools"),
    "lfu": (lfu_asked, "cachebox"),
    "moka": (moka_asked, "moka-py"),
}


def register_ratio(name: str, kind: str) -> None:
    make, distribution = ASKED[name]

    def run(quick: bool) -> Measured:
        return ratio(make, kind, quick)

    run.__name__ = f"{name}_{kind}"
    bench.contender(distribution)(run)


def register_time(name: str) -> None:
    make, distribution = ASKED[name]

    def run(quick: bool) -> float:
        asked = trace("zipf", quick)
        ask = make()
        begun = time.perf_counter()
        for key in asked:
            ask(key)
        return (time.perf_counter() - begun) / len(asked) * 1e6

    run.__name__ = f"{name}_time"
    bench.contender(distribution)(run)


for each in ASKED:
    register_time(each)
    for one in ("zipf", "scans", "shift"):
        register_ratio(each, one)


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


# A hit on Redis, 50 callers at once, each through its decorator


@contextmanager
def valkey():
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
    from valkey_for_tests import valkey_server

    with valkey_server() as server:
        yield server


async def hits_per_second(read: Callable[[int], Awaitable[object]], quick: bool) -> float:
    for key in range(100):
        await read(key)
    wanted_s, done = (0.3 if quick else 2.0), 0
    begun = time.perf_counter()

    async def caller(first: int) -> None:
        nonlocal done
        for key in itertools.count(first):
            await read(key % 100)
            done += 1
            if time.perf_counter() - begun > wanted_s:
                return

    await asyncio.gather(*(caller(number) for number in range(50)))
    return done / (time.perf_counter() - begun)


@bench.contender("archstone", "redis")
def archstone_redis(quick: bool) -> float:
    from archstone.cache import Cache

    async def run(url: str) -> float:
        async with Cache(url) as cache:

            @cache.aside("user:{user_id}", tags=["users"])
            async def read(user_id: int) -> str:
                return f"value {user_id}"

            return await hits_per_second(read, quick)

    with valkey() as server:
        return asyncio.run(run(server.url))


@bench.contender("aiocache", "redis")
def aiocache_redis(quick: bool) -> float:
    import aiocache
    from aiocache.serializers import JsonSerializer

    async def run(port: int) -> float:
        @aiocache.cached(
            ttl=300, cache=aiocache.Cache.REDIS, endpoint="127.0.0.1", port=port, serializer=JsonSerializer(),
            key_builder=lambda function, user_id: f"user:{user_id}",
        )  # fmt: skip
        async def read(user_id: int) -> str:
            return f"value {user_id}"

        return await hits_per_second(read, quick)

    with valkey() as server:
        return asyncio.run(run(server.port))


@bench.contender("cashews", "redis")
def cashews_redis(quick: bool) -> float:
    from cashews import Cache

    async def run(url: str) -> float:
        cache = Cache()
        cache.setup(url)

        @cache(ttl="5m", key="user:{user_id}")
        async def read(user_id: int) -> str:
            return f"value {user_id}"

        return await hits_per_second(read, quick)

    with valkey() as server:
        return asyncio.run(run(server.url))


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
for one in ("zipf", "scans", "shift"):
    bench.row(
        Row(f"cache hit ratio at 1 % capacity, {one}", "of requests", goal=1.0, bigger_is_better=True),
        ours=f"archstone_{one}", peers=[f"theine_{one}", f"moka_{one}"], beside=[f"lru_{one}", f"lfu_{one}"],
    )  # fmt: skip
bench.row(
    Row("cache time of a request, zipf", "us", goal=5.0),
    ours="archstone_time", peers=["theine_time"], beside=["moka_time", "lru_time", "lfu_time"],
)  # fmt: skip
bench.row(
    Row("cache loads of 1,000 misses at once", "loads", goal=1.0),
    ours="archstone_loads", peers=["moka_loads", "aiocache_loads", "cashews_loads", "cachebox_loads"],
)  # fmt: skip
bench.row(
    Row("cache waiters served of 999, the first cancelled", "callers", goal=1.0, bigger_is_better=True),
    ours="archstone_served", peers=["aiocache_served"], beside=["moka_served", "cashews_served", "cachebox_served"],
)  # fmt: skip
bench.row(Row("cache bytes of an entry", "bytes", goal=0.33), ours="archstone_bytes", peers=["cachetools_bytes"])
bench.row(
    Row("cache hit on Redis, 50 callers", "calls/s", goal=1.0, bigger_is_better=True),
    ours="archstone_redis", peers=["aiocache_redis", "cashews_redis"],
)  # fmt: skip

if __name__ == "__main__":
    bench.main()
