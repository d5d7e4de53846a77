"""Deciding on a refund, in the transaction that makes it true, and how long a silent bank is asked."""

from typing import Final

from archstone import world
from archstone.services import Tx
from archstone.systems.shop.orders.administration import (
    MAX_REFUNDS,
    CannotRefundError,
    RefundNotFailedError,
    RefundTooMuchError,
    TooManyRefundsError,
)
from archstone.systems.shop.orders.contract import OrderUnknownError
from archstone.systems.shop.orders.order import Order, Refund
from archstone.systems.shop.orders.store import OrderStore
from archstone.systems.shop.values import Money, OrderId, RefundId

__all__ = ["AFTER_ASKED", "PAUSES_S", "again", "ask"]

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 60 * _MINUTE_S
PAUSES_S: Final = (
    1.0, 5.0, 20.0, _MINUTE_S, 5 * _MINUTE_S, 15 * _MINUTE_S, _HOUR_S, 3 * _HOUR_S, 6 * _HOUR_S, 12 * _HOUR_S,
    24 * _HOUR_S, 24 * _HOUR_S,
)  # fmt: skip
"""Between two times that a bank which does not answer is asked: just under three days together."""

AFTER_ASKED = world.declare_point(
    "shop.refund_after_asked", "an administrator's refund is accepted, on disk; nobody has begun to give money back"
)


async def ask(kept: OrderStore, tx: Tx, order_id: OrderId, *, amount: int | None, reason: str) -> Refund:
    """Write down that money is to be given back.

    Args:
        kept: Where orders are kept.
        tx: Of its database.
        order_id: Of which order.
        amount: Minor units; None: all that is left.
        reason: For the customer.

    Raises:
        OrderUnknownError: there is no such order.
        CannotRefundError: it does not stand.
        TooManyRefundsError: it has as many as may be.
        RefundTooMuchError: more than is left, or nothing is.
    """
    order = await kept.find(Order, order_id, tx=tx)
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
    order.ask_refund(world.new_id(), money, reason=reason, at=world.now())
    await kept.put(tx, order)
    tx.after_commit(lambda: world.point(AFTER_ASKED))
    return order.refunds[-1]


async def again(kept: OrderStore, tx: Tx, order_id: OrderId, refund_id: RefundId) -> tuple[Refund, int | None]:
    """Write down that the bank is asked once more; return the refund, and the order's version then.

    The version is None where nothing is to be done: the refund is being asked for already.

    Raises:
        OrderUnknownError: there is no such order.
        RefundNotFailedError: the order has no such refund, or it ended in another way.
    """
    order = await kept.find(Order, order_id, tx=tx)
    if order is None:
        raise OrderUnknownError(order_id)
    found = next((each for each in order.refunds if each.id == refund_id), None)
    if found is not None and found.state == "asked":
        return found, None
    if found is None or found.state != "failed":
        raise RefundNotFailedError(refund_id, "unknown" if found is None else found.state)
    order.retry_refund(refund_id, world.now())
    await kept.put(tx, order)
    return order.refund(refund_id), order.version
