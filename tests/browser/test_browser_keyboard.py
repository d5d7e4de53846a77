"""A whole purchase without a mouse, and at every stop one sees where one is."""

import re

import pytest
from devices import PASSWORD, Devices
from faults_of_pages import faults_of
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


@pytest.mark.parametrize("scripts", [True, False])
def test_the_password_is_changed_and_the_account_deleted_with_the_keyboard_and_without_scripts(
    device: Devices, scripts: bool
) -> None:
    kay = device(java_script_enabled=scripts)
    kay.excuse("status of 422")
    kay.register(f"kay-{scripts}@example.org")
    page, main = kay.page, kay.main
    kay.open("/account")
    expect(page.locator("input[autocomplete=username]")).to_be_hidden()
    if scripts:
        assert list(faults_of(kay, "account")) == []
        type_into(page, "The one you have now", PASSWORD)
        type_into(page, "The new one", "a louder morning")
        enter(page, main.get_by_role("button", name="Change the password"))
    else:
        main.get_by_label("The one you have now").fill(PASSWORD)
        main.get_by_label("The new one").fill("a louder morning")
        kay.click("Change the password")
    expect(page.get_by_text("Your password is changed.")).to_be_visible()
    kay.open("/account")
    main.get_by_role("link", name="Delete my account").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/account/delete$"))
    if scripts:
        assert list(faults_of(kay, "leaving")) == []
    main.get_by_label("Your password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(main.get_by_text("This is not your password.")).to_be_visible()
    main.get_by_label("Your password").fill("a louder morning")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your account is deleted.")).to_be_visible()
    expect(page.locator("form[action='/logout']")).to_have_count(0)
