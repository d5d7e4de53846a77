"""The catalog: reads over a table of products and its full-text index, kept up to date by what is bought."""

from itertools import permutations
from typing import Final, NamedTuple

from archstone.services import Service, on
from archstone.systems.shop.catalog.contract import (
    Catalog,
    Categories,
    Category,
    Product,
    ProductPage,
    Recommendations,
    UnknownProductError,
)
from archstone.systems.shop.catalog.search import match_expression
from archstone.systems.shop.orders.events import OrderConfirmed
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.values import Money

__all__ = ["CatalogService"]

MAX_PAIRED: Final = 10
"""Products of one order that are paired with each other: 90 pairs at most, however long the order."""
MAX_RECOMMENDED: Final = 6

_COLUMNS: Final = "p.id, p.sku, p.name, p.category, p.amount, p.currency, p.description"
_SHELF: Final = f"""
    SELECT {_COLUMNS}, 0.0 AS score FROM products p
    WHERE p.id > :id AND (:category IS NULL OR p.category = :category)
    ORDER BY p.id LIMIT :limit
"""  # noqa: S608 - the columns are a constant of this module
# The ranking is computed once per match and paged by; its weights are name, category, description. Lower is better.
_FOUND: Final = f"""
    WITH found AS MATERIALIZED (
        SELECT rowid AS id, bm25(search, 8.0, 3.0, 1.0) AS score FROM search WHERE search MATCH :words
    )
    SELECT {_COLUMNS}, f.score AS score FROM found f JOIN products p ON p.id = f.id
    WHERE (f.score, p.id) > (:score, :id) AND (:category IS NULL OR p.category = :category)
    ORDER BY f.score, p.id LIMIT :limit
"""  # noqa: S608
_TOGETHER: Final = f"""
    SELECT {_COLUMNS}, -b.orders AS score FROM bought_together b JOIN products p ON p.sku = b.other
    WHERE b.sku = :sku ORDER BY b.orders DESC, p.id LIMIT :limit
"""  # noqa: S608
_NEIGHBOURS: Final = f"""
    SELECT {_COLUMNS}, 0.0 AS score FROM products p
    WHERE p.category = :category AND p.sku <> :sku ORDER BY p.id LIMIT :limit
"""  # noqa: S608


class _Row(NamedTuple):
    id: int
    sku: str
    name: str
    category: str
    amount: int
    currency: str
    description: str
    score: float = 0.0

    def product(self) -> Product:
        return Product(
            sku=self.sku,
            name=self.name,
            category=self.category,
            price=Money(amount=self.amount, currency=self.currency),
            description=self.description,
            picture=f"/pictures/{self.sku}.svg",
        )


class _CategoryRow(NamedTuple):
    id: str
    title: str
    products: int


class CatalogService(Service, Catalog, name="catalog"):
    """Keeps `Catalog`."""

    async def products(
        self, search: str | None = None, category: str | None = None, limit: int = 20, cursor: str | None = None
    ) -> ProductPage:
        question = f"products|{search}|{category}"
        score, last_id = -1e300, 0
        if cursor is not None:
            score, last_id = decode_cursor(question, cursor, like=(0.0, 0))
        rows: list[_Row]
        if search is None:
            rows = await self.db.all(_Row, _SHELF, id=last_id, category=category, limit=limit + 1)
        elif (words := match_expression(search)) is None:
            rows = []
        else:
            rows = await self.db.all(
                _Row, _FOUND, words=words, score=score, id=last_id, category=category, limit=limit + 1
            )
        page, more = rows[:limit], rows[limit:]
        next_cursor = encode_cursor(question, (page[-1].score, page[-1].id)) if more else None
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
            "SELECT c.id, c.title, count(p.id) AS products FROM categories c LEFT JOIN products p ON p.category = c.id"
            " GROUP BY c.id ORDER BY c.title",
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

    async def _row(self, sku: str) -> _Row:
        row = await self.db.first(
            _Row,
            f"SELECT {_COLUMNS} FROM products p WHERE p.sku = :sku",  # noqa: S608
            sku=sku,
        )
        if row is None:
            raise UnknownProductError(sku)
        return row
