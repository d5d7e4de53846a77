"""The checkout by pages: one order however often it is sent, and words for whatever becomes of it."""

from datetime import timedelta
from pathlib import Path

import pytest
from pages_browser import ADDRESS, Answer, Browser, filled, registered
from shop_database import faults_in
from wiring import eventually, running

from archstone import world
from archstone.runtime import Embedded
from archstone.systems.shop.orders.contract import Entry, OrderView
from archstone.systems.shop.system import shop
from archstone.systems.shop.values import Address, Money
from archstone.systems.shop.web.money import locale_of, written
from archstone.systems.shop.web.words import about, coming, timeline_words


async def ordered(browser: Browser, card: str = "tok_ok", **typed: str) -> Answer:
    page = await browser.get("/checkout")
    return await browser.submit(page, "/checkout", **{**ADDRESS, "card": card, **typed})


async def ended(browser: Browser, path: str, headline: str) -> Answer:
    """Return the page of an order once it says so."""

    async def says() -> bool:
        return headline in (await browser.get(path)).text

    await eventually(says)
    return await browser.get(path)


async def test_an_order_is_placed_and_its_page_tells_how_it_goes(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 2))
    path = (await ordered(ann)).to
    page = await ended(ann, path, "Your order is confirmed")
    assert "Paid and confirmed" in page.text
    assert "€79.80" in page.text
    assert "Mill Lane 1" in page.text
    assert "12345 Tarn Germany" in page.text
    assert "Cart 2" not in page.text, "what was ordered is out of the cart"
    assert "Confirmed" in (await ann.get("/orders")).text


async def test_sending_the_form_twice_is_one_order_whatever_the_cart_has_become(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 1))
    form = await ann.get("/checkout")
    first = await ann.submit(form, "/checkout", **ADDRESS)
    await ended(ann, first.to, "Your order is confirmed")
    await filled(ann, ("KIT-002", 1))
    second = await ann.submit(form, "/checkout", **ADDRESS)
    assert second.to == first.to
    assert (await ann.get("/orders")).html.count("<tr>") == 2, "a head and one order"
    assert "Cart 1" in (await ann.get("/")).text


async def test_the_same_form_with_another_address_is_told_to_have_been_used(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 1))
    form = await ann.get("/checkout")
    await ann.submit(form, "/checkout", **ADDRESS)
    other = await ann.submit(form, "/checkout", **{**ADDRESS, "city": "Elsewhere"})
    assert other.status == 409
    assert "has been used for an order already" in other.text
    assert other.form("/checkout").fields["key"] != form.form("/checkout").fields["key"]


async def test_wrong_input_is_told_beside_its_field_and_what_was_typed_stays(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 1))
    form = await ann.get("/checkout")
    page = await ann.submit(
        form, "/checkout", **{**ADDRESS, "city": "", "postcode": "9" * 21, "country": "XX"}, card="tok_flaky"
    )
    assert page.status == 422
    for fault in ("a town of", "a postcode of", "choose a country"):
        assert fault in page.text
    again = page.form("/checkout").fields
    assert (again["street"], again["postcode"], again["card"]) == ("Mill Lane 1", "9" * 21, "tok_flaky")
    assert again["key"] == form.form("/checkout").fields["key"]
    assert "€39.90" in page.text
    assert (await ann.submit(page, "/checkout", **ADDRESS)).status == 303


@pytest.mark.parametrize("field", ["key", "lines", "shown"])
async def test_a_form_that_is_not_ours_is_out_of_date(run: Embedded, ann: Browser, field: str) -> None:
    await filled(ann, ("KIT-001", 1))
    page = await ann.submit(await ann.get("/checkout"), "/checkout", **{**ADDRESS, field: "nonsense"})
    assert (page.status, "out of date" in page.text) == (422, True)


async def test_a_price_that_has_changed_is_shown_before_anything_is_ordered(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 1))
    form = await ann.get("/checkout")
    await run.parts.services["catalog"].database.execute("UPDATE products SET amount = 4500 WHERE sku = 'KIT-001'")
    page = await ann.submit(form, "/checkout", **ADDRESS)
    assert (page.status, "price has changed" in page.text, "€45.00" in page.text) == (409, True, True)
    assert "You have not ordered anything yet" in (await ann.get("/orders")).text
    assert (await ann.submit(page, "/checkout", **ADDRESS)).status == 303


@pytest.mark.parametrize("change", ["amount = 900000000000", "currency = 'USD'"])
async def test_what_cannot_be_one_order_is_shown_and_told(run: Embedded, ann: Browser, change: str) -> None:
    await filled(ann, ("KIT-001", 2), ("KIT-002", 1))
    form = await ann.get("/checkout")
    await run.parts.services["catalog"].database.execute(f"UPDATE products SET {change} WHERE sku = 'KIT-001'")
    assert "cannot be one order" in (await ann.follow(await ann.get("/checkout"))).text
    assert (await ann.submit(form, "/checkout", **ADDRESS)).status == 409


async def test_a_declined_card_is_explained_and_the_goods_can_be_put_in_the_cart_again(
    run: Embedded, ann: Browser
) -> None:
    await filled(ann, ("KIT-001", 2), ("KIT-002", 1))
    path = (await ordered(ann, "tok_declined")).to
    page = await ended(ann, path, "Your card was declined")
    assert "not enough money on the card" in page.text
    assert "No money has been kept" in page.text
    assert "/cancel" not in page.html
    again = await ann.submit(page, f"{path}/again")
    assert again.to == "/cart?told=again"
    assert "Cart 3" in (await ann.follow(again)).text


async def test_goods_that_run_out_while_buying_are_named(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 3))
    stock = run.parts.services["inventory"].database
    await stock.execute("UPDATE stock SET sold = sold + free - 2, free = 2 WHERE sku = 'KIT-001'")
    assert "Alder cast iron pan Only 2 left" in (await ann.get("/cart")).text
    form = await ann.get("/checkout")
    assert "Only 2 left" in form.text
    path = (await ann.submit(form, "/checkout", **ADDRESS)).to
    page = await ended(ann, path, "Not enough is left of what you ordered")
    assert "not enough of “Alder cast iron pan” left" in page.text
    assert "No money has been kept" in page.text


async def test_an_order_is_cancelled_by_its_buyer_only(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 1))
    path = (await ordered(ann)).to
    page = await ended(ann, path, "Your order is confirmed")
    bob = await registered(Browser(run.asgi), "bob@example.com")
    for answer in (
        await bob.get(path), await bob.post(f"{path}/cancel", {}), await bob.post(f"{path}/again", {})
    ):  # fmt: skip
        assert answer.status == 404
    assert (await ann.submit(page, f"{path}/cancel")).to == f"{path}?told=asked"
    assert "has been given back" in (await ended(ann, path, "You have cancelled this order")).text


async def test_the_address_of_the_last_order_stands_in_the_next_form(run: Embedded, ann: Browser) -> None:
    await filled(ann, ("KIT-001", 1))
    first = await ann.get("/checkout")
    assert first.form("/checkout").fields["name"] == "Ann Alder"
    await ann.submit(first, "/checkout", **{**ADDRESS, "street": "Quay 7", "country": "NL"})
    await filled(ann, ("KIT-002", 1))
    fields = (await ann.get("/checkout")).form("/checkout").fields
    assert (fields["street"], fields["country"], fields["city"]) == ("Quay 7", "NL", "Tarn")


async def test_a_restart_in_the_middle_keeps_the_session_the_cart_and_the_order(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path) as run:
        ann = await registered(Browser(run.asgi))
        await filled(ann, ("KIT-001", 1))
        path = (await ordered(ann, "tok_timeout")).to
        await filled(ann, ("KIT-002", 1))
    async with running(shop, data=tmp_path) as run:
        ann.app = run.asgi
        assert "Cart 1" in (await ended(ann, path, "Your order is confirmed")).text
    assert faults_in(tmp_path) == []


def view(reason: str | None = None, age_s: float = 0.0) -> OrderView:
    at = world.now() - timedelta(seconds=age_s)
    what = f"cancelled: {reason}" if reason else "placed"
    return OrderView(
        id="0" * 32, status="cancelled" if reason else "pending", reason=reason, timeline=(Entry(at=at, what=what),),
        total=Money(amount=1), lines=(), placed_at=at, parcel=None,
        address=Address(**ADDRESS),
    )  # fmt: skip


def test_waiting_is_explained_by_what_it_waits_for() -> None:
    started_at = world.now() - timedelta(seconds=60)

    def detail(age_s: float) -> str:
        return about(view(age_s=age_s), now=world.now(), started_at=started_at).detail

    assert "asking your bank" in detail(1)
    assert "longer than usual" in detail(10)
    assert "The shop was restarted" in detail(100)
    assert "do not order again" in detail(100)


@pytest.mark.parametrize(
    ("reason", "headline", "told"),
    [
        ("payment declined: insufficient funds", "Your card was declined.", "not enough money"),
        ("payment declined: unknown card", "Your card was declined.", "does not know this card"),
        ("payment declined: stolen", "Your card was declined.", "(stolen)"),
        ("out of stock: KIT-009", "Not enough is left of what you ordered.", "KIT-009"),
        ("cancelled by the customer", "You have cancelled this order.", "given back"),
        ("the checkout could not be completed", "We could not complete this order.", "try again"),
        ("something new", "This order has been cancelled.", "something new"),
    ],
)
def test_every_end_has_its_words(reason: str, headline: str, told: str) -> None:
    said = about(view(reason), now=world.now(), started_at=world.now())
    assert said.headline == headline
    assert told in said.detail
    assert said.over


def test_what_the_timeline_does_not_know_is_shown_as_it_is() -> None:
    words = [timeline_words(what, str) for what in ("placed", "cancelled: x", "not cancelled: y", "lost")]
    assert words == ["Order placed", "Cancelled", "Not cancelled: the parcel had left", "lost"]


def test_who_ordered_before_a_restart_and_was_confirmed_after_it_is_told() -> None:
    now = world.now()
    placed = view(age_s=60)
    confirmed = placed.model_copy(
        update={"status": "confirmed", "timeline": (*placed.timeline, Entry(at=now, what="confirmed"))}
    )
    assert "restarted in between" in about(confirmed, now=now, started_at=now - timedelta(seconds=30)).detail
    for started_at in (now - timedelta(seconds=90), now + timedelta(seconds=1)):
        assert "restarted" not in about(confirmed, now=now, started_at=started_at).detail
    assert coming(confirmed) == ("packed", "shipped", "delivered")
    assert coming(view("payment declined: stolen")) == ()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("refund of {} asked for: a scratch", "1.234,50\u00a0\u20ac is being given back: a scratch"),
        ("refund of {} asked for again", "1.234,50\u00a0\u20ac is being given back: we are asking the bank again"),
        ("refund of {} asked for: again", "1.234,50\u00a0\u20ac is being given back: again"),
        (
            "refund of {} failed: the bank does not answer",
            "1.234,50\u00a0\u20ac not given back yet: the bank does not answer. We are looking into it",
        ),
        ("refunded {}", "1.234,50\u00a0\u20ac given back"),
        ("refund of {} not possible: less is left", "1.234,50\u00a0\u20ac could not be given back: less is left"),
    ],
)
def test_money_that_goes_back_is_told_in_the_timeline_as_its_reader_writes_it(what: str, words: str) -> None:
    german = locale_of("de")
    assert timeline_words(what.format(Money(amount=123_450)), lambda money: written(money, german)) == words
