"""What orders promises: to take an order and to carry it to its end, whatever happens in between."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import Contract, command, query
from archstone.systems.shop.catalog.contract import UnknownProductError
from archstone.systems.shop.orders.events import OrderLine, ParcelState
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.payments.provider import PaymentToken
from archstone.systems.shop.values import (
    Address,
    Cursor,
    Lines,
    Money,
    OrderId,
    PageSize,
    RefundId,
    TooManyError,
    UserId,
    Value,
)

__all__ = [
    "CancellationAskedError",
    "CannotCancelError",
    "CannotOrderError",
    "Entry",
    "History",
    "NoOrdersError",
    "OrderPage",
    "OrderStatus",
    "OrderSummary",
    "OrderUnknownError",
    "OrderView",
    "Orders",
    "Recorded",
    "RefundView",
    "Status",
]

Status = Literal["pending", "confirmed", "cancelled"]
WaitSeconds = Annotated[float, Field(ge=0, le=20)]
Text = Annotated[str, StringConstraints(min_length=1)]


class OrderUnknownError(DomainError, code="orders.unknown", status=404):
    """There is no such order, or none that this customer may see."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id

    def __str__(self) -> str:
        return f"no order {self.order_id}: list yours with GET /users/ID/orders"


class NoOrdersError(DomainError, code="orders.no-customer", status=404):
    """There is no such customer, or none whose orders this one may see."""

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id)
        self.user_id = user_id

    def __str__(self) -> str:
        return f"no orders of {self.user_id}: only one's own can be seen"


class CannotOrderError(DomainError, code="orders.cannot-order", status=409):
    """These products cannot be in one order: their currencies differ, or together they cost too much."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.problem}: place several orders"


class CannotCancelError(DomainError, code="orders.cannot-cancel", status=409):
    """The parcel has left, so the order cannot be cancelled."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__(order_id, state)
        self.order_id = order_id
        self.state = state

    def __str__(self) -> str:
        return f"order {self.order_id} is {self.state}, too late to cancel: send the parcel back when it has arrived"


class CancellationAskedError(DomainError, code="orders.cancellation-asked", status=409):
    """The customer wants the order cancelled, so it is not confirmed. Turns its checkout back."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id

    def __str__(self) -> str:
        return f"order {self.order_id} is not confirmed: its customer has cancelled it"


class OrderStatus(Value):
    """Where an order stands, in short."""

    id: OrderId
    status: Status


class Entry(Value):
    """Something that happened to an order."""

    at: datetime
    what: Text


class RefundView(Value):
    """Money of an order that is given back."""

    id: RefundId
    amount: Money
    reason: str
    status: Literal["pending", "done", "refused", "failed"]
    """`refused`: less was left. Nothing was given back. `failed`: the bank did not answer for three days."""
    asked_at: datetime
    """The last time."""
    ended_at: datetime | None
    """None while it is pending."""


class OrderView(Value):
    """An order as its customer sees it."""

    id: OrderId
    status: Status
    reason: str | None
    """Why it was cancelled; None unless it was."""
    timeline: tuple[Entry, ...]
    """What happened to it and to its parcel, oldest first."""
    total: Money
    lines: tuple[OrderLine, ...]
    address: Address
    placed_at: datetime
    parcel: ParcelState | None
    """How far the parcel is; None before it is packed."""
    refunds: tuple[RefundView, ...] = ()
    """What was given back of it, oldest first. A cancelled order gets back all, which is not among it."""
    refunded: Money | None = None
    """Sum of the refunds that are done. None: there are none."""


class OrderSummary(Value):
    """An order in a list."""

    id: OrderId
    status: Status
    total: Money
    pieces: int
    placed_at: datetime


class OrderPage(Value):
    """Some orders, newest first, and where the next ones are."""

    items: tuple[OrderSummary, ...]
    next_cursor: str | None


class Recorded(Value):
    """An event of an order's history, as it is kept."""

    version: int
    """From 1, without gaps."""
    type: str
    at: datetime
    caused_by: str | None
    """Who was signed in when it happened: a customer's id, or `service:orders` for the checkout itself."""


class History(Value):
    """All that an order is made of, oldest first."""

    id: OrderId
    items: tuple[Recorded, ...]


class Orders(Contract, version="1.0"):
    """Orders of customers. One sees and cancels one's own; support sees all, an admin cancels all."""

    @command(
        "/orders",
        public=True,
        requires="orders:place",
        status=202,
        key_required=True,
        raises=(UnknownProductError, TooManyError, CannotOrderError),
    )
    async def place(self, lines: Lines, address: Address, payment_token: PaymentToken) -> OrderStatus:
        """Place an order. It is accepted for good when this answers, and ends confirmed or cancelled by itself."""
        ...

    @command(
        "/orders/{order_id}/cancel", public=True, requires="orders:cancel", status=202, key_required=False,
        raises=(OrderUnknownError, CannotCancelError),
    )  # fmt: skip
    async def cancel(self, order_id: OrderId) -> OrderStatus:
        """Ask for an order to be cancelled: it will be, unless its parcel leaves first. Asking twice is fine."""
        ...

    @query("/orders/{order_id}", public=True, requires="orders:read", raises=(OrderUnknownError,))
    async def order(self, order_id: OrderId, wait_s: WaitSeconds = 0.0) -> OrderView:
        """Return an order with its timeline; with `wait_s`, wait so long for it to be pending no more."""
        ...

    @query("/orders/{order_id}/history", public=True, requires="orders:read", raises=(OrderUnknownError,))
    async def history(self, order_id: OrderId) -> History:
        """Return the events that an order is made of."""
        ...

    @query("/users/me/orders", public=True, requires="orders:read", raises=(BadCursorError,))
    async def mine(self, limit: PageSize = 20, cursor: Cursor | None = None) -> OrderPage:
        """List the orders of who is signed in, newest first."""
        ...

    @query("/users/{user_id}/orders", public=True, requires="orders:read", raises=(NoOrdersError, BadCursorError))
    async def orders_of(self, user_id: UserId, limit: PageSize = 20, cursor: Cursor | None = None) -> OrderPage:
        """List a customer's orders, newest first."""
        ...
