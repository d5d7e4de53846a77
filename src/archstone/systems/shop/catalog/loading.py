"""How an import gets onto the shelf: unseen rows, one switch, then the stock, each piece of work bounded.

    open --finish--> announcing --> done          open --silence, discard--> clearing --> dropped

At most one import is open or announcing. All of this runs in transactions of the catalog; whatever dies between two of
them is taken up by the next import or by `go_on`, which the service runs every second.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from archstone import world
from archstone.services import Tx
from archstone.systems.shop.catalog.events import ImportedStock, ProductsImported, StockImported
from archstone.systems.shop.catalog.importing import (
    MAX_BATCH,
    ImportBusyError,
    ImportGoneError,
    ImportIncompleteError,
    ImportState,
    LoadedProduct,
    Staged,
)
from archstone.systems.shop.catalog.index import Entry, index_of
from archstone.systems.shop.catalog.shelf import HIGHEST
from archstone.systems.shop.catalog.spelling import learn
from archstone.systems.shop.listed import filled, places

__all__ = [
    "AFTER_CLEARING",
    "AFTER_STAGING",
    "AFTER_SWITCH",
    "AFTER_TELLING",
    "OVERDUE",
    "SILENT_US",
    "begin",
    "discard",
    "finish",
    "go_on",
    "stage",
]

AFTER_STAGING: Final = world.declare_point(
    "shop.import_after_staging", "rows of an import are on disk, nobody sees them, and more would come"
)
AFTER_SWITCH: Final = world.declare_point(
    "shop.import_after_switch", "every product of an import is seen, and the inventory has not heard of their stock"
)
AFTER_TELLING: Final = world.declare_point(
    "shop.import_after_telling", "a part of the stock of an import is in the outbox, the rest is to follow"
)
AFTER_CLEARING: Final = world.declare_point(
    "shop.import_after_clearing", "a part of what a dead import left is gone, the rest is there and unseen"
)

SILENT_US: Final = 10_000_000
"""Microseconds without a sign of life after which an import counts as dead."""
MAX_TOLD: Final = 100
"""Products in one event."""
MAX_DROPPED: Final = 50
"""Rows taken out in one piece of work: the search index makes each as dear as putting it in."""
KEPT_IMPORTS: Final = 100
SHELF: Final = "catalog"


class _Import(NamedTuple):
    number: int
    source: str
    state: str
    base: int
    top: int
    announced: int
    added: int
    changed: int
    unchanged: int
    touched_at: int


class _Version(NamedTuple):
    id: int
    place: int
    sku: str
    name: str
    category: str
    amount: int
    currency: str
    description: str
    images: str
    pieces: int | None
    retired: int

    def entry(self) -> Entry:
        """Return it as far as it is searched."""
        return Entry(self.id, self.name, self.category, self.description)


_IMPORT: Final = (
    "SELECT number, source, state, base, top, announced, added, changed, unchanged, touched_at FROM imports"
)
OVERDUE: Final = (
    "SELECT number FROM imports WHERE state IN ('announcing', 'clearing')"
    " OR (state = 'open' AND (touched_at < :silent OR number <> :own))"
)
"""Finds work for `go_on`."""
_NEWEST: Final = (
    "SELECT id, place, sku, name, category, amount, currency, description, images, pieces, retired"  # noqa: S608 - numbers
    f" FROM products WHERE replaced_by IS NULL AND sku IN ({places('sku', MAX_BATCH)})"
)
_INSERT: Final = (
    "INSERT INTO products (id, place, sku, name, category, amount, currency, description, images, pieces, retired)"
    " VALUES (:id, :place, :sku, :name, :category, :amount, :currency, :description, :images, :pieces, :retired)"
)
_CATEGORY: Final = (
    "INSERT INTO category_changes (category, title, change) VALUES (:category, :title, :change)"
    " ON CONFLICT (category) DO UPDATE SET change = category_changes.change + excluded.change"
)
_SHOW_CATEGORIES: Final = (
    "INSERT INTO categories (id, title, products) SELECT category, title, change FROM category_changes WHERE true"
    " ON CONFLICT (id) DO UPDATE SET products = categories.products + excluded.products"
)


async def begin(tx: Tx, source: str, *, own: int) -> ImportState:
    """Open an import, or do a piece of what must be done before one can be opened.

    Args:
        tx: Of the catalog.
        source: What is imported.
        own: The last import that this process has opened, 0 for none. Another one that is open is of a process that has
            ended: whoever sent its rows has been told, or has ended as well.
    """
    under_way = await _under_way(tx)
    if under_way is None:
        return await _opened(tx, source)
    if _alive(under_way, own):
        raise ImportBusyError(under_way.source)
    if under_way.state == "open":
        await _set(tx, under_way.number, "clearing")
    left = await _go_on(tx, under_way)
    return ImportState(number=under_way.number, phase="clearing", left=left)


async def _opened(tx: Tx, source: str) -> ImportState:
    await tx.execute(
        "INSERT INTO imports (source, state, base, top, announced, touched_at)"
        " SELECT :source, 'open', top, top, top, :now FROM shelf",
        source=source,
        now=world.now_us(),
    )
    number = await tx.one(int, "SELECT max(number) FROM imports")
    await tx.execute("DELETE FROM imports WHERE number <= :old", old=number - KEPT_IMPORTS)
    return ImportState(number=number, phase="ready")


async def stage(tx: Tx, number: int, rows: Sequence[LoadedProduct]) -> Staged:
    """Take rows in, unseen, each once."""
    await _opened_before(tx, number)
    known = await tx.all(_Version, _NEWEST, **filled("sku", [row.sku for row in rows], MAX_BATCH))
    base, next_id = await tx.one(tuple[int, int], f"SELECT top, {HIGHEST} + 1 FROM shelf")  # noqa: S608 - a constant
    batch = _sort(rows, {version.sku: version for version in known}, base=base, next_id=next_id)
    if batch.new:
        await tx.many("UPDATE products SET replaced_by = :by WHERE id = :id", batch.replaced)
        await tx.many(_INSERT, [version._asdict() for version in batch.new])
        await index_of(tx.dialect).add(tx, [version.entry() for version in batch.new])
        await tx.many(_CATEGORY, batch.categories())
        await learn(tx, [version.name for version in batch.new])
    staged = Staged(added=len(batch.new) - len(batch.replaced), changed=len(batch.replaced), unchanged=batch.unchanged)
    await tx.execute(
        "UPDATE imports SET added = added + :added, changed = changed + :changed, unchanged = unchanged + :unchanged,"
        " touched_at = :now WHERE number = :number",
        number=number, now=world.now_us(), added=staged.added, changed=staged.changed, unchanged=staged.unchanged,
    )  # fmt: skip
    tx.after_commit(lambda: world.point(AFTER_STAGING))
    return staged


class _Batch:
    """What becomes of some rows."""

    def __init__(self) -> None:
        self.new: list[_Version] = []
        self.replaced: list[dict[str, object]] = []
        self.unchanged = 0
        self.titles: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def categories(self) -> list[dict[str, object]]:
        """Return how the numbers of products change. A category that only loses some is known, with its title."""
        return [
            {"category": each, "title": self.titles.get(each, each), "change": change}
            for each, change in self.counts.items()
        ]


def _sort(rows: Sequence[LoadedProduct], known: dict[str, _Version], *, base: int, next_id: int) -> _Batch:
    batch = _Batch()
    for row in rows:
        old = known.get(row.sku)
        if old is not None and old.id > base:
            continue  # it was taken in before, by this import
        version = _version(row, old, number=next_id)
        if old is not None and old[2:] == version[2:]:
            batch.unchanged += 1
            continue
        next_id += 1
        known[row.sku] = version
        batch.new.append(version)
        batch.titles[row.category] = row.category_title
        batch.counts[row.category] += not version.retired
        if old is not None:
            batch.replaced.append({"id": old.id, "by": version.id})
            batch.counts[old.category] -= not old.retired
    return batch


def _version(row: LoadedProduct, old: _Version | None, *, number: int) -> _Version:
    """Return the next version of a product: it keeps its place, and stays retired if it was."""
    place, retired = (number, 0) if old is None else (old.place, old.retired)
    images = json.dumps(row.images, separators=(",", ":"))
    return _Version(
        number,
        place,
        row.sku,
        row.name,
        row.category,
        row.amount,
        row.currency,
        row.description,
        images,
        row.pieces,
        retired,
    )


async def finish(tx: Tx, number: int, rows: int) -> ImportState:
    """Switch an open import, or do a piece of what follows a switch."""
    found = await tx.first(_Import, f"{_IMPORT} WHERE number = :number", number=number)
    if found is None or found.state in {"clearing", "dropped"}:
        raise ImportGoneError(number)
    left = await (_switch(tx, found, rows) if found.state == "open" else _go_on(tx, found))
    return ImportState(
        number=number,
        phase="announcing" if left else "done",
        left=left,
        added=found.added,
        changed=found.changed,
        unchanged=found.unchanged,
    )


async def _switch(tx: Tx, found: _Import, rows: int) -> int:
    """Show everything: this is the only statement by which rows become visible."""
    arrived = found.added + found.changed + found.unchanged
    if arrived != rows:
        raise ImportIncompleteError(found.number, rows, arrived)
    await tx.execute(_SHOW_CATEGORIES)
    await tx.execute("DELETE FROM category_changes")
    await tx.execute(f"UPDATE shelf SET top = {HIGHEST}")  # noqa: S608 - a constant
    await tx.execute(
        "UPDATE imports SET state = 'announcing', top = (SELECT top FROM shelf), touched_at = :now"
        " WHERE number = :number",
        number=found.number,
        now=world.now_us(),
    )
    tx.publish(ProductsImported(source=SHELF, number=found.number))
    tx.after_commit(lambda: world.point(AFTER_SWITCH))
    return found.added + found.changed + 1


async def discard(tx: Tx, number: int) -> None:
    """Let an open import be cleared away."""
    await tx.execute("UPDATE imports SET state = 'clearing' WHERE number = :number AND state = 'open'", number=number)


async def go_on(tx: Tx, *, own: int) -> None:
    """Do a piece of work for an import that was switched, given up, or has died; see `begin`."""
    found = await _under_way(tx)
    if found is None or _alive(found, own):
        return
    if found.state == "open":
        await _set(tx, found.number, "clearing")
    await _go_on(tx, found)


def _alive(found: _Import, own: int) -> bool:
    return found.state == "open" and found.number == own and world.now_us() - found.touched_at < SILENT_US


async def _go_on(tx: Tx, found: _Import) -> int:
    """Return how much is left to do for an import that is not open (any more); 0 when that was the last piece."""
    if found.state != "announcing":
        return await _clear(tx, found)
    return await _tell(tx, found) if found.announced < found.top else await _tidy(tx, found)


async def _tell(tx: Tx, found: _Import) -> int:
    """Tell the inventory of the next products."""
    rows = await tx.all(
        tuple[int, str, int],
        "SELECT id, sku, pieces FROM products WHERE id > :after AND id <= :top AND pieces IS NOT NULL"
        " ORDER BY id LIMIT :limit",
        after=found.announced, top=found.top, limit=MAX_TOLD,
    )  # fmt: skip
    if rows:
        lines = tuple(ImportedStock(sku=sku, pieces=pieces) for _, sku, pieces in rows)
        tx.publish(StockImported(source=SHELF, number=found.number, lines=lines))
    announced = rows[-1][0] if len(rows) == MAX_TOLD else found.top
    await tx.execute(
        "UPDATE imports SET announced = :announced, touched_at = :now WHERE number = :number",
        announced=announced, now=world.now_us(), number=found.number,
    )  # fmt: skip
    tx.after_commit(lambda: world.point(AFTER_TELLING))
    return found.top - announced + 1


async def _tidy(tx: Tx, found: _Import) -> int:
    """Take out versions that are not seen any more."""
    old = await _take_out(tx, "replaced_by <= :top", found.top)
    if old < MAX_DROPPED:
        await _set(tx, found.number, "done")
        return 0
    return await tx.one(int, "SELECT count(*) FROM products WHERE replaced_by <= :top", top=found.top) + 1


async def _clear(tx: Tx, found: _Import) -> int:
    """Take out rows that an import has left unseen, the newest first, and let what they replaced stand again."""
    dropped = await _take_out(tx, "id > :top", found.base)
    tx.after_commit(lambda: world.point(AFTER_CLEARING))
    if dropped < MAX_DROPPED:
        await tx.execute("DELETE FROM category_changes")
        await _set(tx, found.number, "dropped")
        return 0
    return await tx.one(int, "SELECT max(id) FROM products") - found.base + 1


async def _take_out(tx: Tx, which: str, top: int) -> int:
    rows = await tx.all(
        Entry,
        f"SELECT id, name, category, description FROM products WHERE {which} ORDER BY id DESC LIMIT :limit",  # noqa: S608 - constants of this module
        top=top,
        limit=MAX_DROPPED,
    )
    if rows:
        ids = [{"id": row.id} for row in rows]
        await index_of(tx.dialect).take_out(tx, rows)
        await tx.many("DELETE FROM products WHERE id = :id", ids)
        # Nothing seen is replaced by what is taken out: of versions that were replaced in turn none is left.
        await tx.many("UPDATE products SET replaced_by = NULL WHERE replaced_by = :id", ids)
    return len(rows)


async def _under_way(tx: Tx) -> _Import | None:
    return await tx.first(
        _Import,
        f"{_IMPORT} WHERE state IN ('open', 'clearing', 'announcing') ORDER BY number LIMIT 1",
    )


async def _opened_before(tx: Tx, number: int) -> None:
    if not await tx.one(int, "SELECT count(*) FROM imports WHERE number = :n AND state = 'open'", n=number):
        raise ImportGoneError(number)


async def _set(tx: Tx, number: int, state: str) -> None:
    await tx.execute("UPDATE imports SET state = :state WHERE number = :number", state=state, number=number)
