"""`/images` in a shop that runs: pictures of products only, drawings for all else, pages that never wait."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from image_host import ImageHost, image_host
from pages_browser import ADDRESS, ROOT, Browser, an_admin, filled
from PIL import Image
from wiring import running

from archstone import context
from archstone.errors import ConfigError
from archstone.resilience import Gate, OverloadedError
from archstone.runtime import OPERATOR, Embedded
from archstone.services.http import ask
from archstone.systems.shop.catalog.administration import CatalogAdmin
from archstone.systems.shop.catalog.importing import CatalogImport, LoadedProduct
from archstone.systems.shop.catalog.pictures import picture
from archstone.systems.shop.images import mount as mount_module
from archstone.systems.shop.images.paths import image_path, mark_of
from archstone.systems.shop.importing.loading import load
from archstone.systems.shop.system import shop

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.sqlite_only("what is refused at the door, or drawn, reaches no database"),
]


def product(number: int, *images: str, name: str = "") -> LoadedProduct:
    return LoadedProduct(
        sku=f"ROW-{number}", name=name or f"Plain kettle {number}", category="kettles", category_title="Kettles",
        amount=1_000 + number, currency="EUR", description="Plain.", images=images, pieces=50, line=number,
    )  # fmt: skip


async def bring(run: Embedded, *products: LoadedProduct) -> None:
    imports = run.client(CatalogImport, as_=OPERATOR)
    with context.enter(context.Call()):
        await load(imports, products, source="rows", progress=lambda *_: None, judge=lambda _: None)


@pytest.fixture
def host() -> Iterator[ImageHost]:
    with image_host() as host:
        yield host


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody get a drawing because the machine is busy with other things."""
    monkeypatch.setattr(mount_module, "PATIENCE_S", 30.0)


@pytest.fixture
async def run(tmp_path: Path, host: ImageHost) -> AsyncIterator[Embedded]:
    async with running(shop, data=tmp_path / "shop", options={"images_allow": host.authority}) as run:
        yield run


@pytest.fixture
def guest(run: Embedded) -> Browser:
    return Browser(run.asgi)


class Shown(NamedTuple):
    """What a browser got for an image."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "none")


async def show(run: Embedded, path: str, method: str = "GET") -> Shown:
    answer = await ask(run.asgi, method, path, headers=[("host", "shop.test")])
    return Shown(answer.status, {name.decode(): value.decode() for name, value in answer.headers}, answer.body)


async def opened(guest: Browser, path: str) -> str:
    """Return a page; a shop that is late because the machine is busy asks to come again."""
    for _ in range(100):
        page = await guest.get(path)
        if page.status != 503:
            break
        await asyncio.sleep(0.1)
    assert page.status == 200, page.text
    return page.html


def is_drawing(found: Shown) -> bool:
    return (found.status, found.kind) == (200, "image/svg+xml")


async def test_a_picture_of_a_product_is_served_small_and_for_good(
    run: Embedded, guest: Browser, host: ImageHost
) -> None:
    url = host.url("/one.jpg")
    await bring(run, product(1, url))
    for width in (320, 640, 1200):
        answer = await show(run, image_path("ROW-1", 1, url, width))
        assert (answer.status, answer.kind) == (200, "image/webp")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'"
        assert Image.open(io.BytesIO(answer.body)).size == (min(width, 800), min(width, 800) * 3 // 4)
    assert host.asked["/one.jpg"] == 1


async def test_only_what_a_product_has_is_fetched(run: Embedded, guest: Browser, host: ImageHost) -> None:
    await bring(run, product(1, host.url("/one.jpg")), product(2, host.url("/two.jpg")))
    other = host.url("/other.jpg")
    for path in (
        image_path("ROW-1", 1, other, 320),
        image_path("ROW-1", 2, host.url("/one.jpg"), 320),
        image_path("ROW-1", 1, host.url("/two.jpg"), 320),
        image_path("ROW-9", 1, host.url("/one.jpg"), 320),
    ):
        answer = await show(run, path)
        assert is_drawing(answer)
        assert answer.headers["cache-control"] == "public, max-age=60"
    good = image_path("ROW-1", 1, host.url("/one.jpg"), 320)
    for path in (f"/images/?url={other}", f"/images/{other}", f"{good}/..", good.replace("320", "321"), "/images"):
        assert (await show(run, path)).status == 404
    assert (await show(run, good, "POST")).status == 404
    assert not host.asked


@pytest.mark.parametrize(
    "path", ["/missing", "/html", "/svg", "/truncated", "/bomb", "/gzip", "/cut", "/to/http://10.0.0.1/"]
)
async def test_whatever_a_host_does_wrong_the_drawing_is_shown(
    run: Embedded, guest: Browser, host: ImageHost, path: str
) -> None:
    url = host.url(path)
    await bring(run, product(1, url))
    first, second = [await show(run, image_path("ROW-1", 1, url, 320)) for _ in range(2)]
    assert is_drawing(first)
    assert is_drawing(second)
    assert first.headers["cache-control"] == "public, max-age=60"
    assert b"<script" not in first.body
    assert first.body == second.body == picture("ROW-1", "kettle").encode()
    assert host.asked[path] == 1


async def test_a_slow_host_holds_up_its_own_picture_only_and_not_for_long(
    run: Embedded, guest: Browser, host: ImageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_module, "PATIENCE_S", 0.3)
    slow, late = host.url("/slow"), host.url("/late.jpg")
    await bring(run, product(1, slow), product(2, late))
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    assert mark_of(slow) in await opened(guest, "/p/ROW-1")
    assert not host.asked  # no page asks
    answer = await show(run, image_path("ROW-1", 1, slow, 320))
    assert is_drawing(answer)
    assert answer.headers["cache-control"] == "public, max-age=5"
    assert loop.time() - begun_s < 5
    host.delay_s = 0.6
    path = image_path("ROW-2", 1, late, 320)
    assert is_drawing(await show(run, path))
    await asyncio.sleep(0.8)  # it went on by itself
    assert (await show(run, path)).kind == "image/webp"
    assert host.asked["/late.jpg"] == 1


async def test_many_browsers_that_want_the_same_ask_its_host_once(run: Embedded, host: ImageHost) -> None:
    urls = [host.url(f"/{number}.jpg") for number in range(6)]
    await bring(run, *(product(number, url) for number, url in enumerate(urls)))
    host.delay_s = 0.2
    paths = [image_path(f"ROW-{number}", 1, url, 320) for number, url in enumerate(urls)]
    answers = await asyncio.gather(*(show(run, path) for path in paths for _ in range(10)))
    assert {answer.kind for answer in answers} == {"image/webp"}
    assert set(host.asked.values()) == {1}
    assert host.most_at_once <= 4


async def test_what_was_kept_is_shown_after_a_restart_without_its_host(tmp_path: Path, host: ImageHost) -> None:
    url = host.url("/one.jpg")
    path = image_path("ROW-1", 1, url, 320)
    options = {"images_allow": host.authority}
    async with running(shop, data=tmp_path, options=options) as run:
        await bring(run, product(1, url))
        first = (await show(run, path)).body
    async with running(shop, data=tmp_path, options=options) as run:
        assert (await show(run, path)).body == first
    assert host.asked["/one.jpg"] == 1


async def test_the_pages_show_pictures_from_the_shop_itself_and_name_no_other_host(
    run: Embedded, guest: Browser, host: ImageHost
) -> None:
    urls = [host.url(f"/{number}.jpg") for number in range(3)]
    await bring(run, product(1, *urls), product(2, urls[0]), product(3))
    await guest.post("/cart/lines", {"sku": "ROW-1", "quantity": "1"})
    for page in ("/", "/search?q=kettle", "/c/kettles", "/p/ROW-1", "/suggestions?q=kettle", "/cart"):
        text = await opened(guest, page)
        assert image_path("ROW-1", 1, urls[0], 320) in text, page
        assert host.authority not in text, page
        for image in re.findall(r"<img[^>]*>", text):
            assert re.search(r' width="\d+" height="\d+"', image), image
            assert ' alt="' in image
    text = await opened(guest, "/p/ROW-1")
    assert text.count('type="radio" name="picture"') == 3
    assert 'srcset="' in text
    assert 'alt="Plain kettle 1, picture 2"' in text
    assert "radiogroup" not in await opened(guest, "/p/ROW-2")
    assert "/images/" not in (await opened(guest, "/p/ROW-3")).partition("<section")[0]


async def test_an_order_shows_its_products_and_draws_what_is_not_for_sale_any_more(
    run: Embedded, host: ImageHost
) -> None:
    url = host.url("/1.jpg")
    await bring(run, product(1, url), product(2, url))
    root = await an_admin(run)
    await filled(root, ("ROW-1", 1), ("ROW-2", 1))
    checkout = await root.get("/checkout")
    assert image_path("ROW-1", 1, url, 320) in checkout.html
    placed = await root.submit(checkout, "/checkout", card="tok_ok", **{**ADDRESS, "name": "Ann"})
    admin = run.client(CatalogAdmin, as_=ROOT)
    with context.enter(context.Call(key="retire")):
        await admin.retire("ROW-2", (await admin.edition("ROW-2")).version)
    text = (await root.follow(placed)).html
    assert image_path("ROW-1", 1, url, 320) in text
    assert image_path("ROW-2", 1, url, 320) not in text
    assert "/pictures/kettle/ROW-2.svg" in text


async def test_an_administrator_sees_the_pictures_of_a_product(run: Embedded, host: ImageHost) -> None:
    urls = [host.url("/1.jpg"), host.url("/2.jpg")]
    await bring(run, product(1, *urls))
    root = await an_admin(run)
    text = await opened(root, "/admin/products/ROW-1")
    assert image_path("ROW-1", 1, urls[0], 320) in text
    assert image_path("ROW-1", 2, urls[1], 320) in text


async def test_what_the_operator_allows_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="option images_allow: 'a:b' cannot be read"):
        async with running(shop, data=tmp_path, options={"images_allow": "a:b"}):
            pass


async def test_a_full_house_draws_and_says_come_back_soon(
    run: Embedded, host: ImageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = host.url("/1.jpg")
    await bring(run, product(1, url))

    def refuse(gate: Gate, priority: int = 0) -> Gate:
        raise OverloadedError("shop images", "in flight", 500, 500, 1.0)

    monkeypatch.setattr(Gate, "admit", refuse)
    found = await show(run, image_path("ROW-1", 1, url, 320))
    assert is_drawing(found)
    assert found.headers["cache-control"] == "public, max-age=5"


async def test_a_shop_that_only_draws_asks_nobody(tmp_path: Path, host: ImageHost) -> None:
    options = {"images": "drawn", "images_allow": host.authority}
    async with running(shop, data=tmp_path / "shop", options=options) as run:
        url = host.url("/1.jpg")
        await bring(run, product(1, url, host.url("/2.jpg")))
        guest = Browser(run.asgi)
        text = await opened(guest, "/p/ROW-1")
        assert "/images/" not in text
        assert "/pictures/kettle/ROW-1.svg" in text
        assert is_drawing(await show(run, image_path("ROW-1", 1, url, 320)))
        assert not host.asked
        assert not (tmp_path / "shop" / "images").exists()
        assert json.loads(await opened(guest, "/api/v1/products/ROW-1"))["images"][0] == url
