"""Every page of the shop, one after the other, as a guest and as a buyer meets it.

Each tour yields the name of a page while it is open: for whoever wants to look at it, measure it or make a picture.
"""

import re
from collections.abc import Iterator
from typing import Final

from devices import Device
from playwright.sync_api import Locator, expect

SKU: Final = "KIT-010"
CONFIRMED: Final = re.compile("Your order is confirmed|Your parcel")


def guest_pages(guest: Device) -> Iterator[str]:
    """Look around, fill a cart, get the passwords wrong."""
    page, main = guest.page, guest.main
    guest.excuse("status of (404|422)")
    for name, path in (("home", "/"), ("search", "/search?q=cup"), ("search-nothing", "/search?q=zzzzqqqq")):
        guest.open(path)
        yield name
    guest.open("/")
    guest.open(str(page.get_by_role("navigation", name="Categories").get_by_role("link").first.get_attribute("href")))
    yield "category"
    guest.open("/cart")
    yield "cart-empty"
    page.get_by_role("searchbox").or_(page.get_by_role("combobox")).first.type("kett")
    expect(page.get_by_role("listbox", name="Suggestions")).to_be_visible()
    yield "suggestions"
    guest.open("/behind")
    yield "behind"
    guest.open(f"/p/{SKU}")
    yield "product"
    guest.put(SKU, 2)
    yield "cart"
    guest.open("/login")
    yield "login"
    main.get_by_label("E-mail address").fill("nobody@example.org")
    main.get_by_label("Password").fill("nothing at all")
    main.get_by_role("button", name="Sign in").click()
    expect(main.get_by_role("alert")).to_be_visible()
    yield "login-refused"
    guest.open("/register")
    yield "register"
    guest.open("/p/NO-SUCH-1")
    yield "not-found"


def opened_panel(device: Device) -> Locator:
    """Open the panel behind the counter, if it is not, and return it when it tells something."""
    panel = device.page.locator("details.counter")
    if panel.get_attribute("open") is None:
        panel.locator("summary").click()
    expect(panel.locator("ul.steps li").first).to_be_visible()
    return panel


def buyer_pages(buyer: Device, email: str) -> Iterator[str]:
    """Make an account, buy with a good and a bad card, look at everything of one's own."""
    main = buyer.main
    buyer.excuse("status of 422")
    buyer.register(email)
    buyer.open("/account")
    yield "account"
    buyer.open("/orders")
    yield "orders-none"
    buyer.put(SKU, 2)
    buyer.put("KIT-001")
    buyer.open("/cart")
    yield "buyer-cart"
    buyer.open("/checkout")
    yield "checkout"
    main.locator("form[action='/checkout']").evaluate("form => form.noValidate = true")
    main.get_by_role("button", name=re.compile("Place the order")).click()
    expect(main.get_by_role("alert")).to_be_visible()
    yield "checkout-faults"
    buyer.order("tok_declined")
    expect(main.get_by_text("Your card was declined.")).to_be_visible()
    yield "order-declined"
    buyer.put(SKU)
    buyer.order("tok_timeout")
    expect(main.get_by_text("We are working on your order.")).to_be_visible()
    yield "order-pending"
    expect(main.get_by_text(CONFIRMED).first).to_be_visible()
    yield "order-confirmed"
    opened_panel(buyer)
    yield "panel"
    buyer.open("/counter")
    yield "counter"
    buyer.open("/orders")
    yield "orders"


def admin_pages(admin: Device, email: str) -> Iterator[str]:
    """Open each section of the administration, and the first thing that is listed there."""
    admin.sign_in(email)
    admin.open("/admin")
    expect(admin.main.locator(".canvas canvas").first).to_be_visible()
    links = admin.page.get_by_role("navigation", name="Administration").get_by_role("link").all()
    for path in [str(link.get_attribute("href")) for link in links]:
        admin.open(path)
        name = f"admin-{path.removeprefix('/admin').strip('/') or 'figures'}"
        yield name
        inner = admin.main.locator(f"table a[href^='{path}/']")
        if inner.count():
            admin.open(str(inner.first.get_attribute("href")))
            yield f"{name}-one"
