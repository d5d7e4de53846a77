"""Both databases find the same products in the same order, with the words that each index makes of the same texts."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shop_database import index_is_whole

from archstone.data import Database
from archstone.systems.shop.catalog import shelf
from archstone.systems.shop.catalog.index import Entry, index_of
from archstone.systems.shop.catalog.service import CatalogService
from archstone.systems.shop.catalog.spelling import learn
from archstone.systems.shop.catalog.words import folded_words

NAMES = (
    "Lanturn of tin",
    "Lanterns, a pair",
    "Tin lantern",
    "Lantern",
    "Th\u00e9i\u00e8re \u00e9maill\u00e9e 12-in",
    "TH\u00c9I\u00c8RE",
    "Stra\u00dfe 7\u00bd",
    "K\u00f8benhavn lamp",
    "\u041b\u0430\u043c\u043f\u0430 \u043d\u0430\u0441\u0442\u043e\u043b\u044c\u043d\u0430\u044f",
    "\u039f\u03b4\u03cc\u03c2",
    "O'Neill & sons' lamp/lantern",
    "lamp " + "x" * 120,
)
TYPED = (
    "lantern", "tin lantern", "lant", "lamp", "l", "the", "theiere", "th\u00e9i\u00e8re emaill\u00e9e", "12", "12 in",
    "12-in", "strasse", "stra\u00dfe", "kobenhavn", "k\u00f8ben", "\u041b\u0410\u041c\u041f", "\u03bf\u03b4\u03cc",
    "\u041d\u0410\u0421\u0422\u041e", "o neill", "sons lamp", "x" * 100, "kettle", "ket", "coper ketle",
    "harow coppr", "steel", "o", "chef s", "chef's knife", "knife osier", "twenty four", "kitchen", "kitch knif",
    "two person", "a", "i", "s", "lanturn", "lanten tin", "xqzzy", "sharp steel",
)  # fmt: skip
LETTERS = st.one_of(
    st.characters(max_codepoint=0x1DF, exclude_characters="\x00"),
    st.characters(min_codepoint=0x391, max_codepoint=0x3CE, categories=["L"]),
    st.characters(min_codepoint=0x410, max_codepoint=0x451, categories=["L"]),
)
TABLES = ("SELECT word FROM words ORDER BY word", "SELECT * FROM word_parts ORDER BY part, length, word")


async def filled(db: Database) -> None:
    """Put more products on the shelf."""
    async with db.transaction() as tx:
        first = await tx.one(int, "SELECT max(id) + 1 FROM products")
        entries = [Entry(first + n, name, "kitchen", "For tea, or a lamp.") for n, name in enumerate(NAMES)]
        for entry in entries:
            await tx.execute(
                "INSERT INTO products (id, place, sku, name, category, amount, description)"
                " VALUES (:id, :id, :sku, :name, :category, 1, :description)",
                sku=f"NEW-{entry.id}", **entry._asdict(),
            )  # fmt: skip
        await index_of(db.dialect).add(tx, entries)  # type: ignore[arg-type] - a transaction that has no service
        await learn(tx, NAMES)  # type: ignore[arg-type] - as above
        await tx.execute("UPDATE shelf SET top = :top", top=entries[-1].id)


@pytest.fixture
async def both(tmp_path: Path, postgres_url: str) -> AsyncIterator[tuple[Database, Database]]:
    """Give the catalog on SQLite and on PostgreSQL."""
    migrations = CatalogService.service_info.migrations
    async with AsyncExitStack() as stack:
        urls = (f"sqlite:///{tmp_path / 'catalog.db'}", postgres_url)
        lite, server = [await stack.enter_async_context(Database(url, migrations=migrations)) for url in urls]
        yield lite, server


@pytest.mark.real_time
async def test_both_find_the_same_in_the_same_order(both: tuple[Database, Database]) -> None:
    for db in both:
        await filled(db)
    for text in TYPED:
        for category in (None, "kitchen"):
            lite, server = [await shelf.found(db, text, category, limit=200) for db in both]
            assert [(each.tier, each.row.sku) for each in server] == [(each.tier, each.row.sku) for each in lite], text
            counts = [await shelf.count(db, text, category, most=1_000) for db in both]
            assert counts[0] == counts[1], text


@pytest.mark.real_time
async def test_what_the_shop_starts_with_is_indexed_as_the_service_would(both: tuple[Database, Database]) -> None:
    lite, server = both
    assert await server.one(int, "SELECT count(*) FROM search") == 100
    await index_is_whole(server)
    for sql in TABLES:
        assert await server.all(tuple, sql) == await lite.all(tuple, sql)


@settings(deadline=None)
@given(st.text(LETTERS, max_size=40))
@example("\u00c9m\u00e8re \u0130z \u017fa 1\u00bd")
def test_words_are_those_that_fts5_makes(text: str) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5 (x, tokenize = 'unicode61 remove_diacritics 2')")
        db.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (t, 'instance')")
        db.execute("INSERT INTO t VALUES (?)", (text,))
        made = [term for (term,) in db.execute("SELECT term FROM terms ORDER BY offset")]
    assert folded_words(text) == made
