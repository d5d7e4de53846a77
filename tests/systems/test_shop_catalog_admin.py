"""Products in the hands of administrators: seen and found at once, never over one another's work, gone when retired."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from shop_database import faults_in, index_is_whole
from wiring import RunningShop, keyed, running_shop

from archstone.context import Principal
from archstone.services import ForbiddenError
from archstone.systems.shop.carts.contract import Carts
from archstone.systems.shop.catalog.administration import (
    CatalogAdmin,
    Price,
    ProductEdition,
    ProductExistsError,
    ProductMovedOnError,
    UnknownCategoryError,
)
from archstone.systems.shop.catalog.contract import Catalog, UnknownProductError
from archstone.systems.shop.catalog.importing import CatalogImport, ImportBusyError, LoadedProduct
from archstone.systems.shop.inventory.contract import Inventory
from archstone.systems.shop.orders.contract import Orders

ADMIN = Principal("a" * 32, frozenset({"admin"}))
LAMP = {
    "name": "Tern reading lamp",
    "category": "desk",
    "price": Price(amount=4900),
    "description": "Bends to the page.",
}


async def create(shop: RunningShop, sku: str = "LAM-001", **changes: Any) -> ProductEdition:
    with keyed(f"create-{sku}"):
        return await shop.client(CatalogAdmin, as_=ADMIN).create(sku, **{**LAMP, **changes})


async def update(shop: RunningShop, sku: str, version: int, **changes: Any) -> ProductEdition:
    return await shop.client(CatalogAdmin, as_=ADMIN).update(sku, version, **{**LAMP, **changes})


async def found(shop: RunningShop, text: str) -> list[str]:
    return [product.sku for product in (await shop.client(Catalog).products(search=text)).items]


async def shelf(shop: RunningShop) -> dict[str, int]:
    return {each.id: each.products for each in (await shop.client(Catalog).categories()).items}


@pytest.mark.both_databases
async def test_a_new_product_is_seen_found_stocked_and_sold(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        made = await create(shop, pieces=7)
        assert (made.product.name, made.product.price.amount, made.retired) == ("Tern reading lamp", 4900, False)
        assert await shop.client(Catalog).product("LAM-001") == made.product
        assert await found(shop, "tern lamp") == ["LAM-001"]
        assert await found(shop, "tern laml") == ["LAM-001"]  # spelt nearly
        assert (await shelf(shop))["desk"] == 11
        page = await shop.client(Catalog).products(limit=100)
        assert (await shop.client(Catalog).products(limit=100, cursor=page.next_cursor)).items == (made.product,)
        await shop.at_rest()
        assert (await shop.client(Inventory).stock("LAM-001")).free == 7
        ann = await shop.register("ann@example.com")
        assert (await shop.ended(ann, await shop.place(ann, ("LAM-001", 2)))).status == "confirmed"
        await shop.at_rest()
        await index_is_whole(shop.database("catalog"))
    assert faults_in(tmp_path) == []


async def test_a_product_is_changed_and_orders_keep_their_price(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        old = await shop.client(CatalogAdmin, as_=ADMIN).edition("KIT-001")
        order_id = await shop.place(ann, ("KIT-001", 1))
        new = await update(shop, "KIT-001", old.version, name="Alder wok", category="garden", price=Price(amount=1))
        assert new.version != old.version
        assert await shop.client(Catalog).product("KIT-001") == new.product
        assert (await found(shop, "wok"))[0] == "KIT-001"
        assert "KIT-001" not in await found(shop, "cast iron")
        counts = await shelf(shop)
        assert (counts["kitchen"], counts["garden"]) == (9, 11)
        first = (await shop.client(Catalog).products(limit=1)).items[0]
        assert first.sku == "KIT-001"  # it keeps its place
        assert (await shop.ended(ann, order_id)).total.amount == 3990
        again = await update(shop, "KIT-001", new.version, name="Alder wok", category="garden", price=Price(amount=1))
        assert again == new  # nothing changed, so nothing happened
        for number in range(3):
            new = await update(shop, "KIT-001", new.version, name=f"Wok {number}")
        rows = "SELECT count(*) FROM products WHERE sku = 'KIT-001'"
        assert await shop.database("catalog").one(int, rows) == 2
        await index_is_whole(shop.database("catalog"))
        await shop.at_rest()
    assert faults_in(tmp_path) == []


async def test_two_administrators_cannot_overwrite_each_other(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        version = (await shop.client(CatalogAdmin, as_=ADMIN).edition("KIT-001")).version
        outcomes = await asyncio.gather(
            *(update(shop, "KIT-001", version, name=f"Pan {n}") for n in range(5)), return_exceptions=True
        )
        [won] = [each for each in outcomes if isinstance(each, ProductEdition)]
        lost = [each for each in outcomes if isinstance(each, ProductMovedOnError)]
        assert len(lost) == 4
        assert {each.current for each in lost} == {won}
        with pytest.raises(ProductMovedOnError):
            await shop.client(CatalogAdmin, as_=ADMIN).retire("KIT-001", version)
        assert (await shop.client(CatalogAdmin, as_=ADMIN).edition("KIT-001")) == won


async def test_a_retired_product_is_gone_everywhere_until_it_is_put_back(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        carts, catalog, admin = shop.client(Carts, as_=ann), shop.client(Catalog), shop.client(CatalogAdmin, as_=ADMIN)
        await carts.put("me", "KIT-001", 1)
        before = (await catalog.product("KIT-002")), (await shelf(shop))["kitchen"]
        gone = await admin.retire("KIT-001", (await admin.edition("KIT-001")).version)
        assert gone.retired
        assert await admin.retire("KIT-001", gone.version) == gone
        assert await found(shop, "cast iron pan") == []
        assert "KIT-001" not in {each.sku for each in (await catalog.products(category="kitchen")).items}
        assert "KIT-001" not in {each.sku for each in (await catalog.recommendations("KIT-002")).items}
        with pytest.raises(UnknownProductError):
            await catalog.product("KIT-001")
        with pytest.raises(UnknownProductError):
            await shop.place(ann, ("KIT-001", 1))
        [line] = (await carts.cart("me")).lines
        assert (line.sku, line.product) == ("KIT-001", None)
        assert (await catalog.product("KIT-002"), (await shelf(shop))["kitchen"]) == (before[0], before[1] - 1)
        assert [each.product.sku for each in (await admin.retired()).items] == ["KIT-001"]
        with pytest.raises(ProductExistsError):
            await create(shop, "KIT-001")
        changed = await update(shop, "KIT-001", gone.version, name="Old pan", category="garden")
        assert changed.retired
        assert await found(shop, "old pan") == []
        back = await admin.retire("KIT-001", changed.version, retired=False)
        assert await found(shop, "old pan") == ["KIT-001"]
        assert not back.retired
        assert (await shelf(shop))["garden"] == 11
        assert (await admin.retired()).items == ()
        await index_is_whole(shop.database("catalog"))


async def test_every_edit_is_told_newest_first(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        admin = shop.client(CatalogAdmin, as_=ADMIN)
        made = await create(shop)
        made = await update(shop, "LAM-001", made.version, price=Price(amount=4500), name="Tern lamp")
        made = await admin.retire("LAM-001", made.version)
        await admin.retire("LAM-001", made.version, retired=False)
        told = await admin.product_changes("LAM-001")
        assert [each.what for each in told.items] == ["restored", "retired", "updated", "created"]
        assert [(each.field, each.before, each.after) for each in told.items[2].fields] == [
            ("name", "Tern reading lamp", "Tern lamp"), ("price", "49.00 EUR", "45.00 EUR"),
        ]  # fmt: skip
        assert {each.by for each in told.items} == {ADMIN.id}
        page = await admin.product_changes("LAM-001", limit=3)
        assert (await admin.product_changes("LAM-001", cursor=page.next_cursor)).items == told.items[3:]
        with pytest.raises(UnknownProductError):
            await admin.product_changes("NOT-001")


async def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        admin = shop.client(CatalogAdmin, as_=ADMIN)
        with pytest.raises(UnknownCategoryError):
            await create(shop, category="lamps")
        with pytest.raises(ProductExistsError):
            await create(shop, "KIT-001")
        for call in (admin.edition("NOT-001"), admin.retire("NOT-001", 1), update(shop, "NOT-001", 1)):
            with pytest.raises(UnknownProductError):
                await call
        ann = await shop.register("ann@example.com")
        with pytest.raises(ForbiddenError), keyed("k"):
            await shop.client(CatalogAdmin, as_=ann).create("LAM-001", **LAMP)  # type: ignore[arg-type] - fields by name
        with pytest.raises(UnknownProductError):
            await shop.client(Catalog).product("LAM-001")
        made = await create(shop, "LAM-002", category="lamps", category_title="Lamps")
        assert (await shelf(shop))["lamps"] == 1
        assert made.product.category == "lamps"


def loaded(name: str, sku: str = "KIT-001") -> LoadedProduct:
    return LoadedProduct(
        sku=sku, name=name, category="kitchen", category_title="Kitchen", amount=3990, currency="EUR",
        description="", images=(), pieces=5,
    )  # fmt: skip


async def test_edits_and_imports_keep_out_of_each_others_way(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        admin, imports = shop.client(CatalogAdmin, as_=ADMIN), shop.client(CatalogImport, as_=ADMIN)
        edited = await admin.edition("KIT-001")
        number = (await imports.begin("file.csv")).number
        await imports.stage(number, (loaded("Imported pan"),))
        with pytest.raises(ImportBusyError):
            await update(shop, "KIT-001", edited.version, name="Edited pan")
        with pytest.raises(ImportBusyError):
            await create(shop)
        assert await admin.edition("KIT-001") == edited  # what is seen, not what is loaded
        while (await imports.finish(number, 1)).phase != "done":
            pass
        with pytest.raises(ProductMovedOnError) as caught:
            await update(shop, "KIT-001", edited.version, name="Edited pan")
        assert caught.value.current.product.name == "Imported pan"
        await update(shop, "KIT-001", caught.value.current.version, name="Edited pan", category="kitchen")
        assert await found(shop, "edited pan") == ["KIT-001"]
        assert (await shelf(shop))["kitchen"] == 10
        await index_is_whole(shop.database("catalog"))
        await shop.at_rest()
    assert faults_in(tmp_path) == []


async def test_an_import_does_not_put_a_retired_product_back(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        admin, imports = shop.client(CatalogAdmin, as_=ADMIN), shop.client(CatalogImport, as_=ADMIN)
        await admin.retire("KIT-001", (await admin.edition("KIT-001")).version)
        number = (await imports.begin("file.csv")).number
        await imports.stage(number, (loaded("Imported pan"), loaded("New thing", "NEW-001")))
        while (await imports.finish(number, 2)).phase != "done":
            pass
        assert await found(shop, "imported pan") == []
        assert await found(shop, "new thing") == ["NEW-001"]
        assert (await shelf(shop))["kitchen"] == 10
        edition = await admin.edition("KIT-001")
        assert (edition.retired, edition.product.name) == (True, "Imported pan")
        await index_is_whole(shop.database("catalog"))
        await shop.at_rest()


async def test_an_order_that_is_placed_before_its_product_is_retired_is_carried_out(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 1))
        admin = shop.client(CatalogAdmin, as_=ADMIN)
        await admin.retire("KIT-001", (await admin.edition("KIT-001")).version)
        assert (await shop.ended(ann, order_id)).status == "confirmed"
        assert (await shop.client(Orders, as_=ann).order(order_id)).lines[0].sku == "KIT-001"
        await shop.at_rest()
    assert faults_in(tmp_path) == []
