"""How often a small cache has what is asked for, and what a request costs: 100,000 keys, room for 1,000.

Popular as by Zipf (exponent 1). Contenders keep one value under each key they are asked for and do not have.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable

from benchmarks.harness import Bench, Measured, Row

bench = Bench(
    "cache_traces",
    shows="hit ratios of caches with room for a hundredth of the keys, and the processor's time of a request",
    hides="other traces: real ones differ; values that age, tags, and loads, which a miss would cost",
)

NAMES, ROOM = 100_000, 1_000


def trace(kind: str, quick: bool) -> list[str]:
    """Return keys in the order asked for: `zipf`; `scans`, a sixth of them never seen again; `shift`, another taste
    after each tenth."""
    chance = random.Random(7)
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(NAMES)))
    names = [f"user:{number}" for number in range(NAMES)]
    chance.shuffle(names)
    asked: list[str] = []
    fresh = map("scan:{}".format, itertools.count())
    for _ in range(10):
        if kind == "shift":
            chance.shuffle(names)
        for _ in range(5 if quick else 10):
            asked += chance.choices(names, cum_weights=weights, k=10_000)
            if kind == "scans":
                asked += itertools.islice(fresh, 2_000)
    return asked


Ask = Callable[[str], bool]
"""Asks for a key, keeps it if it is not there, and says whether it was."""


def ratio(make: Callable[[], Ask], kind: str, quick: bool) -> Measured:
    """Return the part of the trace that hit, and the microseconds of each request."""
    asked = trace(kind, quick)
    ask = make()
    begun = time.process_time()
    hits = sum(map(ask, asked))
    took = time.process_time() - begun
    return Measured(hits / len(asked), {"us_per_request": f"{took / len(asked) * 1e6:.2f}"})


def microseconds(make: Callable[[], Ask], quick: bool) -> float:
    """Return the microseconds of a request of the Zipf trace: the best of three caches, each empty at first."""
    asked, best = trace("zipf", quick), float("inf")
    for _ in range(3):
        ask = make()
        begun = time.process_time()
        for key in asked:
            ask(key)
        best = min(best, time.process_time() - begun)
    return best / len(asked) * 1e6


def ours_asked() -> Ask:
    from archstone.cache.codec import BYTES
    from archstone.cache.store import Write
    from archstone.cache.stores.memory import MemoryStore

    store = MemoryStore(max_entries=ROOM)
    asyncio.run(store.open())
    write = Write(b"value", BYTES)

    def ask(key: str) -> bool:
        if store.peek(key) is not None:
            return True
        store.put(key, write)
        return False

    return ask


def theine_asked() -> Ask:
    from theine import Cache

    cache = Cache(ROOM)

    def ask(key: str) -> bool:
        _, found = cache.get(key)
        if not found:
            cache.set(key, b"value")
        return found

    return ask


def mapping_asked(cache) -> Ask:
    def ask(key: str) -> bool:
        if cache.get(key) is not None:
            return True
        cache[key] = b"value"
        return False

    return ask


def lru_asked() -> Ask:
    import cachetools

    return mapping_asked(cachetools.LRUCache(ROOM))


def lfu_asked() -> Ask:
    import cachebox

    return mapping_asked(cachebox.LFUCache(ROOM))


def moka_asked() -> Ask:
    import moka_py

    cache = moka_py.Moka(ROOM)

    def ask(key: str) -> bool:
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
        return microseconds(make, quick)

    run.__name__ = f"{name}_time"
    bench.contender(distribution)(run)


for each in ASKED:
    register_time(each)
    for one in ("zipf", "scans", "shift"):
        register_ratio(each, one)


for one in ("zipf", "scans", "shift"):
    bench.row(
        Row(f"cache hit ratio at 1 % capacity, {one}", "of requests", goal=1.0, bigger_is_better=True),
        ours=f"archstone_{one}", peers=[f"theine_{one}", f"moka_{one}"], beside=[f"lru_{one}", f"lfu_{one}"],
    )  # fmt: skip
bench.row(
    Row("cache time of a request, zipf", "us", goal=5.0),
    ours="archstone_time", peers=["theine_time"], beside=["moka_time", "lru_time", "lfu_time"],
)  # fmt: skip

if __name__ == "__main__":
    bench.main()
