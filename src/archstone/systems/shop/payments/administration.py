"""What payments promises to administrators: all that is known of an order's money."""

from datetime import datetime
from typing import Literal

from archstone.services import Contract, query
from archstone.systems.shop.payments.contract import RefundReason
from archstone.systems.shop.payments.provider import Authorisation
from archstone.systems.shop.values import Money, OrderId, Value

__all__ = ["MoneyOfOrder", "PaymentAdmin", "RefundOfOrder"]


class RefundOfOrder(Value):
    """Money that was given back, or is to be."""

    id: str
    """The refund's; of the rest of an order that was cancelled: the order's."""
    amount: Money
    reason: RefundReason | Literal[""]
    """Empty: the order was cancelled."""
    state: Literal["open", "done", "refused"]
    at: datetime
    """Of the last change."""


class MoneyOfOrder(Value):
    """An order's money, as payments has written it down and as the provider tells it."""

    order_id: OrderId
    state: Literal["none", "captured", "refunded", "closed"]
    """`none`: nothing is written down; `closed`: called off before anything was taken."""
    amount: Money | None
    """What was taken; None: nothing was."""
    captured_at: datetime | None
    refunded: Money | None
    """Given back so far."""
    refunds: tuple[RefundOfOrder, ...]
    """Oldest first."""
    invoice: str | None
    """Its number."""
    authorisation: Authorisation | None
    """What the provider knows; None: it has never heard of this order, or it did not answer."""
    provider_answered: bool


class PaymentAdmin(Contract, version="1.0"):
    """Payments for administrators."""

    @query("/payments/{order_id}", requires="orders:read-any")
    async def money_of(self, order_id: OrderId) -> MoneyOfOrder:
        """Return all that is known of an order's money."""
        ...
