"""What payments promises: to charge an order once, to give it back once, and an invoice."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from archstone.errors import BackendError, ConflictError, DeadlineError, DomainError, RejectedError
from archstone.resilience import Exponential, Retry
from archstone.services import Contract, command, query
from archstone.systems.shop.payments.provider import PaymentDeclinedError, PaymentToken
from archstone.systems.shop.values import Money, OrderId, RefundId, UserId, Value

__all__ = [
    "ANSWER_S",
    "ASKING",
    "FORWARD",
    "PATIENCE_S",
    "Invoice",
    "NoInvoiceError",
    "PartRefund",
    "Payment",
    "Payments",
    "RefundReason",
]

PATIENCE_S: Final = 90.0
"""Seconds for which a charge waits for a provider that cannot be asked; then it is called off."""
ANSWER_S: Final = 12.0
"""Seconds that who asks for a charge or a refund waits for its end before asking how far it is."""
ASKING: Final = Retry(
    15, backoff=Exponential(0.1, cap_s=1.0), on=(ConflictError, RejectedError, BackendError, DeadlineError)
)
"""How often. It is the same one each time, so the provider hears nothing of it; all together outlast `PATIENCE_S`. One
that has failed for good is not asked for again."""
FORWARD: Final = Retry(2_000, backoff=Exponential(0.1, cap_s=60.0), on=(Exception,))
"""Of what gives money back: it only goes forward, for most of a day before a person has to look."""

RefundReason = Annotated[str, StringConstraints(min_length=1, max_length=300)]
"""Why, in words for the customer."""


class NoInvoiceError(DomainError, code="payments.no-invoice", status=404):
    """There is no invoice for this order, or none that this customer may see."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id

    def __str__(self) -> str:
        return f"no invoice for order {self.order_id}: it is made when the order is paid"


class Payment(Value):
    """The money of an order."""

    order_id: OrderId
    amount: Money
    state: Literal["captured", "refunded"]


class PartRefund(Value):
    """What became of the wish to give money back."""

    id: RefundId
    order_id: OrderId
    amount: Money
    state: Literal["done", "refused", "open"]
    """`refused`: it was more than is left. Nothing has moved. `open`: the provider does not answer; ask again later."""


class Invoice(Value):
    """What a customer owes nothing more of."""

    number: str
    """Without gaps: `INV-000001`."""
    order_id: OrderId
    customer_id: UserId
    amount: Money
    state: Literal["captured", "refunded"]
    """`refunded`: all of it has been given back."""
    issued_at: datetime
    refunded_at: datetime | None
    """When all of it had been given back."""
    refunded: Money
    """Given back so far."""


class Payments(Contract, version="1.0"):
    """Charges, refunds and invoices.

    Every command may be repeated: a charge and a full refund are known by the order's id, others by that of the refund.
    """

    @command("/payments", requires="service", raises=(PaymentDeclinedError,))
    async def charge(self, order_id: OrderId, customer_id: UserId, amount: Money, token: PaymentToken) -> Payment:
        """Take the money of an order, once. After a refund of the order it is declined."""
        ...

    @command("/payments/{order_id}/refund", requires="service")
    async def refund(self, order_id: OrderId) -> None:
        """Give back whatever is left of an order's money, and take nothing for it any more. Nothing taken is fine."""
        ...

    @command("/payments/{order_id}/refunds", requires="service")
    async def refund_part(
        self, order_id: OrderId, refund_id: RefundId, amount: Money, reason: RefundReason
    ) -> PartRefund:
        """Give back a part of an order's money, once per refund, never more than was taken less what was given back."""
        ...

    @query("/orders/{order_id}/invoice", public=True, requires="orders:read", raises=(NoInvoiceError,))
    async def invoice(self, order_id: OrderId) -> Invoice:
        """Return the invoice of one's own order; support sees all."""
        ...
