"""What is seen of the table of products, and the ways through it: by place, by SKU, by search.

A query reads first where the shelf was last switched, then what is seen from there. A switch between the two does no
harm: the older view is still whole.
"""

from string import ascii_lowercase, ascii_uppercase
from typing import Final, Literal, NamedTuple

from archstone.data import Database
from archstone.systems.shop.catalog.contract import Product, Suggestion
from archstone.systems.shop.catalog.index import Index, index_of
from archstone.systems.shop.catalog.pictures import picture_path
from archstone.systems.shop.catalog.search import any_tier, misspelt_tier, strict_tiers
from archstone.systems.shop.catalog.spelling import alike
from archstone.systems.shop.catalog.words import words_of
from archstone.systems.shop.values import Money

__all__ = [
    "HIGHEST",
    "ORDERS",
    "Found",
    "Ordering",
    "Row",
    "bought_with",
    "by_sku",
    "count",
    "found",
    "neighbours",
    "on_shelf",
    "ordered",
]

FEW: Final = 5
"""Products found as they were spelt: with fewer, those that are spelt alike follow."""
MAX_CORRECTED: Final = 4
"""Words for which others are looked up; a longer text says enough without."""

_COLUMNS: Final = "p.id, p.place, p.sku, p.name, p.category, p.amount, p.currency, p.description, p.images"
# Versions that had arrived at the last switch, and that nothing seen replaces; see migrations/0003. None is retired.
_SEEN: Final = "p.id <= :top AND (p.replaced_by IS NULL OR p.replaced_by > :top) AND p.retired = 0"
_TOP: Final = "SELECT top FROM shelf"
HIGHEST: Final = "(SELECT max(id) FROM (SELECT top AS id FROM shelf UNION ALL SELECT max(id) FROM products) AS known)"
"""The highest id that a product has or had. Rows that were taken out again had been unseen: above `shelf.top`."""
_SHELF: Final = f"""
    SELECT {_COLUMNS} FROM products p WHERE p.place > :place AND p.place <= :top AND {_SEEN}
    ORDER BY p.place LIMIT :limit
"""  # noqa: S608 - constants of this module, as below
_SHELF_OF_CATEGORY: Final = f"""
    SELECT {_COLUMNS} FROM products p
    WHERE p.category = :category AND p.place > :place AND p.place <= :top AND {_SEEN} ORDER BY p.place LIMIT :limit
"""  # noqa: S608 - constants of this module
_FOUND: Final = """
    SELECT {columns} FROM {matches} AND p.id > :id AND p.id <= :top AND {seen}
    AND (CAST(:category AS TEXT) IS NULL OR p.category = :category) ORDER BY p.id LIMIT :limit
"""
_ORDERED: Final = """
    SELECT {columns} FROM products p
    WHERE {category} {key} {beyond}= :key AND ({key}, p.id) {beyond} (:key, :id) AND {seen}
    ORDER BY {key} {way}, p.id {way} LIMIT :limit
"""
_COUNT_FOUND: Final = """
    SELECT count(*) FROM (SELECT 1 FROM {matches} AND p.id <= :top AND {seen}
    AND (CAST(:category AS TEXT) IS NULL OR p.category = :category) LIMIT :most) AS found
"""
_TOGETHER: Final = f"""
    SELECT {_COLUMNS} FROM bought_together b JOIN products p ON p.sku = b.other
    WHERE b.sku = :sku AND {_SEEN} ORDER BY b.orders DESC, p.place LIMIT :limit
"""  # noqa: S608 - constants of this module
_NEIGHBOURS: Final = f"""
    SELECT {_COLUMNS} FROM products p
    WHERE p.category = :category AND p.sku <> :sku AND p.place <= :top AND {_SEEN} ORDER BY p.place LIMIT :limit
"""  # noqa: S608 - constants of this module
_ONE: Final = f"SELECT {_COLUMNS} FROM products p WHERE p.sku = :sku AND {_SEEN}"  # noqa: S608 - constants of this module


class Row(NamedTuple):
    """A product that is seen."""

    id: int
    place: int
    sku: str
    name: str
    category: str
    amount: int
    currency: str
    description: str
    images: tuple[str, ...]

    def product(self) -> Product:
        """Return it as the contract has it."""
        return Product(
            sku=self.sku,
            name=self.name,
            category=self.category,
            price=Money(amount=self.amount, currency=self.currency),
            description=self.description,
            picture=picture_path(self.sku, self.name, self.category),
            images=self.images,
        )

    def suggestion(self) -> Suggestion:
        """Return it as what may be meant."""
        return Suggestion(sku=self.sku, name=self.name, category=self.category, images=self.images[:1])


class Ordering(NamedTuple):
    """A way to go through a shelf that has an index."""

    column: str
    first: str | int
    """A key before all others."""
    down: bool = False

    def statement(self, *, within: bool) -> str:
        """Return what reads a page, of one category or of all."""
        return _ORDERED.format(
            columns=_COLUMNS, category="p.category = :category AND" if within else "", key=self.column,
            beyond="<" if self.down else ">", seen=_SEEN, way="DESC" if self.down else "ASC",
        )  # fmt: skip

    def key(self, row: Row) -> str | int:
        """Return what `row` stands by."""
        return row.amount if isinstance(self.first, int) else row.name[:_NAME_CHARS].translate(_LOWER)


_NAME_CHARS: Final = 24
"""As migrations/0007 has it."""
_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
"""What lower() does on both databases."""
_AMOUNT: Final = "p.amount"
ORDERS: Final[dict[Literal["price", "-price", "name"], Ordering]] = {
    "price": Ordering(_AMOUNT, -1),
    "-price": Ordering(_AMOUNT, 2**62, down=True),
    "name": Ordering(f"lower(substr(p.name, 1, {_NAME_CHARS}))", ""),
}


class Found(NamedTuple):
    """A product that was searched for, and where in the order of what is found."""

    tier: int
    row: Row


async def on_shelf(db: Database, category: str | None, *, after: int, limit: int) -> list[Row]:
    """Return products in the order of the shelf, from behind place `after` on."""
    top = await db.one(int, _TOP)
    if category is None:
        return await db.all(Row, _SHELF, place=after, top=top, limit=limit)
    return await db.all(Row, _SHELF_OF_CATEGORY, category=category, place=after, top=top, limit=limit)


async def ordered(
    db: Database, category: str | None, ordering: Ordering, *, after: tuple[str | int, int], limit: int
) -> list[Row]:
    """Return products by price or name, from behind the key and row `after` on."""
    statement, top = ordering.statement(within=category is not None), await db.one(int, _TOP)
    key, last = after
    within = {} if category is None else {"category": category}
    return await db.all(Row, statement, **within, key=key, id=last, top=top, limit=limit)


async def count(db: Database, text: str, category: str | None, *, most: int) -> int:
    """Return how many products a text finds as it is spelt; counts no further than `most`."""
    words = words_of(text)
    if not words:
        return 0
    index = index_of(db.dialect)
    top, expression = await db.one(int, _TOP), any_tier(index, words, category)
    statement = _COUNT_FOUND.format(matches=index.matches, seen=_SEEN)
    return await db.one(int, statement, expression=expression, category=category, top=top, most=most)


async def by_sku(db: Database, sku: str) -> Row | None:
    """Return a product, None where there is none."""
    return await db.first(Row, _ONE, sku=sku, top=await db.one(int, _TOP))


async def bought_with(db: Database, sku: str, *, limit: int) -> list[Row]:
    """Return what is bought together with a product, the most frequent first."""
    return await db.all(Row, _TOGETHER, sku=sku, top=await db.one(int, _TOP), limit=limit)


async def neighbours(db: Database, row: Row, *, limit: int) -> list[Row]:
    """Return others of the category."""
    top = await db.one(int, _TOP)
    return await db.all(Row, _NEIGHBOURS, category=row.category, sku=row.sku, top=top, limit=limit)


async def found(
    db: Database, text: str, category: str | None = None, *, after: tuple[int, int] = (0, 0), limit: int
) -> list[Found]:
    """Return what a text finds, best first.

    Args:
        db: The catalog's.
        text: Anything.
        category: Only of this one.
        after: Tier and row of the last one that is known already.
        limit: Most that are wanted.
    """
    words = words_of(text)
    if not words:
        return []
    index = index_of(db.dialect)
    tiers = strict_tiers(index, words, category)
    search = _Search(db, index, tiers, category, await db.one(int, _TOP))
    results = await search.strict(after, limit)
    if len(results) < limit and await search.few(results, after):
        expression = misspelt_tier(index, words, await _alike(db, words), category)
        if expression is not None:
            last = after[1] if after[0] == len(tiers) else 0
            results += await search.tier(len(tiers), expression, after=last, limit=limit - len(results))
    return results


class _Search(NamedTuple):
    """One search of one instant."""

    db: Database
    syntax: Index
    tiers: tuple[str, ...]
    category: str | None
    top: int

    async def strict(self, after: tuple[int, int], limit: int) -> list[Found]:
        """Return what is spelt as it was typed."""
        results: list[Found] = []
        number, last = after
        while number < len(self.tiers) and len(results) < limit:
            results += await self.tier(number, self.tiers[number], after=last, limit=limit - len(results))
            number, last = number + 1, 0
        return results

    async def few(self, results: list[Found], after: tuple[int, int]) -> bool:
        """Whether so little is spelt as typed that what is spelt alike may follow; the same on every page."""
        if after == (0, 0) or len(results) >= FEW:
            return len(results) < FEW
        return len(await self.strict((0, 0), FEW)) < FEW

    async def tier(self, number: int, expression: str, *, after: int, limit: int) -> list[Found]:
        """Return what one expression finds behind row `after`."""
        statement = _FOUND.format(columns=_COLUMNS, matches=self.syntax.matches, seen=_SEEN)
        rows = await self.db.all(
            Row, statement, expression=expression, top=self.top, id=after, category=self.category, limit=limit
        )
        return [Found(number, row) for row in rows]


async def _alike(db: Database, words: list[str]) -> list[list[str]]:
    last = len(words) - 1
    return [
        await alike(db, word, growing=number == last) if number < MAX_CORRECTED else []
        for number, word in enumerate(words)
    ]
