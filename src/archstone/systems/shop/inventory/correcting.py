"""How a correction is booked, and how stock and corrections are listed."""

from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from archstone import world
from archstone.data import Database
from archstone.services import Tx
from archstone.systems.shop.inventory.administration import (
    CorrectedStock,
    Correction,
    CorrectionPage,
    CorrectionUnclearError,
    HeldStockError,
    StockPage,
    StockRow,
)
from archstone.systems.shop.inventory.contract import UnknownStockError
from archstone.systems.shop.inventory.events import StockAdjusted
from archstone.systems.shop.paging import decode_cursor, encode_cursor

__all__ = ["books", "correct", "corrections_of", "stocks"]

_STOCK: Final = "SELECT sku, free, held, sold, initial, corrected FROM stock"
_BY_SKU: Final = f"{_STOCK} WHERE sku > :sku ORDER BY sku LIMIT :limit"
_BY_FREE: Final = f"{_STOCK} WHERE free <= :low AND (free, sku) > (:free, :sku) ORDER BY free, sku LIMIT :limit"
_ONE: Final = f"{_STOCK} WHERE sku = :sku"
_CORRECT: Final = "UPDATE stock SET free = free + :delta, corrected = corrected + :delta WHERE sku = :sku"
_WRITE_DOWN: Final = (
    "INSERT INTO corrections (sku, delta, counted, free, held, reason, by, at)"
    " VALUES (:sku, :delta, :counted, :free, :held, :reason, :by, :at)"
)
_COLUMNS: Final = "number, sku, delta, counted, free, held, reason, by, at"
_NEWEST: Final = f"SELECT {_COLUMNS} FROM corrections WHERE number = (SELECT max(number) FROM corrections)"  # noqa: S608 - constants of this module
_OF_SKU: Final = (
    f"SELECT {_COLUMNS} FROM corrections WHERE sku = :sku AND number < :before ORDER BY number DESC LIMIT :limit"  # noqa: S608 - constants of this module
)


class _Row(NamedTuple):
    number: int
    sku: str
    delta: int
    counted: int | None
    free: int
    held: int
    reason: str
    by: str
    at: int

    def correction(self) -> Correction:
        return Correction(
            number=self.number, sku=self.sku, delta=self.delta, counted=self.counted, free=self.free, held=self.held,
            reason=self.reason, by=self.by, at=datetime.fromtimestamp(self.at / 1_000_000, UTC),
        )  # fmt: skip


async def correct(tx: Tx, sku: str, *, delta: int | None, counted: int | None, reason: str, by: str) -> CorrectedStock:
    """Book a correction and write it down.

    Raises:
        UnknownStockError: no stock of it is kept.
        CorrectionUnclearError: both were given, or neither.
        HeldStockError: less would be there than is held.
    """
    stock = await tx.first(StockRow, _ONE, sku=sku)
    if stock is None:
        raise UnknownStockError(sku)
    difference = delta if counted is None else counted - stock.free - stock.held
    if (delta is None) == (counted is None) or difference is None or delta == 0:
        raise CorrectionUnclearError(sku)
    if stock.free + difference < 0:
        raise HeldStockError(sku, stock.free, stock.held)
    await tx.execute(_CORRECT, sku=sku, delta=difference)
    await tx.execute(
        _WRITE_DOWN, sku=sku, delta=difference, counted=counted, free=stock.free + difference, held=stock.held,
        reason=reason, by=by, at=world.now_us(),
    )  # fmt: skip
    tx.publish(StockAdjusted(skus=(sku,)))
    row = await tx.one(_Row, _NEWEST)
    return CorrectedStock(correction=row.correction(), stock=await tx.one(StockRow, _ONE, sku=sku))


async def stocks(db: Database, low: int | None, *, limit: int, cursor: str | None) -> StockPage:
    """Return a page of stock: by SKU, or the lowest first."""
    question = f"stocks|{low}"
    if low is None:
        (sku,) = ("",) if cursor is None else decode_cursor(question, cursor, like=("",))
        rows = await db.all(StockRow, _BY_SKU, sku=sku, limit=limit + 1)
    else:
        free, sku = (-1, "") if cursor is None else decode_cursor(question, cursor, like=(0, ""))
        rows = await db.all(StockRow, _BY_FREE, low=low, free=free, sku=sku, limit=limit + 1)
    page = rows[:limit]
    key = () if not page else ((page[-1].sku,) if low is None else (page[-1].free, page[-1].sku))
    return StockPage(items=tuple(page), next_cursor=encode_cursor(question, key) if len(rows) > limit else None)


async def books(db: Database, sku: str) -> StockRow:
    """Return a product's row.

    Raises:
        UnknownStockError: no stock of it is kept.
    """
    found = await db.first(StockRow, _ONE, sku=sku)
    if found is None:
        raise UnknownStockError(sku)
    return found


async def corrections_of(db: Database, sku: str, *, limit: int, cursor: str | None) -> CorrectionPage:
    """Return a page of a product's corrections, newest first.

    Raises:
        UnknownStockError: no stock of it is kept.
    """
    if await db.first(str, "SELECT sku FROM stock WHERE sku = :sku", sku=sku) is None:
        raise UnknownStockError(sku)
    question = f"corrections|{sku}"
    (before,) = (2**62,) if cursor is None else decode_cursor(question, cursor, like=(0,))
    rows = await db.all(_Row, _OF_SKU, sku=sku, before=cast("int", before), limit=limit + 1)
    page = rows[:limit]
    return CorrectionPage(
        items=tuple(row.correction() for row in page),
        next_cursor=encode_cursor(question, (page[-1].number,)) if len(rows) > limit else None,
    )
