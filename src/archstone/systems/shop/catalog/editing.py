"""How an edit gets onto the shelf: a new version of the product that is seen with the commit of its transaction.

Versions of an open import lie unseen above the top of the shelf, and an edit would have to raise the top over them: so
there are no edits while an import is open. The version before the edit stays until the next edit, for whoever has read
the top of the shelf and not yet the product; older ones are taken out.
"""

import json
from datetime import UTC, datetime
from typing import Final, NamedTuple

from archstone import world
from archstone.data import Database
from archstone.services import Tx
from archstone.systems.shop.catalog.administration import (
    FieldChange,
    Price,
    ProductChange,
    ProductChanges,
    ProductEdition,
    ProductEditions,
    ProductExistsError,
    ProductMovedOnError,
    UnknownCategoryError,
)
from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.catalog.events import ProductChanged, ProductCreated
from archstone.systems.shop.catalog.importing import ImportBusyError
from archstone.systems.shop.catalog.index import Entry, index_of
from archstone.systems.shop.catalog.shelf import HIGHEST, Row
from archstone.systems.shop.catalog.spelling import learn
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.values import Money

__all__ = ["Text", "changes_of", "create", "edition", "retire", "retired", "update"]

_COLUMNS: Final = "id, place, sku, name, category, amount, currency, description, images"
# Edits and reads of editions are of the newest version that is seen; an open import has newer ones.
_SEEN: Final = "id <= (SELECT top FROM shelf) AND (replaced_by IS NULL OR replaced_by > (SELECT top FROM shelf))"
_ONE: Final = f"SELECT {_COLUMNS}, retired FROM products WHERE sku = :sku AND {_SEEN}"  # noqa: S608 - constants, as below
_RETIRED: Final = (
    f"SELECT {_COLUMNS}, retired FROM products WHERE retired = 1 AND place > :place AND {_SEEN}"  # noqa: S608 - constants of this module
    " ORDER BY place LIMIT :limit"
)
_NEXT: Final = f"SELECT {HIGHEST} + 1"
_COPY: Final = (
    "INSERT INTO products (id, place, sku, name, category, amount, currency, description, images, pieces, retired)"
    " SELECT :id, place, sku, name, category, amount, currency, description, images, pieces, retired"
    " FROM products WHERE id = :old"
)
_INSERT: Final = (
    "INSERT INTO products (id, place, sku, name, category, amount, currency, description)"
    " VALUES (:id, :id, :sku, :name, :category, :amount, :currency, :description)"
)
_SET: Final = (
    "UPDATE products SET name = :name, category = :category, amount = :amount, currency = :currency,"
    " description = :description WHERE id = :id"
)
_TEXTS: Final = "SELECT id, name, category, description FROM products"
_WRITE_DOWN: Final = "INSERT INTO product_changes (sku, what, fields, by, at) VALUES (:sku, :what, :fields, :by, :at)"
_CHANGES: Final = (
    "SELECT number, sku, what, fields, by, at FROM product_changes WHERE sku = :sku AND number < :before"
    " ORDER BY number DESC LIMIT :limit"
)


class Text(NamedTuple):
    """What an administrator says of a product."""

    name: str
    category: str
    category_title: str | None
    price: Price
    description: str


class _Edited(NamedTuple):
    id: int
    place: int
    sku: str
    name: str
    category: str
    amount: int
    currency: str
    description: str
    images: tuple[str, ...]
    retired: bool

    def edition(self) -> ProductEdition:
        return ProductEdition(product=Row(*self[:-1]).product(), version=self.id, retired=self.retired)


class _Change(NamedTuple):
    number: int
    sku: str
    what: str
    fields: tuple[FieldChange, ...]
    by: str
    at: int


async def create(tx: Tx, sku: str, text: Text, *, pieces: int, by: str) -> ProductEdition:
    """Put a new product on the shelf.

    Raises:
        ProductExistsError: there is one with this SKU.
        UnknownCategoryError: its category is not known and has no title.
        ImportBusyError: an import is open.
    """
    await _no_import(tx)
    if await tx.first(int, "SELECT id FROM products WHERE sku = :sku LIMIT 1", sku=sku) is not None:
        raise ProductExistsError(sku)
    await _category(tx, text)
    number = await tx.one(int, _NEXT)
    await tx.execute(_INSERT, id=number, sku=sku, **_fields(text))
    await _show(tx, number, text.name)
    await _count(tx, text.category, 1)
    await _write_down(tx, sku, "created", by=by)
    tx.publish(ProductCreated(sku=sku, pieces=pieces, at=world.now()))
    return (await tx.one(_Edited, _ONE, sku=sku)).edition()


async def update(tx: Tx, sku: str, version: int, *, text: Text, by: str) -> ProductEdition:
    """Change a product. An edit that changes nothing gives no new version.

    Raises:
        UnknownProductError: there is none.
        ProductMovedOnError: it is at another version.
        UnknownCategoryError: the new category is not known and has no title.
        ImportBusyError: an import is open.
    """
    old = await _of_version(tx, sku, version)
    changes = _changes(old, text)
    if not changes:
        return old.edition()
    await _category(tx, text)
    number = await _new_version(tx, old)
    await tx.execute(_SET, id=number, **_fields(text))
    await _show(tx, number, text.name)
    if not old.retired and old.category != text.category:
        await _count(tx, old.category, -1)
        await _count(tx, text.category, 1)
    await _write_down(tx, sku, "updated", by=by, fields=changes)
    tx.publish(ProductChanged(sku=sku, at=world.now()))
    return (await tx.one(_Edited, _ONE, sku=sku)).edition()


async def retire(tx: Tx, sku: str, version: int, *, retired: bool, by: str) -> ProductEdition:
    """Take a product off the shelf, or put it back; one that is there already stays as it is.

    Raises:
        UnknownProductError: there is none.
        ProductMovedOnError: it is at another version.
        ImportBusyError: an import is open.
    """
    old = await _of_version(tx, sku, version)
    if old.retired == retired:
        return old.edition()
    number = await _new_version(tx, old)
    await tx.execute("UPDATE products SET retired = :retired WHERE id = :id", id=number, retired=int(retired))
    await _show(tx, number, old.name)
    await _count(tx, old.category, -1 if retired else 1)
    await _write_down(tx, sku, "retired" if retired else "restored", by=by)
    tx.publish(ProductChanged(sku=sku, at=world.now()))
    return (await tx.one(_Edited, _ONE, sku=sku)).edition()


async def edition(db: Database, sku: str) -> ProductEdition:
    """Return a product, for sale or retired.

    Raises:
        UnknownProductError: there is none.
    """
    found = await db.first(_Edited, _ONE, sku=sku)
    if found is None:
        raise UnknownProductError(sku)
    return found.edition()


async def retired(db: Database, *, limit: int, cursor: str | None) -> ProductEditions:
    """Return a page of retired products, in the order of the shelf."""
    (place,) = (0,) if cursor is None else decode_cursor("retired", cursor, like=(0,))
    rows = await db.all(_Edited, _RETIRED, place=place, limit=limit + 1)
    page = rows[:limit]
    return ProductEditions(
        items=tuple(row.edition() for row in page),
        next_cursor=encode_cursor("retired", (page[-1].place,)) if len(rows) > limit else None,
    )


async def changes_of(db: Database, sku: str, *, limit: int, cursor: str | None) -> ProductChanges:
    """Return a page of a product's edits, newest first.

    Raises:
        UnknownProductError: there is no such product.
    """
    await edition(db, sku)
    question = f"product-changes|{sku}"
    (before,) = (2**62,) if cursor is None else decode_cursor(question, cursor, like=(0,))
    rows = await db.all(_Change, _CHANGES, sku=sku, before=before, limit=limit + 1)
    page = rows[:limit]
    return ProductChanges(
        items=tuple(
            ProductChange.model_validate({**row._asdict(), "at": datetime.fromtimestamp(row.at / 1_000_000, UTC)})
            for row in page
        ),
        next_cursor=encode_cursor(question, (page[-1].number,)) if len(rows) > limit else None,
    )


async def _no_import(tx: Tx) -> None:
    source = await tx.first(str, "SELECT source FROM imports WHERE state IN ('open', 'clearing') LIMIT 1")
    if source is not None:
        raise ImportBusyError(source)


async def _of_version(tx: Tx, sku: str, version: int) -> _Edited:
    await _no_import(tx)
    found = await tx.first(_Edited, _ONE, sku=sku)
    if found is None:
        raise UnknownProductError(sku)
    if found.id != version:
        raise ProductMovedOnError(found.edition())
    return found


async def _new_version(tx: Tx, old: _Edited) -> int:
    """Copy a product to a version that is not seen yet, and take out those before the old one."""
    before = await tx.all(Entry, f"{_TEXTS} WHERE sku = :sku AND id < :old", sku=old.sku, old=old.id)
    await index_of(tx.dialect).take_out(tx, before)
    await tx.execute("DELETE FROM products WHERE sku = :sku AND id < :old", sku=old.sku, old=old.id)
    number = await tx.one(int, _NEXT)
    await tx.execute("UPDATE products SET replaced_by = :new WHERE id = :old", new=number, old=old.id)
    await tx.execute(_COPY, id=number, old=old.id)
    return number


async def _show(tx: Tx, number: int, name: str) -> None:
    await index_of(tx.dialect).add(tx, [await tx.one(Entry, f"{_TEXTS} WHERE id = :id", id=number)])
    await learn(tx, [name])
    await tx.execute("UPDATE shelf SET top = :top", top=number)


async def _category(tx: Tx, text: Text) -> None:
    """Make a category that is new and has a title."""
    if await tx.first(str, "SELECT id FROM categories WHERE id = :id", id=text.category) is not None:
        return
    if text.category_title is None:
        raise UnknownCategoryError(text.category)
    await tx.execute(
        "INSERT INTO categories (id, title, products) VALUES (:id, :title, 0)",
        id=text.category, title=text.category_title,
    )  # fmt: skip


async def _count(tx: Tx, category: str, change: int) -> None:
    await tx.execute("UPDATE categories SET products = products + :n WHERE id = :id", n=change, id=category)


def _fields(text: Text) -> dict[str, object]:
    return {
        "name": text.name, "category": text.category, "amount": text.price.amount, "currency": text.price.currency,
        "description": text.description,
    }  # fmt: skip


def _changes(old: _Edited, text: Text) -> tuple[FieldChange, ...]:
    was = Money(amount=old.amount, currency=old.currency)
    price = Money(amount=text.price.amount, currency=text.price.currency)
    found = (
        FieldChange(field="name", before=old.name, after=text.name),
        FieldChange(field="description", before=old.description, after=text.description),
        FieldChange(field="category", before=old.category, after=text.category),
        FieldChange(field="price", before=str(was), after=str(price)),
    )
    return tuple(each for each in found if each.before != each.after)


async def _write_down(tx: Tx, sku: str, what: str, *, by: str, fields: tuple[FieldChange, ...] = ()) -> None:
    told = json.dumps([each.model_dump() for each in fields])
    await tx.execute(_WRITE_DOWN, sku=sku, what=what, fields=told, by=by, at=world.now_us())
