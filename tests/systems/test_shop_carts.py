"""Carts: of guests and customers, merged at sign-in, emptied by orders, swept when forgotten."""

import base64
import hashlib
from pathlib import Path

import pytest
from wiring import RunningShop, eventually, running_shop

from archstone.context import Principal
from archstone.services import RequestInvalidError, periodic
from archstone.systems.shop.carts.contract import (
    Cart,
    CartFullError,
    Carts,
    CartsFullError,
    CartUnknownError,
)
from archstone.systems.shop.carts.service import KEEP_EMPTY_S, KEEP_S
from archstone.systems.shop.catalog.contract import Catalog, UnknownProductError
from archstone.systems.shop.values import Money

NO_CART = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")


def lines(cart: Cart) -> dict[str, int]:
    return {line.sku: line.quantity for line in cart.lines}


async def skus(shop: RunningShop, count: int) -> list[str]:
    return [product.sku for product in (await shop.client(Catalog).products(limit=count)).items]


async def test_a_guest_fills_a_cart_and_sees_todays_prices(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        carts = shop.client(Carts)
        name = (await carts.open()).cart
        assert (await carts.cart(name)).lines == ()
        await carts.put(name, "KIT-001", 1)
        size = await carts.put(name, "KIT-002", 3)
        assert (size.lines, size.pieces) == (2, 4)
        await carts.put(name, "KIT-001", 2)
        cart = await carts.cart(name)
        assert lines(cart) == {"KIT-001": 2, "KIT-002": 3}
        prices = [line.product.price.times(line.quantity).amount for line in cart.lines if line.product]
        assert cart.total == Money(amount=sum(prices))
        await carts.put(name, "KIT-001", 0)
        assert lines(await carts.cart(name)) == {"KIT-002": 3}
        await carts.clear(name)
        assert (await carts.size(name)).pieces == 0


async def test_a_cart_that_was_never_opened_is_unknown_and_nobody_has_me(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        carts = shop.client(Carts)
        for cart in (NO_CART, "me"):
            with pytest.raises(CartUnknownError):
                await carts.cart(cart)
            with pytest.raises(CartUnknownError):
                await carts.put(cart, "KIT-001", 1)
            with pytest.raises(CartUnknownError):
                await carts.clear(cart)
        assert await shop.database("carts").one(int, "SELECT count(*) FROM carts") == 0


async def test_the_name_of_a_guests_cart_is_not_in_the_file(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        name = (await shop.client(Carts).open()).cart
        kept = await shop.database("carts").all(str, "SELECT owner FROM carts")
        assert len(kept) == 1
        assert name not in kept[0]


async def test_quantities_end_at_99_and_products_at_50(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        carts = shop.client(Carts, as_=ann)
        wanted = await skus(shop, 51)
        for sku in wanted[:50]:
            await carts.put("me", sku, 99)
        with pytest.raises(CartFullError):
            await carts.put("me", wanted[50], 1)
        with pytest.raises(RequestInvalidError):
            await carts.put("me", wanted[0], 100)
        assert (await carts.size("me")).lines == 50
        await carts.put("me", wanted[0], 0)
        assert (await carts.put("me", wanted[50], 1)).lines == 50


async def test_only_what_is_for_sale_is_put_and_what_disappears_is_shown_as_gone(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        carts = shop.client(Carts, as_=ann)
        with pytest.raises(UnknownProductError):
            await carts.put("me", "NOT-THERE", 1)
        await carts.put("me", "KIT-001", 2)
        await shop.database("carts").execute(
            "INSERT INTO lines VALUES (:owner, 'GONE-1', 1, 0), (:owner, 'GONE-2', 3, 0)", owner=ann.id
        )
        cart = await carts.cart("me")
        assert [(line.sku, line.product is None) for line in cart.lines] == [
            ("GONE-1", True), ("GONE-2", True), ("KIT-001", False),
        ]  # fmt: skip
        assert cart.total is not None
        await carts.put("me", "GONE-1", 0)
        assert len((await carts.cart("me")).lines) == 2


async def test_a_customer_finds_the_same_cart_on_a_second_device(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        await shop.client(Carts, as_=ann).put("me", "KIT-001", 2)
        assert lines(await shop.client(Carts, as_=Principal(ann.id, ann.roles)).cart("me")) == {"KIT-001": 2}
        bob = await shop.register("bob@example.com")
        assert lines(await shop.client(Carts, as_=bob).cart("me")) == {}


async def test_merging_keeps_the_larger_quantity_and_can_be_repeated(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        carts = shop.client(Carts, as_=ann)
        guest = (await carts.open()).cart
        for cart, sku, quantity in (("me", "KIT-001", 5), ("me", "KIT-002", 1)):
            await carts.put(cart, sku, quantity)
        for sku, quantity in (("KIT-001", 2), ("KIT-002", 4), ("KIT-003", 7)):
            await carts.put(guest, sku, quantity)
        first = await carts.merge(guest)
        again = await carts.merge(guest)
        assert (first.lines, first.pieces, first.dropped) == (3, 16, ())
        assert again == first
        assert lines(await carts.cart("me")) == {"KIT-001": 5, "KIT-002": 4, "KIT-003": 7}
        with pytest.raises(CartUnknownError):
            await carts.cart(guest)
        assert await shop.database("carts").one(int, "SELECT carts FROM guests") == 0


async def test_merging_drops_and_names_what_finds_no_room(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        carts = shop.client(Carts, as_=ann)
        wanted = await skus(shop, 52)
        guest = (await carts.open()).cart
        for sku in wanted[:49]:
            await carts.put("me", sku, 1)
        for sku in (wanted[0], *wanted[49:52]):
            await carts.put(guest, sku, 2)
        merged = await carts.merge(guest)
        assert merged.lines == 50
        assert len(merged.dropped) == 2
        assert set(merged.dropped) < set(wanted[49:52])


@pytest.mark.both_databases
async def test_an_order_takes_out_what_it_holds_and_nothing_else(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        bob = await shop.register("bob@example.com")
        for who in (ann, bob):
            for sku, quantity in (("KIT-001", 2), ("KIT-002", 5), ("KIT-003", 1)):
                await shop.client(Carts, as_=who).put("me", sku, quantity)
        await shop.place(ann, ("KIT-001", 2), ("KIT-002", 3), ("KIT-004", 1))
        carts = shop.client(Carts, as_=ann)

        async def taken() -> bool:
            return lines(await carts.cart("me")) == {"KIT-002": 2, "KIT-003": 1}

        await eventually(taken)
        assert (await shop.client(Carts, as_=bob).size("me")).pieces == 8
        await shop.at_rest()


async def test_carts_of_guests_are_swept_by_age_and_empty_ones_sooner(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        carts, db = shop.client(Carts), shop.database("carts")
        ann = await shop.register("ann@example.com")
        await shop.client(Carts, as_=ann).put("me", "KIT-001", 1)
        full, empty, old = [(await carts.open()).cart for _ in range(3)]
        for name in (full, old):
            await carts.put(name, "KIT-001", 1)

        async def age(name: str, seconds: float) -> None:
            await db.execute(
                "UPDATE carts SET touched_at = touched_at - :us WHERE owner = :owner",
                us=round(seconds * 1_000_000), owner=owner_of(name),
            )  # fmt: skip

        for name, seconds in ((full, KEEP_EMPTY_S + 1), (empty, KEEP_EMPTY_S + 1), (old, KEEP_S + 1)):
            await age(name, seconds)
        await db.execute("UPDATE carts SET touched_at = 0 WHERE guest = 0")
        await sweep(shop)
        assert lines(await carts.cart(full)) == {"KIT-001": 1}
        for name in (empty, old):
            with pytest.raises(CartUnknownError):
                await carts.cart(name)
        assert (await shop.client(Carts, as_=ann).size("me")).pieces == 1
        assert await db.one(int, "SELECT carts FROM guests") == 1
        assert await db.one(int, "SELECT count(*) FROM lines") == 2


async def test_guests_get_no_more_carts_than_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archstone.systems.shop.carts.service.MAX_GUEST_CARTS", 2)
    async with running_shop(tmp_path) as shop:
        carts = shop.client(Carts)
        await carts.open()
        await carts.open()
        with pytest.raises(CartsFullError):
            await carts.open()
        ann = await shop.register("ann@example.com")
        assert (await shop.client(Carts, as_=ann).put("me", "KIT-001", 1)).pieces == 1


def owner_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


async def sweep(shop: RunningShop) -> None:
    for work in periodic(shop.dispatchers["carts"]):
        await work.once()
