"""The checkout that goes by events: what is late or lost, both forms side by side, and what no order may become."""

import asyncio
import io
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from shop_database import faults_in
from wiring import HOME, RunningShop, running_shop

from archstone import world
from archstone.data import Event
from archstone.errors import RejectedError
from archstone.observability import configure_logging
from archstone.systems.shop import checkout
from archstone.systems.shop.checkout import (
    CheckoutBegun,
    CheckoutForm,
    GoodsSold,
    MoneyTaken,
    ParcelMadeOut,
)
from archstone.systems.shop.orders import checkouts
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.provider import PaymentKey, PaymentToken, Receipt
from archstone.systems.shop.system import shop as shop_system
from archstone.systems.shop.values import Line, Money

SAGA, BY_EVENTS = CheckoutForm.SAGA, CheckoutForm.CHOREOGRAPHY
NOT_COMPLETED = "the checkout could not be completed"
FORWARD = (
    ("inventory", "orders.checkout-begun"),
    ("payments", "inventory.goods-held"),
    ("shipping", "payments.money-taken"),
    ("inventory", "shipping.parcel-made-out"),
    ("orders", "inventory.goods-sold"),
)
"""The links that lead to a confirmation: who must handle what."""
BACK = (
    ("shipping", "orders.checkout-turned-back"),
    ("payments", "shipping.parcel-stopped"),
    ("inventory", "payments.money-returned"),
    ("orders", "inventory.goods-put-back"),
)


async def under_way(shop: RunningShop) -> int:
    return await shop.database("orders").one(int, "SELECT count(*) FROM checkouts WHERE due_at IS NOT NULL")


async def turns(shop: RunningShop) -> int:
    return await shop.database("orders").one(int, "SELECT max(turns) FROM checkouts")


def test_the_drawing_shows_who_says_and_who_hears_each_link() -> None:
    drawn: dict[str, set[str]] = {}
    name = ""
    for line in (checkout.__doc__ or "").splitlines():
        if (said := re.match(r"\s+(?:forward|back)?\s+(\w+)\s+([a-z-]+)\s+-> (\w+)", line)) is not None:
            name = f"{said[1]}.{said[2]}"
            drawn.setdefault(name, set()).add(said[3])
        elif (heard := re.match(r" {40,}(\w+) ", line)) is not None:
            drawn[name].add(heard[1])
    handled: dict[str, set[str]] = {}
    for service in shop_system.services:
        for handler in service.service_info.handlers:
            if handler.event.__module__ == checkout.__name__:
                handled.setdefault(handler.event.event_name, set()).add(service.service_info.name)
    assert handled == drawn
    assert len(drawn) == 12


async def test_no_saga_carries_the_order_and_each_link_is_said_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path, form=BY_EVENTS) as shop:
        ann = await shop.register("ann@example.com")
        await shop.ended(ann, await shop.place(ann, ("KIT-001", 2), ("DES-003", 1)))
        await shop.at_rest()
        assert await shop.database("orders").one(int, "SELECT count(*) FROM _archstone_sagas") == 0
        assert await under_way(shop) == 0
        links = [each for each in shop.handled if each in {*FORWARD, *BACK}]
    assert links == [*FORWARD]


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
@pytest.mark.parametrize("link", FORWARD, ids=lambda link: link[1])
async def test_an_order_that_gets_no_answer_is_cancelled_in_time_and_the_late_answer_is_undone(
    tmp_path: Path, link: tuple[str, str]
) -> None:
    async with running_shop(tmp_path, form=BY_EVENTS, held=[link]) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await asyncio.sleep(checkouts.DEADLINE_S - 2)
        view = await shop.client(Orders, as_=ann).order(order_id)
        assert (view.status, await turns(shop)) == ("pending", 0)
        await asyncio.sleep(4)
        assert await turns(shop) == 1
        if link[0] != "orders":  # it hears of the end behind the news that is held, since they are of one order
            view = await shop.ended(ann, order_id)
            assert (view.status, view.reason) == ("cancelled", NOT_COMPLETED)
        captures = await shop.bank.db.one(int, "SELECT count(*) FROM captures")
        shop.released.set()
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
        assert await shop.bank.balance("shop") == 0
        # Of a charge that came late nothing was ever taken.
        assert await shop.bank.db.one(int, "SELECT count(*) FROM captures") == captures
    assert (view.status, view.reason) == ("cancelled", NOT_COMPLETED)
    assert [entry.what for entry in view.timeline] == ["placed", f"cancelled: {NOT_COMPLETED}"]
    assert faults_in(tmp_path) == []


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
@pytest.mark.parametrize("link", BACK, ids=lambda link: link[1])
async def test_a_way_back_that_stands_still_is_begun_again_and_told_until_the_order_is_cancelled(
    tmp_path: Path, link: tuple[str, str]
) -> None:
    log = io.StringIO()
    configure_logging("info", stream=log)
    async with running_shop(tmp_path, form=BY_EVENTS, held=[link, FORWARD[2]]) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await asyncio.sleep(checkouts.DEADLINE_S + 3 + 60 + 120)
        assert await turns(shop) == 3
        assert (await shop.client(Orders, as_=ann).order(order_id)).status == "pending"
        shop.released.set()
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
        assert await under_way(shop) == 0
        assert await shop.bank.balance("shop") == 0
    configure_logging("info")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    told = [line["level"] for line in lines if line["event"].startswith("a checkout by events has no end")]
    assert told == ["warning", "warning", "error"]
    assert (view.status, view.reason) == ("cancelled", NOT_COMPLETED)
    assert faults_in(tmp_path) == []


async def test_of_a_confirmation_and_a_deadline_that_come_together_one_wins(tmp_path: Path) -> None:
    async with running_shop(tmp_path, form=BY_EVENTS, held=[FORWARD[4]]) as shop:
        ann = await shop.register("ann@example.com")
        placed = [await shop.place(ann, ("KIT-001", 1)) for _ in range(12)]
        await asyncio.sleep(checkouts.DEADLINE_S - 10)
        # Half of them are late at the moment at which the last link of all is handled.
        orders = shop.database("orders")
        await orders.execute(
            "UPDATE checkouts SET due_at = :now WHERE order_id IN (SELECT id FROM orders ORDER BY id LIMIT 6)",
            now=world.now_us() - 1,
        )
        while not await orders.one(int, "SELECT sum(turns) FROM checkouts"):
            await asyncio.sleep(0.01)
        shop.released.set()
        views = [await shop.ended(ann, order_id) for order_id in placed]
        await shop.at_rest()
    assert sorted(view.status for view in views) == ["cancelled"] * 6 + ["confirmed"] * 6
    assert faults_in(tmp_path) == []


async def test_a_customer_who_cancels_while_it_is_under_way_need_not_wait_for_the_last_link(tmp_path: Path) -> None:
    async with running_shop(tmp_path, form=BY_EVENTS, held=[FORWARD[2]]) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        while not await shop.bank.balance("shop"):
            await asyncio.sleep(0.01)
        orders = shop.client(Orders, as_=ann)
        assert (await orders.cancel(order_id)).status == "pending"
        assert (await orders.cancel(order_id)).status == "pending"
        view = await shop.ended(ann, order_id)
        assert await turns(shop) == 1
        shop.released.set()
        await shop.at_rest()
        assert await shop.bank.balance("shop") == 0
    assert (view.status, view.reason) == ("cancelled", "cancelled by the customer")
    assert faults_in(tmp_path) == []


class SilentBank(Bank):
    """A bank that takes no money and says nothing."""

    async def charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_bank_that_never_answers_is_told_to_the_chain_and_not_left_to_the_deadline(tmp_path: Path) -> None:
    bank = SilentBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank, form=BY_EVENTS) as shop:
        ann = await shop.register("ann@example.com")
        view = await shop.ended(ann, await shop.place(ann, ("KIT-001", 2)))
        assert (view.status, view.reason, await turns(shop)) == ("cancelled", NOT_COMPLETED, 0)
        assert view.timeline[-1].at - view.placed_at < timedelta(minutes=2)
        await shop.at_rest()
    assert faults_in(tmp_path) == []


@pytest.mark.both_databases
async def test_each_link_that_is_delivered_three_times_is_done_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path, form=BY_EVENTS, times=3) as shop:
        ann = await shop.register("ann@example.com")
        tokens = ("tok_ok", "tok_declined", "tok_timeout")
        views = [await shop.ended(ann, await shop.place(ann, ("KIT-001", 1), token=token)) for token in tokens]
        await shop.at_rest()
        assert await shop.bank.db.one(int, "SELECT count(*) FROM captures") == 2
        links = [each for each in shop.handled if each in FORWARD]
    assert [view.status for view in views] == ["confirmed", "cancelled", "confirmed"]
    assert links == [*FORWARD, *FORWARD[:2], *FORWARD]
    assert len(list((tmp_path / "mails").iterdir())) == 3
    assert faults_in(tmp_path) == []


async def test_news_that_comes_again_or_out_of_turn_changes_nothing(tmp_path: Path) -> None:
    async with running_shop(tmp_path, form=BY_EVENTS) as shop:
        ann = await shop.register("ann@example.com")
        confirmed = await shop.ended(ann, await shop.place(ann, ("KIT-001", 2)))
        declined = await shop.ended(ann, await shop.place(ann, ("KIT-001", 2), token="tok_declined"))
        await shop.at_rest()
        for view in (confirmed, declined):
            token = "tok_ok" if view is confirmed else "tok_declined"
            for service, event in again(view.id, ann.id, view.total, token):
                async with shop.database(service).transaction() as tx:
                    tx.publish(event)
        await shop.at_rest()
        assert await shop.bank.balance("shop") == confirmed.total.amount
        orders = shop.client(Orders, as_=ann)
        assert await orders.order(confirmed.id) == confirmed
        assert await orders.order(declined.id) == declined
    assert len(list((tmp_path / "mails").iterdir())) == 2
    assert faults_in(tmp_path) == []


def again(order_id: str, customer_id: str, total: Money, token: str) -> list[tuple[str, Event]]:
    """Return every link forward, as if it were said once more by mistake, with an id of its own."""
    passed = {"order_id": order_id, "customer_id": customer_id, "total": total, "address": HOME}
    return [
        ("orders", CheckoutBegun(**passed, lines=(Line(sku="KIT-001", quantity=2),), payment_token=token)),
        ("payments", MoneyTaken(order_id=order_id, address=HOME)),
        ("shipping", ParcelMadeOut(order_id=order_id)),
        ("inventory", GoodsSold(order_id=order_id)),
    ]


@pytest.mark.parametrize(("first", "second"), [(SAGA, BY_EVENTS), (BY_EVENTS, SAGA)], ids=["to events", "to a saga"])
@pytest.mark.parametrize("pause_s", [0.0, 0.02, 3.0])
async def test_an_order_ends_in_the_form_in_which_it_began(
    tmp_path: Path, first: CheckoutForm, second: CheckoutForm, pause_s: float
) -> None:
    async with running_shop(tmp_path, form=first) as shop:
        ann = await shop.register("ann@example.com")
        tokens = ("tok_ok", "tok_declined", "tok_flaky", "tok_timeout")
        placed = [await shop.place(ann, ("KIT-001", 1), token=token) for token in tokens]
        await asyncio.sleep(pause_s)
    async with running_shop(tmp_path, form=second) as shop:
        placed += [await shop.place(ann, ("KIT-001", 1), token=token) for token in tokens]
        views = [await shop.ended(ann, order_id) for order_id in placed]
        await shop.at_rest()
        by_events = set(await shop.database("orders").all(str, "SELECT order_id FROM checkouts"))
    assert by_events == set(placed[:4] if first is BY_EVENTS else placed[4:])
    assert [view.status for view in views] == ["confirmed", "cancelled", "confirmed", "confirmed"] * 2
    assert faults_in(tmp_path) == []


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_the_time_in_which_the_shop_was_closed_does_not_count(tmp_path: Path) -> None:
    async with running_shop(tmp_path, form=BY_EVENTS, held=[FORWARD[0]]) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 1))
    await asyncio.sleep(10 * checkouts.DEADLINE_S)
    async with running_shop(tmp_path, held=[FORWARD[1]]) as shop:
        await asyncio.sleep(checkouts.DEADLINE_S - 2)
        assert await turns(shop) == 0
        shop.released.set()
        assert (await shop.ended(ann, order_id)).status == "confirmed"
        await shop.at_rest()
    assert faults_in(tmp_path) == []


async def test_no_more_begin_than_may_be_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkouts, "MAX_UNDER_WAY", 2)
    async with running_shop(tmp_path, form=BY_EVENTS, held=[FORWARD[0]]) as shop:
        ann = await shop.register("ann@example.com")
        placed = [await shop.place(ann, ("KIT-001", 1)) for _ in range(2)]
        with pytest.raises(RejectedError, match=r"resilience\.overloaded"):
            await shop.place(ann, ("KIT-001", 1))
        shop.released.set()
        for order_id in placed:
            await shop.ended(ann, order_id)
        await shop.ended(ann, await shop.place(ann, ("KIT-001", 1)))
        await shop.at_rest()
        assert await shop.database("orders").one(int, "SELECT count(*) FROM orders") == 3
    assert faults_in(tmp_path) == []
