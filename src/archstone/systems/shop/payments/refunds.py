"""The shop's own books of what was given back: each refund a row, opened before the provider is asked.

    open --provider gave it back--> done          open --provider refused--> refused

A row that is open holds its amount: two refunds at once are never promised more than is left.
"""

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, cast

from archstone import world
from archstone.data import Database
from archstone.services import Tx
from archstone.systems.shop.payments.administration import RefundOfOrder
from archstone.systems.shop.values import Money

__all__ = ["book", "book_rest", "book_unseen", "open_part", "refunds_of", "refuse"]

AFTER_BOOKED: Final = world.declare_point(
    "shop.refund_after_booked", "payments has written a refund down; the order does not know of it"
)

_LEFT: Final = (
    "SELECT amount - refunded - coalesce((SELECT sum(amount) FROM refunds r WHERE r.order_id = p.order_id"
    " AND r.state = 'open'), 0) FROM payments p"
    " WHERE order_id = :order_id AND state = 'captured' AND currency = :currency"
)
_OPEN: Final = (
    "INSERT INTO refunds (id, order_id, amount, currency, reason, state, at)"
    " VALUES (:id, :order_id, :amount, :currency, :reason, :state, :at)"
)
_SET: Final = "UPDATE refunds SET state = :state, at = :at WHERE id = :id AND state = 'open'"
_GIVE: Final = (
    "UPDATE payments SET refunded = refunded + :amount,"
    " state = CASE WHEN refunded + :amount >= amount THEN 'refunded' ELSE state END,"
    " refunded_at = CASE WHEN refunded + :amount >= amount THEN :at ELSE refunded_at END"
    " WHERE order_id = :order_id"
)


class _Row(NamedTuple):
    id: str
    amount: int
    currency: str
    reason: str
    state: str
    at: int

    def told(self) -> RefundOfOrder:
        return RefundOfOrder(
            id=self.id, amount=Money(amount=self.amount, currency=self.currency), reason=self.reason,
            state=cast("Literal['open', 'done', 'refused']", self.state),
            at=datetime.fromtimestamp(self.at / 1_000_000, UTC),
        )  # fmt: skip


async def open_part(tx: Tx, order_id: str, refund_id: str, *, amount: Money, reason: str) -> bool:
    """Promise a part to a refund, once; False if that is more than is left."""
    known = await tx.first(str, "SELECT state FROM refunds WHERE id = :id", id=refund_id)
    if known is not None:
        return known != "refused"
    left = await tx.first(int, _LEFT, order_id=order_id, currency=amount.currency)
    granted = left is not None and 0 < amount.amount <= left
    if amount.amount:
        await tx.execute(
            _OPEN, id=refund_id, order_id=order_id, amount=amount.amount, currency=amount.currency, reason=reason,
            state="open" if granted else "refused", at=world.now_us(),
        )  # fmt: skip
    return granted


async def book(tx: Tx, order_id: str, refund_id: str, *, amount: Money) -> None:
    """Write down that a part was given back, once."""
    at = world.now_us()
    if await tx.execute(_SET, id=refund_id, state="done", at=at):
        await tx.execute(_GIVE, order_id=order_id, amount=amount.amount, at=at)
    tx.after_commit(lambda: world.point(AFTER_BOOKED))


async def refuse(tx: Tx, refund_id: str) -> None:
    """Write down that the provider gave nothing back, once."""
    await tx.execute(_SET, id=refund_id, state="refused", at=world.now_us())


async def book_rest(tx: Tx, order_id: str, rest: Money) -> None:
    """Write down that the rest was given back, which may be nothing, and that the payment is over."""
    at = world.now_us()
    if rest.amount:
        await tx.execute(
            _OPEN, id=order_id, order_id=order_id, amount=rest.amount, currency=rest.currency, reason="",
            state="done", at=at,
        )  # fmt: skip
    await tx.execute(
        "UPDATE payments SET state = 'refunded', refunded = refunded + :rest, refunded_at = :at"
        " WHERE order_id = :order_id",
        order_id=order_id, rest=rest.amount, at=at,
    )  # fmt: skip


async def book_unseen(tx: Tx, order_id: str, given: Money) -> None:
    """Write down that money was given back of which nobody had heard that it was taken: the answer was lost."""
    if given.amount:
        await tx.execute(
            _OPEN, id=order_id, order_id=order_id, amount=given.amount, currency=given.currency, reason="",
            state="done", at=world.now_us(),
        )  # fmt: skip


async def refunds_of(db: Database, order_id: str) -> tuple[RefundOfOrder, ...]:
    """Return the refunds of an order, oldest first."""
    rows = await db.all(
        _Row,
        "SELECT id, amount, currency, reason, state, at FROM refunds WHERE order_id = :order_id ORDER BY at, id",
        order_id=order_id,
    )
    return tuple(row.told() for row in rows)
