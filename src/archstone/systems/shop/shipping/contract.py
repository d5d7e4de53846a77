"""What shipping promises: to make out a parcel per order, to stop it before it leaves, and to send it."""

from datetime import datetime
from typing import Literal

from archstone.errors import DomainError
from archstone.services import Contract, command, query
from archstone.systems.shop.values import Address, OrderId, Value

__all__ = ["NoShipmentError", "ParcelLeftError", "Shipment", "ShipmentClosedError", "ShipmentState", "Shipping"]

ShipmentState = Literal["created", "ready", "packed", "shipped", "delivered", "cancelled"]


class ShipmentClosedError(DomainError, code="shipping.closed", status=409):
    """The order was given up, so no parcel is made out for it any more."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id

    def __str__(self) -> str:
        return f"no parcel for order {self.order_id}: the order was given up; place a new one"


class ParcelLeftError(DomainError, code="shipping.parcel-left", status=409):
    """The parcel has left the house and cannot be stopped."""

    def __init__(self, order_id: str, state: str) -> None:
        super().__init__(order_id, state)
        self.order_id = order_id
        self.state = state

    def __str__(self) -> str:
        return f"the parcel of order {self.order_id} is {self.state}: it can be sent back when it has arrived"


class NoShipmentError(DomainError, code="shipping.no-shipment", status=404):
    """No parcel was ever made out for this order."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id

    def __str__(self) -> str:
        return f"no parcel was made out for order {self.order_id}"


class Shipment(Value):
    """The parcel of an order."""

    order_id: OrderId
    state: ShipmentState
    moved_at: datetime
    """When it came into this state."""


class Shipping(Contract, version="1.0"):
    """Parcels, one per order.

    Both commands may be repeated: they are known by the order's id. The row of the shipment is the record of what was
    answered, so the framework keeps none (`record=False`).
    """

    @command("/shipments", requires="service", raises=(ShipmentClosedError,), record=False)
    async def create(self, order_id: OrderId, address: Address) -> Shipment:
        """Make out the parcel of an order. It is not packed before the order is confirmed."""
        ...

    @command("/shipments/{order_id}/cancel", requires="service", raises=(ParcelLeftError,), record=False)
    async def cancel(self, order_id: OrderId) -> None:
        """Stop the parcel of an order, and make out none for it any more. No parcel is fine."""
        ...

    @query("/shipments/{order_id}", requires="service", raises=(NoShipmentError,))
    async def shipment(self, order_id: OrderId) -> Shipment:
        """Return how far the parcel of an order is."""
        ...
