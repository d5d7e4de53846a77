"""What a policy costs on a call that works, and how many checks a limiter makes, each beside what a user would pick."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.harness import Bench, Measured, Row, nanoseconds_per_call
from benchmarks.servers import Spent, valkey

bench = Bench(
    "resilience",
    shows="in time of the processor: the cost of a closed breaker, of a retry that need not retry, of four layers at "
    "once, of a check of a rate limit in memory; by the clock: checks on a Valkey server",
    hides="calls that fail, and what the peers do more or less: half of them have no window, no trial count, no "
    "budget. The server is on the same two cores, and answers faster than one across a network",
)


def plain() -> int:
    return 1


async def coroutine() -> int:
    return 1


def cost(function: Callable[[], object], quick: bool) -> float:
    """Return nanoseconds per call of a plain function."""

    def run(count: int) -> None:
        for _ in range(count):
            function()

    return nanoseconds_per_call(run, quick=quick)


def cost_async(function: Callable[[], Awaitable[object]], quick: bool) -> float:
    """Return nanoseconds per awaited call, one after another in one task."""
    return cost_made(lambda: function, quick)


def cost_made(make: Callable[[], Callable[[], Awaitable[object]]], quick: bool) -> float:
    """Return the same for a function that is made where a loop runs."""
    with asyncio.Runner() as runner:

        async def made() -> Callable[[], Awaitable[object]]:
            return make()

        function = runner.run(made())

        async def calls(count: int) -> None:
            for _ in range(count):
                await function()

        return nanoseconds_per_call(lambda count: runner.run(calls(count)), quick=quick)


@bench.contender()
def bare(quick: bool) -> float:
    return cost(plain, quick)


@bench.contender()
def bare_async(quick: bool) -> float:
    return cost_async(coroutine, quick)


# Breakers, closed.


@bench.contender("archstone")
def archstone_breaker(quick: bool) -> float:
    from archstone.resilience import Breaker

    return cost(Breaker(5)(plain), quick)


@bench.contender("archstone")
def archstone_breaker_async(quick: bool) -> float:
    from archstone.resilience import Breaker

    return cost_async(Breaker(5)(coroutine), quick)


@bench.contender("archstone")
def archstone_ratio_async(quick: bool) -> float:
    from archstone.resilience import Breaker, Ratio

    return cost_async(Breaker(Ratio(0.5, over_s=10.0))(coroutine), quick)


@bench.contender("circuitbreaker")
def circuitbreaker(quick: bool) -> float:
    from circuitbreaker import circuit

    return cost(circuit(failure_threshold=5)(plain), quick)


@bench.contender("circuitbreaker")
def circuitbreaker_async(quick: bool) -> float:
    from circuitbreaker import circuit

    return cost_async(circuit(failure_threshold=5)(coroutine), quick)


@bench.contender("pybreaker")
def pybreaker(quick: bool) -> float:
    from pybreaker import CircuitBreaker

    return cost(CircuitBreaker(fail_max=5)(plain), quick)


@bench.contender("aiobreaker")
def aiobreaker_async(quick: bool) -> float:
    from aiobreaker import CircuitBreaker

    return cost_async(CircuitBreaker(fail_max=5)(coroutine), quick)


@bench.contender("purgatory")
def purgatory_async(quick: bool) -> float:
    from purgatory import AsyncCircuitBreakerFactory

    return cost_async(AsyncCircuitBreakerFactory(default_threshold=5)("payments")(coroutine), quick)


@bench.contender("hyx")
def hyx_breaker_async(quick: bool) -> float:
    from hyx.circuitbreaker import consecutive_breaker

    return cost_async(consecutive_breaker(failure_threshold=5)(coroutine), quick)


# Retries that need not retry.


@bench.contender("archstone")
def archstone_retry(quick: bool) -> float:
    from archstone.resilience import Retry

    return cost(Retry(3)(plain), quick)


@bench.contender("archstone")
def archstone_retry_async(quick: bool) -> float:
    from archstone.resilience import Retry

    return cost_async(Retry(3)(coroutine), quick)


@bench.contender("archstone")
def archstone_retry_budget_async(quick: bool) -> float:
    from archstone.resilience import Retry

    return cost_async(Retry(3, budget_ratio=0.1)(coroutine), quick)


@bench.contender("tenacity")
def tenacity(quick: bool) -> float:
    from tenacity import retry, stop_after_attempt, wait_random_exponential

    return cost(retry(stop=stop_after_attempt(3), wait=wait_random_exponential())(plain), quick)


@bench.contender("tenacity")
def tenacity_async(quick: bool) -> float:
    from tenacity import retry, stop_after_attempt, wait_random_exponential

    return cost_async(retry(stop=stop_after_attempt(3), wait=wait_random_exponential())(coroutine), quick)


@bench.contender("stamina")
def stamina(quick: bool) -> float:
    from stamina import retry

    return cost(retry(on=ConnectionError, attempts=3)(plain), quick)


@bench.contender("stamina")
def stamina_async(quick: bool) -> float:
    from stamina import retry

    return cost_async(retry(on=ConnectionError, attempts=3)(coroutine), quick)


@bench.contender("hyx")
def hyx_retry_async(quick: bool) -> float:
    from hyx.retry import retry

    return cost_async(retry(on=ConnectionError, attempts=3)(coroutine), quick)


# A time-out, a retry, a breaker and a bulkhead at once.


@bench.contender("archstone")
def archstone_policy_async(quick: bool) -> float:
    from archstone.resilience import Breaker, Bulkhead, Policy, Retry, Timeout

    return cost_async(Policy(Timeout(2.0), Retry(3), Breaker(5), Bulkhead(50))(coroutine), quick)


@bench.contender("hyx")
def hyx_stack_async(quick: bool) -> float:
    from hyx.bulkhead import bulkhead
    from hyx.circuitbreaker import consecutive_breaker
    from hyx.retry import retry
    from hyx.timeout import timeout

    def make() -> Callable[[], Awaitable[object]]:
        held = bulkhead(max_concurrency=50, max_capacity=100)(coroutine)
        guarded = consecutive_breaker(failure_threshold=5)(held)
        return timeout(2.0)(retry(on=ConnectionError, attempts=3)(guarded))

    return cost_made(make, quick)


@bench.contender("circuitbreaker", "hyx")
def picked_stack_async(quick: bool) -> float:
    """The quickest peer for each layer: asyncio's own time-out and semaphore, hyx, circuitbreaker."""
    from circuitbreaker import circuit
    from hyx.retry import retry

    places = asyncio.Semaphore(50)

    @retry(on=ConnectionError, attempts=3)
    @circuit(failure_threshold=5)
    async def held() -> int:
        async with places:
            return await coroutine()

    async def call() -> int:
        async with asyncio.timeout(2.0):
            return await held()

    return cost_async(call, quick)


# Rate limits, checks per second; nobody is refused.

PLENTY = 1_000_000_000


@bench.contender("archstone")
def archstone_limiter(quick: bool) -> float:
    from archstone.resilience import RateLimit

    limiter = RateLimit(PLENTY, burst=PLENTY).bind("api")
    return 1e9 / cost(lambda: limiter.take("ann"), quick)


@bench.contender("archstone")
def archstone_window_limiter(quick: bool) -> float:
    from archstone.resilience import RateLimit

    limiter = RateLimit.sliding_window(PLENTY, seconds=60).bind("api")
    return 1e9 / cost(lambda: limiter.take("ann"), quick)


@bench.contender("limits")
def limits_memory(quick: bool) -> float:
    from limits import RateLimitItemPerSecond
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter

    limiter, item = FixedWindowRateLimiter(MemoryStorage()), RateLimitItemPerSecond(PLENTY)
    return 1e9 / cost(lambda: limiter.hit(item, "ann"), quick)


@bench.contender("pyrate-limiter")
def pyrate_memory(quick: bool) -> float:
    from pyrate_limiter import InMemoryBucket, Limiter, Rate

    limiter = Limiter(InMemoryBucket([Rate(PLENTY, 1000)]))
    return 1e9 / cost(lambda: limiter.try_acquire("ann"), quick)


@bench.contender("throttled-py")
def throttled_memory(quick: bool) -> float:
    from throttled import MemoryStore, RateLimiterType, Throttled, per_sec

    quota = per_sec(PLENTY, burst=PLENTY)
    limiter = Throttled(using=RateLimiterType.GCRA.value, quota=quota, store=MemoryStore())
    return 1e9 / cost(lambda: limiter.limit("ann"), quick)


async def checks_per_second(check: Callable[[str], Awaitable[object]], quick: bool) -> tuple[float, int]:
    """Let 50 callers check one key each, again and again. Return the best rate of three times, and all checks made."""
    wanted_s, best, made = (0.4 if quick else 2.0), 0.0, 0

    async def caller(number: int, until_s: float) -> int:
        done = 0
        while time.perf_counter() < until_s:
            await check(f"key{number}")
            done += 1
        return done

    for _ in range(3):
        began_s = time.perf_counter()
        done = sum(await asyncio.gather(*[caller(number, began_s + wanted_s) for number in range(50)]))
        best = max(best, done / (time.perf_counter() - began_s))
        made += done
    return best, made


def on_valkey(main: Callable[[str, Callable[..., Awaitable[Measured]]], Awaitable[Measured]], quick: bool) -> Measured:
    """Run `main` with the URL of a server, and what measures a check."""
    with valkey() as server:

        async def measured(check: Callable[[str], Awaitable[object]]) -> Measured:
            await asyncio.gather(*[check(f"key{number}") for number in range(50)])
            spent = Spent(server)
            best, made = await checks_per_second(check, quick)
            return Measured(best, spent.each(made))

        return asyncio.run(main(server.url, measured))


@bench.contender("archstone", "redis")
def archstone_redis(quick: bool) -> Measured:
    from archstone.resilience import RateLimit, SharedState

    async def main(url: str, measured: Callable[..., Awaitable[Measured]]) -> Measured:
        async with SharedState(url, timeout_s=10.0) as shared:
            limiter = RateLimit(1e6, burst=1e6).bind("api", store=shared, without_store="refuse")
            return await measured(limiter.take)

    return on_valkey(main, quick)


@bench.contender("limits", "redis")
def limits_redis(quick: bool) -> Measured:
    from limits import RateLimitItemPerSecond
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import FixedWindowRateLimiter

    async def main(url: str, measured: Callable[..., Awaitable[Measured]]) -> Measured:
        limiter = FixedWindowRateLimiter(RedisStorage(f"async+{url}", implementation="redispy"))
        item = RateLimitItemPerSecond(PLENTY)
        return await measured(lambda key: limiter.hit(item, key))

    return on_valkey(main, quick)


@bench.contender("throttled-py", "redis")
def throttled_redis(quick: bool) -> Measured:
    from throttled import per_sec
    from throttled.asyncio import RateLimiterType, RedisStore, Throttled

    async def main(url: str, measured: Callable[..., Awaitable[Measured]]) -> Measured:
        quota = per_sec(1_000_000, burst=1_000_000)
        limiter = Throttled(using=RateLimiterType.GCRA.value, quota=quota, store=RedisStore(server=url))
        return await measured(limiter.limit)

    return on_valkey(main, quick)


@bench.contender("archstone")
def archstone_sqlite(quick: bool) -> float:
    from archstone.resilience import RateLimit, SharedState
    from benchmarks.harness import room

    async def main() -> float:
        async with SharedState(f"sqlite:///{room()}/shared.db", timeout_s=10.0) as shared:
            limiter = RateLimit(1e6, burst=1e6).bind("api", store=shared, without_store="refuse")
            return (await checks_per_second(limiter.take, quick))[0]

    return asyncio.run(main())


bench.row(
    Row("breaker sync", "ns/call", goal=3.0),
    ours="archstone_breaker",
    peers=["circuitbreaker", "pybreaker"],
    beside=["bare"],
)
bench.row(
    Row("breaker async", "ns/call", goal=2.0),
    ours="archstone_breaker_async",
    peers=["circuitbreaker_async", "aiobreaker_async", "purgatory_async", "hyx_breaker_async"],
    beside=["bare_async", "archstone_ratio_async"],
)
bench.row(Row("retry sync", "ns/call", goal=40.0), ours="archstone_retry", peers=["tenacity", "stamina"])
bench.row(
    Row("retry async", "ns/call", goal=3.0),
    ours="archstone_retry_async",
    peers=["hyx_retry_async"],
    beside=["archstone_retry_budget_async"],
)
bench.row(
    Row("retry async, tenacity and stamina", "ns/call", goal=40.0),
    ours="archstone_retry_async",
    peers=["tenacity_async", "stamina_async"],
)
bench.row(
    Row("policy of four async", "ns/call", goal=3.0),
    ours="archstone_policy_async",
    peers=["hyx_stack_async", "picked_stack_async"],
)
bench.row(
    Row("limiter in memory", "checks/s", goal=5.0, bigger_is_better=True),
    ours="archstone_limiter",
    peers=["limits_memory", "pyrate_memory", "throttled_memory"],
    beside=["archstone_window_limiter"],
)
bench.row(
    Row("limiter on Redis, 50 callers", "checks/s", goal=5.0, bigger_is_better=True),
    ours="archstone_redis",
    peers=["limits_redis", "throttled_redis"],
    beside=["archstone_sqlite"],
)

if __name__ == "__main__":
    bench.main()
