"""Refunds whose bank is silent: for hours, for days, for good.

An hour is six seconds here: a shop that stands still for three days is a million turns of its periodic work.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from shop_database import faults_in
from test_shop_refunds import ADMIN, PAN, bought, refund, refunds_ended
from wiring import RunningShop, running_shop

from archstone.context import Principal
from archstone.services import ForbiddenError
from archstone.systems.shop.orders import refunding
from archstone.systems.shop.orders.administration import OrderAdmin, RefundNotFailedError, RefundTooMuchError
from archstone.systems.shop.orders.contract import Orders, OrderUnknownError, OrderView
from archstone.systems.shop.orders.refunding import PAUSES_S
from archstone.systems.shop.payments import guard
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.provider import PaymentKey, ProviderUnreachableError, Receipt
from archstone.systems.shop.shipping.service import Pace
from archstone.systems.shop.values import Money
from archstone.systems.shop.web.words import refund_words, timeline_words

HOUR_S = 6.0
DAYS_3_S = 72 * HOUR_S


@pytest.fixture(autouse=True)
def _short_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refunding, "PAUSES_S", tuple(each / 3600 * HOUR_S for each in PAUSES_S))
    monkeypatch.setattr(guard, "BREAKER", replace(guard.BREAKER, open_s=guard.BREAKER.open_s / 3600 * HOUR_S))


def test_the_pauses_grow_and_take_just_under_three_days() -> None:
    assert list(PAUSES_S) == sorted(PAUSES_S)
    assert 70 * 3600 < sum(PAUSES_S) < 72 * 3600


class DeadBank(Bank):
    """A bank that does not answer about parts until `back_at_s` of the loop's time; `pays`: it pays all the same."""

    def __init__(self, url: str, *, back_at_s: float = float("inf"), pays: bool = False) -> None:
        super().__init__(url)
        self.back_at_s, self.pays, self.asked_at_s = back_at_s, pays, list[float]()

    async def refund_part(self, key: PaymentKey, refund_id: PaymentKey, amount: Money) -> Receipt:
        now_s = asyncio.get_running_loop().time()
        self.asked_at_s.append(now_s)
        if now_s >= self.back_at_s or self.pays:
            receipt = await super().refund_part(key, refund_id, amount)
        if now_s < self.back_at_s:
            raise ProviderUnreachableError("bank", "the line is dead")
        return receipt


async def patiently(shop: RunningShop, who: Principal, order_id: str, until_s: float) -> OrderView:
    """Return the order as it stands that much later."""
    await asyncio.sleep(until_s)
    return await shop.client(Orders, as_=who).order(order_id)


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_a_bank_that_is_silent_for_hours_is_asked_at_growing_pauses_and_pays_once(tmp_path: Path) -> None:
    bank = DeadBank(f"sqlite:///{tmp_path / 'bank.db'}", back_at_s=6 * HOUR_S, pays=True)
    async with running_shop(tmp_path, bank=bank) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        await refund(shop, order_id, "k", 990)
        waiting = await patiently(shop, ann, order_id, 4 * HOUR_S)
        assert [each.status for each in waiting.refunds] == ["pending"]
        later = waiting.refunds[0].asked_at + timedelta(minutes=1)
        assert refund_words(waiting.refunds[0], now=later).startswith("Waiting for the bank")
        assert refund_words(waiting.refunds[0], now=later - timedelta(seconds=1)) == "Under way"
        with pytest.raises(RefundTooMuchError):
            await refund(shop, order_id, "more", PAN - 989)
        view = await patiently(shop, ann, order_id, 9 * HOUR_S)
        await shop.at_rest()
        assert [each.status for each in view.refunds] == ["done"]
        assert await bank.balance("shop") == PAN - 990
    pauses = [later - sooner for sooner, later in pairwise(bank.asked_at_s) if later - sooner > HOUR_S / 5]
    assert [round(pause_s / HOUR_S) for pause_s in pauses] == [0, 1, 3, 6]
    assert faults_in(tmp_path) == []


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_after_three_days_of_silence_a_refund_has_failed_and_can_be_tried_again(tmp_path: Path) -> None:
    bank = DeadBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        asked = await refund(shop, order_id, "k", 990)
        view = await patiently(shop, ann, order_id, DAYS_3_S)
        assert [each.status for each in view.refunds] == ["failed"]
        assert view.timeline[-1].what == "refund of 9.90 EUR failed: the bank does not answer"
        assert "We are looking into it" in timeline_words(view.timeline[-1].what)
        assert view.refunded is None
        with pytest.raises(RefundTooMuchError):  # nobody knows whether it has been paid
            await refund(shop, order_id, "more", PAN - 989)
        admin = shop.client(OrderAdmin, as_=ADMIN)
        with pytest.raises(ForbiddenError):
            await shop.client(OrderAdmin, as_=ann).retry_refund(order_id, asked.id)
        bank.back_at_s = 0
        again = await admin.retry_refund(order_id, asked.id)
        assert (again.id, again.status) == (asked.id, "pending")
        assert (await admin.retry_refund(order_id, asked.id)).id == asked.id
        view = await refunds_ended(shop, ann, order_id)
        await shop.at_rest()
        assert [each.status for each in view.refunds] == ["done"]
        assert await bank.balance("shop") == PAN - 990
        for refund_id in (asked.id, "f" * 32):
            with pytest.raises(RefundNotFailedError):
                await admin.retry_refund(order_id, refund_id)
        with pytest.raises(OrderUnknownError):
            await admin.retry_refund("f" * 32, asked.id)
    assert faults_in(tmp_path) == []


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_a_refund_can_fail_twice_and_an_order_be_cancelled_in_between(tmp_path: Path) -> None:
    bank = DeadBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank, pace=Pace(packed_after_s=10_000)) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        asked = await refund(shop, order_id, "k", 990)
        await patiently(shop, ann, order_id, DAYS_3_S)
        await shop.client(OrderAdmin, as_=ADMIN).retry_refund(order_id, asked.id)
        view = await patiently(shop, ann, order_id, DAYS_3_S)
        assert [each.status for each in view.refunds] == ["failed"]
        await shop.client(Orders, as_=ann).cancel(order_id)
        await shop.until(ann, order_id, lambda view: view.status == "cancelled")
        bank.back_at_s = 0
        await shop.client(OrderAdmin, as_=ADMIN).retry_refund(order_id, asked.id)
        view = await refunds_ended(shop, ann, order_id)
        await shop.at_rest()
        assert [each.status for each in view.refunds] == ["refused"]
        assert await bank.balance("shop") == 0
    assert faults_in(tmp_path) == []


@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_the_wait_for_a_bank_outlives_a_restart(tmp_path: Path) -> None:
    async with running_shop(tmp_path, bank=DeadBank(f"sqlite:///{tmp_path / 'bank.db'}")) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await bought(shop, ann)
        await refund(shop, order_id, "k", 990)
        await asyncio.sleep(2 * HOUR_S)
    async with running_shop(tmp_path) as shop:
        view = await patiently(shop, ann, order_id, 3 * HOUR_S)
        await shop.at_rest()
        assert [each.status for each in view.refunds] == ["done"]
    assert faults_in(tmp_path) == []
