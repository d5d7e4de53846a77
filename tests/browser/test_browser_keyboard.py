"""A whole purchase without a mouse, and at every stop one sees where one is."""

import re

from devices import PASSWORD, Devices
from playwright.sync_api import Locator, Page, expect
from tour import CONFIRMED

MOST_STOPS = 120
# Whether the element with the focus is on the screen, on top, and drawn with a ring.
SEEN = """() => {
  const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
  const ring = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  const x = box.left + box.width / 2, y = box.top + box.height / 2;
  const top = document.elementFromPoint(x, y);
  const labelled = at.labels && [...at.labels].some((label) => label.contains(top));
  const uncovered = top !== null && (at.contains(top) || top.contains(at) || labelled);
  return [at.outerHTML.slice(0, 120), ring, uncovered];
}"""


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until the focus is there; at every stop it must be visible."""
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue
        what, ring, uncovered = page.evaluate(SEEN)
        assert ring, f"no ring around what has the focus: {what}"
        assert uncovered, f"what has the focus cannot be seen: {what}"
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{MOST_STOPS} times Tab do not lead to {wanted}")


def enter(page: Page, wanted: Locator) -> None:
    tab_to(page, wanted)
    page.keyboard.press("Enter")


def type_into(page: Page, label: str, text: str) -> None:
    tab_to(page, page.get_by_role("main").get_by_label(label, exact=True))
    page.keyboard.type(text)


def make_an_account(page: Page) -> None:
    enter(page, page.get_by_role("main").get_by_role("link", name="Make an account"))
    expect(page).to_have_url(re.compile("/register"))
    type_into(page, "Name", "Kay Board")
    type_into(page, "E-mail address", "keys@example.org")
    type_into(page, "Password", PASSWORD)
    enter(page, page.get_by_role("button", name="Make the account"))


def check_out(page: Page) -> None:
    expect(page).to_have_url(re.compile("/checkout$"))
    type_into(page, "Name", "Kay Board")
    type_into(page, "Street and number", "Mill Lane 1")
    type_into(page, "Postcode", "12345")
    type_into(page, "Town", "Tarn")
    type_into(page, "Country", "Ger")
    expect(page.get_by_label("Country")).to_have_value("DE")
    cards = page.locator("input[name=card]")
    tab_to(page, cards.first)
    page.keyboard.press("ArrowDown")
    expect(cards.nth(1)).to_be_checked()
    page.keyboard.press("ArrowUp")
    expect(cards.first).to_be_checked()
    enter(page, page.get_by_role("button", name=re.compile("Place the order")))


def test_a_whole_purchase_needs_the_keyboard_only(device: Devices) -> None:
    kay = device()
    page = kay.page
    kay.open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the page")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)"), "past the header"
    enter(page, page.locator("main a[href^='/p/']").nth(1))
    expect(page).to_have_url(re.compile("/p/"))
    tab_to(page, page.get_by_label("Pieces", exact=True))
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Pieces", exact=True)).to_have_value("2")
    enter(page, page.get_by_role("button", name="Put in cart"))
    expect(page).to_have_url(re.compile("/cart"))
    enter(page, page.get_by_role("link", name="Go to the checkout"))
    expect(page).to_have_url(re.compile("/login"))
    make_an_account(page)
    check_out(page)
    expect(page).to_have_url(re.compile("/orders/[0-9a-f]{32}"))
    expect(kay.main.get_by_text(CONFIRMED).first).to_be_visible()
