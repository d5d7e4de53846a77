"""Somebody buys: the timeline moves, the card is declined, the cart comes along, the shop dies."""

import re

from devices import Devices, started
from playwright.sync_api import expect
from shop_process import ShopProcess
from tour import CONFIRMED

HAPPENED = "ol.timeline li:not(.coming)"


def test_somebody_buys_and_sees_the_timeline_move(device: Devices) -> None:
    ann = device()
    ann.register("timeline@example.org")
    ann.put("KIT-001", 2)
    ann.order()
    expect(ann.main.get_by_role("status").filter(has_text=CONFIRMED)).to_be_visible()
    for happened in ("Order placed", "Paid and confirmed", "Packed"):
        expect(ann.main.locator(HAPPENED).filter(has_text=happened)).to_be_visible()


def test_a_declined_card_is_explained_and_another_one_is_tried(device: Devices) -> None:
    ann = device()
    ann.register("declined@example.org")
    ann.put("KIT-002")
    ann.order("tok_declined")
    told = ann.main.get_by_text("Your card was declined.")
    expect(told).to_be_visible()
    expect(ann.main.get_by_text("No money has been kept")).to_be_visible()
    ann.click("Put everything in the cart again")
    expect(ann.page).to_have_url(re.compile(r"/cart"))
    ann.order()
    expect(ann.main.get_by_text(CONFIRMED).first).to_be_visible()


def test_a_guests_cart_comes_along_and_is_there_on_a_second_device(device: Devices) -> None:
    desk, phone = device(), device("phone")
    desk.register("cart@example.org")
    desk.click("Sign out")
    desk.put("KIT-003", 3)
    desk.click("Go to the checkout", "link")
    expect(desk.page).to_have_url(re.compile("/login"))
    desk.sign_in("cart@example.org")
    expect(desk.page).to_have_url(re.compile("/checkout$"))
    phone.sign_in("cart@example.org")
    phone.open("/cart")
    expect(phone.main.get_by_label(re.compile("^Pieces of"))).to_have_value("3")


def test_an_address_outlives_a_session_that_ends_while_it_is_typed(device: Devices) -> None:
    ann = device()
    ann.register("typed@example.org")
    ann.put("KIT-002")
    ann.open("/checkout")
    ann.fill_in("tok_ok")
    ann.main.get_by_label("Name").first.fill("Bea Birch")
    # Signed out elsewhere: this window does not know.
    other = device()
    other.sign_in("typed@example.org")
    other.open("/account")
    other.main.get_by_role("button", name="Sign out everywhere").click()
    expect(other.page.get_by_text("You are signed out on every device.")).to_be_visible()
    ann.page.get_by_role("button", name=re.compile("Place the order")).click()
    ann.sign_in("typed@example.org")
    expect(ann.page).to_have_url(re.compile("/checkout$"))
    for label, text in (("Name", "Bea Birch"), ("Street", "Mill Lane 1"), ("Postcode", "12345"), ("Town", "Tarn")):
        expect(ann.main.get_by_label(label).first).to_have_value(text)
    expect(ann.main.get_by_label("Country")).to_have_value("DE")
    ann.page.get_by_role("button", name=re.compile("Place the order")).click()
    expect(ann.page).to_have_url(re.compile("/orders/[0-9a-f]{32}"))
    assert ann.page.evaluate("sessionStorage.length") == 0


def test_the_shop_is_killed_while_somebody_pays_and_the_open_page_sees_the_order_through(
    device: Devices, shop: ShopProcess
) -> None:
    ann = device()
    ann.excuse("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")
    ann.register("killed@example.org")
    ann.put("KIT-004")
    path = ann.order("tok_timeout")
    expect(ann.main.get_by_text("We are working on your order.")).to_be_visible()
    shop.kill()
    expect(ann.main.get_by_text("The connection is gone.")).to_be_visible()
    started(shop)
    expect(ann.main.get_by_text(CONFIRMED).first).to_be_visible()
    expect(ann.main.locator(HAPPENED).filter(has_text="Paid and confirmed")).to_have_count(1)
    expect(ann.main.get_by_text("The connection is gone.")).to_have_count(0)
    assert ann.page.url.endswith(path)
