"""Stock for administrators: corrections with a trace, never below what is held, and lists in pages."""

import asyncio
from pathlib import Path

import pytest
from shop_database import faults_in
from wiring import SERVICE, RunningShop, keyed, running_shop

from archstone.context import Principal
from archstone.errors import ArchstoneError
from archstone.systems.shop.catalog.events import ImportedStock, StockImported
from archstone.systems.shop.inventory.administration import (
    CorrectedStock,
    CorrectionUnclearError,
    HeldStockError,
    StockAdmin,
)
from archstone.systems.shop.inventory.contract import Inventory, UnknownStockError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.values import Line

ADMIN = Principal("a" * 32, frozenset({"admin"}))
ORDER = "1" * 32


async def correct(shop: RunningShop, sku: str, key: str, **how: int) -> CorrectedStock:
    with keyed(key):
        return await shop.client(StockAdmin, as_=ADMIN).correct(sku, "counted on Monday", **how)


async def hold(shop: RunningShop, sku: str, pieces: int) -> None:
    await shop.client(Inventory, as_=SERVICE).reserve(ORDER, (Line(sku=sku, quantity=pieces),))


async def test_a_correction_changes_what_is_free_and_leaves_a_trace(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await hold(shop, "KIT-001", 10)
        made = await correct(shop, "KIT-001", "k1", delta=-5)
        assert (made.stock.free, made.stock.held, made.stock.initial, made.stock.corrected) == (65, 10, 80, -5)
        counted = await correct(shop, "KIT-001", "k2", counted=77)
        assert (counted.correction.delta, counted.stock.free, counted.stock.corrected) == (2, 67, -3)
        same = await correct(shop, "KIT-001", "k3", counted=77)
        assert (same.correction.delta, same.stock) == (0, counted.stock)
        listed = await shop.client(StockAdmin, as_=ADMIN).corrections("KIT-001")
        assert [each.delta for each in listed.items] == [0, 2, -5]
        assert {(each.by, each.reason) for each in listed.items} == {(ADMIN.id, "counted on Monday")}
        assert listed.items[-1] == made.correction
    assert faults_in(tmp_path) == []


async def test_the_same_key_corrects_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        first = await correct(shop, "KIT-001", "once", delta=3)
        assert await correct(shop, "KIT-001", "once", delta=3) == first
        assert (await shop.client(Inventory).stock("KIT-001")).free == 83


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"delta": -71}, HeldStockError),
        ({"counted": 9}, HeldStockError),
        ({}, CorrectionUnclearError),
        ({"delta": 1, "counted": 80}, CorrectionUnclearError),
        ({"delta": 0}, CorrectionUnclearError),
    ],
)
async def test_what_is_held_stays_and_an_unclear_correction_is_refused(
    tmp_path: Path, how: dict[str, int], error: type[ArchstoneError]
) -> None:
    async with running_shop(tmp_path) as shop:
        await hold(shop, "KIT-001", 10)
        with pytest.raises(error):
            await correct(shop, "KIT-001", "k", **how)
        stock = await shop.client(Inventory).stock("KIT-001")
        assert (stock.free, stock.held) == (70, 10)
        assert (await shop.client(StockAdmin, as_=ADMIN).corrections("KIT-001")).items == ()


async def test_exactly_what_is_free_can_be_taken_out(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await hold(shop, "KIT-001", 10)
        assert (await correct(shop, "KIT-001", "k", counted=10)).stock.free == 0
    assert faults_in(tmp_path) == []


async def test_a_product_that_is_not_known_has_no_corrections(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        with pytest.raises(UnknownStockError):
            await correct(shop, "NOT-001", "k", delta=1)
        with pytest.raises(UnknownStockError):
            await shop.client(StockAdmin, as_=ADMIN).corrections("NOT-001")


async def test_an_import_after_a_correction_keeps_the_books_in_order(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await correct(shop, "KIT-001", "k", delta=20)
        lines = (ImportedStock(sku="KIT-001", pieces=10),)
        async with shop.database("catalog").transaction() as tx:
            tx.publish(StockImported(source="catalog", number=1, lines=lines))
        await shop.at_rest()
        assert (await shop.client(Inventory).stock("KIT-001")).free == 30
    assert faults_in(tmp_path) == []


@pytest.mark.both_databases
async def test_stock_is_listed_by_sku_and_the_lowest_first(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        admin = shop.client(StockAdmin, as_=ADMIN)
        await correct(shop, "KIT-001", "a", counted=3)
        await correct(shop, "AUD-002", "b", counted=0)
        low = await admin.stocks(low=3)
        assert [(row.sku, row.free) for row in low.items] == [("AUD-002", 0), ("KIT-001", 3)]
        assert low.next_cursor is None
        assert [row.sku for row in (await admin.stocks(low=2)).items] == ["AUD-002"]
        seen: list[str] = []
        cursor = None
        while True:
            page = await admin.stocks(limit=33, cursor=cursor)
            seen += [row.sku for row in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == sorted(seen)
        assert len(seen) == 100
        first = await admin.stocks(low=50, limit=5)
        rest = await admin.stocks(low=50, limit=100, cursor=first.next_cursor)
        whole = await admin.stocks(low=50, limit=100)
        assert first.items + rest.items == whole.items
        with pytest.raises(BadCursorError):
            await admin.stocks(low=49, cursor=first.next_cursor)


async def test_corrections_come_newest_first_in_pages(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        for number in range(1, 6):
            await correct(shop, "KIT-001", f"k{number}", delta=number)
        admin = shop.client(StockAdmin, as_=ADMIN)
        first = await admin.corrections("KIT-001", limit=2)
        rest = await admin.corrections("KIT-001", limit=3, cursor=first.next_cursor)
        assert [each.delta for each in first.items + rest.items] == [5, 4, 3, 2, 1]
        assert rest.next_cursor is None


async def test_corrections_and_checkouts_at_once_never_go_below_what_is_held(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        placed = await asyncio.gather(*(shop.place(ann, ("KIT-001", 3)) for _ in range(10)))
        outcomes = await asyncio.gather(
            *(correct(shop, "KIT-001", f"k{n}", delta=-9) for n in range(10)), return_exceptions=True
        )
        assert all(isinstance(each, CorrectedStock | HeldStockError) for each in outcomes)
        for order_id in placed:
            await shop.ended(ann, order_id)
        await shop.at_rest()
    assert faults_in(tmp_path) == []
