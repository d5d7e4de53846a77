"""The catalog: reads over a table of products and its full-text index, kept up to date by what is bought."""

from itertools import permutations
from typing import Final, NamedTuple

from archstone import world
from archstone.services import Service, every, on
from archstone.systems.shop.catalog import loading
from archstone.systems.shop.catalog.contract import (
    Catalog,
    Categories,
    Category,
    Product,
    ProductPage,
    Recommendations,
    UnknownProductError,
)
from archstone.systems.shop.catalog.importing import CatalogImport, ImportState, LoadedProduct, Staged
from archstone.systems.shop.catalog.search import match_expression
from archstone.systems.shop.orders.events import OrderConfirmed
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.values import Money

__all__ = ["CatalogService"]

MAX_PAIRED: Final = 10
"""Products of one order that are paired with each other: 90 pairs at most, however long the order."""
MAX_RECOMMENDED: Final = 6

_COLUMNS: Final = "p.id, p.place, p.sku, p.name, p.category, p.amount, p.currency, p.description, p.images"
# What is seen: versions that had arrived at the last switch, and that nothing seen replaces; see migrations/0003.
_SEEN: Final = "p.id <= s.top AND (p.replaced_by IS NULL OR p.replaced_by > s.top)"
_SHELF: Final = f"""
    SELECT {_COLUMNS}, 0.0 AS score FROM shelf s CROSS JOIN products p
    WHERE p.place > :place AND p.place <= s.top AND {_SEEN} ORDER BY p.place LIMIT :limit
"""  # noqa: S608 - constants of this module
_SHELF_OF_CATEGORY: Final = f"""
    SELECT {_COLUMNS}, 0.0 AS score FROM shelf s CROSS JOIN products p
    WHERE p.category = :category AND p.place > :place AND p.place <= s.top AND {_SEEN} ORDER BY p.place LIMIT :limit
"""  # noqa: S608
# The ranking is computed once per match and paged by; its weights are name, category, description. Lower is better.
_FOUND: Final = f"""
    WITH found AS MATERIALIZED (
        SELECT rowid AS id, bm25(search, 8.0, 3.0, 1.0) AS score FROM search WHERE search MATCH :words
    )
    SELECT {_COLUMNS}, f.score AS score FROM shelf s CROSS JOIN found f JOIN products p ON p.id = f.id
    WHERE (f.score, p.id) > (:score, :id) AND {_SEEN} AND (:category IS NULL OR p.category = :category)
    ORDER BY f.score, p.id LIMIT :limit
"""  # noqa: S608
_TOGETHER: Final = f"""
    SELECT {_COLUMNS}, -b.orders AS score
    FROM shelf s CROSS JOIN bought_together b JOIN products p ON p.sku = b.other
    WHERE b.sku = :sku AND {_SEEN} ORDER BY b.orders DESC, p.id LIMIT :limit
"""  # noqa: S608
_NEIGHBOURS: Final = f"""
    SELECT {_COLUMNS}, 0.0 AS score FROM shelf s CROSS JOIN products p
    WHERE p.category = :category AND p.sku <> :sku AND p.place <= s.top AND {_SEEN} ORDER BY p.place LIMIT :limit
"""  # noqa: S608


_ONE: Final = f"SELECT {_COLUMNS} FROM shelf s CROSS JOIN products p WHERE p.sku = :sku AND {_SEEN}"  # noqa: S608


class _Row(NamedTuple):
    id: int
    place: int
    sku: str
    name: str
    category: str
    amount: int
    currency: str
    description: str
    images: tuple[str, ...]
    score: float = 0.0

    def product(self) -> Product:
        return Product(
            sku=self.sku,
            name=self.name,
            category=self.category,
            price=Money(amount=self.amount, currency=self.currency),
            description=self.description,
            picture=f"/pictures/{self.sku}.svg",
            images=self.images,
        )


class _CategoryRow(NamedTuple):
    id: str
    title: str
    products: int


class CatalogService(Service, Catalog, CatalogImport, name="catalog"):
    """Keeps `Catalog` and `CatalogImport`."""

    async def products(
        self, search: str | None = None, category: str | None = None, limit: int = 20, cursor: str | None = None
    ) -> ProductPage:
        question = f"products|{search}|{category}"
        if search is None:
            return await self._shelf(question, category, limit=limit, cursor=cursor)
        score, last_id = -1e300, 0
        if cursor is not None:
            score, last_id = decode_cursor(question, cursor, like=(0.0, 0))
        rows: list[_Row] = []
        if (words := match_expression(search)) is not None:
            rows = await self.db.all(
                _Row, _FOUND, words=words, score=score, id=last_id, category=category, limit=limit + 1
            )
        page, more = rows[:limit], rows[limit:]
        next_cursor = encode_cursor(question, (page[-1].score, page[-1].id)) if more else None
        return ProductPage(items=tuple(row.product() for row in page), next_cursor=next_cursor)

    async def _shelf(self, question: str, category: str | None, *, limit: int, cursor: str | None) -> ProductPage:
        place = 0 if cursor is None else decode_cursor(question, cursor, like=(0,))[0]
        if category is None:
            rows = await self.db.all(_Row, _SHELF, place=place, limit=limit + 1)
        else:
            rows = await self.db.all(_Row, _SHELF_OF_CATEGORY, place=place, category=category, limit=limit + 1)
        page, more = rows[:limit], rows[limit:]
        next_cursor = encode_cursor(question, (page[-1].place,)) if more else None
        return ProductPage(items=tuple(row.product() for row in page), next_cursor=next_cursor)

    async def product(self, sku: str) -> Product:
        return (await self._row(sku)).product()

    async def recommendations(self, sku: str) -> Recommendations:
        row = await self._row(sku)
        found = await self.db.all(_Row, _TOGETHER, sku=sku, limit=MAX_RECOMMENDED)
        if len(found) < MAX_RECOMMENDED:
            known = {each.sku for each in found}
            near = await self.db.all(_Row, _NEIGHBOURS, category=row.category, sku=sku, limit=2 * MAX_RECOMMENDED)
            found += [each for each in near if each.sku not in known]
        return Recommendations(items=tuple(each.product() for each in found[:MAX_RECOMMENDED]))

    async def categories(self) -> Categories:
        rows = await self.db.all(
            _CategoryRow,
            "SELECT id, title, products FROM categories ORDER BY title, id",
        )
        return Categories(items=tuple(Category(id=row.id, title=row.title, products=row.products) for row in rows))

    async def pick(self, skus: tuple[str, ...]) -> tuple[Product, ...]:
        return tuple([(await self._row(sku)).product() for sku in skus])

    @on(OrderConfirmed)
    async def count_together(self, event: OrderConfirmed) -> None:
        """Count every pair of the order's products once, in both directions."""
        skus = [line.sku for line in event.lines[:MAX_PAIRED]]
        await self.tx.many(
            "INSERT INTO bought_together (sku, other, orders) VALUES (:sku, :other, 1)"
            " ON CONFLICT (sku, other) DO UPDATE SET orders = orders + 1",
            [{"sku": sku, "other": other} for sku, other in permutations(skus, 2)],
        )

    async def begin(self, source: str) -> ImportState:
        return await loading.begin(self.tx, source)

    async def stage(self, number: int, rows: tuple[LoadedProduct, ...]) -> Staged:
        return await loading.stage(self.tx, number, rows)

    async def finish(self, number: int, rows: int) -> ImportState:
        return await loading.finish(self.tx, number, rows)

    async def discard(self, number: int) -> None:
        await loading.discard(self.tx, number)

    @every(1.0)
    async def go_on_importing(self) -> None:
        """Tell the stock of an import that was switched, clear away one that died, a piece at a time."""
        silent = world.now_us() - loading.SILENT_US
        if await self.db.first(int, loading.OVERDUE, silent=silent) is not None:
            await loading.go_on(self.tx)

    async def _row(self, sku: str) -> _Row:
        row = await self.db.first(_Row, _ONE, sku=sku)
        if row is None:
            raise UnknownProductError(sku)
        return row
