"""The button behind the counter kills the shop under the reader's eyes, who then watches the order finish."""

from collections.abc import Iterator

import pytest
from devices import Devices, aside, open_shop
from playwright.sync_api import Browser, expect
from shop_http import at_rest
from shop_process import ShopProcess
from tour import CONFIRMED, opened_panel

from archstone.systems.shop import invariants


@pytest.fixture(scope="module")
def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    data = tmp_path_factory.mktemp("browser") / "shop"
    with open_shop(data, chaos=True) as running:
        yield running
        aside(lambda: at_rest(running))
    assert invariants.check(data) == []


def test_who_kills_the_shop_sees_the_order_finish(device: Devices) -> None:
    ann = device()
    ann.excuse("net::ERR_")
    ann.register("chaos@example.org")
    ann.put("KIT-001")
    ann.order("tok_timeout")
    panel = opened_panel(ann)
    expect(panel.get_by_role("region", name="Saga")).to_be_visible()
    panel.get_by_role("button", name="Kill the process").click()
    expect(ann.page.get_by_text("The shop is gone.")).to_be_visible()
    expect(ann.page.get_by_text("The shop is back after")).to_be_visible()
    expect(ann.main.get_by_text(CONFIRMED).first).to_be_visible()
    expect(ann.main.get_by_text("The shop was restarted in between")).to_be_visible()
    expect(panel.get_by_text("The shop was started again once in between")).to_be_visible()
