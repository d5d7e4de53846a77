"""What happens to parcels that others may want to hear of."""

from datetime import datetime

from archstone.data import Event
from archstone.systems.shop.orders.events import ParcelState
from archstone.systems.shop.values import OrderId

__all__ = ["ShipmentCancelled", "ShipmentCreated", "ShipmentMoved"]


class ShipmentCreated(Event, name="shipping.shipment-created", version=1, key="order_id"):
    """A parcel has been made out. It waits until its order is confirmed."""

    order_id: OrderId
    at: datetime


class ShipmentMoved(Event, name="shipping.shipment-moved", version=1, key="order_id"):
    """A parcel has come further."""

    order_id: OrderId
    to: ParcelState
    at: datetime


class ShipmentCancelled(Event, name="shipping.shipment-cancelled", version=1, key="order_id"):
    """A parcel will not be sent."""

    order_id: OrderId
    at: datetime
