"""How long a search of the shop takes over 50,000 products, as people type: right, half, and wrong."""

import asyncio
import random
import statistics
import tempfile
import time

from benchmarks.harness import Bench, Measured, Row, room

bench = Bench(
    "search",
    shows="the slowest of a hundred searches over 50,000 products, through the contract, in one process; beside it the"
    " slowest of a hundred counts of what is found, and of a hundred sorted pages",
    hides="HTTP and the gateway, and other work on the same loop; words are drawn from 390, each in hundreds of names",
)

PRODUCTS = 50_000
BEGINNINGS = [first + second for first in "bcdfglmnpr" for second in "aeo"]
ENDINGS = [
    "lder", "rrow", "nter", "mber", "ndle", "ttle", "ssel", "pper", "rble", "nnet", "lton", "rset", "lvet",
]  # fmt: skip
WORDS = [beginning + ending for beginning in BEGINNINGS for ending in ENDINGS]


def products(chance):
    from archstone.systems.shop.catalog.importing import LoadedProduct

    for number in range(PRODUCTS):
        yield LoadedProduct(
            sku=f"G-{number}", name=" ".join(chance.choices(WORDS, k=4)).title(), category=f"shelf-{number % 40}",
            category_title=f"Shelf {number % 40}", amount=100 + number, currency="EUR",
            description=" ".join(chance.choices(WORDS, k=20)), images=(), pieces=5,
        )  # fmt: skip


def typed(chance):
    """One search: a word, two, a beginning, a common letter, a slip, nothing that is there."""
    word, other = chance.sample(WORDS, 2)
    at = chance.randrange(1, len(word) - 1)
    return chance.choice(
        [
            word,
            f"{word} {other}",
            f"{word} {other[:3]}",
            word[: chance.randrange(1, 4)],
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            f"{word[:at]}x{word[at:]} {other}",
            "nothing at all",
        ]
    )


async def timed(call) -> float:
    begun = time.perf_counter()
    await call
    return (time.perf_counter() - begun) * 1e3


async def measure(count: int) -> Measured:
    from pathlib import Path

    from archstone.context import Principal
    from archstone.runtime import running
    from archstone.systems.shop.catalog.contract import Catalog
    from archstone.systems.shop.catalog.importing import CatalogImport
    from archstone.systems.shop.importing.loading import load
    from archstone.systems.shop.system import shop

    chance = random.Random(7)
    with tempfile.TemporaryDirectory(dir=room()) as folder:
        async with running(shop, data=Path(folder) / "shop", encode=False) as run:
            operator = Principal("operator", frozenset({"admin"}))
            begun = time.perf_counter()
            await load(
                run.client(CatalogImport, as_=operator), products(chance), source="bench",
                progress=lambda *_: None, judge=lambda _: None,
            )  # fmt: skip
            imported_s = time.perf_counter() - begun
            await asyncio.sleep(2)
            catalog = run.client(Catalog)
            took: list[tuple[float, str]] = []
            for _ in range(count):
                text = typed(chance)
                begun = time.perf_counter()
                await catalog.products(search=text)
                took.append(((time.perf_counter() - begun) * 1e3, text))
            counts = [await timed(catalog.count(typed(chance))) for _ in range(count // 3)]
            ways = [(way, shelf) for way in ("price", "-price", "name") for shelf in (None, "shelf-7")]
            pages = [
                await timed(catalog.products(category=shelf, order=way, limit=24))
                for _ in range(count // 18)
                for way, shelf in ways
            ]
            statistics_of = run.parts.services["catalog"].database.statistics()
            times = sorted(each for each, _ in took)
            cuts = statistics.quantiles(times, n=100)
            slowest, text = max(took)
            return Measured(
                cuts[98],
                {
                    "p50": f"{cuts[49]:.2f}ms",
                    "max": f"{slowest:.1f}ms({text!r})",
                    "count_p99": f"{statistics.quantiles(counts, n=100)[98]:.2f}ms",
                    "sorted_p99": f"{statistics.quantiles(pages, n=100)[98]:.2f}ms",
                    "in_thread": getattr(statistics_of, "slow_reads", "?"),
                    "imported": f"{imported_s:.1f}s",
                },
            )


@bench.contender("archstone")
def archstone_search(quick: bool) -> Measured:
    return asyncio.run(measure(500 if quick else 3_000))


bench.row(Row("search at p99", "ms", goal=20.0), ours="archstone_search")

if __name__ == "__main__":
    bench.main()
