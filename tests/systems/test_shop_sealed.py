"""Addresses of parcels are sealed: nothing of them is in the file of shipping, and what was there before moves over."""

import asyncio
from pathlib import Path

import pytest
from wiring import HOME, ROOTS, running_shop

from archstone import world
from archstone.data import Database
from archstone.security.encryption import BrokenSealError, DataKeys
from archstone.systems.shop.shipping import addresses

TEXTS = (HOME.name, HOME.street, HOME.city)


async def opened(data: Path) -> tuple[Database, DataKeys]:
    db = await Database(f"sqlite:///{data / 'datakeys.db'}").__aenter__()
    return db, DataKeys(db, ROOTS)


async def address(data: Path, order: str, stored: bytes):
    db, keys = await opened(data)
    try:
        return await addresses.address_of(keys, order, stored)
    finally:
        await db.__aexit__(None, None, None)


async def test_the_address_of_a_parcel_is_sealed_for_its_order(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order = await shop.place(ann, ("KIT-001", 1))
        await shop.ended(ann, order)
        ((text, stored),) = await shop.database("shipping").all(
            tuple[str, bytes], "SELECT address, sealed FROM shipments WHERE order_id = :order", order=order
        )
        dump = await shop.database("shipping").all(dict, "SELECT * FROM shipments")
    assert text == ""
    assert [part for part in TEXTS if part in str(dump)] == []
    assert await address(tmp_path, order, stored) == HOME
    with pytest.raises(BrokenSealError):
        await address(tmp_path, world.new_id(), stored)


async def test_a_parcel_that_was_given_up_before_it_was_made_out_has_none(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order = await shop.place(ann, ("KIT-001", 1), token="tok_declined")
        await shop.ended(ann, order)
        await shop.at_rest()
        assert await shop.database("shipping").all(bytes, "SELECT sealed FROM shipments WHERE sealed IS NOT NULL") == []


async def test_addresses_of_an_older_release_are_sealed_in_the_background(tmp_path: Path) -> None:
    old = {f"{number:032}": f"A{number} Street" for number in range(addresses.OLD_LIMIT + 5)}
    async with running_shop(tmp_path) as shop:
        await shop.database("shipping").many(
            "INSERT INTO shipments (order_id, state, address, moved_at) VALUES (:id, 'delivered', :address, 1)",
            [{"id": order, "address": in_the_clear(street)} for order, street in old.items()],
        )
        await asyncio.sleep(61)
        left = await shop.database("shipping").one(int, "SELECT count(*) FROM shipments WHERE address <> ''")
        assert left == 5
        await asyncio.sleep(60)
        rows = await shop.database("shipping").all(
            tuple[str, str, bytes], "SELECT order_id, address, sealed FROM shipments"
        )
        found = {order: (text, await address_in(shop, order, stored)) for order, text, stored in rows}
    assert found == {order: ("", street) for order, street in old.items()}


def in_the_clear(street: str) -> str:
    return HOME.model_copy(update={"street": street}).model_dump_json()


async def address_in(shop, order: str, stored: bytes) -> str:
    keys = shop.dispatchers["shipping"].service.keys
    return (await addresses.address_of(keys, order, stored)).street
