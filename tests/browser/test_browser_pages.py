"""Every page, wide and on a phone, light and dark: no accessibility fault that matters, nothing sticks out."""

from itertools import chain
from pathlib import Path

import pytest
from devices import SCREENS, Devices
from faults_of_pages import faults_of
from playwright.sync_api import expect
from shop_process import ShopProcess
from tour import buyer_pages, guest_pages


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_of_a_guest_are_open_to_everybody(device: Devices, screen: str) -> None:
    guest = device(screen, still=True)
    found = list(chain.from_iterable(faults_of(guest, name) for name in guest_pages(guest)))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_of_a_buyer_are_open_to_everybody(device: Devices, screen: str) -> None:
    buyer = device(screen, still=True)
    email = f"tour-{screen}@example.org"
    found = list(chain.from_iterable(faults_of(buyer, name) for name in buyer_pages(buyer, email)))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_name_that_is_one_endless_word_pushes_nothing_off_the_page(
    device: Devices, shop: ShopProcess, tmp_path: Path, screen: str
) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_text(f"sku,name,price,category,stock\nLONG-1,{'Supercalifragilistic' * 9},1234567.89,Kitchen,5\n")
    assert shop.command("import", "shop", "catalog", str(feed)).returncode == 0
    buyer = device(screen, still=True)
    email = f"endless-{screen}@example.org"
    buyer.register(email, "N" * 100)
    buyer.put("LONG-1", 2)
    found = list(faults_of(buyer, "cart"))
    for name, path in (("product", "/p/LONG-1"), ("shelf", "/c/kitchen"), ("checkout", "/checkout")):
        buyer.open(path)
        found += faults_of(buyer, name)
    buyer.order("tok_declined")
    found += faults_of(buyer, "order")
    assert shop.command("admin", "shop", email).returncode == 0
    admin = device(screen, still=True)
    admin.sign_in(email)
    for section in ("users", "orders", "stock", "products?q=super"):
        admin.open(f"/admin/{section}")
        found += faults_of(admin, section)
    assert not found, "\n".join(found)


def test_the_panel_on_a_page_of_its_own_is_as_tall_as_what_it_shows(device: Devices) -> None:
    buyer = device("wide", still=True)
    buyer.register("tall@example.org")
    buyer.put("KIT-002")
    buyer.order("tok_ok")
    buyer.open("/counter")
    panel = buyer.main.locator("div.counter")
    shown = panel.locator(".events li").last
    expect(shown).to_be_visible()
    outer, inner = panel.bounding_box(), shown.bounding_box()
    assert outer is not None
    assert inner is not None
    assert inner["y"] + inner["height"] <= outer["y"] + outer["height"]
