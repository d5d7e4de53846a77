"""Data of a shop from before administrators had their tools: the migrations bring it along, and the invariants hold."""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archstone.data import Database
from archstone.eventsourcing import Projector
from archstone.systems.shop import invariants
from archstone.systems.shop.inventory.service import InventoryService
from archstone.systems.shop.orders import finding
from archstone.systems.shop.orders.events import OrderLine
from archstone.systems.shop.orders.indexing import OrderIndex
from archstone.systems.shop.orders.order import Order, State
from archstone.systems.shop.orders.service import OrdersService
from archstone.systems.shop.orders.store import OrderStore, rebuilt
from archstone.systems.shop.payments import bank
from archstone.systems.shop.payments.service import PaymentsService
from archstone.systems.shop.values import Address, Money

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME = Address(name="Ann Alder", street="Mill Lane 1", city="Tarn", postcode="12345", country="DE")
KEPT, OFF = "1" * 32, "2" * 32
FOLDERS: Mapping[str, Path | None] = {
    "orders": OrdersService.service_info.migrations,
    "payments": PaymentsService.service_info.migrations,
    "inventory": InventoryService.service_info.migrations,
    "bank": bank.MIGRATIONS,
}
SCHEMAS = {"orders": OrdersService.schemas}
BEFORE = {"orders": 1, "payments": 1, "inventory": 3, "bank": 1}
"""The last migration that the old shop had."""


def placed(order_id: str) -> str:
    line = OrderLine(sku="KIT-001", name="Iron pan", quantity=1, price=Money(amount=100))
    order = Order(order_id)
    order.place("c" * 32, (line,), total=line.total, address=HOME, at=NOON)
    return order.pending[0].model_dump_json()


async def index(db: Database) -> None:
    """Make orders findable, as their service does while it runs."""
    kept = OrderStore(db)
    async with Projector(kept, OrderIndex()) as projector:
        await projector.reached(await kept.last_position(), timeout_s=5.0)


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


async def old_database(folder: Path, name: str, last: int) -> None:
    """Make a database of a service as it was after its first migrations, up to `last`."""
    migrations = FOLDERS[name]
    assert migrations is not None
    old = folder / f"{name}-before"
    old.mkdir()
    for file in [each for each in sorted(migrations.glob("*.sql")) if ".postgresql." not in each.name][:last]:
        shutil.copy(file, old)
    async with Database(f"sqlite:///{folder / name}.db", migrations=old, name=name):
        pass


async def old_shop(folder: Path) -> None:
    """Write files as the old shop left them."""
    for name in FOLDERS:
        await old_database(folder, name, BEFORE[name])
        with closing(sqlite3.connect(folder / f"{name}.db")) as db, db:
            for sql, values in ROWS[name]:
                db.execute(sql.replace("CUSTOMER", "c" * 32), values)


@pytest.mark.real_time
async def test_the_data_of_an_old_shop_comes_along(tmp_path: Path) -> None:
    await old_shop(tmp_path)
    for name, migrations in FOLDERS.items():
        url = f"sqlite:///{tmp_path / name}.db"
        async with Database(url, migrations=migrations, schemas=SCHEMAS.get(name, ()), name=name) as db:
            if name == "orders":
                await index(db)
                listed = await finding.page(db, finding.Wanted(words=("pan",)), limit=5, cursor=None)
                assert [(each.id, each.recipient) for each in listed.items] == [(OFF, "Ann Alder"), (KEPT, "Ann Alder")]
            if name == "payments":
                assert await db.one(int, "SELECT refunded FROM payments WHERE order_id = :id", id=OFF) == 100
    told = invariants.check(tmp_path)
    about = [fault for fault in told if "parcel" not in fault and "mail" not in fault]
    assert about == []  # this old shop had neither shipping nor post


def histories() -> Iterator[Order]:
    """Yield an order in each state, and one with refunds of every kind, with what the old code kept of each."""
    moves: dict[State, tuple[str, ...]] = {
        State.PENDING: (),
        State.STOPPING: ("ask",),
        State.CONFIRMED: ("confirm",),
        State.RETURNING: ("confirm", "ask"),
        State.SHIPPED: ("confirm", "packed", "ask", "shipped", "refuse"),
        State.DELIVERED: ("confirm", "packed", "shipped", "delivered", "refunds"),
        State.CANCELLED: ("confirm", "ask", "cancel"),
    }
    for number, (state, path) in enumerate(moves.items()):
        order = Order(f"{number:032x}")
        line = OrderLine(sku="KIT-001", name="Poêle\nà frire", quantity=2, price=Money(amount=1000))
        order.place("c" * 32, (line,), total=line.total, address=HOME, at=NOON)
        for move in path:
            at = NOON + timedelta(seconds=order.version)
            match move:
                case "confirm":
                    order.confirm(at)
                case "ask":
                    order.ask_to_cancel("changed my mind", at)
                case "refuse":
                    order.refuse_to_cancel("too late", at)
                case "cancel":
                    order.cancel("changed my mind", at)
                case "refunds":
                    refunds(order, at)
                case _:
                    order.move_parcel(move, at)  # type: ignore[arg-type]
        assert order.state is state
        yield order


def refunds(order: Order, at: datetime) -> None:
    for number, end in enumerate((order.tell_refunded, order.refuse_refund, order.fail_refund, order.retry_refund)):
        order.ask_refund(f"{number:032x}", Money(amount=100), reason="scratched", at=at)
        if end == order.retry_refund:
            order.fail_refund(f"{number:032x}", at)
        end(f"{number:032x}", at)


def keep_as_before(db: sqlite3.Connection, order: Order) -> None:
    """Write an order into the tables of migration 3."""
    for version, event in enumerate(order.pending, 1):
        metadata = json.dumps({"caused_by": "c" * 32 if version == 1 else None, "correlation_id": f"request {version}"})
        db.execute(
            "INSERT INTO events (stream, version, type, type_version, data, metadata, at) VALUES (?, ?, ?, 1, ?, ?, 5)",
            (order.id, version, event.event_name, event.model_dump_json(), metadata),
        )
    db.execute(
        "INSERT INTO orders (id, customer_id, recipient, state, version, amount, currency, pieces, placed_at, refunded)"
        " VALUES (?, ?, 'Ann Alder', ?, ?, 2000, 'EUR', 2, 5, ?)",
        (order.id, order.customer_id, order.state.value, order.version, order.refunded.amount),
    )


@pytest.mark.real_time
async def test_no_history_is_lost_when_orders_move_to_the_event_store(tmp_path: Path) -> None:
    await old_database(tmp_path, "orders", 3)
    before = list(histories())
    with closing(sqlite3.connect(tmp_path / "orders.db")) as file, file:
        for order in before:
            keep_as_before(file, order)
        rows = file.execute("SELECT * FROM orders ORDER BY id").fetchall()
        told = file.execute("SELECT position, stream, version, type, data, metadata, at FROM events").fetchall()
    url, migrations = f"sqlite:///{tmp_path}/orders.db", FOLDERS["orders"]
    async with Database(url, migrations=migrations, schemas=OrdersService.schemas, name="orders") as db:
        kept = OrderStore(db)
        for order in before:
            history = await kept.history(order.id)
            assert [each.event for each in history] == order.pending
            assert [each.correlation_id for each in history] == [f"request {each.version}" for each in history]
            assert [each.caused_by for each in history] == ["c" * 32, *[None] * (order.version - 1)]
            again = await kept.load(Order, order.id)
            assert vars(again) == vars(rebuilt(order.id, history)) == vars(order) | {"pending": []}
        await index(db)
        listed = await finding.page(db, finding.Wanted(words=("poele",)), limit=10, cursor=None)
        assert {each.id for each in listed.items} == {order.id for order in before}
        delivered = next(order for order in before if order.state is State.DELIVERED)
        delivered = await kept.load(Order, delivered.id)
        delivered.ask_refund("9" * 32, Money(amount=100), reason="scratched", at=NOON)
        async with db.transaction() as tx:
            await kept.put(tx, delivered)  # it goes on where it was
    with closing(sqlite3.connect(tmp_path / "orders.db")) as file:
        assert [row for row in file.execute("SELECT * FROM orders ORDER BY id") if row[0] != delivered.id] == [
            row for row in rows if row[0] != delivered.id
        ]
        assert file.execute("SELECT * FROM events").fetchall()[:-1] == told
