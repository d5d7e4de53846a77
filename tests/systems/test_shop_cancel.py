"""Cancelling an order while it is pending, confirmed, on its way; and who may."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from shop_database import faults_in
from wiring import running_shop

from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.inventory.contract import Inventory
from archstone.systems.shop.orders.contract import CannotCancelError, NoOrdersError, Orders, OrderUnknownError
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.contract import Payments
from archstone.systems.shop.payments.provider import PaymentKey, PaymentToken, Receipt
from archstone.systems.shop.shipping.service import Pace
from archstone.systems.shop.values import Money

FAST = Pace(packed_after_s=2, shipped_after_s=3, delivered_after_s=4)


async def test_a_confirmed_order_is_cancelled_and_everything_given_back(tmp_path: Path, form: CheckoutForm) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await shop.ended(ann, order_id)
        answer = await shop.client(Orders, as_=ann).cancel(order_id)
        assert answer.status == "confirmed"
        view = await shop.until(ann, order_id, lambda view: view.status == "cancelled")
        assert await shop.client(Orders, as_=ann).cancel(order_id) == answer.model_copy(update={"status": "cancelled"})
        await shop.at_rest()
        assert await shop.bank.balance("shop") == 0
        assert (await shop.client(Payments, as_=ann).invoice(order_id)).state == "refunded"
        assert (await shop.client(Inventory).stock("KIT-001")).held == 0
    assert view.reason == "cancelled by the customer"
    assert [entry.what for entry in view.timeline] == [
        "placed", "confirmed", "cancellation asked for", "cancelled: cancelled by the customer",
    ]  # fmt: skip
    assert len(list((tmp_path / "mails").iterdir())) == 2
    assert faults_in(tmp_path) == []


class WaitingBank(Bank):
    """A bank that takes money when it is told to."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = asyncio.Event()
        self.open = asyncio.Event()

    async def charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        self.asked.set()
        await self.open.wait()
        return await super().charge(key, amount, token)


async def test_a_pending_order_turns_back_before_it_is_confirmed(tmp_path: Path, form: CheckoutForm) -> None:
    bank = WaitingBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank, form=form) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 2))
        await bank.asked.wait()
        assert (await shop.client(Orders, as_=ann).cancel(order_id)).status == "pending"
        bank.open.set()
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
        assert await bank.balance("shop") == 0
    assert (view.status, view.reason) == ("cancelled", "cancelled by the customer")
    assert faults_in(tmp_path) == []


async def test_a_parcel_moves_after_the_order_is_confirmed_and_the_timeline_tells(
    tmp_path: Path, form: CheckoutForm
) -> None:
    async with running_shop(tmp_path, pace=FAST, form=form) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 1))
        view = await shop.until(ann, order_id, lambda view: view.parcel == "delivered")
        with pytest.raises(CannotCancelError, match="too late to cancel"):
            await shop.client(Orders, as_=ann).cancel(order_id)
        await shop.at_rest()
        history = await shop.client(Orders, as_=ann).history(order_id)
    assert view.status == "confirmed"
    assert [entry.what for entry in view.timeline] == ["placed", "confirmed", "packed", "shipped", "delivered"]
    assert [entry.version for entry in history.items] == [1, 2, 3, 4, 5]
    assert [entry.caused_by for entry in history.items[:2]] == [ann.id, "service:orders"]
    assert sorted(entry.at for entry in view.timeline) == [entry.at for entry in view.timeline]
    assert faults_in(tmp_path) == []


async def test_of_a_cancellation_and_a_parcel_that_leaves_exactly_one_wins(tmp_path: Path) -> None:
    async with running_shop(tmp_path, pace=FAST) as shop:
        ann = await shop.register("ann@example.com")
        orders = shop.client(Orders, as_=ann)
        placed = [await shop.place(ann, ("KIT-001", 1)) for _ in range(24)]
        for order_id in placed:
            await shop.ended(ann, order_id)

        async def cancel_after(order_id: str, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            with suppress(CannotCancelError):
                await orders.cancel(order_id)

        await asyncio.gather(*(cancel_after(order_id, 4.5 + 0.1 * n) for n, order_id in enumerate(placed)))
        views = [
            await shop.until(ann, each, lambda view: view.status == "cancelled" or view.parcel == "delivered")
            for each in placed
        ]
        await shop.at_rest()
    outcomes = {(view.status, view.parcel == "delivered") for view in views}
    assert outcomes == {("cancelled", False), ("confirmed", True)}
    assert faults_in(tmp_path) == []


async def test_a_parcel_that_left_between_the_wish_and_the_stop_keeps_its_order(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 1))
        await shop.ended(ann, order_id)
        await shop.at_rest()
        # Shipping knows that it has left; the news is still on its way to orders.
        await shop.database("shipping").execute("UPDATE shipments SET state = 'shipped', due_at = NULL")
        await shop.client(Orders, as_=ann).cancel(order_id)
        view = await shop.until(ann, order_id, lambda view: len(view.timeline) == 4)
        await shop.at_rest()
    assert view.status == "confirmed"
    assert view.reason is None
    assert view.timeline[-1].what == "not cancelled: the parcel had left"
    assert faults_in(tmp_path) == []


async def test_nobody_sees_or_cancels_anothers_order_but_an_admin(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        bob = await shop.register("bob@example.com", "Bob")
        order_id = await shop.place(ann, ("KIT-001", 1))
        await shop.ended(ann, order_id)
        as_bob = shop.client(Orders, as_=bob)
        for call in (as_bob.order, as_bob.history, as_bob.cancel):
            with pytest.raises(OrderUnknownError):
                await call(order_id)
        with pytest.raises(OrderUnknownError):
            await as_bob.order("f" * 32)
        with pytest.raises(NoOrdersError):
            await as_bob.orders_of(ann.id)
        as_admin = shop.client(Orders, as_=bob._replace(roles=frozenset({"admin"})))
        assert (await as_admin.order(order_id)).id == order_id
        assert [each.id for each in (await as_admin.orders_of(ann.id)).items] == [order_id]


async def test_ones_orders_come_newest_first_in_pages(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        placed = []
        for _ in range(5):
            placed.append(await shop.place(ann, ("KIT-001", 1)))
            await asyncio.sleep(0.01)
        orders = shop.client(Orders, as_=ann)
        seen, cursor = [], None
        for _ in range(3):
            page = await orders.orders_of(ann.id, limit=2, cursor=cursor)
            seen += [each.id for each in page.items]
            cursor = page.next_cursor
        await shop.ended(ann, placed[-1])
        assert [each.id for each in (await orders.mine()).items] == placed[::-1]
        own = await orders.mine(limit=2)
        assert (await orders.mine(limit=3, cursor=own.next_cursor)).items == (await orders.mine()).items[2:]
    assert seen == placed[::-1]
    assert cursor is None
