"""What notifications promises: to say which mails it has sent."""

from datetime import datetime
from typing import Literal

from archstone.services import Contract, query
from archstone.systems.shop.values import OrderId, Value

__all__ = ["About", "Mails", "SentMail"]

About = Literal["confirmed", "cancelled", "refunded"]


class SentMail(Value):
    """A mail that was handed over."""

    id: str
    to: str
    """The address; empty if its owner has deleted the account since, or has another one."""
    subject: str
    about: About
    sent_at: datetime


class Mails(Contract, version="1.0"):
    """Mails to customers, for administrators."""

    @query("/mails-of-order/{order_id}", requires="orders:read-any")
    async def mails_of(self, order_id: OrderId) -> tuple[SentMail, ...]:
        """Return the mails about an order, oldest first, at most a hundred."""
        ...
