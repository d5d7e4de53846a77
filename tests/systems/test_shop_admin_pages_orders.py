"""The administration's pages about orders: finding them, all that happened to one, refunds, cancelling."""

import asyncio

import pytest
from pages_browser import ROOT, Answer, Browser, filled, registered

from archstone.runtime import Embedded
from archstone.services import options
from archstone.systems.shop.orders import refunding
from archstone.systems.shop.orders.administration import OrderAdmin
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.provider import ProviderUnreachableError, Receipt
from archstone.systems.shop.users.contract import UserAdmin


async def bought(run: Embedded, *, card: str = "tok_ok", sku: str = "KIT-001", name: str = "Ann Alder") -> str:
    """Buy something as a customer of one's own; return the order's id once it has ended."""
    browser = await registered(Browser(run.asgi), f"{card.replace('_', '-')}-{sku.lower()}@example.com")
    await filled(browser, (sku, 1))
    page = await browser.get("/checkout")
    placed = await browser.submit(
        page, "/checkout", name=name, street="Mill Lane 1", city="Tarn", postcode="12345", country="DE", card=card
    )
    order_id = placed.to.removeprefix("/orders/")
    await run.client(Orders, as_=ROOT).order(order_id, 20)
    return order_id


async def until(root: Browser, path: str, words: str) -> Answer:
    """Return the page once it says so."""
    page = await root.get(path)
    for _ in range(300):
        if words in page.text:
            return page
        await asyncio.sleep(0.1)
        page = await root.get(path)
    raise AssertionError(f"{path} never says {words!r}: {page.text}")


async def test_orders_are_filtered_by_state_customer_and_day(run: Embedded, root: Browser) -> None:
    good, bad = await bought(run), await bought(run, card="tok_declined", name="Ben Birch")
    everything = await root.get("/admin/orders")
    assert good[-8:] in everything.text
    assert bad[-8:] in everything.text
    users = (await run.client(UserAdmin, as_=ROOT).users()).items
    (declined,) = [user.id for user in users if user.email.startswith("tok-declined")]
    for query, found in (
        ("state=confirmed", [good]),
        ("state=cancelled", [bad]),
        (f"customer={declined}", [bad]),
        ("customer=nobody", []),
        ("since=2100-01-01", []),
        ("until=1999-01-01", []),
        ("state=broken&since=tomorrow", [good, bad]),
    ):
        page = await root.get(f"/admin/orders?{query}")
        assert [each for each in (good, bad) if each in page.html] == found, query
        assert ("No order fits" in page.text) == (not found)
    assert (await root.get("/admin/orders?state=confirmed&cursor=x")).to == "/admin/orders?state=confirmed"
    named = await until(root, "/admin/orders?q=birch", bad[-8:])
    assert good not in named.html


async def test_an_order_tells_everything_that_ever_happened_to_it(run: Embedded, root: Browser) -> None:
    order_id = await bought(run)
    page = await until(root, f"/admin/orders/{order_id}", "Mail to tok-ok-kit-001@example.com")
    for words in ("Paid ", "Goods sold", "provider", "INV-", "The bank was asked for"):
        assert words in page.text, words
    assert page.inline == []
    assert (await root.get(f"/admin/orders/{'0' * 32}")).status == 404


async def test_money_is_given_back_once_after_a_question(run: Embedded, root: Browser) -> None:
    order_id = await bought(run)
    path = f"/admin/orders/{order_id}"
    asked = await root.submit(await root.get(path), f"{path}/refunds", amount="1,50", reason="a <scratch>")
    assert "Give €1.50 back to the customer?" in asked.text
    assert (await run.client(Orders, as_=ROOT).order(order_id)).refunds == ()
    done = await root.submit(asked, f"{path}/refunds")
    assert (await root.submit(asked, f"{path}/refunds")).to == done.to == f"{path}?told=refunding"
    shown = await until(root, path, "Refunded, €1.50")
    assert "a &lt;scratch&gt;" in shown.html
    (made,) = (await run.client(Orders, as_=ROOT).order(order_id)).refunds
    assert (made.amount.amount, made.reason) == (150, "a <scratch>")
    rest = await root.submit(shown, f"{path}/refunds", reason="and the rest")
    await root.submit(rest, f"{path}/refunds")
    await until(root, f"{path}", "and the rest")
    assert all(each.action != f"{path}/refunds" for each in (await root.get(path)).forms), "nothing is left"


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        ({"amount": "much"}, 422, "an amount such as 12.50"),
        ({"amount": "0"}, 422, "an amount such as 12.50"),
        ({"amount": "1.234"}, 422, "an amount such as 12.50"),
        ({"reason": ""}, 422, "Please say why"),
        ({"key": ""}, 422, "send the form once more"),
        ({"amount": "99999", "sure": "yes"}, 409, "are left"),
    ],
)
async def test_a_refund_that_cannot_be_is_explained_and_nothing_is_given_back(
    run: Embedded, root: Browser, typed: dict[str, str], status: int, words: str
) -> None:
    order_id = await bought(run)
    path = f"/admin/orders/{order_id}"
    page = await root.get(path)
    answer = await root.post(f"{path}/refunds", {**page.form(f"{path}/refunds").fields, "reason": "why not", **typed})
    assert answer.status == status
    assert words in answer.text
    assert (await run.client(Orders, as_=ROOT).order(order_id)).refunds == ()


async def test_an_order_is_cancelled_after_a_question(run: Embedded, root: Browser) -> None:
    order_id = await bought(run)
    path = f"/admin/orders/{order_id}"
    asked = await root.submit(await root.get(path), f"{path}/cancel")
    assert "Cancel this order?" in asked.text
    assert (await root.submit(asked, f"{path}/cancel")).to == f"{path}?told=cancelling"
    await until(root, path, "Goods put back: the order was given up")
    await until(root, path, "Cancelled")


async def test_a_refund_that_failed_is_told_and_the_bank_is_asked_again_from_the_page(
    run: Embedded, root: Browser, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: Bank, *asked: object) -> Receipt:
        del self, asked
        raise ProviderUnreachableError("bank", "the line is dead")

    monkeypatch.setattr(refunding, "PAUSES_S", (1.0, 90.0))
    order_id = await bought(run)
    here = f"/admin/orders/{order_id}"
    with monkeypatch.context() as patch:
        patch.setattr(Bank, "refund_part", silent)
        admin = options(run.client(OrderAdmin, as_=ROOT), key="k")
        await admin.refund(order_id, "It was scratched.", 990)
        await until(root, here, "Under way")
        await asyncio.sleep(70)
        await until(root, here, "Waiting for the bank: it does not answer")
        await asyncio.sleep(60)
        page = await until(root, here, "Refund failed: the bank did not answer for three days")
        assert "Ask the bank again" in page.text
    [form] = [form for form in page.forms if form.action.endswith("/retry")]
    assert (await ann.post(form.action, {})).status == 403
    answer = await root.post(form.action, {})
    assert answer.to == f"{here}?told=refunding"
    page = await until(root, here, "Given back")
    assert not [form for form in page.forms if form.action.endswith("/retry")]
    assert (await root.post(form.action, {})).to == here
    assert (await root.post(f"/admin/orders/{'0' * 32}/refunds/{'0' * 32}/retry", {})).status == 404
