"""A bank that is slow, then failing, then dead, then well: what the buyer sees, and what it costs nobody."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from pages_browser import ADDRESS, ROOT, Browser, an_admin, filled, registered
from shop_database import faults_in
from wiring import running, running_shop

from archstone.observability import default_registry
from archstone.runtime import Embedded
from archstone.systems.shop.checkout import CheckoutForm
from archstone.systems.shop.orders.contract import Orders, OrderView
from archstone.systems.shop.payments import guard
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.conduct import Mode
from archstone.systems.shop.payments.contract import PATIENCE_S
from archstone.systems.shop.payments.guard import AGAIN, BREAKER, BULKHEAD, GuardedProvider
from archstone.systems.shop.payments.provider import PaymentKey, PaymentToken, Receipt
from archstone.systems.shop.system import shop as shop_system
from archstone.systems.shop.values import Money

NOT_COMPLETED = "the checkout could not be completed"
SLOW_WORDS = "The bank is taking longer than usual. We keep asking, and you will be charged once at most."
PAID, REFUSED = "confirmed", "refused"
ENDS = {
    "Your order is confirmed": PAID,
    "Your parcel is": PAID,
    "We could not complete this order": REFUSED,
}
LOOKED_AT = ("/", "/p/KIT-001", "/c/kitchen", "/search?q=pan", "/cart", "/orders", "/account")


def now_s() -> float:
    return asyncio.get_running_loop().time()


class House(NamedTuple):
    """A shop that runs, with a buyer and an administrator at their browsers."""

    run: Embedded
    ann: Browser
    root: Browser

    @property
    def guard(self) -> GuardedProvider:
        return self.run.parts.provided[GuardedProvider]

    @property
    def bank(self) -> Bank:
        bank = self.guard.provider
        assert isinstance(bank, Bank)
        return bank

    async def turn(self, mode: Mode) -> None:
        """Turn the bank, as the operator does."""
        page = await self.root.get("/admin/bank")
        form = page.form("/admin/bank")
        assert (await self.root.post(form.action, {**form.fields, "mode": mode})).to == "/admin/bank?told=turned"

    async def order(self) -> str:
        """Order something by the pages, and return the path of the order's page."""
        await filled(self.ann, ("KIT-001", 1))
        answer = await self.ann.submit(await self.ann.get("/checkout"), "/checkout", **ADDRESS)
        return answer.to

    async def end(self, path: str) -> str:
        """Return how an order ends, as its page says it."""
        text = ""
        for _ in range(240):
            text = (await self.ann.get(path)).text
            if (said := next((end for words, end in ENDS.items() if words in text), None)) is not None:
                return said
            await asyncio.sleep(0.5)
        raise AssertionError(f"{path} never ends: {text}")

    async def alerts(self) -> list[tuple[str, str]]:
        page = await self.root.get("/admin")
        return re.findall(r'<section class="alert">\s*<h2>(.*?)</h2>\s*<p>(.*?)</p>', page.html)

    async def circuit(self, state: str) -> None:
        """Return once the circuit is so."""

        for _ in range(600):
            if self.guard.state().circuit == state:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never {state}: {self.guard.state()}")


def breaker_metric() -> float:
    [value] = re.findall(r'^archstone_breaker_state\{breaker="bank"\} (\S+)$', default_registry.render(), re.MULTILINE)
    return float(value)


@pytest.fixture
async def house(tmp_path: Path, form: CheckoutForm) -> AsyncIterator[House]:
    async with running(shop_system, data=tmp_path, options={"checkout": form.value}) as run:
        ann = await registered(Browser(run.asgi))
        yield House(run, ann, await an_admin(run))


async def pages_are_quick(house: House) -> None:
    """Check that whoever looks around waits for nothing: not a moment of the loop's time passes."""
    for path in LOOKED_AT:
        began_s = now_s()
        page = await house.ann.get(path)
        assert (page.status, now_s() - began_s < 0.1) == (200, True), (path, now_s() - began_s)


@pytest.mark.both_databases
async def test_a_bank_that_is_slow_then_failing_then_dead_then_well(house: House, tmp_path: Path) -> None:
    placed: list[str] = []
    before = await house.order()
    assert await house.end(before) == PAID
    assert (house.guard.state().circuit, breaker_metric(), await house.alerts()) == ("closed", 0, [])

    await house.turn("slow")
    placed += [await house.order(), await house.order()]
    await house.circuit("open")
    assert breaker_metric() == 2
    await pages_are_quick(house)
    for path in placed:  # neither refused nor paid: it goes on
        page = await house.ann.get(path)
        assert (page.status, SLOW_WORDS in page.text) == (200, True)
    await asyncio.sleep(5)
    [(name, why)] = [each for each in await house.alerts() if each[0].startswith("breaker")]
    assert name == "breaker of bank"
    assert re.fullmatch(r"the circuit is (half )?open, \d+ calls were refused; the next .*", why)
    assert "Open: no calls" in (await house.root.get("/admin/bank")).text

    await house.turn("failing")
    placed.append(await house.order())
    await asyncio.sleep(25)
    await pages_are_quick(house)

    await house.turn("dead")
    placed.append(await house.order())
    await asyncio.sleep(25)
    await house.circuit("open")
    asked, refused = house.bank.conduct.calls.total(), house.guard.state().refused
    await asyncio.sleep(30)
    assert house.bank.conduct.calls.total() - asked <= 4, "a trial every ten seconds, for all orders together"
    assert house.guard.state().refused > refused
    await pages_are_quick(house)

    await house.turn("well")
    await house.circuit("closed")
    ends = [await house.end(path) for path in placed]
    assert ends[-1] == PAID
    await asyncio.sleep(5)
    assert (breaker_metric(), await house.alerts()) == (0, [])
    assert await house.end(await house.order()) == PAID
    charged = await house.bank.db.all(str, "SELECT key FROM captures")
    assert len(charged) == len(set(charged)) <= len(placed) + 2
    kept = 1 + ends.count(PAID) + 1
    assert await house.bank.balance("shop") == kept * 3_990


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["slow", "failing", "dead"])
async def test_the_books_are_right_after_a_bank_that_was_bad(tmp_path: Path, form: CheckoutForm, mode: Mode) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        await shop.bank.turn(mode)
        placed = [await shop.place(ann, ("KIT-001", 1)) for _ in range(12)]
        await asyncio.sleep(20)
        await shop.bank.turn("well")
        views = [await shop.ended(ann, order_id) for order_id in placed]
        await shop.at_rest()
        assert {view.status for view in views} <= {"confirmed", "cancelled"}
        assert {view.reason for view in views if view.status == "cancelled"} <= {NOT_COMPLETED}
        assert await shop.bank.balance("shop") == 3_990 * sum(view.status == "confirmed" for view in views)
    assert faults_in(tmp_path) == []


@pytest.mark.both_databases
async def test_an_order_waits_for_a_bank_that_is_dead_for_a_while_and_is_paid_once(
    tmp_path: Path, form: CheckoutForm
) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        await shop.bank.turn("dead")
        placed = [await shop.place(ann, ("KIT-001", 1)) for _ in range(8)]
        await asyncio.sleep(PATIENCE_S / 2)
        orders = shop.client(Orders, as_=ann)
        assert {(await orders.order(each)).status for each in placed} == {"pending"}
        await shop.bank.turn("well")
        views = [await shop.ended(ann, order_id) for order_id in placed]
        assert {view.status for view in views} == {"confirmed"}
        await shop.at_rest()
    assert faults_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.sqlite_only("minutes of virtual time, in each second of which every service looks for work")
async def test_a_bank_that_is_dead_for_longer_than_orders_wait_leaves_nothing_for_a_person(
    tmp_path: Path, form: CheckoutForm
) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        await shop.bank.turn("dead")
        order_id = await shop.place(ann, ("KIT-001", 1))
        await asyncio.sleep(6 * PATIENCE_S)
        view = await shop.client(Orders, as_=ann).order(order_id)
        assert view.status == "pending", "nobody knows whether the bank has taken anything"
        stuck = [each.sagas.statistics().stuck for each in shop.dispatchers.values() if each.sagas is not None]
        assert sum(stuck) == 0
        assert shop.bank.conduct.calls.total() < 6 * PATIENCE_S / BREAKER.open_s + 10
        await shop.bank.turn("well")
        view = await shop.ended(ann, order_id)
        await shop.at_rest()
        assert (view.status, view.reason) == ("cancelled", NOT_COMPLETED)
    assert faults_in(tmp_path) == []


@pytest.mark.both_databases
async def test_of_a_bank_that_fails_now_and_then_a_budget_bounds_what_is_asked_again(
    tmp_path: Path, form: CheckoutForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = replace(AGAIN, budget_burst=2.0)
    monkeypatch.setattr(guard, "AGAIN", again)
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        await shop.bank.turn("failing")
        placed: list[str] = []
        for _ in range(12):
            placed.append(await shop.place(ann, ("KIT-001", 1)))
            await asyncio.sleep(0.5)
        views = [await shop.ended(ann, order_id) for order_id in placed]
        await shop.at_rest()
        state, charges = shop.guard.state(), shop.bank.conduct.calls["charge"]
        assert again.budget_ratio is not None
        assert state.opened == 0, "failures are not many in a row"
        assert len(placed) < charges <= len(placed) * (1 + again.budget_ratio) + again.budget_burst
        assert (state.retried, state.over_budget > 0) == (charges - len(placed), True)
        confirmed = sum(view.status == "confirmed" for view in views)
        assert 0 < confirmed < len(placed)
        assert await shop.bank.balance("shop") == confirmed * 3_990
    assert faults_in(tmp_path) == []


class CrowdedBank(Bank):
    """A bank that counts who is with it."""

    inside = most = 0

    async def charge(self, key: PaymentKey, amount: Money, token: PaymentToken) -> Receipt:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await asyncio.sleep(1.5)
            return await super().charge(key, amount, token)
        finally:
            self.inside -= 1


async def test_so_many_are_with_the_bank_at_once_and_no_more(
    tmp_path: Path, form: CheckoutForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BULKHEAD", replace(BULKHEAD, max_calls=3))
    bank = CrowdedBank(f"sqlite:///{tmp_path / 'bank.db'}")
    async with running_shop(tmp_path, bank=bank, form=form) as shop:
        ann = await shop.register("ann@example.com")
        placed = await asyncio.gather(*(shop.place(ann, ("KIT-001", 1)) for _ in range(10)))
        views = [await shop.ended(ann, order_id) for order_id in placed]
        await shop.at_rest()
    assert {view.status for view in views} == {"confirmed"}
    assert bank.most == 3
    assert bank.conduct.calls["charge"] == len(placed), "who finds no place has not asked"
    assert faults_in(tmp_path) == []


async def test_a_cancellation_that_meets_a_dead_bank_gives_the_money_back_when_it_answers(
    tmp_path: Path, form: CheckoutForm
) -> None:
    async with running_shop(tmp_path, form=form) as shop:
        ann = await shop.register("ann@example.com")
        order_id = await shop.place(ann, ("KIT-001", 1))
        assert (await shop.ended(ann, order_id)).status == "confirmed"
        await shop.bank.turn("dead")
        await shop.client(Orders, as_=ann).cancel(order_id)
        await asyncio.sleep(90)
        assert (await shop.client(Orders, as_=ann).order(order_id)).status != "cancelled"
        assert await shop.bank.balance("shop") == 3_990
        await shop.bank.turn("well")
        await shop.until(ann, order_id, lambda view: view.status == "cancelled")
        await shop.at_rest()
        assert await shop.bank.balance("shop") == 0
    assert faults_in(tmp_path) == []


async def test_the_api_says_pending_while_the_bank_is_dead(house: House) -> None:
    await house.turn("dead")
    path = await house.order()
    await asyncio.sleep(20)
    view: OrderView = await house.run.client(Orders, as_=ROOT).order(path.removeprefix("/orders/"))
    assert view.status == "pending"
    for each in (path, "/orders"):
        assert (await house.ann.get(each)).status == 200


async def test_only_administrators_turn_the_bank_and_only_in_ways_that_there_are(house: House) -> None:
    assert (await house.ann.post("/admin/bank", {"mode": "dead"})).status == 403
    assert (await house.ann.get("/admin/bank")).status == 403
    assert (await house.root.post("/admin/bank", {"mode": "furious"})).to == "/admin/bank?told=broken"
    assert house.bank.conduct.mode == "well"
    page = await house.root.get("/admin/bank")
    assert "Closed: calls go through" in page.text
    assert page.inline == []


async def test_the_bank_of_somebody_else_is_not_turned(house: House) -> None:
    class Elsewhere:
        """A provider that is no bank of ours."""

    house.guard._provider = Elsewhere()  # type: ignore[assignment]
    page = await house.root.get("/admin/bank")
    assert "Somebody else moves this shop's money" in page.text
    assert (await house.root.post("/admin/bank", {"mode": "dead"})).to == "/admin/bank?told=no-drill"
