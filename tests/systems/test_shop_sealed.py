"""Addresses of parcels are sealed: nothing of them is in the file of shipping, and what was there before moves over."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from wiring import HOME, ROOTS, running, running_shop

from archstone import world
from archstone.data import Database
from archstone.runtime import Settings
from archstone.security.encryption import BrokenSealError, DataKeys, RootKeyError, RootKeys
from archstone.systems.shop.shipping import addresses
from archstone.systems.shop.system import shop as the_shop

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


async def started(data: Path, **options: str) -> None:
    async with running(the_shop, data=data, settings=Settings(options=options)):
        pass


async def test_a_root_key_that_is_lost_is_told_with_its_file_and_none_is_made_in_its_place(tmp_path: Path) -> None:
    await started(tmp_path)
    file = tmp_path / "encryption.json"
    kept = file.read_bytes()
    file.unlink()
    with pytest.raises(RootKeyError, match=r"encryption\.json: there is no such file: restore it from its backup"):
        await started(tmp_path)
    assert not file.exists()
    RootKeys.from_file(file)  # of another installation
    with pytest.raises(RootKeyError, match=r"encryption\.json: root key \w{16}, .*, is not among them: put it back"):
        await started(tmp_path)
    file.write_bytes(kept)
    await started(tmp_path)


async def test_after_a_new_root_key_and_a_start_the_old_one_is_needed_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(tmp_path)
    file = tmp_path / "encryption.json"
    RootKeys.rotate_file(file)
    await started(tmp_path)
    new, _ = json.loads(file.read_text())["keys"]
    file.write_text(json.dumps({"keys": [new]}))
    await started(tmp_path)
    file.unlink()
    monkeypatch.setenv("ARCHSTONE_ROOT_KEYS", new)
    await started(tmp_path, root_keys="environment")
    monkeypatch.setenv("ARCHSTONE_ROOT_KEYS", base64.b64encode(bytes(32)).decode())
    with pytest.raises(RootKeyError, match="ARCHSTONE_ROOT_KEYS: root key"):
        await started(tmp_path, root_keys="environment")
