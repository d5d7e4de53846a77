"""The catalog: reads over a table of products and its full-text index, kept up to date by what is bought."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import permutations
from typing import Final, NamedTuple, TypeVar

from archstone import world
from archstone.cache import key_of
from archstone.services import Service, every, on
from archstone.systems.shop.catalog import editing, loading, shelf
from archstone.systems.shop.catalog.administration import (
    CatalogAdmin,
    Price,
    ProductChanges,
    ProductEdition,
    ProductEditions,
)
from archstone.systems.shop.catalog.contract import (
    MAX_COUNTED,
    Catalog,
    Categories,
    Category,
    Order,
    Product,
    ProductCount,
    ProductPage,
    Recommendations,
    Suggestions,
    UnknownProductError,
)
from archstone.systems.shop.catalog.importing import CatalogImport, ImportState, LoadedProduct, Staged
from archstone.systems.shop.catalog.shelf import ORDERS, Ordering, Row
from archstone.systems.shop.orders.events import OrderConfirmed
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.window import ALL, LISTS, Window

__all__ = ["CatalogService"]

T = TypeVar("T")

MAX_PAIRED: Final = 10
"""Products of one order that are paired with each other: 90 pairs at most, however long the order."""
MAX_RECOMMENDED: Final = 6
MAX_SUGGESTED: Final = 8


class _CategoryRow(NamedTuple):
    id: str
    title: str
    products: int


class CatalogService(Service, Catalog, CatalogAdmin, CatalogImport, name="catalog"):
    """Keeps `Catalog`, `CatalogAdmin` and `CatalogImport`."""

    window: Window

    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)
        self.window.watch(self.db)
        self._import = 0  # the last one that was opened since the process began

    async def products(
        self,
        search: str | None = None,
        category: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        order: Order | None = None,
    ) -> ProductPage:
        question = f"products|{search}|{category}"
        load = partial(self._products, question, search, category, order, limit=limit, cursor=cursor)
        if cursor is not None:
            return await load()
        return await self._listed(
            key_of("{question}:{order}:{limit}", question=question, order=order, limit=limit), load, ProductPage
        )

    async def count(self, search: str, category: str | None = None) -> ProductCount:
        load = partial(self._count, search, category)
        return await self._listed(
            key_of("count:{search}:{category}", search=search, category=category), load, ProductCount
        )

    async def suggestions(self, search: str) -> Suggestions:
        return await self._listed(
            key_of("suggestions:{search}", search=search), partial(self._suggestions, search), Suggestions
        )

    async def product(self, sku: str) -> Product:
        return await self.window.shown(
            f"product:{sku}", partial(self._product, sku), Product, tags=(f"product:{sku}", ALL)
        )

    async def recommendations(self, sku: str) -> Recommendations:
        key, load = f"others:{sku}", partial(self._recommendations, sku)
        return await self.window.shown(key, load, Recommendations, tags=(key, LISTS, ALL))

    async def categories(self) -> Categories:
        return await self._listed("categories", self._categories, Categories)

    async def pick(self, skus: tuple[str, ...]) -> tuple[Product, ...]:
        return tuple([(await self._row(sku)).product() for sku in skus])

    @on(OrderConfirmed)
    async def count_together(self, event: OrderConfirmed) -> None:
        """Count every pair of the order's products once, in both directions."""
        skus = [line.sku for line in event.lines[:MAX_PAIRED]]
        await self.tx.many(
            "INSERT INTO bought_together (sku, other, orders) VALUES (:sku, :other, 1)"
            " ON CONFLICT (sku, other) DO UPDATE SET orders = bought_together.orders + 1",
            [{"sku": sku, "other": other} for sku, other in permutations(skus, 2)],
        )
        self.tx.after_commit(lambda: self.window.take_out(f"others:{sku}" for sku in skus))

    async def edition(self, sku: str) -> ProductEdition:
        return await editing.edition(self.db, sku)

    async def retired(self, limit: int = 20, cursor: str | None = None) -> ProductEditions:
        return await editing.retired(self.db, limit=limit, cursor=cursor)

    async def product_changes(self, sku: str, limit: int = 20, cursor: str | None = None) -> ProductChanges:
        return await editing.changes_of(self.db, sku, limit=limit, cursor=cursor)

    async def create(  # noqa: PLR0917 - as the contract has it
        self,
        sku: str,
        name: str,
        category: str,
        price: Price,
        description: str = "",
        category_title: str | None = None,
        pieces: int = 0,
    ) -> ProductEdition:
        text = editing.Text(name, category, category_title, price, description)
        return await editing.create(self.tx, sku, text, pieces=pieces, by=self.principal.id)

    async def update(  # noqa: PLR0917 - as the contract has it
        self,
        sku: str,
        version: int,
        name: str,
        category: str,
        price: Price,
        description: str,
        category_title: str | None = None,
    ) -> ProductEdition:
        text = editing.Text(name, category, category_title, price, description)
        return await editing.update(self.tx, sku, version, text=text, by=self.principal.id)

    async def retire(self, sku: str, version: int, retired: bool = True) -> ProductEdition:  # noqa: FBT001, FBT002 - as its contract has it
        return await editing.retire(self.tx, sku, version, retired=retired, by=self.principal.id)

    async def begin(self, source: str) -> ImportState:
        state = await loading.begin(self.tx, source, own=self._import)
        if state.phase == "ready":
            self._import = state.number
        return state

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
        if await self.db.first(int, loading.OVERDUE, silent=silent, own=self._import) is not None:
            await loading.go_on(self.tx, own=self._import)

    async def _listed(self, key: str, load: Callable[[], Awaitable[T]], kind: type[T]) -> T:
        return await self.window.shown(key, load, kind, tags=(LISTS, ALL))

    async def _products(
        self, question: str, search: str | None, category: str | None, order: Order | None, *, limit: int,
        cursor: str | None,
    ) -> ProductPage:  # fmt: skip
        if search is None and order is not None:
            return await self._ordered(f"{question}|{order}", category, ORDERS[order], limit=limit, cursor=cursor)
        if search is None:
            (place,) = (0,) if cursor is None else decode_cursor(question, cursor, like=(0,))
            rows = await shelf.on_shelf(self.db, category, after=int(place), limit=limit + 1)
            return _page(question, [(row, (row.place,)) for row in rows], limit)
        tier, last = (0, 0) if cursor is None else decode_cursor(question, cursor, like=(0, 0))
        found = await shelf.found(self.db, search, category, after=(int(tier), int(last)), limit=limit + 1)
        return _page(question, [(each.row, (each.tier, each.row.id)) for each in found], limit)

    async def _count(self, search: str, category: str | None) -> ProductCount:
        found = await shelf.count(self.db, search, category, most=MAX_COUNTED + 1)
        return ProductCount(found=min(found, MAX_COUNTED), more=found > MAX_COUNTED)

    async def _suggestions(self, search: str) -> Suggestions:
        found = await shelf.found(self.db, search, limit=MAX_SUGGESTED)
        return Suggestions(items=tuple(each.row.suggestion() for each in found))

    async def _product(self, sku: str) -> Product:
        return (await self._row(sku)).product()

    async def _recommendations(self, sku: str) -> Recommendations:
        row = await self._row(sku)
        found = await shelf.bought_with(self.db, sku, limit=MAX_RECOMMENDED)
        if len(found) < MAX_RECOMMENDED:
            known = {each.sku for each in found}
            near = await shelf.neighbours(self.db, row, limit=2 * MAX_RECOMMENDED)
            found += [each for each in near if each.sku not in known]
        return Recommendations(items=tuple(each.product() for each in found[:MAX_RECOMMENDED]))

    async def _categories(self) -> Categories:
        rows = await self.db.all(
            _CategoryRow,
            "SELECT id, title, products FROM categories ORDER BY title, id",
        )
        return Categories(items=tuple(Category(id=row.id, title=row.title, products=row.products) for row in rows))

    async def _ordered(
        self, question: str, category: str | None, ordering: Ordering, *, limit: int, cursor: str | None
    ) -> ProductPage:
        first = (ordering.first, 0)
        key, last = first if cursor is None else decode_cursor(question, cursor, like=first)
        after = (key if isinstance(key, int) else str(key), int(last))
        rows = await shelf.ordered(self.db, category, ordering, after=after, limit=limit + 1)
        return _page(question, [(row, (ordering.key(row), row.id)) for row in rows], limit)

    async def _row(self, sku: str) -> Row:
        row = await shelf.by_sku(self.db, sku)
        if row is None:
            raise UnknownProductError(sku)
        return row


def _page(question: str, rows: Sequence[tuple[Row, tuple[str | int, ...]]], limit: int) -> ProductPage:
    """Return the first `limit` rows, and a cursor behind them if there are more."""
    page = rows[:limit]
    return ProductPage(
        items=tuple(row.product() for row, _ in page),
        next_cursor=encode_cursor(question, page[-1][1]) if len(rows) > limit else None,
    )
