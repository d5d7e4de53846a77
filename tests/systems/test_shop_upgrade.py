"""Data of a shop from before administrators had their tools: the migrations bring it along, and the invariants hold."""

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from archstone.data import Database
from archstone.systems.shop import invariants
from archstone.systems.shop.inventory.service import InventoryService
from archstone.systems.shop.orders import finding
from archstone.systems.shop.orders.service import OrdersService
from archstone.systems.shop.payments import bank
from archstone.systems.shop.payments.service import PaymentsService

KEPT, OFF = "1" * 32, "2" * 32
FOLDERS: Mapping[str, Path | None] = {
    "orders": OrdersService.service_info.migrations,
    "payments": PaymentsService.service_info.migrations,
    "inventory": InventoryService.service_info.migrations,
    "bank": bank.MIGRATIONS,
}
BEFORE = {"orders": 1, "payments": 1, "inventory": 3, "bank": 1}
"""The last migration that the old shop had."""


def placed(order_id: str) -> str:
    lines = [{"sku": "KIT-001", "name": "Iron pan", "quantity": 1, "price": {"amount": 100}}]
    return json.dumps({"order_id": order_id, "address": {"name": "Ann Alder"}, "lines": lines})


EVENT = "INSERT INTO events (stream, version, type, type_version, data, metadata, at) VALUES (?, 1, ?, 1, ?, '{}', 5)"
ROWS = {
    "orders": [
        (EVENT, (KEPT, "orders.order-placed", placed(KEPT))),
        (EVENT, (OFF, "orders.order-placed", placed(OFF))),
        ("INSERT INTO orders VALUES (?, 'CUSTOMER', 'confirmed', 1, 100, 'EUR', 1, 5)", (KEPT,)),
        ("INSERT INTO orders VALUES (?, 'CUSTOMER', 'cancelled', 1, 100, 'EUR', 1, 6)", (OFF,)),
    ],
    "payments": [
        ("INSERT INTO payments VALUES (?, 'c', 100, 'EUR', 'captured', 1, 5, NULL)", (KEPT,)),
        ("INSERT INTO payments VALUES (?, 'c', 100, 'EUR', 'refunded', 2, 5, 6)", (OFF,)),
    ],
    "inventory": [
        ("UPDATE stock SET free = 79, sold = 1 WHERE sku = 'KIT-001'", ()),
        ("INSERT INTO reservations VALUES (?, 'sold', '[]', 0, 0), (?, 'released', '[]', 0, 0)", (KEPT, OFF)),
    ],
    "bank": [
        ("INSERT INTO accounts VALUES ('card:tok_ok', 0)", ()),
        ("INSERT INTO authorisations VALUES (?, 'tok_ok', 100, 'EUR', 'captured', '', 1, 5)", (KEPT,)),
        ("INSERT INTO authorisations VALUES (?, 'tok_ok', 100, 'EUR', 'refunded', '', 1, 5)", (OFF,)),
        ("INSERT INTO captures VALUES (?, 100, 'EUR', 5), (?, 100, 'EUR', 5)", (KEPT, OFF)),
        ("INSERT INTO refunds VALUES (?, 100, 'EUR', 6)", (OFF,)),
        ("INSERT INTO ledger (key, account, amount, currency, at) VALUES (?, 'shop', 100, 'EUR', 5)", (KEPT,)),
        ("INSERT INTO ledger (key, account, amount, currency, at) VALUES (?, 'card:tok_ok', -100, 'EUR', 5)", (KEPT,)),
    ],
}  # fmt: skip


async def old_shop(folder: Path) -> None:
    """Write files as the old shop left them."""
    for name, migrations in FOLDERS.items():
        assert migrations is not None
        old = folder / f"{name}-before"
        old.mkdir()
        for file in sorted(migrations.glob("*.sql"))[: BEFORE[name]]:
            shutil.copy(file, old)
        async with Database(f"sqlite:///{folder / name}.db", migrations=old, name=name):
            pass
        with closing(sqlite3.connect(folder / f"{name}.db")) as db, db:
            for sql, values in ROWS[name]:
                db.execute(sql.replace("CUSTOMER", "c" * 32), values)


@pytest.mark.real_time
async def test_the_data_of_an_old_shop_comes_along(tmp_path: Path) -> None:
    await old_shop(tmp_path)
    for name, migrations in FOLDERS.items():
        async with Database(f"sqlite:///{tmp_path / name}.db", migrations=migrations, name=name) as db:
            if name == "orders":
                async with db.transaction() as tx:
                    await finding.index_some(tx)
                listed = await finding.page(db, finding.Wanted(expression='"pan"'), limit=5, cursor=None)
                assert [(each.id, each.recipient) for each in listed.items] == [(OFF, "Ann Alder"), (KEPT, "Ann Alder")]
            if name == "payments":
                assert await db.one(int, "SELECT refunded FROM payments WHERE order_id = :id", id=OFF) == 100
    told = invariants.check(tmp_path)
    about = [fault for fault in told if "parcel" not in fault and "mail" not in fault]
    assert about == []  # this old shop had neither shipping nor post
