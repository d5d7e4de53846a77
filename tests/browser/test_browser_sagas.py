"""An administrator finds two stuck checkouts, has one go on and the other undone, and reads why and what then."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from devices import Device, Devices, aside, open_shop
from faults_of_pages import faults_of
from playwright.sync_api import Browser, expect
from shop_http import at_rest
from shop_process import ShopProcess
from tour import CONFIRMED
from trouble import ADMIN, got_stuck

from archstone.systems.shop import invariants


@pytest.fixture(scope="module")
def data(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del browser  # it has the loop of this thread
    return tmp_path_factory.mktemp("browser") / "shop"


@pytest.fixture(scope="module")
def stuck(data: Path) -> tuple[str, ...]:
    return got_stuck(data)


@pytest.fixture(scope="module")
def shop(data: Path, stuck: tuple[str, ...]) -> Iterator[ShopProcess]:
    assert len(stuck) == 2
    with open_shop(data) as running:
        assert running.command("admin", "shop", ADMIN).returncode == 0
        yield running
        aside(lambda: at_rest(running))
    assert invariants.check(data) == []


def look_at(admin: Device, order_id: str) -> None:
    """Go from the figures to the saga of an order, as an administrator who sees red does."""
    admin.open("/admin")
    admin.main.get_by_role("link", name="Stuck sagas").click()
    admin.main.locator(f"a[href$='{order_id}']").click()
    expect(admin.main.get_by_role("heading", name="orders.checkout")).to_be_visible()


def test_one_stuck_checkout_goes_on_and_the_other_is_undone(device: Devices, stuck: tuple[str, ...]) -> None:
    goes_on, goes_back = stuck
    admin = device()
    admin.sign_in(ADMIN)
    main = admin.main
    admin.open("/admin")
    alert = main.get_by_role("alert").get_by_role("heading", name="sagas of orders")
    expect(alert).to_be_visible()
    expect(main.get_by_text("2 saga(s) wait for a person")).to_be_visible()
    assert list(faults_of(admin, "figures with an alert")) == []
    look_at(admin, goes_on)
    assert list(faults_of(admin, "stuck saga")) == []
    expect(main.get_by_text("Stuck", exact=True)).to_be_visible()
    expect(main.get_by_text("PAYMENT_TIMEOUT_S").first).to_be_visible()
    expect(main.get_by_text("hold_goods").first).to_be_visible()
    admin.click("Run it again")
    expect(admin.page.get_by_text("The saga runs again")).to_be_visible()
    admin.open(f"/orders/{goes_on}")
    expect(main.get_by_text(CONFIRMED).first).to_be_visible()

    look_at(admin, goes_back)
    admin.click("Undo it")
    expect(main.get_by_role("heading", name="Undo orders.checkout?")).to_be_visible()
    expect(main.get_by_text("Every step that was begun is undone")).to_be_visible()
    admin.click("Undo the saga")
    expect(admin.page.get_by_text("The saga is being undone")).to_be_visible()
    admin.open(f"/orders/{goes_back}")
    expect(main.get_by_text("We could not complete this order.")).to_be_visible()
    expect(main.get_by_text("No money has been kept").first).to_be_visible()

    admin.open("/admin/sagas?status=stuck")
    expect(main.get_by_text("No saga is stuck.")).to_be_visible()
    admin.open("/admin")
    expect(alert).to_have_count(0)
    admin.open(f"/admin/sagas/one?id={goes_back}")
    expect(main.get_by_text("Undone, or being undone")).to_be_visible()
    expect(main.get_by_role("button", name="Run it again")).to_have_count(0)
