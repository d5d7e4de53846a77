"""A browser and a shop per module; devices per test, whose faults fail it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from devices import Devices, aside, chromium, executable, open_shop
from playwright.sync_api import Browser
from shop_http import at_rest
from shop_process import ShopProcess

from archstone.systems.shop import invariants

HERE = Path(__file__).parent
ABSENT = "no browser: install Debian's chromium, or say in ARCHSTONE_CHROMIUM where one is"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are slow, and skipped where there is no browser."""
    absent = executable() is None
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if absent:
                item.add_marker(pytest.mark.skip(reason=ABSENT))


# Per module and no longer: while it is open Playwright's loop runs in this thread, and no other test could run one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    with open_shop(tmp_path_factory.mktemp("browser") / "shop", parcels="fast") as running:
        yield running
        aside(lambda: at_rest(running))
    assert invariants.check(running.data) == []


@pytest.fixture
def device(browser: Browser, shop: ShopProcess) -> Iterator[Devices]:
    """Return what makes devices."""
    devices = Devices(browser, shop.url)
    yield devices
    faults = devices.close()
    assert not faults, "\n".join(faults)
