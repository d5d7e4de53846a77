"""The inventory: counts that can never be negative, and reservations that cannot be forgotten.

A reservation is `held`, then `sold`, `expired` (its time was up; it may be taken again) or `released` (its order was
given up; final). Every change is one transaction of conditional updates, so that no load can oversell.
"""

from collections.abc import Awaitable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol, cast

from archstone import world
from archstone.services import Service, every, on
from archstone.systems.shop.catalog.events import ProductCreated, StockImported
from archstone.systems.shop.inventory import correcting
from archstone.systems.shop.inventory.administration import (
    CorrectedStock,
    CorrectionPage,
    GoodsOfOrder,
    StockAdmin,
    StockPage,
    StockRow,
)
from archstone.systems.shop.inventory.contract import (
    Inventory,
    OutOfStockError,
    Reservation,
    ReservationClosedError,
    Stock,
    UnknownStockError,
)
from archstone.systems.shop.inventory.events import StockAdjusted, StockReleased, StockReserved, StockSold
from archstone.systems.shop.listed import pieces, places
from archstone.systems.shop.values import Line
from archstone.systems.shop.window import Window

__all__ = ["HOLD_S", "PIECE", "InventoryService"]

HOLD_S: Final = 15 * 60
"""Seconds that goods are held for a checkout that does not end."""
SWEEP_LIMIT: Final = 200
"""Expired reservations put back in one sweep."""

PIECE: Final = 64
"""Products looked up by one statement: what a page shows."""

_SOLD_OUT: Final = f"SELECT sku FROM stock WHERE free = 0 AND sku IN ({places('sku', PIECE)})"  # noqa: S608 - numbers
_COUNTED: Final = f"SELECT sku, free, held FROM stock WHERE sku IN ({places('sku', PIECE)})"  # noqa: S608 - numbers
_HOLD: Final = "UPDATE stock SET free = free - :n, held = held + :n WHERE sku = :sku AND free >= :n"
_SELL_HELD: Final = "UPDATE stock SET held = held - :n, sold = sold + :n WHERE sku = :sku"
_SELL_FREE: Final = "UPDATE stock SET free = free - :n, sold = sold + :n WHERE sku = :sku AND free >= :n"
_PUT_BACK_HELD: Final = "UPDATE stock SET held = held - :n, free = free + :n WHERE sku = :sku"
_PUT_BACK_SOLD: Final = "UPDATE stock SET sold = sold - :n, free = free + :n WHERE sku = :sku"


class _Reserved(NamedTuple):
    order_id: str
    state: str
    lines: tuple[Line, ...]
    expires_at: int


class _Goods(NamedTuple):
    order_id: str
    state: str
    lines: tuple[Line, ...]
    expires_at: int
    at: int

    def told(self) -> GoodsOfOrder:
        state = cast("Literal['held', 'sold', 'expired', 'released']", self.state)
        return GoodsOfOrder(
            order_id=self.order_id, state=state, lines=self.lines,
            expires_at=_instant(self.expires_at), at=_instant(self.at),
        )  # fmt: skip


_GOODS: Final = "SELECT order_id, state, lines, expires_at, at FROM reservations"
# The difference to what the file before said comes or goes, as far as it is free. A part that is delivered again, or
# after one of a later import, changes nothing.
_IMPORT: Final = """
    INSERT INTO stock AS old (sku, free, initial, imported, import) VALUES (:sku, :n, :n, :n, :import)
    ON CONFLICT (sku) DO UPDATE SET
        free = CASE WHEN old.free + excluded.imported > old.imported
            THEN old.free + excluded.imported - old.imported ELSE 0 END,
        initial = old.held + old.sold - old.corrected + CASE WHEN old.free + excluded.imported > old.imported
            THEN old.free + excluded.imported - old.imported ELSE 0 END,
        imported = excluded.imported,
        import = excluded.import
    WHERE excluded.import > old.import
"""
_FIND: Final = "SELECT order_id, state, lines, expires_at FROM reservations WHERE order_id = :order_id"
_WRITE: Final = (
    "INSERT INTO reservations (order_id, state, lines, expires_at, at)"
    " VALUES (:order_id, :state, :lines, :expires, :at)"
    " ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, lines = excluded.lines,"
    " expires_at = excluded.expires_at, at = excluded.at"
)
_SET: Final = "UPDATE reservations SET state = :state, at = :at WHERE order_id = :order_id"


class InventoryService(Service, Inventory, StockAdmin, name="inventory"):
    """Keeps `Inventory` and `StockAdmin`."""

    window: Window

    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)
        self.window.watch(self.db)

    async def stock(self, sku: str) -> Stock:
        return await self.window.shown(f"stock:{sku}", partial(self._counted, sku), Stock, tags=(f"stock:{sku}",))

    async def counted(self, skus: tuple[str, ...]) -> tuple[Stock, ...]:
        found: list[Stock] = []
        for piece in pieces("sku", skus, PIECE):
            found += await self.db.all(Stock, _COUNTED, **piece)
        return tuple(found)

    async def _counted(self, sku: str) -> Stock:
        found = await self.db.first(Stock, "SELECT sku, free, held FROM stock WHERE sku = :sku", sku=sku)
        if found is None:
            raise UnknownStockError(sku)
        return found

    async def sold_out(self, skus: tuple[str, ...]) -> tuple[str, ...]:
        gone: set[str] = set()
        for piece in pieces("sku", skus, PIECE):
            gone.update(await self.db.all(str, _SOLD_OUT, **piece))
        return tuple(sorted(gone))

    async def restock(self, sku: str, quantity: int) -> Stock:
        changed = await self.tx.execute(
            "UPDATE stock SET free = free + :n, initial = initial + :n WHERE sku = :sku", n=quantity, sku=sku
        )
        if not changed:
            raise UnknownStockError(sku)
        self.tx.publish(StockAdjusted(skus=(sku,)))
        return await self.tx.one(Stock, "SELECT sku, free, held FROM stock WHERE sku = :sku", sku=sku)

    async def stocks(self, low: int | None = None, limit: int = 20, cursor: str | None = None) -> StockPage:
        return await correcting.stocks(self.db, low, limit=limit, cursor=cursor)

    async def books(self, sku: str) -> StockRow:
        return await correcting.books(self.db, sku)

    async def correct(
        self, sku: str, reason: str, delta: int | None = None, counted: int | None = None
    ) -> CorrectedStock:
        return await correcting.correct(self.tx, sku, delta=delta, counted=counted, reason=reason, by=self.principal.id)

    async def corrections(self, sku: str, limit: int = 20, cursor: str | None = None) -> CorrectionPage:
        return await correcting.corrections_of(self.db, sku, limit=limit, cursor=cursor)

    async def goods_of(self, order_id: str) -> GoodsOfOrder | None:
        found = await self.db.first(_Goods, f"{_GOODS} WHERE order_id = :order_id", order_id=order_id)
        return None if found is None else found.told()

    async def reserve(self, order_id: str, lines: tuple[Line, ...]) -> Reservation:
        known = await self.tx.first(_Reserved, _FIND, order_id=order_id)
        if known is not None and known.state == "released":
            # The checkout timed out, gave up and released; this is its old call, arriving late.
            raise ReservationClosedError(order_id)
        if known is not None and known.state != "expired":
            return Reservation(order_id=order_id, expires_at=_instant(known.expires_at))
        await _take(self.tx, _HOLD, lines, back=_PUT_BACK_HELD)
        now_us = world.now_us()
        expires_us = now_us + HOLD_S * 1_000_000
        await self.tx.execute(
            _WRITE, order_id=order_id, state="held", lines=_json(lines), expires=expires_us, at=now_us
        )
        expires_at = _instant(expires_us)
        self.tx.publish(StockReserved(order_id=order_id, lines=lines, expires_at=expires_at))
        return Reservation(order_id=order_id, expires_at=expires_at)

    async def commit(self, order_id: str) -> None:
        known = await self.tx.first(_Reserved, _FIND, order_id=order_id)
        if known is None or known.state == "released":
            raise ReservationClosedError(order_id)
        if known.state == "sold":
            return
        if known.state == "held":
            await self.tx.many(_SELL_HELD, _counts(known.lines))
        else:
            await _take(self.tx, _SELL_FREE, known.lines, back=_PUT_BACK_SOLD)
        await self.tx.execute(_SET, order_id=order_id, state="sold", at=world.now_us())
        self.tx.publish(StockSold(order_id=order_id, lines=known.lines))

    async def release(self, order_id: str) -> None:
        known = await self.tx.first(_Reserved, _FIND, order_id=order_id)
        if known is None:
            # Remembered, so that a reservation that is still on its way finds its order given up.
            now_us = world.now_us()
            await self.tx.execute(_WRITE, order_id=order_id, state="released", lines="[]", expires=now_us, at=now_us)
            return
        if known.state == "released":
            return
        if known.state in {"held", "sold"}:
            await self.tx.many(_PUT_BACK_HELD if known.state == "held" else _PUT_BACK_SOLD, _counts(known.lines))
            self.tx.publish(StockReleased(order_id=order_id, lines=known.lines, expired=False))
        await self.tx.execute(_SET, order_id=order_id, state="released", at=world.now_us())

    @on(StockImported)
    async def book_import(self, event: StockImported) -> None:
        """Keep stock of products that were imported, and book what a later file says more or less of them."""
        await self.tx.many(
            _IMPORT, [{"sku": line.sku, "n": line.pieces, "import": event.number} for line in event.lines]
        )
        self.tx.publish(StockAdjusted(skus=tuple(line.sku for line in event.lines)))

    @on(ProductCreated)
    async def keep_stock_of(self, event: ProductCreated) -> None:
        """Keep stock of a product that was put on the shelf, unless it is kept already."""
        await self.tx.execute(
            "INSERT INTO stock (sku, free, initial) VALUES (:sku, :n, :n) ON CONFLICT DO NOTHING",
            sku=event.sku, n=event.pieces,
        )  # fmt: skip

    @every(5.0)
    async def put_back_expired(self) -> None:
        """Put back what is held for checkouts whose time is up, at most 200 of them in one transaction."""
        due = await self.tx.all(
            _Reserved,
            "SELECT order_id, state, lines, expires_at FROM reservations"
            " WHERE state = 'held' AND expires_at <= :now ORDER BY expires_at LIMIT :limit",
            now=world.now_us(),
            limit=SWEEP_LIMIT,
        )
        for each in due:
            await self.tx.many(_PUT_BACK_HELD, _counts(each.lines))
            await self.tx.execute(_SET, order_id=each.order_id, state="expired", at=world.now_us())
            self.tx.publish(StockReleased(order_id=each.order_id, lines=each.lines, expired=True))


class Writes(Protocol):
    """An open transaction, as far as it is needed here."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...

    def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> Awaitable[int]:
        """Run a statement once per mapping."""
        ...


async def _take(tx: Writes, statement: str, lines: tuple[Line, ...], *, back: str) -> None:
    """Take every line by a conditional update, or none, and raise OutOfStockError.

    A command is rolled back by that error. A handler goes on with its transaction, so what was taken goes `back`.
    """
    for number, line in enumerate(lines):
        if not await tx.execute(statement, n=line.quantity, sku=line.sku):
            await tx.many(back, _counts(lines[:number]))
            raise OutOfStockError(line.sku)


def _counts(lines: tuple[Line, ...]) -> list[dict[str, object]]:
    return [{"n": line.quantity, "sku": line.sku} for line in lines]


def _json(lines: tuple[Line, ...]) -> str:
    return "[" + ",".join(line.model_dump_json() for line in lines) + "]"


def _instant(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
