"""What orders promises to administrators: to find any order, to tell all that is known of one, to give money back."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import Contract, command, query
from archstone.systems.shop.inventory.administration import GoodsOfOrder
from archstone.systems.shop.notifications.contract import SentMail
from archstone.systems.shop.orders.contract import OrderUnknownError, OrderView, RefundView, Status
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.payments.administration import MoneyOfOrder
from archstone.systems.shop.shipping.administration import ParcelOfOrder
from archstone.systems.shop.values import (
    MAX_MINOR_UNITS,
    SKU,
    Cursor,
    Moment,
    Money,
    OrderId,
    PageSize,
    Reason,
    RefundId,
    UserId,
    Value,
)

__all__ = [
    "MAX_REFUNDS",
    "CannotRefundError",
    "CheckoutOfOrder",
    "HistoryEntry",
    "ListedOrder",
    "OrderAdmin",
    "OrderDossier",
    "OrderList",
    "OrderState",
    "RefundNotFailedError",
    "RefundTooMuchError",
    "TooManyRefundsError",
]

MAX_REFUNDS: Final = 50
"""Refunds of one order, with those that were refused."""

OrderState = Literal["pending", "stopping", "confirmed", "returning", "shipped", "delivered", "cancelled"]
Customer = Annotated[str, StringConstraints(min_length=1, max_length=254)]
SearchText = Annotated[str, StringConstraints(max_length=100)]
Amount = Annotated[int, Field(ge=0, le=MAX_MINOR_UNITS)]
"""Minor units."""


class CannotRefundError(DomainError, code="orders.cannot-refund", status=409):
    """The order is in no state in which its money can be given back by hand."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__(order_id, state)
        self.order_id = order_id
        self.state = state

    def __str__(self) -> str:
        return (
            f"order {self.order_id} is {self.state}: only of one that is confirmed, shipped or delivered can money be "
            "given back; one that is cancelled gets back all by itself"
        )


class RefundTooMuchError(DomainError, code="orders.refund-too-much", status=409):
    """More is to be given back than is left. Nothing was."""

    def __init__(self, order_id: str, amount: int, left: int) -> None:
        super().__init__(order_id, amount, left)
        self.order_id = order_id
        self.amount = amount
        self.left = left

    def __str__(self) -> str:
        return f"order {self.order_id}: {self.amount} minor units are asked for, {self.left} are left: ask for less"


class RefundNotFailedError(DomainError, code="orders.refund-not-failed", status=409):
    """The refund did not fail, so there is nothing to try again."""

    def __init__(self, refund_id: str, state: str) -> None:
        super().__init__(refund_id, state)
        self.refund_id = refund_id
        self.state = state

    def __str__(self) -> str:
        return f"refund {self.refund_id} is {self.state}: only one that failed is tried again"


class TooManyRefundsError(DomainError, code="orders.too-many-refunds", status=409):
    """The order has as many refunds as one may have."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id

    def __str__(self) -> str:
        return f"order {self.order_id} has {MAX_REFUNDS} refunds, the limit: cancel it, or settle the rest by hand"


class ListedOrder(Value):
    """An order in a list for administrators."""

    id: OrderId
    customer_id: UserId
    recipient: str
    """Name in the address."""
    status: Status
    """As the customer sees it."""
    state: OrderState
    total: Money
    refunded: Money | None
    """Given back in refunds. None: nothing was."""
    pieces: int
    placed_at: datetime


class OrderList(Value):
    """Some orders, newest first, and where the next ones are."""

    items: tuple[ListedOrder, ...]
    next_cursor: str | None


class HistoryEntry(Value):
    """Something that happened to an order, and who and what caused it."""

    version: int
    """From 1, without gaps."""
    type: str
    what: str
    """In words, with the reason where there is one."""
    at: datetime
    caused_by: str | None
    """Who was signed in: a user's id, or `service:orders` for a saga."""
    correlation_id: str | None
    """What finds the request in logs and traces."""


class CheckoutOfOrder(Value):
    """Who carries an order to its end, or has."""

    form: Literal["saga", "choreography"]
    due_at: datetime | None
    """When it is turned back unless it has ended. None: it has, or it is a saga, which has no such moment."""
    turned_back: int
    """How often it was turned back; 0 under a saga, whose journal tells."""


class OrderDossier(Value):
    """All that the shop's services know of an order. What a service did not tell is None, and it is in `missing`."""

    order: OrderView
    customer_id: UserId
    state: OrderState
    checkout: CheckoutOfOrder
    refundable: Money
    """What can still be given back."""
    history: tuple[HistoryEntry, ...]
    """Oldest first."""
    payment: MoneyOfOrder | None
    parcel: ParcelOfOrder | None
    """None also where none was ever made out."""
    goods: GoodsOfOrder | None
    """None also where nothing was ever held."""
    mails: tuple[SentMail, ...] | None
    """Oldest first."""
    missing: tuple[str, ...]
    """Services that did not answer within two seconds, by name."""


class OrderAdmin(Contract, version="1.0"):
    """Orders for administrators."""

    @query("/orders", public=True, requires="orders:read-any", raises=(BadCursorError,))
    async def orders(  # noqa: PLR0913, PLR0917 - each is a field of the query string
        self,
        status: Status | None = None,
        state: OrderState | None = None,
        customer: Customer | None = None,
        sku: SKU | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        at_least: Amount | None = None,
        at_most: Amount | None = None,
        search: SearchText | None = None,
        limit: PageSize = 20,
        cursor: Cursor | None = None,
    ) -> OrderList:
        """List orders, newest first, that fit everything given.
        `customer` is an id or an e-mail address; `since` is the first instant and `until` the first one after, without
        an offset UTC; amounts are minor units, both included. `search` takes words of the recipient's name, of the
        products' names, SKUs, the order's id or its last eight characters, the last word also as a beginning. An order
        is found by SKU or search a second or two after it was placed.
        """  # noqa: D205 - the first paragraph alone is public, so it is all of it
        ...

    @query("/orders/{order_id}/dossier", public=True, requires="orders:read-any", raises=(OrderUnknownError,))
    async def dossier(self, order_id: OrderId) -> OrderDossier:
        """Return all that is known of an order. A service that does not answer is named, and the rest is told."""
        ...

    @command(
        "/orders/{order_id}/refunds", public=True, requires="orders:refund", status=202,
        raises=(OrderUnknownError, CannotRefundError, RefundTooMuchError, TooManyRefundsError),
    )  # fmt: skip
    async def refund(
        self,
        order_id: OrderId,
        reason: Reason,
        amount: Annotated[int, Field(ge=1, le=MAX_MINOR_UNITS)] | None = None,
    ) -> RefundView:
        """Give money of an order back to its customer, who is mailed: `amount` minor units, or all that is left.

        It is accepted for good when this answers, and ends done, or refused if a cancellation was faster, or failed if
        the bank does not answer for three days. Goods and parcel stay as they are.
        """
        ...

    @command(
        "/orders/{order_id}/refunds/{refund_id}/retry", public=True, requires="orders:refund", status=202,
        key_required=False, raises=(OrderUnknownError, RefundNotFailedError),
    )  # fmt: skip
    async def retry_refund(self, order_id: OrderId, refund_id: RefundId) -> RefundView:
        """Ask the bank again about a refund that failed. What it has given back already it does not give twice.

        One that is being asked for already stays so.
        """
        ...
