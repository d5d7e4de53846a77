"""What shipping promises to administrators: where a parcel is, and what comes next."""

from datetime import datetime

from archstone.services import Contract, query
from archstone.systems.shop.shipping.contract import ShipmentState
from archstone.systems.shop.values import OrderId, Value

__all__ = ["ParcelOfOrder", "ShippingAdmin"]


class ParcelOfOrder(Value):
    """The parcel of an order, and when it moves on."""

    order_id: OrderId
    state: ShipmentState
    """`created`: it waits for the confirmed order; `ready`: to be packed."""
    moved_at: datetime
    """When it came into this state."""
    due_at: datetime | None
    """When it comes into the next one. None: nothing is due."""


class ShippingAdmin(Contract, version="1.0"):
    """Parcels for administrators."""

    @query("/parcels/{order_id}", requires="orders:read-any")
    async def parcel_of(self, order_id: OrderId) -> ParcelOfOrder | None:
        """Return how far the parcel of an order is. None: none was ever made out."""
        ...
