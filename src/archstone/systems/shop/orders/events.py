"""What can happen to an order. The history of an order is made of these, and other services hear of some of them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archstone.data import Event
from archstone.systems.shop.values import SKU, Address, Money, OrderId, RefundId, UserId, Value

__all__ = [
    "CancellationAsked",
    "CancellationRefused",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderLine",
    "OrderPlaced",
    "OrderRefunded",
    "ParcelMoved",
    "ParcelState",
    "Reason",
    "RefundAsked",
    "RefundAskedAgain",
    "RefundFailed",
    "RefundRefused",
]

ParcelState = Literal["packed", "shipped", "delivered"]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=300)]
"""Why, in words for the customer."""


class OrderLine(Value):
    """So many of one product at the price it had when the order was placed."""

    sku: SKU
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """As the catalogue had it."""
    quantity: Annotated[int, Field(ge=1, le=99)]
    price: Money
    """Of one piece."""

    @property
    def total(self) -> Money:
        """Price times quantity."""
        return self.price.times(self.quantity)


class OrderPlaced(Event, name="orders.order-placed", version=1, key="order_id"):
    """A customer has placed an order. Nothing is reserved or paid yet."""

    order_id: OrderId
    customer_id: UserId
    lines: tuple[OrderLine, ...]
    total: Money
    address: Address
    at: datetime


class OrderConfirmed(Event, name="orders.order-confirmed", version=1, key="order_id"):
    """The goods are sold, the money is captured, the parcel is made out. Said once per order."""

    order_id: OrderId
    customer_id: UserId
    lines: tuple[OrderLine, ...]
    total: Money
    at: datetime


class OrderCancelled(Event, name="orders.order-cancelled", version=1, key="order_id"):
    """The order has ended without goods and without money. Said once per order, after everything is given back."""

    order_id: OrderId
    customer_id: UserId
    lines: tuple[OrderLine, ...]
    total: Money
    reason: Reason
    was_confirmed: bool
    """Whether it had been confirmed before, so that its revenue was counted."""
    at: datetime
    refunded: Money | None = None
    """What had been given back before, in parts. None: nothing."""


class CancellationAsked(Event, name="orders.cancellation-asked", version=1, key="order_id"):
    """The customer wants the order cancelled. In the history only."""

    order_id: OrderId
    reason: Reason
    at: datetime


class CancellationRefused(Event, name="orders.cancellation-refused", version=1, key="order_id"):
    """It was too late to cancel: the parcel had left. In the history only."""

    order_id: OrderId
    reason: Reason
    at: datetime


class ParcelMoved(Event, name="orders.parcel-moved", version=1, key="order_id"):
    """Shipping has told how far the parcel is. In the history only."""

    order_id: OrderId
    to: ParcelState
    at: datetime


class RefundAsked(Event, name="orders.refund-asked", version=1, key="order_id"):
    """An administrator wants money of an order given back. In the history only."""

    order_id: OrderId
    refund_id: RefundId
    amount: Money
    reason: Reason
    at: datetime


class OrderRefunded(Event, name="orders.order-refunded", version=1, key="order_id"):
    """Money of an order that stands has been given back. Said once per refund."""

    order_id: OrderId
    customer_id: UserId
    refund_id: RefundId
    amount: Money
    refunded: Money
    """So far, with this one."""
    total: Money
    """Of the order, as it was placed."""
    reason: Reason
    was_cancelled: bool
    """Whether the order was cancelled meanwhile, so that its revenue was taken back already."""
    at: datetime


class RefundRefused(Event, name="orders.refund-refused", version=1, key="order_id"):
    """Less was left than should be given back, so nothing was. In the history only."""

    order_id: OrderId
    refund_id: RefundId
    amount: Money
    at: datetime


class RefundFailed(Event, name="orders.refund-failed", version=1, key="order_id"):
    """The bank was asked for days and never answered. Whether it has given the money back is not known.

    In the history only.
    """

    order_id: OrderId
    refund_id: RefundId
    amount: Money
    at: datetime


class RefundAskedAgain(Event, name="orders.refund-asked-again", version=1, key="order_id"):
    """An administrator wants the bank asked once more about a refund that failed. In the history only."""

    order_id: OrderId
    refund_id: RefundId
    amount: Money
    at: datetime
