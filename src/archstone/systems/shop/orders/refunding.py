"""Deciding on a refund, in the transaction that makes it true."""

from archstone import world
from archstone.services import Tx
from archstone.systems.shop.orders.administration import (
    MAX_REFUNDS,
    CannotRefundError,
    RefundTooMuchError,
    TooManyRefundsError,
)
from archstone.systems.shop.orders.contract import OrderUnknownError
from archstone.systems.shop.orders.order import Refund
from archstone.systems.shop.orders.store import load, record
from archstone.systems.shop.values import Money, OrderId

__all__ = ["AFTER_ASKED", "ask"]

AFTER_ASKED = world.declare_point(
    "shop.refund_after_asked", "an administrator's refund is accepted, on disk; nobody has begun to give money back"
)


async def ask(tx: Tx, order_id: OrderId, *, amount: int | None, reason: str) -> Refund:
    """Write down that money is to be given back.

    Args:
        tx: Of orders.
        order_id: Of which order.
        amount: Minor units; None: all that is left.
        reason: For the customer.

    Raises:
        OrderUnknownError: there is no such order.
        CannotRefundError: it does not stand.
        TooManyRefundsError: it has as many as may be.
        RefundTooMuchError: more than is left, or nothing is.
    """
    order = await load(tx, order_id)
    if order is None:
        raise OrderUnknownError(order_id)
    if not order.can("ask-refund"):
        raise CannotRefundError(order_id, order.state.value)
    if len(order.refunds) >= MAX_REFUNDS:
        raise TooManyRefundsError(order_id)
    left = order.refundable.amount
    wanted = left if amount is None else amount
    if not 0 < wanted <= left:
        raise RefundTooMuchError(order_id, wanted, left)
    money = Money(amount=wanted, currency=order.total.currency)
    event = order.ask_refund(world.new_id(), money, reason=reason, at=world.now())
    changed = await record(tx, order, event)
    tx.after_commit(lambda: world.point(AFTER_ASKED))
    return changed.refund(event.refund_id)
