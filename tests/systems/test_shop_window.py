"""What is only looked at is read once and shown often; what changes it is seen at once, and nothing sells by it."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import pytest
from pages_browser import ADDRESS, Browser, an_admin, filled, registered
from test_shop_catalog_admin import ADMIN, create, found, shelf, update
from wiring import RunningShop, keyed, running, running_shop

from archstone import world
from archstone.cache import Cache, CacheStoreError
from archstone.cache.stores.memory import MemoryStore
from archstone.data import Database
from archstone.runtime import Embedded
from archstone.systems.shop.catalog.administration import CatalogAdmin, Price
from archstone.systems.shop.catalog.contract import Catalog, Product, UnknownProductError
from archstone.systems.shop.catalog.events import ProductChanged
from archstone.systems.shop.catalog.importing import CatalogImport, LoadedProduct
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.inventory.administration import StockAdmin
from archstone.systems.shop.inventory.contract import Inventory
from archstone.systems.shop.system import shop as shop_system
from archstone.systems.shop.values import Money
from archstone.systems.shop.window import ALL, KEEP_S, WRONG, Window

SKU = "KIT-001"


def loads(window: Window) -> int:
    return window.cache.statistics().loaded


def window_of(run: Embedded) -> Window:
    return run.parts.provided[Window]


async def price_of(shop: RunningShop, sku: str = SKU) -> int:
    return (await shop.client(Catalog).product(sku)).price.amount


async def free_of(shop: RunningShop, sku: str = SKU) -> int:
    return (await shop.client(Inventory).stock(sku)).free


def loaded(sku: str, amount: int, pieces: int = 3) -> LoadedProduct:
    return LoadedProduct(
        sku=sku, name="Alder pan", category="kitchen", category_title="Kitchen", amount=amount, currency="EUR",
        description="From elsewhere.", images=(), pieces=pieces,
    )  # fmt: skip


async def import_of(shop: RunningShop, *rows: LoadedProduct) -> None:
    imports = shop.client(CatalogImport, as_=ADMIN)
    opened = await imports.begin("elsewhere.json")
    await imports.stage(opened.number, rows)
    while (await imports.finish(opened.number, len(rows))).phase != "done":
        pass


@pytest.mark.both_databases
async def test_a_product_asked_for_a_hundred_times_is_read_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        shown = [await catalog.product(SKU) for _ in range(100)]
        assert loads(shop.window) == 1
        assert shown == [shown[0]] * 100


@pytest.mark.both_databases
async def test_a_thousand_who_ask_at_once_make_one_read(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        shown = await asyncio.gather(*(catalog.product(SKU) for _ in range(1_000)))
        assert loads(shop.window) == 1
        assert len(set(shown)) == 1


async def test_the_pages_of_a_hundred_visitors_read_what_those_of_one_do(run: Embedded, ann: Browser) -> None:
    pages = (f"/p/{SKU}", "/", "/c/kitchen", "/search?q=pan")
    for page in pages:
        assert (await ann.get(page)).status == 200
    once = loads(window_of(run))
    for number in range(25):
        visitor = Browser(run.asgi, client=(f"10.0.0.{number}", 50_000))
        for page in pages:
            assert (await visitor.get(page)).status == 200
    assert loads(window_of(run)) == once


@pytest.mark.both_databases
async def test_who_has_changed_a_product_sees_it_everywhere_at_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        for _ in range(2):  # the second time from the window
            await price_of(shop)
            await found(shop, "tern lamp")
            before = await shelf(shop)
            await catalog.products(category="desk", limit=100)
        old = await shop.client(CatalogAdmin, as_=ADMIN).edition(SKU)
        new = await update(shop, SKU, old.version, price=Price(amount=4_711))
        assert await price_of(shop) == 4_711
        assert await found(shop, "tern lamp") == [SKU]
        assert await shelf(shop) == {**before, "kitchen": before["kitchen"] - 1, "desk": before["desk"] + 1}
        assert SKU in {each.sku for each in (await catalog.products(category="desk", limit=100)).items}
        await shop.client(CatalogAdmin, as_=ADMIN).retire(SKU, new.version)
        with pytest.raises(UnknownProductError):
            await catalog.product(SKU)
        assert await found(shop, "tern lamp") == []
        await create(shop, "LAM-002")
        assert await found(shop, "tern lamp") == ["LAM-002"]


async def test_an_administrator_sees_the_new_price_on_the_pages_that_follow(run: Embedded, ann: Browser) -> None:
    root = await an_admin(run)
    for browser in (ann, root):
        assert "€39.90" in (await browser.get(f"/p/{SKU}")).text
        assert "€39.90" in (await browser.get("/c/kitchen")).text
    page = await root.get(f"/admin/products/{SKU}")
    assert (await root.submit(page, f"/admin/products/{SKU}", price="47.11")).status == 303
    for browser in (ann, root):
        for path in (f"/p/{SKU}", "/c/kitchen", "/"):
            assert "€47.11" in (await browser.get(path)).text, path
        assert "€39.90" not in (await browser.get(f"/p/{SKU}")).text


@pytest.mark.both_databases
async def test_an_import_is_seen_with_its_switch_and_its_stock_when_that_is_booked(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        assert (await price_of(shop), await free_of(shop)) != (1_234, 3)
        await import_of(shop, loaded(SKU, 1_234), loaded("NEW-001", 99))
        assert (await price_of(shop), await price_of(shop, "NEW-001")) == (1_234, 99)
        await shop.at_rest()
        assert await free_of(shop, "NEW-001") == 3
        await import_of(shop, loaded("NEW-001", 99, pieces=9))
        await shop.at_rest()
        assert await free_of(shop, "NEW-001") == 9


@pytest.mark.both_databases
async def test_what_is_left_of_a_product_is_shown_as_it_is_sold_booked_and_put_right(
    tmp_path: Path, form: CheckoutForm
) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        before = await free_of(shop)
        await shop.ended(ann, await shop.place(ann, (SKU, 2)))
        assert await free_of(shop) == before - 2
        await shop.ended(ann, await shop.place(ann, (SKU, 1), token="tok_declined"))
        assert await free_of(shop) == before - 2
        with keyed("arrived"):
            await shop.client(Inventory, as_=ADMIN).restock(SKU, 5)
        assert await free_of(shop) == before + 3
        with keyed("counted"):
            await shop.client(StockAdmin, as_=ADMIN).correct(SKU, "broken", delta=-1)
        assert await free_of(shop) == before + 2
        stock = await shop.client(Inventory).stock(SKU)
        assert (await shop.client(Inventory).counted((SKU, "NOT-THERE"))) == (stock,)


@pytest.mark.both_databases
async def test_what_nobody_tells_of_is_wrong_for_half_a_minute_at_most(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        old = await price_of(shop)
        await shop.database("catalog").execute("UPDATE products SET amount = 7 WHERE sku = :sku", sku=SKU)
        assert await price_of(shop) == old
        await asyncio.sleep(KEEP_S)
        assert await price_of(shop) == 7


@pytest.mark.both_databases
async def test_another_process_shows_the_old_until_the_event_arrives(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop, Window(Cache("memory:", name="far")) as far:
        catalog = shop.client(Catalog)
        for topic in sorted({each.event_topic for each in WRONG}):
            shop.bus.subscribe(topic, "window-far", far.invalidation)
        await shop.bus.start()

        async def load() -> Product:
            [product] = await catalog.pick((SKU,))
            return product

        async def far_price() -> int:
            return (await far.shown(f"product:{SKU}", load, Product, tags=(f"product:{SKU}", ALL))).price.amount

        assert (await far_price(), loads(far)) == (3_990, 1)
        old = await shop.client(CatalogAdmin, as_=ADMIN).edition(SKU)
        await update(shop, SKU, old.version, price=Price(amount=4_711))
        while await far_price() != 4_711:
            await asyncio.sleep(0.01)
        assert loads(far) == 2
        await shop.at_rest()


async def poison(window: Window) -> None:
    """Put a price into the window that no product has."""
    cheap = Product(
        sku=SKU, name="Alder pan", category="kitchen", price=Money(amount=1), description="", picture="/pictures/x.svg"
    )
    await window.cache.set(f"product:{SKU}", cheap, tags=(f"product:{SKU}", ALL))


async def test_nothing_that_sells_looks_into_the_window(tmp_path: Path) -> None:
    async with running(shop_system, data=tmp_path) as run:
        ann = await registered(Browser(run.asgi))
        await ann.get(f"/p/{SKU}")
        await poison(window_of(run))
        assert "€0.01" in (await ann.get(f"/p/{SKU}")).text
        await filled(ann, (SKU, 2))
        cart, form = await ann.get("/cart"), await ann.get("/checkout")
        for page in (cart, form):
            assert ("€79.80" in page.text, "€0.0" in page.text) == (True, False)
        order = await ann.follow(await ann.submit(form, "/checkout", **ADDRESS))
        assert ("€79.80" in order.text, "€0.0" in order.text) == (True, False)


async def test_a_product_that_is_gone_cannot_be_put_into_a_cart_from_a_window_that_still_shows_it(
    run: Embedded, ann: Browser
) -> None:
    page = await ann.get(f"/p/{SKU}")
    await run.parts.services["catalog"].database.execute("UPDATE products SET retired = 1 WHERE sku = :sku", sku=SKU)
    assert (await ann.get(f"/p/{SKU}")).status == 200
    assert (await ann.submit(page, "/cart/lines", quantity="1")).to == "/cart?told=unknown"


class AwayStore(MemoryStore):
    """A store that can be told nothing while it is away."""

    away = False

    async def invalidate(self, *, keys: Collection[str] = (), tags: Collection[str] = ()) -> None:
        if self.away:
            raise CacheStoreError("shop", "invalidate")
        await super().invalidate(keys=keys, tags=tags)


async def test_while_the_cache_cannot_be_told_the_database_is_asked(tmp_path: Path) -> None:
    store = AwayStore()
    value = "old"

    async def load() -> str:
        return value

    async with (
        Database(f"sqlite:///{tmp_path / 'catalog.db'}") as db,
        Window(Cache(store, name="shop")) as window,
    ):
        window.watch(db)

        async def shown() -> str:
            return await window.shown(f"product:{SKU}", load, str, tags=(f"product:{SKU}",))

        assert await shown() == "old"
        store.away = True
        async with db.transaction() as tx:
            value = "new"
            tx.publish(ProductChanged(sku=SKU, at=world.now()))
        assert [await shown() for _ in range(3)] == ["new"] * 3
        await asyncio.sleep(20)
        store.away = False
        await asyncio.sleep(6)
        assert await shown() == "new"
        counted = loads(window)
        assert await shown() == "new"
        assert (loads(window), window.cache.statistics().hits > 0) == (counted, True)


async def test_a_change_that_is_rolled_back_takes_nothing_out(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await price_of(shop)
        with pytest.raises(RuntimeError, match="a bug"):
            async with shop.database("catalog").transaction() as tx:
                tx.publish(ProductChanged(sku=SKU, at=world.now()))
                raise RuntimeError("a bug")
        await price_of(shop)
        assert loads(shop.window) == 1


@pytest.mark.real_time
@pytest.mark.sqlite_only("about where the window is, not about the database")
async def test_the_window_may_be_on_a_server(tmp_path: Path, redis_url: str) -> None:
    pytest.importorskip("redis")
    async with running_shop(tmp_path, cache=f"{redis_url}?prefix=shop-{world.new_id()}") as shop:
        for _ in range(3):
            assert await price_of(shop) == 3_990
        assert loads(shop.window) == 1
        old = await shop.client(CatalogAdmin, as_=ADMIN).edition(SKU)
        await update(shop, SKU, old.version, price=Price(amount=4_711))
        assert await price_of(shop) == 4_711
