"""Drawn pictures: of the thing that a product's name names, small, the same every time, kept by browsers."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from archstone.systems.shop import catalog
from archstone.systems.shop.catalog.pictures import drawing_of, picture, picture_path, pictures

PRODUCTS = [
    (sku, name.replace("''", "'"), category)
    for sku, name, category in re.findall(
        r"\(\d+, '([A-Z0-9-]+)', '((?:[^']|'')+)', '(\w+)'",
        (Path(catalog.__file__).parent / "migrations/0002_products.sql").read_text(),
    )
]


async def get(path: str, query: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "method": "GET", "query_string": query.encode(), "headers": pairs}
    await pictures(scope, None, send)  # type: ignore[arg-type] - nothing is received
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"]


def test_every_product_that_the_shop_begins_with_has_a_drawing_of_its_own() -> None:
    drawn = {name: drawing_of(name, category) for _, name, category in PRODUCTS}
    assert len(drawn) == len(set(drawn.values())) == 100
    assert not any(each.startswith("letter") for each in drawn.values())


@pytest.mark.parametrize(
    ("name", "category", "drawn"),
    [
        ("Osier chef's knife", "kitchen", "knife"),
        ("Isling espresso pot", "kitchen", "espresso"),
        ("Two Dresses", "womens-dresses", "dress"),
        ("Apple iPhone 13 Pro", "smartphones", "phone"),
        ("Nothing that is drawn", "mens-watches", "watch"),
        ("Nothing that is drawn", "garden", "can"),
        ("zéro", "", "letter-Z"),
        ("\u00e9\u00e8", "", "parcel"),
        ("\u8336\u58f6", "", "parcel"),
        ("\u0625\u0628\u0631\u064a\u0642", "", "parcel"),
        ("0 per cent", "", "letter-0"),
        ("The long story", "books", "book"),
        ("", "", "parcel"),
    ],
)
def test_the_name_chooses_then_the_shelf_then_the_first_letter_then_a_parcel(
    name: str, category: str, drawn: str
) -> None:
    assert drawing_of(name, category) == drawn


def test_a_picture_is_small_and_whole_and_the_same_every_time() -> None:
    for sku, name, category in [*PRODUCTS, ("XYZ-1", "Other", "other"), ("0-1", "9 lives", "")]:
        text = picture(sku, drawing_of(name, category))
        assert len(text.encode()) < 2048
        assert ET.fromstring(text).get("viewBox") == "0 0 320 320"
        assert "style" not in text
        picture.cache_clear()
        assert picture(sku, drawing_of(name, category)) == text


async def test_what_a_page_links_may_be_kept_for_good_and_the_plain_address_is_asked_again() -> None:
    path, _, query = picture_path("KIT-003", "Osier chef's knife", "kitchen").partition("?")
    assert path == "/pictures/knife/KIT-003.svg"
    status, headers, body = await get(path, query)
    assert (status, body.decode()) == (200, picture("KIT-003", "knife"))
    assert "immutable" in headers["cache-control"]
    assert "immutable" not in (await get(path, "v=old"))[1]["cache-control"]
    assert (await get("/pictures/KIT-003.svg"))[0] == 200
    status, again, body = await get(path, query, if_none_match=headers["etag"])
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])


@pytest.mark.parametrize(
    "path", ["/pictures/nothing/KIT-003.svg", "/pictures/knife/kit.svg", "/pictures/letter-é/A-1.svg", "/pictures/"]
)
async def test_what_is_not_drawn_is_not_there(path: str) -> None:
    assert (await get(path))[0] == 404
