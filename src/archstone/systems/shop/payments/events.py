"""What happens to money that others may want to hear of."""

from datetime import datetime

from archstone.data import Event
from archstone.systems.shop.values import Money, OrderId, UserId

__all__ = ["PaymentCaptured", "PaymentRefunded"]


class PaymentCaptured(Event, name="payments.payment-captured", version=1, key="order_id"):
    """An order is paid."""

    order_id: OrderId
    customer_id: UserId
    amount: Money
    at: datetime


class PaymentRefunded(Event, name="payments.payment-refunded", version=1, key="order_id"):
    """What was paid for an order has been given back, all of it."""

    order_id: OrderId
    customer_id: UserId
    amount: Money
    at: datetime
