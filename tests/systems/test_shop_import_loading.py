"""An import is seen whole or not at all, twice is once, and stock follows, whatever was cut off."""

import asyncio
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from shop_database import faults_in, index_is_whole
from wiring import RunningShop, running_shop

from archstone.context import Principal
from archstone.services import ForbiddenError
from archstone.systems.shop.catalog import loading as catalog_loading
from archstone.systems.shop.catalog.contract import Catalog, UnknownProductError
from archstone.systems.shop.catalog.importing import (
    CatalogImport,
    ImportBusyError,
    ImportGoneError,
    ImportIncompleteError,
    LoadedProduct,
)
from archstone.systems.shop.importing.loading import BATCH, ImportRefusedError, Report, load
from archstone.systems.shop.importing.products import Fault
from archstone.systems.shop.inventory.contract import Inventory, UnknownStockError

OPERATOR = Principal("operator", frozenset({"admin"}))


def row(number: int, **changes: object) -> LoadedProduct:
    fields = {
        "sku": f"ROW-{number}", "name": f"Widget number{number}", "category": f"shelf-{number % 3}",
        "category_title": f"Shelf {number % 3}", "amount": 100 + number, "currency": "EUR",
        "description": "Plain.", "images": (f"https://a.example/{number}.png",), "pieces": number % 7, "line": number,
    }  # fmt: skip
    return LoadedProduct.model_validate({**fields, **changes})


def imports(shop: RunningShop) -> CatalogImport:
    return shop.client(CatalogImport, as_=OPERATOR)


async def bring(shop: RunningShop, found: Iterable[LoadedProduct | Fault]) -> Report:
    report = await load(imports(shop), found, source="t", progress=lambda *_: None, judge=lambda _: None)
    await shop.at_rest()
    return report


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.unchanged, report.faulty


async def everything(shop: RunningShop) -> list[tuple[str, str, int]]:
    """What a customer can see, page by page."""
    found, cursor = [], None
    while True:
        page = await shop.client(Catalog).products(limit=100, cursor=cursor)
        found += [(each.sku, each.name, each.price.amount) for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def indexed(shop: RunningShop) -> tuple[int, int]:
    """Rows of products, and rows that the search index knows."""
    db = shop.database("catalog")
    await index_is_whole(db)
    return await db.one(int, "SELECT count(*) FROM products"), await db.one(int, "SELECT count(*) FROM search")


@pytest.mark.both_databases
async def test_an_import_adds_products_categories_search_and_stock(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        report = await bring(shop, [*map(row, range(120)), Fault(7, "bad")])
        assert counts(report) == (120, 0, 0, 1)
        catalog = shop.client(Catalog)
        assert len(await everything(shop)) == 220
        product = await catalog.product("ROW-5")
        assert (product.price.amount, product.images) == (105, ("https://a.example/5.png",))
        assert [each.sku for each in (await catalog.products(search="number77")).items] == ["ROW-77"]
        shelves = {each.id: each.products for each in (await catalog.categories()).items}
        assert (shelves["shelf-0"], shelves["shelf-2"], shelves["kitchen"]) == (40, 40, 10)
        assert len((await catalog.products(category="shelf-1", limit=100)).items) == 40
        assert (await shop.client(Inventory).stock("ROW-6")).free == 6
    assert faults_in(tmp_path) == []


async def test_twice_is_once_and_what_changed_is_changed_in_its_place(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await bring(shop, map(row, range(120)))
        before = await everything(shop)
        assert counts(await bring(shop, map(row, range(120)))) == (0, 0, 120, 0)
        assert await everything(shop) == before
        changed = [row(number, amount=5, category="shelf-9", category_title="Nine") for number in range(60)]
        assert counts(await bring(shop, changed)) == (0, 60, 0, 0)
        after = await everything(shop)
        assert [sku for sku, _, _ in after] == [sku for sku, _, _ in before]
        assert {amount for sku, _, amount in after if sku.startswith("ROW") and int(sku[4:]) < 60} == {5}
        shelves = {each.id: (each.title, each.products) for each in (await shop.client(Catalog).categories()).items}
        assert (shelves["shelf-0"], shelves["shelf-9"]) == (("Shelf 0", 20), ("Nine", 60))
        assert "ROW-7" in {each.sku for each in (await shop.client(Catalog).products(search="number7")).items}
        rows = await indexed(shop)
        assert rows == (220, 220), "old versions are not taken out"
    assert faults_in(tmp_path) == []


@pytest.mark.both_databases
async def test_until_the_switch_nothing_is_seen(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await bring(shop, map(row, range(10)))
        before, catalog = await everything(shop), shop.client(Catalog)
        shelves = (await catalog.categories()).items
        opened = await imports(shop).begin("t")
        await imports(shop).stage(opened.number, tuple(row(n, name="Other", category="x1") for n in range(5, 60)))
        assert await everything(shop) == before
        assert (await catalog.categories()).items == shelves
        assert (await catalog.products(search="other")).items == ()
        assert [each.sku for each in (await catalog.products(search="number7")).items] == ["ROW-7"]
        with pytest.raises(UnknownProductError):
            await catalog.product("ROW-59")
        with pytest.raises(UnknownStockError):
            await shop.client(Inventory).stock("ROW-59")
        with pytest.raises(ImportIncompleteError):
            await imports(shop).finish(opened.number, 56)
        assert await everything(shop) == before
        assert (await imports(shop).finish(opened.number, 55)).phase == "announcing"
        assert len(await everything(shop)) == 160


@pytest.mark.parametrize("how", ["discarded", "silent"])
async def test_what_an_import_left_that_died_is_cleared_away(tmp_path: Path, how: str) -> None:
    async with running_shop(tmp_path) as shop:
        await bring(shop, map(row, range(30)))
        before = await everything(shop)
        opened = await imports(shop).begin("dead")
        for start in range(0, 300, 100):
            await imports(shop).stage(opened.number, tuple(row(n, name="Dead") for n in range(start, start + 100)))
        with pytest.raises(ImportBusyError, match="dead"):
            await imports(shop).begin("next")
        if how == "discarded":
            await imports(shop).discard(opened.number)
        else:
            await asyncio.sleep(31)
        assert counts(await bring(shop, [row(1)])) == (0, 0, 1, 0)
        assert await everything(shop) == before
        assert await indexed(shop) == (130, 130)
        with pytest.raises(ImportGoneError):
            await imports(shop).stage(opened.number, (row(1),))
        with pytest.raises(ImportGoneError):
            await imports(shop).finish(opened.number, 300)


async def test_a_dead_import_is_cleared_and_a_switched_one_told_without_anybody_asking(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        opened = await imports(shop).begin("t")
        for start in range(0, 500, 100):
            await imports(shop).stage(opened.number, tuple(map(row, range(start, start + 100))))
        assert (await imports(shop).finish(opened.number, 500)).phase == "announcing"  # and here the client dies
        await asyncio.sleep(30)
        await shop.at_rest()
        inventory = shop.client(Inventory)
        assert [(await inventory.stock(f"ROW-{n}")).free for n in (0, 250, 499)] == [0, 250 % 7, 499 % 7]
        opened = await imports(shop).begin("t")
        await imports(shop).stage(opened.number, tuple(row(n, name="Dead") for n in range(100)))
        await asyncio.sleep(60)
        assert await indexed(shop) == (600, 600)
    assert faults_in(tmp_path) == []


async def test_another_figure_is_booked_as_a_difference_and_what_is_sold_stays_sold(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        inventory = shop.client(Inventory)
        await bring(shop, [row(1, pieces=10), row(2, pieces=4)])
        ann = await shop.register("ann@example.com")
        await shop.ended(ann, await shop.place(ann, ("ROW-1", 3), ("ROW-2", 3)))
        await bring(shop, [row(1, pieces=10), row(2, pieces=4)])
        assert (await inventory.stock("ROW-1")).free == 7
        await bring(shop, [row(1, pieces=15), row(2, pieces=0)])
        assert [(await inventory.stock(f"ROW-{n}")).free for n in (1, 2)] == [12, 0]
        await bring(shop, [row(1, sku="KIT-001", pieces=79)])
        assert (await inventory.stock("KIT-001")).free == 79  # it began with 80
        await shop.at_rest()
    assert faults_in(tmp_path) == []


async def test_who_comes_while_another_import_is_silent_waits_until_it_counts_as_dead(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        opened = await imports(shop).begin("dead")
        await imports(shop).stage(opened.number, (row(9, name="Dead"),))
        told: list[str] = []
        report = await load(
            imports(shop), [row(1)], source="t", progress=lambda phase, _: told.append(phase), judge=lambda _: None
        )
        assert (counts(report), told.count("waiting") >= 9) == ((1, 0, 0, 0), True)
        assert len(await everything(shop)) == 101


async def test_a_judge_that_refuses_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        before = await everything(shop)

        def judge(report: Report) -> None:
            raise ImportRefusedError(f"{report.faulty} are faulty")

        found = [*map(row, range(BATCH + 7)), Fault(1, "bad")]
        with pytest.raises(ImportRefusedError, match="1 are faulty; nothing was imported"):
            await load(imports(shop), found, source="t", progress=lambda *_: None, judge=judge)
        with pytest.raises(ImportRefusedError, match="no product among 1"):
            await bring(shop, [Fault(1, "bad")])
        await asyncio.sleep(20)
        assert await everything(shop) == before
        assert await indexed(shop) == (100, 100)


async def test_only_an_operator_may_import(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        with pytest.raises(ForbiddenError):
            await shop.client(CatalogImport, as_=ann).begin("t")


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_imported_and_cut_off_the_shelf_is_that_of_the_last_switch(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with running_shop(tmp_path) as shop:
        model = {sku: (name, amount) for sku, name, amount in await everything(shop)}
        for _ in range(12):
            rows = [row(n, amount=chance.randrange(1, 9)) for n in chance.sample(range(150), chance.randrange(1, 120))]
            opened = await imports(shop).begin("t")
            while opened.phase != "ready":
                opened = await imports(shop).begin("t")
            for start in range(0, len(rows), 40):
                await imports(shop).stage(opened.number, tuple(rows[start : start + 40]))
            if chance.random() < 0.5:
                state = await imports(shop).finish(opened.number, len(rows))
                model |= {each.sku: (each.name, each.amount) for each in rows}
                for _ in range(chance.randrange(3)):
                    state = await imports(shop).finish(opened.number, len(rows))
                    if state.phase == "done":
                        break
            else:
                await imports(shop).discard(opened.number)
            assert {sku: (name, amount) for sku, name, amount in await everything(shop)} == model
        await asyncio.sleep(30)
        await shop.at_rest()
        assert await indexed(shop) == (len(model), len(model))
        shelves = (await shop.client(Catalog).categories()).items
        assert sum(each.products for each in shelves) == len(model)
    assert faults_in(tmp_path) == []
    assert catalog_loading.KEPT_IMPORTS > 12
