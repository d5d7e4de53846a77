"""Pictures of imported products in a real browser: from the shop alone, in place from the first moment on."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from devices import Device, Devices, open_shop
from faults_of_pages import faults_of
from image_host import ImageHost, image_host, until
from playwright.sync_api import Browser, expect
from shop_process import ShopProcess

from archstone.systems.shop.images.paths import WIDTHS, image_path

OTHERS = "SHOP_PRODUCTS_OF_OTHERS"
SHIFT = """() => new Promise((done) => {
  const entries = [];
  new PerformanceObserver((list) => entries.push(...list.getEntries())).observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(entries.reduce((sum, entry) => sum + entry.value, 0)), 300);
})"""
THERE = """async () => {
  for (const image of document.images) {
    image.scrollIntoView();
    await image.decode().catch(() => {});
  }
  return [...document.images].filter((image) => !image.complete || !image.naturalWidth).map((image) => image.src);
}"""


@pytest.fixture(scope="module")
def host() -> Iterator[ImageHost]:
    with image_host() as host:
        yield host


def catalog(host: ImageHost, count: int = 12) -> list[dict[str, Any]]:
    """Return records with one, two or ten pictures; the last one's cannot be had."""

    def images(number: int) -> list[str]:
        many = 10 if number == 1 else 2 if number % 2 else 1
        return [host.url(f"/{number}-{each}.jpg") for each in range(1, many + 1)]

    rows = [
        {
            "sku": f"PIC-{number:03}", "title": f"Enamel pot number {number}", "price": 10 + number, "stock": 30,
            "category": "Enamel", "description": "Enamelled steel, for the stove and for the table.",
            "images": images(number),
        }
        for number in range(1, count)
    ]  # fmt: skip
    dead = {**rows[0], "sku": "PIC-999", "title": "Pot without a picture", "images": [host.url("/missing")]}
    return [*rows, dead]


def bring(shop: ShopProcess, file: Path) -> None:
    command = [sys.executable, "-m", "archstone.cli", "import", "shop", "catalog", str(file), "--data", str(shop.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def warm(shop: ShopProcess, host: ImageHost) -> None:
    """Ask for every picture until it is there: a browser gets a drawing if the machine is busy with other things."""
    for row in catalog(host)[:-1]:
        for number, url in enumerate(row["images"], 1):
            for width in WIDTHS:
                path = image_path(row["sku"], number, url, width)
                until(lambda path=path: httpx.get(shop.url + path).headers["content-type"] == "image/webp", 60)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, host: ImageHost) -> Iterator[ShopProcess]:
    folder = tmp_path_factory.mktemp("images")
    with open_shop(folder / "shop", images_allow=host.authority) as running:
        (folder / "catalog.json").write_text(json.dumps(catalog(host)))
        bring(running, folder / "catalog.json")
        warm(running, host)
        yield running


@pytest.fixture
def device(browser: Browser, shop: ShopProcess) -> Iterator[Devices]:
    devices = Devices(browser, shop.url)
    yield devices
    faults = devices.close()
    assert not faults, "\n".join(faults)


def kinds(device: Device) -> list[tuple[str, str]]:
    """Take note of where pictures come from, and of what they are."""
    found: list[tuple[str, str]] = []
    device.page.on(
        "response",
        lambda answer: (
            found.append((answer.url, answer.headers.get("content-type", "")))
            if answer.request.resource_type == "image"
            else None
        ),
    )
    return found


@pytest.mark.parametrize("screen", ["wide", "phone"])
@pytest.mark.parametrize(
    "path", ["/", "/c/enamel", "/search?q=enamel", "/p/PIC-001"], ids=["home", "shelf", "search", "product"]
)
def test_pages_show_small_pictures_of_the_shop_itself_and_nothing_moves(
    device: Devices, shop: ShopProcess, screen: str, path: str
) -> None:
    visitor = device(screen)
    found = kinds(visitor)
    visitor.open(path)
    assert visitor.page.evaluate(THERE) == []
    assert visitor.page.evaluate(SHIFT) < 0.01
    assert {urlsplit(url).netloc for url, _ in found} == {urlsplit(shop.url).netloc}
    of_images = [kind for url, kind in found if "/images/PIC-0" in url]
    assert of_images
    assert set(of_images) == {"image/webp"}
    assert list(faults_of(visitor, path)) == []


def test_a_picture_that_cannot_be_had_is_a_drawing(device: Devices) -> None:
    visitor = device()
    found = kinds(visitor)
    visitor.open("/p/PIC-999")
    assert visitor.page.evaluate(THERE) == []
    assert ("/images/PIC-999/", "image/svg+xml") in {
        (re.sub(r"[^/]*$", "", urlsplit(url).path), kind) for url, kind in found
    }


def shown(device: Device) -> str:
    visible = "all => all.filter((each) => getComputedStyle(each).visibility === 'visible').map((each) => each.alt)"
    return ", ".join(device.main.locator(".gallery .large").evaluate_all(visible))


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_the_gallery_works_by_keyboard_and_without_scripts(device: Devices, scripts: bool) -> None:
    visitor = device("wide", java_script_enabled=scripts)
    visitor.open("/p/PIC-001")
    pictures = visitor.main.get_by_role("radiogroup", name="Pictures of Enamel pot number 1")
    expect(pictures.get_by_role("radio")).to_have_count(10)
    first = pictures.get_by_role("radio", name="Picture 1 of 10")
    expect(first).to_be_checked()
    first.focus()
    visitor.page.keyboard.press("ArrowRight")
    expect(pictures.get_by_role("radio", name="Picture 2 of 10")).to_be_checked()
    visitor.page.keyboard.press("ArrowLeft")
    visitor.page.keyboard.press("ArrowLeft")
    expect(pictures.get_by_role("radio", name="Picture 10 of 10")).to_be_checked()
    if scripts:
        assert shown(visitor) == "Enamel pot number 1, picture 10"
    pictures.locator("label").nth(3).click()
    expect(pictures.get_by_role("radio", name="Picture 4 of 10")).to_be_checked()
    visitor.main.get_by_label("Pieces", exact=True).fill("2")
    visitor.click("Put in cart")
    expect(visitor.page).to_have_url(re.compile(r"/cart\?told=put"))


def test_a_buyer_sees_the_pictures_as_far_as_the_order(device: Devices) -> None:
    buyer = device()
    buyer.register("pictures@example.com")
    buyer.put("PIC-002")
    found = kinds(buyer)
    buyer.order()
    assert buyer.page.evaluate(THERE) == []
    picture = buyer.main.locator("img[src^='/images/PIC-002/']")
    expect(picture).to_have_count(1)
    assert "image/webp" in {kind for url, kind in found if "/images/" in url} or not found  # kept by the browser


@pytest.mark.skipif(OTHERS not in os.environ, reason=f"{OTHERS} names no file of products")
def test_a_catalog_whose_hosts_are_out_of_reach_is_drawn_and_quick(browser: Browser, tmp_path: Path) -> None:
    with open_shop(tmp_path / "shop") as running:
        bring(running, Path(os.environ[OTHERS]))
        devices = Devices(browser, running.url)
        visitor = devices()
        for path in ("/", "/c/beauty", "/search?q=a"):
            visitor.open(path)
            assert visitor.page.evaluate(THERE) == []
        times = visitor.page.evaluate(
            "() => performance.getEntriesByType('resource').filter((each) => each.name.includes('/images/'))"
            ".map((each) => each.duration)"
        )
        assert max(times, default=0) < 3_500
        assert devices.close() == []
