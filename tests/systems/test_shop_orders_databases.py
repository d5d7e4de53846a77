"""Orders keep, list and find the same on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archstone.data import Database
from archstone.eventsourcing import Projector, StreamConflictError
from archstone.systems.shop.orders import checkouts, finding
from archstone.systems.shop.orders.events import OrderLine
from archstone.systems.shop.orders.finding import Wanted
from archstone.systems.shop.orders.indexing import OrderIndex, words_in
from archstone.systems.shop.orders.order import Order
from archstone.systems.shop.orders.service import OrdersService
from archstone.systems.shop.orders.store import OrderStore
from archstone.systems.shop.values import Address, Money

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAN = OrderLine(sku="KIT-001", name="Poêle à frire", quantity=2, price=Money(amount=1000))
KETTLE = OrderLine(sku="KIT-002", name="Kettle no. 7-a", quantity=1, price=Money(amount=3000))
WORLD = OrderLine(sku="BOO-001", name="Straße und Øre", quantity=1, price=Money(amount=500))
FIRST, SECOND, THIRD = (f"{number:024x}{number:08x}" for number in (0x1A, 0x2B, 0x3C))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real_time)])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OrderStore]:
    url = f"sqlite:///{tmp_path}/orders.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    migrations, schemas = OrdersService.service_info.migrations, OrdersService.schemas
    async with Database(url, migrations=migrations, schemas=schemas, name="orders") as db:
        yield OrderStore(db)


async def put(kept: OrderStore, order: Order) -> None:
    async with kept.db.transaction() as tx:
        await kept.put(tx, order)


async def three_orders(kept: OrderStore) -> None:
    for minute, (order_id, customer, name, lines) in enumerate(
        (
            (FIRST, "a" * 32, "Ann Alder", (PAN, PAN)),
            (SECOND, "b" * 32, "Bob Birch", (KETTLE,)),
            (THIRD, "a" * 32, "Ann Alder", (WORLD, PAN)),
        )
    ):
        order = Order(order_id)
        address = Address(name=name, street="Mill Lane 1", city="Tarn", postcode="12345", country="DE")
        total = Money(amount=sum(line.total.amount for line in lines))
        order.place(customer, lines, total=total, address=address, at=NOON + timedelta(minutes=minute))
        await put(kept, order)
        if order_id == FIRST:
            order.confirm(NOON)
        if order_id == THIRD:
            order.cancel("no", NOON)
        await put(kept, order)


QUESTIONS: list[tuple[Wanted, list[str]]] = [
    (Wanted(), [THIRD, SECOND, FIRST]),
    (Wanted(states=("confirmed",)), [FIRST]),
    (Wanted(states=("pending", "cancelled")), [THIRD, SECOND]),
    (Wanted(customer_id="a" * 32), [THIRD, FIRST]),
    (Wanted(customer_id="a" * 32, states=("confirmed", "shipped")), [FIRST]),
    (Wanted(sku="KIT-001"), [THIRD, FIRST]),
    (Wanted(sku="KIT-001", at_least=3000), [FIRST]),
    (Wanted(sku="BOO-001", customer_id="a" * 32), [THIRD]),
    (Wanted(since=NOON + timedelta(minutes=1)), [THIRD, SECOND]),
    (Wanted(until=NOON + timedelta(minutes=1)), [FIRST]),
    (Wanted(at_most=3000), [THIRD, SECOND]),
    (Wanted(words=("poele",)), [THIRD, FIRST]),
    (Wanted(words=("frire", "poele")), [THIRD, FIRST]),
    (Wanted(words=("poele", "fri")), [THIRD, FIRST]),
    (Wanted(words=("fri", "poele")), []),
    (Wanted(words=("7",)), [SECOND]),
    (Wanted(words=("kit", "002")), [SECOND]),
    (Wanted(words=tuple(words_in("STRASSE, øre"))), []),
    (Wanted(words=tuple(words_in("STRAßE, øre"))), [THIRD]),
    (Wanted(words=(SECOND[-8:],)), [SECOND]),
    (Wanted(words=("alder",), states=("confirmed",), sku="KIT-001"), [FIRST]),
    (Wanted(words=("nobody",)), []),
]


async def test_orders_are_found_by_each_condition(kept: OrderStore) -> None:
    await three_orders(kept)
    async with Projector(kept, OrderIndex()) as index:
        await index.reached(await kept.last_position(), timeout_s=5.0)
        for wanted, expected in QUESTIONS:
            found, cursor = [], None
            while True:
                page = await finding.page(kept.db, wanted, limit=1, cursor=cursor)
                found += [each.id for each in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert (wanted, found) == (wanted, expected)
        await index.rebuild()
        await index.reached(await kept.last_position(), timeout_s=5.0)
        assert len(await finding.find(kept.db, Wanted(words=("alder",)), before=(2**62, ""), limit=5)) == 2


async def test_an_order_is_what_its_history_says_and_its_row_too(kept: OrderStore) -> None:
    await three_orders(kept)
    order = await kept.load(Order, FIRST)
    rows = await kept.db.all(tuple[str, str, int], "SELECT id, state, version FROM orders ORDER BY id")
    assert rows == [(FIRST, "confirmed", 2), (SECOND, "pending", 1), (THIRD, "cancelled", 2)]
    assert (order.state.value, order.version) == rows[0][1:]
    told = await kept.db.all(tuple[str, int, str], "SELECT stream, version, type FROM events ORDER BY position")
    assert told[:2] == [(FIRST, 1, "orders.order-placed"), (FIRST, 2, "orders.order-confirmed")]
    outbox = await kept.db.all(str, "SELECT name FROM _archstone_outbox ORDER BY position")
    assert outbox == [kind for _, _, kind in told]  # all five of these concern others


async def test_of_two_who_decide_at_once_one_is_refused(kept: OrderStore) -> None:
    await three_orders(kept)
    one, other = [await kept.load(Order, FIRST) for _ in range(2)]
    one.move_parcel("packed", NOON)
    await put(kept, one)
    other.ask_to_cancel("no", NOON)
    with pytest.raises(StreamConflictError):
        await put(kept, other)
    assert (await kept.load(Order, FIRST)).state.value == "confirmed"
    # What concerns nobody else is in the history alone.
    assert "orders.parcel-moved" not in await kept.db.all(str, "SELECT name FROM _archstone_outbox")


async def test_a_checkout_by_events_goes_one_way(kept: OrderStore) -> None:
    async with kept.db.transaction() as tx:
        await checkouts.begin(tx, FIRST)  # type: ignore[arg-type]
        assert await checkouts.turn(tx, FIRST)  # type: ignore[arg-type]
        assert not await checkouts.end_forward(tx, FIRST)  # type: ignore[arg-type]
        assert await checkouts.late(tx, since_us=0) == []  # type: ignore[arg-type]
    assert (await checkouts.checkout_of(kept.db, FIRST)).turned_back == 1
