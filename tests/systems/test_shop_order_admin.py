"""Orders for administrators: found by anything, newest first, and everything that is known of one."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from wiring import HOME, RunningShop, keyed, running_shop

from archstone import context, world
from archstone.context import Principal
from archstone.errors import BackendError
from archstone.services import ForbiddenError
from archstone.systems.shop.notifications.contract import SentMail
from archstone.systems.shop.orders.administration import ListedOrder, OrderAdmin
from archstone.systems.shop.orders.contract import Orders, OrderUnknownError
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.provider import Authorisation, PaymentKey
from archstone.systems.shop.values import Line

ADMIN = Principal("a" * 32, frozenset({"admin"}))


async def found(shop: RunningShop, **wanted: Any) -> list[str]:
    """Return the ids of all that is found, page by page."""
    admin, ids, cursor = shop.client(OrderAdmin, as_=ADMIN), [], None
    while True:
        page = await admin.orders(**wanted, limit=2, cursor=cursor)
        ids += [each.id for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return ids


async def three_orders(shop: RunningShop) -> tuple[Principal, list[str], list[datetime]]:
    ann = await shop.register("ann@example.com")
    bob = await shop.register("bob@example.com", "Bob")
    ids, times = [], []
    wanted = [(ann, ("KIT-001", 2), "tok_ok"), (bob, ("KIT-002", 1), "tok_declined"), (ann, ("BOO-001", 1), "tok_ok")]
    for who, line, token in wanted:
        times.append(world.now())
        ids.append(await shop.place(who, line, token=token))
        await shop.ended(who, ids[-1])
        await asyncio.sleep(60)
    return ann, ids, times


async def test_orders_are_found_by_each_condition_and_by_several(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, (first, second, third), times = await three_orders(shop)
        assert await found(shop) == [third, second, first]
        assert await found(shop, status="confirmed") == [third, first]
        assert await found(shop, status="cancelled") == [second]
        assert await found(shop, status="pending") == []
        assert await found(shop, state="confirmed") == [third, first]
        assert await found(shop, status="cancelled", state="confirmed") == []
        assert await found(shop, customer=ann.id) == [third, first]
        assert await found(shop, sku="KIT-001") == [first]
        assert await found(shop, sku="KIT-001", status="cancelled") == []
        assert await found(shop, customer=ann.id, sku="KIT-001", status="confirmed") == [first]
        assert await found(shop, since=times[1]) == [third, second]
        assert await found(shop, until=times[1]) == [first]
        assert await found(shop, since=times[1], until=times[2]) == [second]
        assert await found(shop, since=times[2].replace(tzinfo=None)) == [third]
        assert await found(shop, at_least=5490) == [second, first]
        assert await found(shop, at_most=5490) == [third, second]
        assert await found(shop, at_least=5490, at_most=5490) == [second]
        assert await found(shop, customer=ann.id, since=times[2], at_least=4490, at_most=4490) == [third]


async def test_orders_are_found_by_words(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, (first, second, third), _ = await three_orders(shop)
        assert await found(shop, search="iron pan") == [first]
        assert await found(shop, search="kett") == [second]
        assert await found(shop, search="alder") == [third, second, first]  # the recipient's name, and a pan's
        assert await found(shop, search="alder", status="confirmed") == [third, first]
        assert await found(shop, search="alder", sku="KIT-001", customer=ann.id) == [first]
        assert await found(shop, search=third) == [third]
        assert await found(shop, search=third[-8:]) == [third]
        assert await found(shop, search="kit-002") == [second]
        for nothing in ("nobody", "", "'\" -*", "alder NOT pan OR"):
            assert await found(shop, search=nothing) == []


async def test_a_list_tells_how_an_order_stands(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, (first, _, _), _ = await three_orders(shop)
        with keyed("k"):
            await shop.client(OrderAdmin, as_=ADMIN).refund(first, "Scratched", 1000)
        await shop.at_rest()
        [listed] = (await shop.client(OrderAdmin, as_=ADMIN).orders(sku="KIT-001")).items
        assert (listed.id, listed.customer_id, listed.recipient) == (first, ann.id, HOME.name)
        assert (listed.status, listed.state, listed.pieces) == ("confirmed", "confirmed", 2)
        assert (listed.total.amount, listed.refunded and listed.refunded.amount) == (7980, 1000)
        assert isinstance(listed, ListedOrder)


async def test_a_cursor_belongs_to_its_search_and_lists_are_for_administrators(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann, ids, _ = await three_orders(shop)
        admin = shop.client(OrderAdmin, as_=ADMIN)
        cursor = (await admin.orders(limit=1)).next_cursor
        with pytest.raises(BadCursorError):
            await admin.orders(limit=1, status="confirmed", cursor=cursor)
        for call in (shop.client(OrderAdmin, as_=ann).orders(), shop.client(OrderAdmin, as_=ann).dossier(ids[0])):
            with pytest.raises(ForbiddenError):
                await call


@pytest.mark.sqlite_only("says to SQLite's index that it is empty")
async def test_orders_placed_before_the_upgrade_are_found_too(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        _, (first, second, third), _ = await three_orders(shop)
        db = shop.database("orders")
        await db.execute("INSERT INTO order_search (order_search) VALUES ('delete-all')")
        await db.execute("DELETE FROM order_lines")
        await db.execute("UPDATE indexed SET position = 0")
        assert await found(shop, search="alder") == []
        await asyncio.sleep(2)
        assert await found(shop, search="alder") == [third, second, first]
        assert await found(shop, sku="KIT-001") == [first]


async def test_the_dossier_tells_all_that_the_services_know(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await shop.ended(ann, order_id)
        with keyed("k"):
            await shop.client(OrderAdmin, as_=ADMIN).refund(order_id, "Scratched", 1000)
        await shop.at_rest()
        told = await shop.client(OrderAdmin, as_=ADMIN).dossier(order_id)
        assert told.order == await shop.client(Orders, as_=ann).order(order_id)
    assert (told.customer_id, told.state, told.missing) == (ann.id, "confirmed", ())
    assert told.refundable.amount == 2 * 3990 - 1000
    assert [(each.version, each.what) for each in told.history] == [
        (1, "placed"), (2, "confirmed"), (3, "refund of 10.00 EUR asked for: Scratched"), (4, "refunded 10.00 EUR"),
    ]  # fmt: skip
    assert [each.caused_by for each in told.history] == [ann.id, "service:orders", ADMIN.id, "service:orders"]
    payment = told.payment
    assert payment is not None
    assert (payment.state, payment.amount and payment.amount.amount, payment.invoice) == (
        "captured",
        7980,
        "INV-000001",
    )
    assert [(each.amount.amount, each.reason, each.state) for each in payment.refunds] == [(1000, "Scratched", "done")]
    assert payment.provider_answered
    assert isinstance(payment.authorisation, Authorisation)
    assert (payment.authorisation.state, payment.authorisation.refunded.amount) == ("captured", 1000)
    assert told.parcel is not None
    assert told.parcel.state == "ready"
    assert told.parcel.due_at == told.parcel.moved_at + timedelta(seconds=60)
    assert told.goods is not None
    assert (told.goods.state, told.goods.lines) == ("sold", (Line(sku="KIT-001", quantity=2),))
    assert told.mails is not None
    assert [(each.about, each.to) for each in told.mails] == [
        ("confirmed", "ann@example.com"), ("refunded", "ann@example.com"),
    ]  # fmt: skip
    assert all(isinstance(each, SentMail) and each.sent_at.tzinfo == UTC for each in told.mails)


async def test_the_dossier_of_a_declined_order_tells_why(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2), token="tok_declined")
        await shop.ended(ann, order_id)
        await shop.at_rest()
        told = await shop.client(OrderAdmin, as_=ADMIN).dossier(order_id)
    assert told.payment is not None
    assert told.payment.state == "closed"
    assert told.payment.authorisation is not None
    assert (told.payment.authorisation.state, told.payment.authorisation.reason) == ("declined", "insufficient funds")
    assert told.goods is not None
    assert told.goods.state == "released"
    assert told.history[-1].what == "cancelled: payment declined: insufficient funds"


class DeafBank(Bank):
    """A bank that does not answer when it is asked what it knows."""

    async def look_up(self, key: PaymentKey) -> Authorisation | None:
        await asyncio.sleep(3600)
        return await super().look_up(key)


async def test_a_provider_that_does_not_answer_is_told_and_the_rest_comes(tmp_path: Path) -> None:
    async with running_shop(tmp_path, bank=DeafBank(f"sqlite:///{tmp_path / 'bank.db'}")) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await shop.ended(ann, order_id)
        begun = world.now()
        told = await shop.client(OrderAdmin, as_=ADMIN).dossier(order_id)
        assert (world.now() - begun).total_seconds() < 2.5
    assert told.payment is not None
    assert (told.payment.provider_answered, told.payment.authorisation) == (False, None)
    assert told.payment.amount is not None
    assert told.missing == ()


async def test_services_that_do_not_answer_are_named_and_the_rest_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.sleep(3600)

    async def broken(*_: object) -> None:
        raise BackendError("the disk is gone")

    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await shop.ended(ann, order_id)
        await shop.at_rest()
        monkeypatch.setattr(type(shop.dispatchers["payments"].service), "_looked_up", broken)
        monkeypatch.setattr(type(shop.dispatchers["shipping"].service), "parcel_of", never)
        begun = world.now()
        told = await shop.client(OrderAdmin, as_=ADMIN).dossier(order_id)
        assert (world.now() - begun).total_seconds() < 5
    assert {"payments"} <= set(told.missing) <= {"payments", "shipping"}
    assert told.payment is None
    assert told.goods is not None
    assert told.mails is not None


async def test_an_order_that_is_not_there_has_no_dossier(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        with pytest.raises(OrderUnknownError):
            await shop.client(OrderAdmin, as_=ADMIN).dossier("f" * 32)
        assert context.current().tx is None
