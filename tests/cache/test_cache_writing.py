"""Write-through, invalidation by event, and warming."""

import asyncio
import random

import pytest

from archstone.cache import Cache, CacheConfigError, KeyTemplateError, invalidates, warm
from archstone.data import Event
from archstone.messaging import Bus
from archstone.messaging.testing import envelope


class PriceChanged(Event, name="cachetest.price-changed", version=1, key="sku"):
    sku: str


class StockMoved(Event, name="cachetest.stock-moved", version=1, key="sku"):
    sku: str


async def test_a_value_written_through_is_saved_first_and_then_read_from_the_cache():
    saved = []
    async with Cache() as cache:

        async def save(value: str) -> None:
            assert await cache.get("k", str) is None
            saved.append(value)

        await cache.write_through("k", "v1", save, tags=["t"])
        assert saved == ["v1"]
        assert await cache.get("k", str) == "v1"
        await cache.invalidate(tag="t")
        assert await cache.get("k", str) is None


async def test_a_failed_save_leaves_nothing_since_it_may_have_taken_effect():
    async with Cache() as cache:

        async def save(value: str) -> None:
            raise OSError

        await cache.set("k", "old")
        with pytest.raises(OSError):
            await cache.write_through("k", "new", save)
        assert await cache.get("k", str) is None


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_writes_through_at_once_the_cache_never_has_what_the_origin_has_not(seed):
    origin: dict[str, str] = {}
    chance = random.Random(seed)
    async with Cache() as cache:

        async def save(value: str) -> None:
            await asyncio.sleep(chance.random())
            origin["k"] = value
            await asyncio.sleep(chance.random())

        async def load() -> str:
            value = origin.get("k", "")
            await asyncio.sleep(chance.random())
            return value

        async def write(number: int) -> None:
            await asyncio.sleep(chance.random())
            await cache.write_through("k", f"v{number}", save)

        async def read() -> None:
            await asyncio.sleep(2 * chance.random())
            await cache.load("k", load, str)

        await asyncio.gather(*(write(number) for number in range(3)), *(read() for _ in range(3)))
        assert await cache.get("k", str) in {None, origin["k"]}


async def test_a_load_under_way_does_not_bring_back_what_was_before_a_write():
    async with Cache() as cache:

        async def load() -> str:
            await asyncio.sleep(1)
            return "old"

        async def save(value: str) -> None:
            await asyncio.sleep(0.1)

        loading = asyncio.create_task(cache.load("k", load, str))
        await asyncio.sleep(0.5)
        await cache.write_through("k", "new", save)
        await loading
        assert await cache.get("k", str) in {None, "new"}


async def test_an_event_invalidates_in_one_line():
    loads = []
    async with Bus("memory:") as bus, Cache() as products:

        @products.aside("product:{sku}", tags=["product:{sku}"])
        async def product(sku: str) -> str:
            loads.append(sku)
            return sku

        bus.subscribe("cachetest", "product-cache", invalidates(products, {PriceChanged: ["product:{sku}"]}))
        await bus.start()
        await product("a:1")
        await product("b")
        for event in (PriceChanged(sku="a:1"), StockMoved(sku="b")):
            sent = envelope("cachetest")
            payload = event.encode()
            await bus.send(sent._replace(name=event.event_name, version=1, payload=payload))
        await asyncio.sleep(1)
        await product("a:1")
        await product("b")
        assert loads == ["a:1", "b", "a:1"]


async def test_an_event_that_makes_several_values_wrong_says_which():
    heard = invalidates(Cache(), {PriceChanged: lambda event: (f"product:{sku}" for sku in event.sku.split(","))})
    sent = envelope("cachetest")
    both = sent._replace(name=PriceChanged.event_name, version=1, payload=PriceChanged(sku="a,b").encode())
    other = sent._replace(name=StockMoved.event_name, version=1, payload=StockMoved(sku="a").encode())
    assert (heard.tags(both), heard.tags(other)) == (["product:a", "product:b"], [])
    await heard(other)  # nothing to tell a cache that is not open


def test_a_tag_of_an_event_names_its_fields():
    with pytest.raises(KeyTemplateError, match=r"\{id\} is no field of PriceChanged"):
        invalidates(Cache(), {PriceChanged: ["product:{id}"]})


async def test_warming_loads_so_many_at_once_tells_how_far_it_is_and_goes_on_after_failures():
    now = most = 0
    told = []
    async with Cache() as cache:

        @cache.aside("n:{number}")
        async def read(number: int) -> int:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(1)
            now -= 1
            if number == 3:
                raise OSError("three")
            return number

        await read(1)
        done = await warm(read, ((n,) for n in range(9)), at_once=4, progress=told.append)
        assert (done.done, done.failed, str(done.last_error), most) == (8, 1, "three", 4)
        assert done.took_s == pytest.approx(2.0)
        assert [each.done + each.failed for each in told] == list(range(1, 10))
        assert cache.statistics().entries == 8
    with pytest.raises(CacheConfigError, match="at_once=0"):
        await warm(read, [], at_once=0)
