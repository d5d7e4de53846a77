"""The pages, in memory: looking around, the cart, and the way from a guest to a customer."""

import gzip
import re

import pytest
from pages_browser import ADDRESS, HOST, Browser, filled, registered

from archstone.runtime import Embedded
from archstone.services.http import ask
from archstone.systems.shop.window import Window

OPEN = ("/", "/search", "/search?q=kettle", "/c/kitchen", "/p/KIT-001", "/cart", "/login", "/register")
OWN = ("/checkout", "/orders", "/account")


async def test_every_page_is_whole_and_its_policy_allows_nothing_that_stands_in_it(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    await filled(ann, ("KIT-001", 1))
    for path in (*OPEN[:-2], *OWN, "/nothing-here"):
        page = await ann.get(path)
        assert page.status == (404 if path == "/nothing-here" else 200), path
        assert page.inline == [], path
        assert page.html.startswith("<!doctype html>"), path
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= set(
            policy.split("; ")
        )
        assert page.headers["cache-control"] == "private, no-store"
        assert page.headers["referrer-policy"] == "same-origin", "no-referrer would make our own forms look foreign"
        assert page.headers["x-content-type-options"] == "nosniff"


async def test_a_guest_sees_what_is_open_and_is_asked_to_sign_in_for_the_rest(run: Embedded) -> None:
    guest = Browser(run.asgi)
    assert [(await guest.get(path)).status for path in OPEN] == [200] * len(OPEN)
    assert [(await guest.get(path)).to for path in OWN] == [f"/login?next={path}" for path in OWN]


async def test_a_file_of_the_pages_may_be_kept_under_the_name_that_a_page_gives_it(run: Embedded) -> None:
    guest = Browser(run.asgi)
    html = (await guest.get("/")).html
    for name, kind in (("shop.css", "text/css"), ("shop.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        path = html[html.index(f"/assets/{name}") :].partition('"')[0]
        found = await guest.get(path)
        assert found.status == 200
        assert found.headers["content-type"].startswith(kind)
        assert "immutable" in found.headers["cache-control"]
        assert (await guest.get(f"/assets/{name}")).headers["cache-control"] == "no-cache"
    assert (await guest.get("/assets/../site.py")).status == 404
    assert (await guest.get("/assets/secret.css")).status == 404


async def test_search_finds_tells_when_it_does_not_and_pages_on(run: Embedded) -> None:
    guest = Browser(run.asgi)
    assert "Harrow copper kettle" in (await guest.get("/search?q=kettle")).text
    assert "Nothing was found" in (await guest.get("/search?q=zeppelin")).text
    too_long = await guest.get("/search?q=" + "x" * 101)
    assert (too_long.status, "at most 100" in too_long.text) == (422, True)
    shelf = await guest.get("/c/kitchen?cursor=nonsense")
    assert shelf.to == "/c/kitchen"
    assert (await guest.get("/search?q=a&cursor=nonsense")).status == 200


async def test_results_are_counted_and_a_shelf_is_sorted(run: Embedded) -> None:
    guest = Browser(run.asgi)
    assert "Search: mortar 1 product " in (await guest.get("/search?q=mortar")).text
    everything = await guest.get("/search?q=a")
    assert re.search(r"\b[2-9]\d products ", everything.text)
    shelf = await guest.get("/c/kitchen?order=price")
    assert "10 products " in shelf.text
    assert (
        shelf.text.index("Quarry wooden spoon set") < shelf.text.index("Corvo mortar") < shelf.text.index("Osier chef")
    )
    assert (await guest.get("/c/kitchen?order=nonsense")).status == 200


async def test_what_somebody_searches_for_is_shown_and_not_run(run: Embedded) -> None:
    page = await Browser(run.asgi).get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E%22onload=%22x")
    assert page.inline == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.html


async def test_prices_are_written_as_the_reader_writes_them(run: Embedded) -> None:
    assert "€39.90" in (await Browser(run.asgi, languages="en-US,en;q=0.9").get("/p/KIT-001")).text
    german = Browser(run.asgi, languages="de-DE,de;q=0.9,en;q=0.5")
    assert "39,90\u00a0€" in (await german.get("/p/KIT-001")).html


async def test_a_shelf_or_product_that_is_not_there_is_a_page_that_says_so(run: Embedded) -> None:
    guest = Browser(run.asgi)
    for path in ("/c/nothing", "/p/NOT-THERE", "/p/kit-001", "/p/", "/orders/7"):
        page = await guest.get(path)
        assert (page.status, "There is no such page" in page.text) == (404, True), path


async def test_a_guests_cart_is_filled_changed_and_emptied(run: Embedded) -> None:
    guest = Browser(run.asgi)
    await filled(guest, ("KIT-001", 2), ("KIT-002", 1))
    assert set(guest.cookies) == {"shop-cart"}
    page = await guest.get("/cart")
    assert "€134.70" in page.text
    assert "Cart 3" in page.text
    product = await guest.get("/p/KIT-001")
    assert product.form("/cart/lines").fields["quantity"] == "2"
    await guest.submit(page, "/cart/lines", quantity="5")
    await guest.submit(page, "/cart/lines", quantity="5")
    assert "Cart 6" in (await guest.get("/cart")).text, "sent twice, changed once"
    await guest.post("/cart/lines", {"sku": "KIT-001", "quantity": "0"})
    assert "Cart 1" in (await guest.get("/cart")).text
    told = await guest.follow(await guest.submit(await guest.get("/cart"), "/cart/clear"))
    assert "There is nothing in it yet" in told.text
    assert "Your cart has been changed." in told.text


@pytest.mark.parametrize(
    ("sku", "quantity", "told"),
    [
        ("KIT-001", "100", "from 0 to 99"),
        ("KIT-001", "-1", "from 0 to 99"),
        ("KIT-001", "many", "from 0 to 99"),
        ("NOT-THERE", "1", "not for sale"),
        ("no sku", "1", "not for sale"),
    ],
)
async def test_what_cannot_be_put_in_the_cart_is_told(run: Embedded, sku: str, quantity: str, told: str) -> None:
    guest = Browser(run.asgi)
    page = await guest.follow(await guest.post("/cart/lines", {"sku": sku, "quantity": quantity}))
    assert told in page.text


async def test_a_product_that_has_disappeared_is_shown_as_such_and_stops_the_checkout(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    await filled(ann, ("KIT-001", 1))
    await run.parts.services["carts"].database.execute("UPDATE lines SET sku = 'GONE-1'")
    page = await ann.get("/cart")
    assert "Not for sale any more" in page.text
    assert (await ann.get("/checkout")).to == "/cart?told=gone"


async def test_the_cart_of_a_guest_comes_along_at_sign_in_and_is_there_on_a_second_device(run: Embedded) -> None:
    first = await registered(Browser(run.asgi))
    await filled(first, ("KIT-001", 1))
    phone = Browser(run.asgi)
    await filled(phone, ("KIT-001", 3), ("KIT-002", 1))
    page = await phone.get("/login?next=/checkout")
    answer = await phone.submit(page, "/login", email="ann@example.com", password="a quiet evening")
    assert answer.to == "/checkout"
    assert set(phone.cookies) == {"shop-session"}
    for browser in (first, phone):
        assert "Cart 4" in (await browser.get("/")).text


async def test_a_cart_that_was_forgotten_is_empty_and_a_new_one_is_begun(run: Embedded) -> None:
    guest = Browser(run.asgi)
    await filled(guest, ("KIT-001", 1))
    await run.parts.services["carts"].database.execute("DELETE FROM carts")
    assert "There is nothing in it yet" in (await guest.get("/cart")).text
    old = guest.cookies["shop-cart"]
    await filled(guest, ("KIT-002", 1))
    assert guest.cookies["shop-cart"] != old


async def test_the_sentence_of_a_notice_cannot_be_chosen_from_outside(run: Embedded) -> None:
    page = await Browser(run.asgi).get("/?told=Send+your+password+to+me")
    assert "Send your password" not in page.html


async def test_the_account_is_changed_and_wrong_input_is_told_beside_its_field(run: Embedded) -> None:
    ann = await registered(Browser(run.asgi))
    page = await ann.get("/account")
    assert (await ann.submit(page, "/account/name", name="Ann Birch")).to == "/account?told=saved"
    assert "Ann Birch" in (await ann.get("/account")).text
    wrong = await ann.submit(page, "/account/name", name="x" * 101)
    assert (wrong.status, "at most 100 characters" in wrong.text) == (422, True)
    await ann.submit(page, "/account/preferences", language="de", theme="dark")
    assert 'data-theme="dark"' in (await ann.get("/")).html
    assert (await ann.submit(page, "/account/preferences", language="xx")).status == 422


async def test_the_operations_health_and_documents_stay_where_they_are(run: Embedded) -> None:
    guest = Browser(run.asgi)
    assert (await guest.get("/api/v1/products")).headers["content-type"] == "application/json"
    assert (await guest.get("/api/v1/nothing")).status == 404
    assert (await guest.get("/health/ready")).status == 200
    assert (await guest.get("/docs")).status == 200
    assert (await guest.get("/pictures/KIT-001.svg")).headers["content-type"] == "image/svg+xml"
    assert HOST not in (await guest.get("/")).html


async def test_what_may_be_meant_is_suggested_while_typing(run: Embedded) -> None:
    guest = Browser(run.asgi)
    found = await guest.get("/suggestions?q=ket")
    assert found.html.strip().startswith('<li role="option" id="s1" data-to="/p/KIT-002">')
    assert "Harrow copper kettle" in found.text
    assert "Kitchen" in found.text
    assert (await guest.get("/suggestions?q=")).html.strip() == ""
    assert (await guest.get("/suggestions?q=" + "x" * 500)).status == 200
    assert found.inline == []


async def test_the_front_page_shows_something_of_every_shelf_and_what_goes_with_the_cart(run: Embedded) -> None:
    guest = Browser(run.asgi)
    page = await guest.get("/")
    shown = [sku.partition('"')[0] for sku in page.html.split('href="/p/')[1:]]
    assert len(shown) == len(set(shown)) == 20
    assert len({sku[:3] for sku in shown[:10]}) == 10, "neighbours are from different shelves"
    assert "Goes with" not in page.text
    await filled(guest, ("KIT-001", 1))
    assert "Goes with what you chose last" in (await guest.get("/")).text


async def test_pages_and_their_files_are_packed_for_those_who_take_it(run: Embedded) -> None:
    guest = Browser(run.asgi)
    css = (await guest.get("/")).html.partition('href="/assets/shop.css')[2].partition('"')[0]
    total = 0
    for path in ("/", f"/assets/shop.css{css}", "/assets/shop.js", "/assets/search.js"):
        for accept, packed in (("gzip, br", True), ("br", False), ("gzip;q=0", False), ("*", True), ("", False)):
            answer = await ask(run.asgi, "GET", path, headers=[("accept-encoding", accept), ("host", HOST)])
            headers = [(name, value) for name, value in answer.headers if name in {b"content-encoding", b"vary"}]
            assert ((b"content-encoding", b"gzip") in headers) is packed, (path, accept)
            assert b"accept-encoding" in b",".join(value for name, value in headers if name == b"vary")
            if accept == "gzip, br":
                total += len(answer.body)
                assert gzip.decompress(answer.body)
    assert total < 30_000


async def test_what_is_sold_out_cannot_be_put_in_the_cart_and_what_is_there_can_be_taken_out(run: Embedded) -> None:
    guest, other = Browser(run.asgi), Browser(run.asgi)
    await filled(guest, ("KIT-001", 2))
    stock = run.parts.services["inventory"].database
    await stock.execute("UPDATE stock SET sold = sold + free, free = 0 WHERE sku = 'KIT-001'")
    run.parts.provided[Window].take_out(["stock:KIT-001"])  # as its event would
    page = await other.get("/p/KIT-001")
    assert "Sold out" in page.text
    assert 'action="/cart/lines"' not in page.html
    assert "€39.90 Sold out" in (await guest.get("/c/kitchen")).text
    assert "Alder cast iron pan Sold out" in (await guest.get("/cart")).text
    assert (await guest.get("/p/KIT-001")).form("/cart/lines").fields["quantity"] == "2"


async def test_a_list_of_orders_counts_one_piece_as_one(ann: Browser) -> None:
    for pieces in (1, 2):
        await filled(ann, ("KIT-001", pieces))
        await ann.submit(await ann.get("/checkout"), "/checkout", **ADDRESS)
    page = await ann.get("/orders")
    assert '<td data-pieces="piece">1</td>' in page.html
    assert '<td data-pieces="pieces">2</td>' in page.html
