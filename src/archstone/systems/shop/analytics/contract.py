"""What analytics promises: the shop in figures, for its administrators."""

from datetime import datetime

from archstone.services import Contract, query
from archstone.systems.shop.values import Value

__all__ = ["Analytics", "Minute", "Summary", "TopProduct"]


class Minute(Value):
    """One minute of the shop."""

    at: datetime
    """Its beginning."""
    placed: int
    confirmed: int
    cancelled: int


class TopProduct(Value):
    """A product and what it brought."""

    sku: str
    name: str
    pieces: int
    revenue: int
    """Minor units."""


class Summary(Value):
    """The shop since its opening, and its last hour by minutes."""

    placed: int
    confirmed: int
    """Orders that were confirmed, also if cancelled later."""
    cancelled: int
    revenue: int
    """Minor units of confirmed orders, less those cancelled later."""
    currency: str
    conversion_ratio: float
    """Confirmed over placed, in [0, 1]; 0 before the first order."""
    orders_per_minute: float
    """Placed in the last hour, over 60."""
    minutes: tuple[Minute, ...]
    """The last hour, oldest first; minutes without orders are left out."""
    top_products: tuple[TopProduct, ...]
    """At most ten, by revenue."""


class Analytics(Contract, version="1.0"):
    """Figures."""

    @query("/analytics/summary", public=True, requires="admin")
    async def summary(self) -> Summary:
        """Return the shop in figures."""
        ...
