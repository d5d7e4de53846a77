"""The catalog: search that no text can break, pages that neither skip nor repeat, pictures, and its data."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wiring import running_shop

from archstone.context import Principal
from archstone.services import RequestInvalidError
from archstone.systems.shop.catalog.contract import Catalog, Order, Product, ProductCount, UnknownProductError
from archstone.systems.shop.catalog.indexes.fts5 import INDEX
from archstone.systems.shop.catalog.pictures import picture, pictures
from archstone.systems.shop.catalog.search import any_tier, misspelt_tier, strict_tiers
from archstone.systems.shop.catalog.words import words_of
from archstone.systems.shop.inventory.administration import StockAdmin
from archstone.systems.shop.inventory.contract import Inventory, UnknownStockError
from archstone.systems.shop.inventory.service import PIECE
from archstone.systems.shop.paging import BadCursorError, decode_cursor, encode_cursor
from archstone.systems.shop.window import KEEP_S

HOSTILE = [
    '"',
    "AND",
    "NEAR(a b)",
    "name:x",
    "*",
    "^a",
    "a*b",
    "(",
    "-",
    "'; DROP TABLE products; --",
    "\x00",
    "{a b}: c",
]


@pytest.fixture(scope="module")
def index() -> closing[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    columns = "name, category, description, tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'"
    db.execute(f"CREATE VIRTUAL TABLE t USING fts5 ({columns})")
    db.execute("INSERT INTO t VALUES ('Copper kettle', 'kitchen', 'Sings when ready')")
    return closing(db)


@given(st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE)))
def test_no_text_is_an_error_in_the_index(index: closing[sqlite3.Connection], text: str) -> None:
    words = words_of(text)
    if words:
        last = misspelt_tier(INDEX, words, [["kettle"] for _ in words], category=text)
        for expression in (*strict_tiers(INDEX, words), *strict_tiers(INDEX, words, text), last):
            index.thing.execute("SELECT * FROM t WHERE t MATCH ?", (expression,)).fetchall()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kettle", True),
        ("KET", True),
        ("copper ket", True),
        ("ket copper", False),
        ("k-e", False),
        ("NOT kettle", False),
    ],
)
def test_words_must_all_be_there_and_the_last_may_be_a_beginning(
    index: closing[sqlite3.Connection],
    text: str,
    found: bool,
) -> None:
    rows = index.thing.execute("SELECT * FROM t WHERE t MATCH ?", (any_tier(INDEX, words_of(text)),)).fetchall()
    assert bool(rows) is found


def test_text_without_words_has_none() -> None:
    assert words_of(" -- * ' ") == []


@given(st.text(max_size=100), st.tuples(st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1)))
def test_a_cursor_comes_back_as_it_was(question: str, key: tuple[float, int]) -> None:
    assert decode_cursor(question, encode_cursor(question, key), like=(0.0, 0)) == key


@given(st.text(max_size=100))
def test_a_cursor_that_we_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(BadCursorError):
        decode_cursor("products", text, like=(0.0, 0))


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(BadCursorError):
        decode_cursor("products|pan", encode_cursor("products|knife", (0.5, 7)), like=(0.0, 0))
    with pytest.raises(BadCursorError):
        decode_cursor("products", encode_cursor("products", (0.5, "7")), like=(0.0, 0))
    with pytest.raises(BadCursorError):
        decode_cursor("products", encode_cursor("products", (0.5, 2**70)), like=(0.0, 0))


@pytest.mark.parametrize("search", [None, "o", "steel"])
async def test_pages_show_every_product_once_in_one_order(tmp_path: Path, search: str | None) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        whole = [product.sku for product in (await catalog.products(search=search, limit=100)).items]
        paged: list[str] = []
        cursor = None
        while True:
            page = await catalog.products(search=search, limit=7, cursor=cursor)
            paged += [product.sku for product in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert paged == whole
    assert len(set(paged)) == len(paged) > 2
    if search is None:
        assert len(whole) == 100


@pytest.mark.parametrize("category", [None, "kitchen"])
@pytest.mark.parametrize("order", ["price", "-price", "name"])
async def test_a_shelf_is_paged_by_price_and_by_name_too(tmp_path: Path, order: Order, category: str | None) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        paged: list[Product] = []
        cursor = None
        while cursor is not None or not paged:
            page = await catalog.products(category=category, order=order, limit=3, cursor=cursor)
            paged += page.items
            cursor = page.next_cursor
        whole = (await catalog.products(category=category, limit=100)).items
        with pytest.raises(BadCursorError):
            first = await catalog.products(category=category, order=order, limit=3)
            await catalog.products(category=category, cursor=first.next_cursor)
    keys = [each.name.lower() if order == "name" else each.price.amount for each in paged]
    assert keys == sorted(keys, reverse=order == "-price")
    assert {each.sku for each in paged} == {each.sku for each in whole}
    assert len(paged) == len(whole)


async def test_what_a_search_finds_is_counted_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        whole = await catalog.products(search="o", limit=100)
        assert await catalog.count("o") == ProductCount(found=len(whole.items), more=False)
        await asyncio.sleep(KEEP_S)  # it was kept near
        assert (await catalog.count("kettle", category="audio")).found == 0
        assert (await catalog.count("--")).found == 0
        monkeypatch.setattr("archstone.systems.shop.catalog.service.MAX_COUNTED", len(whole.items) - 1)
        assert await catalog.count("o") == ProductCount(found=len(whole.items) - 1, more=True)


async def test_what_is_sold_out_is_known_of_many_at_once(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        inventory = shop.client(Inventory)
        assert await inventory.sold_out(("KIT-001", "NOT-THERE")) == ()
        free = (await inventory.stock("KIT-005")).free
        await shop.client(StockAdmin, as_=Principal("operator", frozenset({"admin"}))).correct(
            "KIT-005", "gone", delta=-free
        )
        assert await inventory.sold_out(("KIT-001", "KIT-005", "NOT-THERE")) == ("KIT-005",)
        # More than one statement asks for: the one that is sold out ends a full piece, or begins the next.
        for before in (PIECE - 1, PIECE, 2 * PIECE):
            others = tuple(f"NOT-{number:03}" for number in range(before))
            assert await inventory.sold_out((*others, "KIT-005")) == ("KIT-005",)
        assert await inventory.sold_out(("KIT-005", *others, "KIT-005")) == ("KIT-005",)
        assert await inventory.sold_out(()) == ()


@pytest.mark.both_databases
async def test_search_ranks_names_above_descriptions_and_knows_categories(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        found = (await catalog.products(search="kettle")).items
        assert "kettle" in found[0].name
        in_sport = (await catalog.products(search="kettle", category="sport")).items
        assert {product.category for product in in_sport} == {"sport"}
        assert (await catalog.products(search="--")).items == ()
        for text in HOSTILE:
            await catalog.products(search=text)
        with pytest.raises(RequestInvalidError):
            await catalog.products(limit=101)
        with pytest.raises(BadCursorError):
            await catalog.products(cursor="AAAA")


async def test_every_product_has_stock_a_picture_and_a_known_category(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        catalog, inventory = shop.client(Catalog), shop.client(Inventory)
        categories = {category.id: category for category in (await catalog.categories()).items}
        products = (await catalog.products(limit=100)).items
        assert sum(category.products for category in categories.values()) == len(products)
        for product in products:
            stock = await inventory.stock(product.sku)
            assert (stock.free > 0, stock.held) == (True, 0)
            assert product.category in categories
            assert product.price.amount > 0
            ET.fromstring(picture(product.sku))
        assert len({picture(product.sku) for product in products}) == len(products)
        with pytest.raises(UnknownProductError):
            await catalog.product("NO-SUCH")
        with pytest.raises(UnknownStockError):
            await inventory.stock("NO-SUCH")


async def test_recommendations_follow_what_is_bought_together(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        ann = await shop.register("ann@example.com")
        catalog = shop.client(Catalog)
        before = (await catalog.recommendations("KIT-001")).items
        assert [product.category for product in before] == ["kitchen"] * 6
        for _ in range(2):
            await shop.ended(ann, await shop.place(ann, ("KIT-001", 1), ("DES-001", 1)))
        await shop.ended(ann, await shop.place(ann, ("KIT-001", 1), ("AUD-002", 1)))
        await shop.at_rest()
        after = [product.sku for product in (await catalog.recommendations("KIT-001")).items]
        assert after[:2] == ["DES-001", "AUD-002"]
        assert "KIT-001" not in after
        assert len(after) == 6


async def test_pictures_are_served_by_sku_and_nothing_else_is() -> None:
    async def get(path: str, method: str = "GET") -> tuple[int, bytes]:
        sent = []

        async def send(message: dict) -> None:
            sent.append(message)

        await pictures({"type": "http", "path": path, "method": method}, None, send)  # type: ignore[arg-type]
        return sent[0]["status"], sent[1]["body"]

    assert await get("/pictures/KIT-001.svg") == (200, picture("KIT-001").encode())
    assert await get("/pictures/KIT-001.svg", "HEAD") == (200, b"")
    assert await get("/pictures/KIT-001.svg", "POST") == (404, b"")
    assert await get("/pictures/..%2Fetc.svg") == (404, b"")
