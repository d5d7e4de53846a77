"""What the inventory promises: to say what is there, and to hold some of it for an order."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, command, query
from archstone.systems.shop.values import SKU, Lines, OrderId, Value

__all__ = ["Inventory", "OutOfStockError", "Reservation", "ReservationClosedError", "Stock", "UnknownStockError"]


class OutOfStockError(DomainError, code="inventory.out-of-stock", status=409):
    """There is not enough of a product. Nothing is held."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku

    def __str__(self) -> str:
        return f"out of stock: {self.sku}"


class ReservationClosedError(DomainError, code="inventory.reservation-closed", status=409):
    """The order was given up, so nothing can be held for it any more."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id

    def __str__(self) -> str:
        return f"nothing can be held for order {self.order_id}: it was given up or never reserved; place a new order"


class UnknownStockError(DomainError, code="inventory.unknown-product", status=404):
    """The inventory has never had such a product."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku

    def __str__(self) -> str:
        return f"no stock of {self.sku!r} is kept: look for a product with GET /products"


class Stock(Value):
    """How much of a product there is."""

    sku: SKU
    free: Annotated[int, Field(ge=0)]
    """Pieces that can be bought now."""
    held: Annotated[int, Field(ge=0)]
    """Pieces in checkouts that have not ended."""


class Reservation(Value):
    """Goods held for an order."""

    order_id: OrderId
    expires_at: datetime
    """When they go back unless they were sold before."""


class Inventory(Contract, version="1.0"):
    """Stock and reservations.

    Every command for an order may be repeated: it is known by the order's id. The row of the reservation is the record
    of what was answered, so the framework keeps none (`record=False`).
    """

    @query("/stock/{sku}", public=True, requires=ANYONE, raises=(UnknownStockError,))
    async def stock(self, sku: SKU) -> Stock:
        """Return how much of a product is free and how much is held, for who looks at it: see `window.py`."""
        ...

    @query("/stock-of-page", requires=ANYONE)
    async def sold_out(self, skus: tuple[SKU, ...]) -> tuple[SKU, ...]:
        """Return those of some products of which nothing is free. What is unknown here is not among them."""
        ...

    @query("/stock-of-order", requires=ANYONE)
    async def counted(self, skus: tuple[SKU, ...]) -> tuple[Stock, ...]:
        """Return how much there is of some products, as the books say at this instant. Unknown ones are left out."""
        ...

    @command(
        "/stock/{sku}/arrivals", public=True, requires="stock:write", key_required=True, raises=(UnknownStockError,)
    )
    async def restock(self, sku: SKU, quantity: Annotated[int, Field(ge=1, le=1_000_000)]) -> Stock:
        """Book goods that have arrived."""
        ...

    @command("/reservations", requires="service", raises=(OutOfStockError, ReservationClosedError), record=False)
    async def reserve(self, order_id: OrderId, lines: Lines) -> Reservation:
        """Hold goods for an order: all lines or none. They go back by themselves after 15 minutes."""
        ...

    @command(
        "/reservations/{order_id}/sale",
        requires="service",
        raises=(OutOfStockError, ReservationClosedError),
        record=False,
    )
    async def commit(self, order_id: OrderId) -> None:
        """Sell what is held for an order. If it had gone back meanwhile, take it again, or raise OutOfStockError."""
        ...

    @command("/reservations/{order_id}/release", requires="service", record=False)
    async def release(self, order_id: OrderId) -> None:
        """Put back whatever is held or sold for an order, and hold nothing for it any more. Nothing held is fine."""
        ...
