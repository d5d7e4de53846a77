"""What happens to stock that others may want to hear of."""

from datetime import datetime

from archstone.data import Event
from archstone.systems.shop.values import SKU, Line, OrderId

__all__ = ["StockAdjusted", "StockReleased", "StockReserved", "StockSold"]


class StockReserved(Event, name="inventory.stock-reserved", version=1, key="order_id"):
    """Goods are held for an order, until `expires_at` at most."""

    order_id: OrderId
    lines: tuple[Line, ...]
    expires_at: datetime


class StockSold(Event, name="inventory.stock-sold", version=1, key="order_id"):
    """The goods of an order have been sold."""

    order_id: OrderId
    lines: tuple[Line, ...]


class StockReleased(Event, name="inventory.stock-released", version=1, key="order_id"):
    """Goods that were held or sold for an order are for sale again."""

    order_id: OrderId
    lines: tuple[Line, ...]
    expired: bool
    """Whether the time was up; else the order was given up."""


class StockAdjusted(Event, name="inventory.stock-adjusted", version=1):
    """There is more or less of some products, and no order is why: goods arrived, books were put right, an import."""

    skus: tuple[SKU, ...]
    """At most as many as one import tells at once."""
