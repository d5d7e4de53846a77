"""Search: exact before beginnings before slips, as one types, over pages that neither skip nor repeat."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_shop_catalog import HOSTILE
from wiring import RunningShop, running_shop

from archstone.context import Principal
from archstone.services import RequestInvalidError
from archstone.systems.shop.catalog.contract import Catalog
from archstone.systems.shop.catalog.importing import CatalogImport, LoadedProduct
from archstone.systems.shop.catalog.spelling import name_words, parts_of, slips
from archstone.systems.shop.importing.loading import load

OPERATOR = Principal("operator", frozenset({"admin"}))


async def stock_up(shop: RunningShop, *names: str, category: str = "test") -> None:
    """Import products of these names, with SKUs T-000, T-001, ... in their order."""
    rows = [
        LoadedProduct(
            sku=f"{category[0].upper()}-{number:03}", name=name, category=category, category_title=category, amount=1,
            currency="EUR", description="Long words of no meaning, and a teapot.", images=(), pieces=1,
        )
        for number, name in enumerate(names)
    ]  # fmt: skip
    imports = shop.client(CatalogImport, as_=OPERATOR)
    await load(imports, rows, source="t", progress=lambda *_: None, judge=lambda _: None)


async def names(shop: RunningShop, text: str, **more: object) -> list[str]:
    page = await shop.client(Catalog).products(search=text, **more)  # type: ignore[arg-type] - parameters by name
    return [each.name for each in page.items]


@pytest.mark.both_databases
async def test_exact_comes_before_a_beginning_before_a_slip(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await stock_up(shop, "Lanturn of tin", "Lanterns, a pair", "Tin lantern", "Lantern", "Teapot")
        assert await names(shop, "lantern") == ["Lantern", "Tin lantern", "Lanterns, a pair", "Lanturn of tin"]
        assert await names(shop, "tin lantern") == ["Tin lantern", "Lanturn of tin"]
        assert (await names(shop, "teapot"))[0] == "Teapot"


async def test_as_one_types_it_is_found_and_stays(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await stock_up(shop, "Zephyrine carafe")
        for length in range(1, len("zephyrine")):
            assert "Zephyrine carafe" in await names(shop, "zephyrine"[:length])
        assert await names(shop, "carafe zeph") == ["Zephyrine carafe"]


@pytest.mark.parametrize(
    "typed",
    ["zephirine", "zehpyrine", "zephyrin", "zephyyrine", "sephyrine", "zepyrin", "zefyrine carafe", "zephyrine caraffe",
     "zehpyr", "ZEPHIRINE", "z\u00e9phyrine"],
)  # fmt: skip
async def test_slips_are_forgiven(tmp_path: Path, typed: str) -> None:
    async with running_shop(tmp_path) as shop:
        await stock_up(shop, "Zephyrine carafe")
        assert await names(shop, typed) == ["Zephyrine carafe"]


@pytest.mark.both_databases
async def test_what_may_have_been_meant_is_as_the_index_has_it_whatever_the_script(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await stock_up(shop, "\u0386\u03bb\u03c6\u03b1", "\ufb01lter")  # of Latin letters alone it drops accents
        assert await names(shop, "\u03b1\u03bb\u03c6\u03b1") == ["\u0386\u03bb\u03c6\u03b1"]
        assert await names(shop, "filter") == ["\ufb01lter"]


@pytest.mark.both_databases
async def test_the_products_of_the_first_start_are_forgiving_too(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        assert "Harrow copper kettle" in await names(shop, "coper ketle")
        assert await names(shop, "xqzzy") == []
        assert await names(shop, "x") == []


async def test_where_enough_is_spelt_as_typed_nothing_else_follows(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await stock_up(shop, *[f"Lantern {number}" for number in range(6)], "Lanturn 3")
        assert "Lanturn 3" not in await names(shop, "lantern")
        assert await names(shop, "lantern 3") == ["Lantern 3", "Lanturn 3"]


@pytest.mark.both_databases
async def test_pages_go_through_all_tiers_once_in_one_order(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await stock_up(shop, "Lanturn", "Lanterns", "Lantern", "Tin lantern", "A lanturn", category="one")
        await stock_up(shop, "Lantern two", category="two")
        whole = await names(shop, "lantern", category="one")
        assert whole == ["Lantern", "Tin lantern", "Lanterns", "Lanturn", "A lanturn"]
        for limit in (1, 2, 3, 4):
            paged: list[str] = []
            cursor = None
            while True:
                page = await shop.client(Catalog).products(search="lantern", category="one", limit=limit, cursor=cursor)
                paged += [each.name for each in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert paged == whole


async def test_suggestions_are_at_most_eight_and_the_best_first(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        await stock_up(shop, *[f"Lanterns {number}" for number in range(20)], "Lantern")
        items = (await shop.client(Catalog).suggestions("lantern")).items
        assert (len(items), items[0].name, items[0].category) == (8, "Lantern", "test")
        assert [each.name for each in (await shop.client(Catalog).suggestions("harow coppr")).items] == [
            "Harrow copper kettle"
        ]
        assert (await shop.client(Catalog).suggestions("")).items == ()


async def test_hostile_texts_are_words_or_nothing(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        catalog = shop.client(Catalog)
        for text in [
            *HOSTILE,
            "a" * 100,
            "\u00b2",
            "e\u0301",
            "\U0001f600",
            "kettle NOT copper",
            "a b c d e f g h i j",
        ]:
            await catalog.products(search=text)
            await catalog.products(search=text, category="kitchen")
            await catalog.suggestions(text)
        for search in ("x" * 101, "x" * 10_000):
            with pytest.raises(RequestInvalidError):
                await catalog.products(search=search)
            with pytest.raises(RequestInvalidError):
                await catalog.suggestions(search)


WORD = st.text("abcde", min_size=1, max_size=8)


def distance(a: str, b: str) -> int:
    """Optimal string alignment, by its definition."""
    if not a or not b:
        return len(a) + len(b)
    best = min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))
    if len(a) > 1 and len(b) > 1 and a[0] == b[1] and a[1] == b[0]:
        best = min(best, distance(a[2:], b[2:]) + 1)
    return best


@given(st.text("abc", min_size=1, max_size=5), st.text("abc", min_size=1, max_size=5), st.integers(0, 3))
def test_slips_are_counted_as_defined(typed: str, meant: str, most: int) -> None:
    true = distance(typed, meant)
    assert min(slips(typed, meant, growing=False, most=most), most + 1) == min(true, most + 1)
    beginnings = min(distance(typed, meant[:length]) for length in range(len(meant) + 1))
    assert min(slips(typed, meant, growing=True, most=most), most + 1) == min(beginnings, most + 1)


@given(st.text(max_size=60))
def test_words_of_any_name_can_be_kept(text: str) -> None:
    for word in name_words(text):
        assert 3 <= len(word) <= 24
        assert all(len(part) == 3 for part in parts_of(word))


async def test_the_cursor_of_the_longest_name_fits(tmp_path: Path) -> None:
    async with running_shop(tmp_path) as shop:
        long = [f"{sign * 99}{end}" for sign in ("\U0001f6f6", "\u9f8d") for end in "ab"]
        await stock_up(shop, *long)
        catalog = shop.client(Catalog)
        found: list[str] = []
        cursor = None
        while cursor is not None or not found:
            page = await catalog.products(category="test", order="name", limit=1, cursor=cursor)
            found += [each.name for each in page.items]
            cursor = page.next_cursor
    assert sorted(found) == sorted(long)
