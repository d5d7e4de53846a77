"""What analytics promises: the shop in figures, for its administrators."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from archstone.services import Contract, query
from archstone.systems.shop.values import Moment, Value

__all__ = ["Analytics", "Minute", "MinuteFigures", "Minutes", "Summary", "TopProduct"]

MinuteCount = Annotated[int, Field(ge=1, le=1440)]
"""Minutes wanted at most, in [1, 1440], which is a day."""


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
    """Minor units of confirmed orders, less those cancelled later. Before refunds: these are amounts of an order, of no
    product."""


class Summary(Value):
    """The shop since its opening, and its last hour by minutes."""

    placed: int
    confirmed: int
    """Orders that were confirmed, also if cancelled later."""
    cancelled: int
    revenue: int
    """Minor units of confirmed orders, less those cancelled and what was refunded later."""
    currency: str
    conversion_ratio: float
    """Confirmed over placed, in [0, 1]; 0 before the first order."""
    orders_per_minute: float
    """Placed in the last hour, over 60."""
    minutes: tuple[Minute, ...]
    """The last hour, oldest first; minutes without orders are left out."""
    top_products: tuple[TopProduct, ...]
    """At most ten, by revenue."""


class MinuteFigures(Value):
    """One minute of the shop, for a plot."""

    at: datetime
    """Its beginning."""
    placed: int
    confirmed: int
    """Orders confirmed in this minute, whenever they were placed."""
    cancelled: int
    revenue: int
    """Minor units of orders confirmed, less cancelled and refunded in this minute; below zero where more went back."""
    conversion_ratio: float | None
    """Confirmed over confirmed and cancelled, in [0, 1]. None: no order ended in this minute."""


class Minutes(Value):
    """Minutes in which something happened, oldest first; all others are zero."""

    items: tuple[MinuteFigures, ...]
    currency: str
    """Of the revenue; orders in others are counted and left out of it."""
    next_since: Moment | None
    """Give it back as `since` for what follows. None: nothing has happened after these."""


class Analytics(Contract, version="1.0"):
    """Figures."""

    @query("/analytics/summary", public=True, requires="analytics:read")
    async def summary(self) -> Summary:
        """Return the shop in figures."""
        ...

    @query("/analytics/minutes", public=True, requires="analytics:read")
    async def minutes(self, since: Moment | None = None, limit: MinuteCount = 60) -> Minutes:
        """Return figures by minute from `since` on; without it, of the last `limit` minutes.

        A `since` without an offset is UTC.
        """
        ...
