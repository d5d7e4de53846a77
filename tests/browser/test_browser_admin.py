"""An administrator replays a dead letter, and every page of the administration is open to everybody who may see it."""

import re
from collections.abc import Iterator
from itertools import chain

import pytest
from devices import SCREENS, Devices, aside, open_shop
from faults_of_pages import faults_of
from playwright.sync_api import Browser, expect
from shop_http import at_rest
from shop_process import ShopProcess
from tour import admin_pages
from trouble import ADMIN, troubled

from archstone.systems.shop import invariants


@pytest.fixture(scope="module")
def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    data = tmp_path_factory.mktemp("browser") / "shop"
    troubled(data)
    with open_shop(data) as running:
        assert running.command("admin", "shop", ADMIN).returncode == 0
        yield running
        aside(lambda: at_rest(running))
    assert invariants.check(data) == []


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_of_the_administration_are_open_to_everybody(device: Devices, screen: str) -> None:
    admin = device(screen, still=True)
    found = list(chain.from_iterable(faults_of(admin, name) for name in admin_pages(admin, ADMIN)))
    assert not found, "\n".join(found)


def test_an_administrator_replays_dead_letters_whose_cause_is_mended(device: Devices, shop: ShopProcess) -> None:
    admin = device()
    admin.sign_in(ADMIN)
    admin.open("/admin/letters")
    replay = admin.main.get_by_role("button", name=re.compile("^Deliver again"))
    expect(replay).to_have_count(2)
    expect(admin.main.get_by_text("no such table: minutes").first).to_be_visible()
    replay.first.click()
    expect(replay).to_have_count(1)
    admin.click("Deliver all of analytics again")
    admin.click("Deliver all again")
    expect(replay).to_have_count(0)
    expect(admin.main.get_by_text("There are none")).to_be_visible()
    aside(lambda: at_rest(shop))
    admin.open("/admin/letters")
    expect(admin.main.get_by_text("There are none")).to_be_visible()
