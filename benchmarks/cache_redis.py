"""A hit through Redis, 50 callers at once, each through its decorator."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from benchmarks.harness import Bench, Measured, Row
from benchmarks.servers import Spent, valkey

bench = Bench(
    "cache_redis",
    shows="hits of a cache on a Valkey server, 50 callers at once",
    hides="a network: the server is on the same two cores; loads, large values, several processes",
)


async def hits_per_second(read: Callable[[int], Awaitable[object]], server, quick: bool) -> Measured:
    for key in range(100):
        await read(key)
    wanted_s, done, spent = (0.3 if quick else 2.0), 0, Spent(server)
    begun = time.perf_counter()

    async def caller(first: int) -> None:
        nonlocal done
        for key in itertools.count(first):
            await read(key % 100)
            done += 1
            if time.perf_counter() - begun > wanted_s:
                return

    await asyncio.gather(*(caller(number) for number in range(50)))
    took = time.perf_counter() - begun
    return Measured(done / took, spent.each(done))


@bench.contender("archstone", "redis")
def archstone_redis(quick: bool) -> Measured:
    from archstone.cache import Cache

    async def run(server) -> Measured:
        async with Cache(server.url) as cache:

            @cache.aside("user:{user_id}", tags=["users"])
            async def read(user_id: int) -> str:
                return f"value {user_id}"

            return await hits_per_second(read, server, quick)

    with valkey() as server:
        return asyncio.run(run(server))


@bench.contender("aiocache", "redis")
def aiocache_redis(quick: bool) -> Measured:
    import aiocache
    from aiocache.serializers import JsonSerializer

    async def run(server) -> Measured:
        @aiocache.cached(
            ttl=300, cache=aiocache.Cache.REDIS, endpoint="127.0.0.1", port=server.port, serializer=JsonSerializer(),
            key_builder=lambda function, user_id: f"user:{user_id}",
        )  # fmt: skip
        async def read(user_id: int) -> str:
            return f"value {user_id}"

        return await hits_per_second(read, server, quick)

    with valkey() as server:
        return asyncio.run(run(server))


@bench.contender("cashews", "redis")
def cashews_redis(quick: bool) -> Measured:
    from cashews import Cache

    async def run(server) -> Measured:
        cache = Cache()
        cache.setup(server.url)

        @cache(ttl="5m", key="user:{user_id}")
        async def read(user_id: int) -> str:
            return f"value {user_id}"

        return await hits_per_second(read, server, quick)

    with valkey() as server:
        return asyncio.run(run(server))


bench.row(
    Row("cache hit on Redis, 50 callers", "calls/s", goal=1.0, bigger_is_better=True),
    ours="archstone_redis", peers=["aiocache_redis", "cashews_redis"],
)  # fmt: skip


if __name__ == "__main__":
    bench.main()
