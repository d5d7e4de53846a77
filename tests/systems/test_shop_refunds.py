"""Refunds by an administrator: parts and the whole, never more than is left, told to the customer and accounted for."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from shop_database import faults_in
from wiring import RunningShop, keyed, running_shop

from archstone.context import Principal
from archstone.services import ForbiddenError
from archstone.systems.shop.analytics.contract import Analytics
from archstone.systems.shop.orders.administration import (
    MAX_REFUNDS,
    CannotRefundError,
    OrderAdmin,
    RefundTooMuchError,
    TooManyRefundsError,
)
from archstone.systems.shop.orders.contract import Orders, OrderUnknownError, OrderView, RefundView
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.contract import Payments
from archstone.systems.shop.payments.provider import (
    PaymentKey,
    ProviderUnreachableError,
    Receipt,
    RefundRefusedError,
)
from archstone.systems.shop.shipping.service import Pace
from archstone.systems.shop.values import Money

ADMIN = Principal("a" * 32, frozenset({"admin"}))
FAST = Pace(packed_after_s=1, shipped_after_s=1, delivered_after_s=1)
PAN = 3990


async def bought(shop: RunningShop, who: Principal, pieces: int = 1) -> str:
    order_id = await shop.place(who, ("KIT-001", pieces))
    assert (await shop.ended(who, order_id)).status == "confirmed"
    return order_id


async def refund(shop: RunningShop, order_id: str, key: str, amount: int | None = None) -> RefundView:
    with keyed(key):
        return await shop.client(OrderAdmin, as_=ADMIN).refund(order_id, "It was scratched.", amount)


async def refunds_ended(shop: RunningShop, who: Principal, order_id: str) -> OrderView:
    return await shop.until(who, order_id, lambda view: all(each.status != "pending" for each in view.refunds))


@pytest.mark.both_databases
async def test_a_part_is_given_back_shown_mailed_and_taken_from_the_revenue(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann, 2)
        asked = await refund(shop, order_id, "k", 1000)
        assert (asked.status, asked.amount, asked.ended_at) == ("pending", Money(amount=1000), None)
        view = await refunds_ended(shop, ann, order_id)
        await shop.at_rest()
        invoice = await shop.client(Payments, as_=ann).invoice(order_id)
        summary = await shop.client(Analytics, as_=ADMIN).summary()
        assert await shop.bank.balance("shop") == 2 * PAN - 1000
        assert await shop.bank.balance("card:tok_ok") == 1000 - 2 * PAN
    assert (view.status, view.refunded) == ("confirmed", Money(amount=1000))
    assert [(each.status, each.reason) for each in view.refunds] == [("done", "It was scratched.")]
    assert [entry.what for entry in view.timeline[-2:]] == [
        "refund of 10.00 EUR asked for: It was scratched.", "refunded 10.00 EUR",
    ]  # fmt: skip
    assert (invoice.state, invoice.amount.amount, invoice.refunded.amount) == ("captured", 2 * PAN, 1000)
    assert summary.revenue == 2 * PAN - 1000
    [mail] = [text for each in (tmp_path / "mails").iterdir() if "money back" in (text := each.read_text())]
    assert "10.00 EUR of what you paid for your order." in mail
    assert "The reason: It was scratched." in mail
    assert "Given back so far: 10.00 EUR of 79.80 EUR" in mail
    assert faults_in(tmp_path) == []


async def test_without_an_amount_all_that_is_left_is_given_back(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        await refund(shop, order_id, "a", 990)
        assert (await refund(shop, order_id, "b")).amount.amount == PAN - 990
        view = await refunds_ended(shop, ann, order_id)
        await shop.at_rest()
        assert (view.status, view.refunded) == ("confirmed", view.total)
        assert (await shop.client(Payments, as_=ann).invoice(order_id)).state == "refunded"
        assert await shop.bank.balance("shop") == 0
        with pytest.raises(RefundTooMuchError, match="0 are left"):
            await refund(shop, order_id, "c")
    assert faults_in(tmp_path) == []


async def test_exactly_what_is_left_can_be_refunded_and_not_one_cent_more(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        with pytest.raises(RefundTooMuchError) as caught:
            await refund(shop, order_id, "a", PAN + 1)
        assert (caught.value.amount, caught.value.left) == (PAN + 1, PAN)
        await refund(shop, order_id, "b", PAN)
        with pytest.raises(RefundTooMuchError):
            await refund(shop, order_id, "c", 1)
        await shop.at_rest()
    assert faults_in(tmp_path) == []


async def test_the_same_key_is_one_refund_and_two_keys_are_two(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        first = await refund(shop, order_id, "k", 100)
        assert (await refund(shop, order_id, "k", 100)).id == first.id
        assert (await refund(shop, order_id, "other", 100)).id != first.id
        await shop.at_rest()
        assert (await shop.client(Orders, as_=ann).order(order_id)).refunded == Money(amount=200)
    assert faults_in(tmp_path) == []


async def test_twenty_refunds_at_once_never_give_back_more_than_was_paid(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        outcomes = await asyncio.gather(
            *(refund(shop, order_id, f"k{n}", 500) for n in range(20)), return_exceptions=True
        )
        assert sum(isinstance(each, RefundView) for each in outcomes) == PAN // 500
        assert all(isinstance(each, RefundView | RefundTooMuchError) for each in outcomes)
        await shop.at_rest()
        assert await shop.bank.balance("shop") == PAN - 3500
    assert faults_in(tmp_path) == []


async def test_a_delivered_order_is_refunded_and_one_that_does_not_stand_is_not(tmp_path: Path) -> None:
    async with running_shop(tmp_path, pace=FAST) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        await shop.until(ann, order_id, lambda view: view.parcel == "delivered")
        await refund(shop, order_id, "a", 10)
        declined = await shop.place(ann, ("KIT-001", 1), token="tok_declined")
        await shop.ended(ann, declined)
        with pytest.raises(CannotRefundError, match="is cancelled"):
            await refund(shop, declined, "b", 10)
        with pytest.raises(OrderUnknownError):
            await refund(shop, "f" * 32, "c", 10)
        with pytest.raises(ForbiddenError), keyed("d"):
            await shop.client(OrderAdmin, as_=ann).refund(order_id, "I would like that", 10)
        await shop.at_rest()
    assert faults_in(tmp_path) == []


async def test_a_cancellation_after_a_part_gives_back_the_rest(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        await refund(shop, order_id, "k", 990)
        await refunds_ended(shop, ann, order_id)
        await shop.client(Orders, as_=ann).cancel(order_id)
        await shop.until(ann, order_id, lambda view: view.status == "cancelled")
        await shop.at_rest()
        assert await shop.bank.balance("shop") == 0
        assert (await shop.client(Analytics, as_=ADMIN).summary()).revenue == 0
        assert (await shop.client(Payments, as_=ann).invoice(order_id)).refunded.amount == PAN
    assert faults_in(tmp_path) == []


async def test_refunds_and_cancellations_at_once_leave_nothing_kept_and_nothing_given_twice(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        placed = [await bought(shop, ann) for _ in range(12)]

        async def both(number: int, order_id: str) -> None:
            async def ask() -> None:
                await asyncio.sleep(number % 4 * 0.02)
                with suppress(CannotRefundError):
                    await refund(shop, order_id, f"k{number}", 500)

            await asyncio.gather(ask(), shop.client(Orders, as_=ann).cancel(order_id))

        await asyncio.gather(*(both(number, order_id) for number, order_id in enumerate(placed)))
        for order_id in placed:
            await shop.until(ann, order_id, lambda view: view.status == "cancelled")
            await refunds_ended(shop, ann, order_id)
        await shop.at_rest()
        assert await shop.bank.balance("shop") == 0
        assert (await shop.client(Analytics, as_=ADMIN).summary()).revenue == 0
    assert faults_in(tmp_path) == []


class LateBank(Bank):
    """A bank that gives parts back only after it has given everything back."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    async def refund_part(self, key: PaymentKey, refund_id: PaymentKey, amount: Money) -> Receipt:
        self.asked.set()
        await self.open.wait()
        return await super().refund_part(key, refund_id, amount)


async def test_a_refund_that_comes_after_the_cancellation_is_refused(tmp_path: Path) -> None:
    bank = LateBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        await refund(shop, order_id, "k", 990)
        await bank.asked.wait()
        await shop.client(Orders, as_=ann).cancel(order_id)
        await shop.until(ann, order_id, lambda view: view.status == "cancelled")
        bank.open.set()
        view = await refunds_ended(shop, ann, order_id)
        await shop.at_rest()
        assert await bank.balance("shop") == 0
    assert [each.status for each in view.refunds] == ["refused"]
    assert view.refunded is None
    assert faults_in(tmp_path) == []


class SilentBank(Bank):
    """A bank that gives a part back and does not say so, the first times."""

    silent = 3

    async def refund_part(self, key: PaymentKey, refund_id: PaymentKey, amount: Money) -> Receipt:
        receipt = await super().refund_part(key, refund_id, amount)
        if self.silent:
            self.silent -= 1
            raise ProviderUnreachableError("bank", "the line is dead")
        return receipt


async def test_a_bank_that_does_not_answer_is_asked_again_and_gives_back_once(tmp_path: Path) -> None:
    bank = SilentBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        await refund(shop, order_id, "k", 990)
        view = await refunds_ended(shop, ann, order_id)
        await shop.at_rest()
        assert await bank.balance("shop") == PAN - 990
    assert [each.status for each in view.refunds] == ["done"]
    assert faults_in(tmp_path) == []


async def test_an_order_has_fifty_refunds_at_most(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        for number in range(MAX_REFUNDS):
            await refund(shop, order_id, f"k{number}", 1)
        with pytest.raises(TooManyRefundsError):
            await refund(shop, order_id, "one-more", 1)
        await shop.at_rest()
    assert faults_in(tmp_path) == []


async def test_the_bank_gives_a_part_back_once_per_id_and_never_too_much(tmp_path: Path) -> None:
    async with Bank(f"sqlite:///{tmp_path / 'bank.db'}") as bank:
        key, part = "1" * 32, "2" * 32
        await bank.charge(key, Money(amount=100), "tok_ok")
        receipt = await bank.refund_part(key, part, Money(amount=30))
        assert await bank.refund_part(key, part, Money(amount=30)) == receipt
        for refund_id, amount in ((part, 31), ("3" * 32, 71), (key, 10), ("3" * 32, 0)):
            with pytest.raises(RefundRefusedError):
                await bank.refund_part(key, refund_id, Money(amount=amount))
        with pytest.raises(RefundRefusedError):
            await bank.refund_part("4" * 32, "3" * 32, Money(amount=1))
        known = await bank.look_up(key)
        assert known is not None
        assert (known.state, known.captured.amount, known.refunded.amount) == ("captured", 100, 30)
        rest = await bank.refund(key)
        assert rest.amount == Money(amount=70)
        assert await bank.refund(key) == rest
        assert await bank.refund_part(key, part, Money(amount=30)) == receipt
        assert (await bank.balance("shop"), await bank.balance("card:tok_ok")) == (0, 0)
        assert await bank.look_up("5" * 32) is None
