"""Analytics: handlers that count, and two questions. It reads nobody's database and is late by a moment."""

import math
from datetime import UTC, datetime
from typing import Final, NamedTuple

from archstone import world
from archstone.services import Service, on
from archstone.systems.shop.analytics.contract import (
    Analytics,
    Minute,
    MinuteFigures,
    Minutes,
    Summary,
    TopProduct,
)
from archstone.systems.shop.orders.events import OrderCancelled, OrderConfirmed, OrderLine, OrderPlaced, OrderRefunded

__all__ = ["AnalyticsService"]

CURRENCY: Final = "EUR"
"""The currency of the shop's books; orders in others are counted and left out of the revenue shown."""
TOP: Final = 10
_HOUR: Final = 60

_COUNT: Final = (
    "INSERT INTO minutes (minute, currency, placed, confirmed, cancelled, revenue)"
    " VALUES (:minute, :currency, :placed, :confirmed, :cancelled, :revenue)"
    " ON CONFLICT (minute, currency) DO UPDATE SET placed = minutes.placed + :placed,"
    " confirmed = minutes.confirmed + :confirmed, cancelled = minutes.cancelled + :cancelled,"
    " revenue = minutes.revenue + :revenue"
)
_COUNT_PRODUCT: Final = (
    "INSERT INTO products (sku, name, pieces, revenue) VALUES (:sku, :name, :pieces, :revenue)"
    " ON CONFLICT (sku) DO UPDATE SET pieces = products.pieces + :pieces, revenue = products.revenue + :revenue"
)


class _Totals(NamedTuple):
    placed: int
    confirmed: int
    cancelled: int
    revenue: int


class _MinuteRow(NamedTuple):
    minute: int
    placed: int
    confirmed: int
    cancelled: int


class _Figures(NamedTuple):
    minute: int
    placed: int
    confirmed: int
    cancelled: int
    revenue: int

    def shown(self) -> MinuteFigures:
        ended = self.confirmed + self.cancelled
        return MinuteFigures(
            at=_instant(self.minute), placed=self.placed, confirmed=self.confirmed, cancelled=self.cancelled,
            revenue=self.revenue, conversion_ratio=self.confirmed / ended if ended else None,
        )  # fmt: skip


_FIGURES: Final = (
    "SELECT minute, sum(placed) AS placed, sum(confirmed) AS confirmed, sum(cancelled) AS cancelled,"
    " coalesce(sum(revenue) FILTER (WHERE currency = :currency), 0) AS revenue"
    " FROM minutes WHERE minute >= :since GROUP BY minute ORDER BY minute LIMIT :limit"
)


class AnalyticsService(Service, Analytics, name="analytics"):
    """Keeps `Analytics`."""

    @on(OrderPlaced)
    async def count_placed(self, event: OrderPlaced) -> None:
        """Count an order."""
        await self._count(event.at, event.total.currency, placed=1)

    @on(OrderConfirmed)
    async def count_confirmed(self, event: OrderConfirmed) -> None:
        """Count what an order brought."""
        await self._count(event.at, event.total.currency, confirmed=1, revenue=event.total.amount)
        await self._count_products(event.lines, 1)

    @on(OrderCancelled)
    async def count_cancelled(self, event: OrderCancelled) -> None:
        """Count an order that ended without money, and take back what it had brought."""
        refunded = event.refunded.amount if event.refunded else 0
        back = event.total.amount - refunded if event.was_confirmed else 0
        await self._count(event.at, event.total.currency, cancelled=1, revenue=-back)
        if event.was_confirmed:
            await self._count_products(event.lines, -1)

    @on(OrderRefunded)
    async def count_refunded(self, event: OrderRefunded) -> None:
        """Take back what was given back of an order that stands. It is of no product."""
        if not event.was_cancelled:
            await self._count(event.at, event.amount.currency, revenue=-event.amount.amount)

    async def summary(self) -> Summary:
        now_minute = _minute(world.now())
        async with self.db.snapshot() as view:
            totals = await view.one(
                _Totals,
                "SELECT coalesce(sum(placed), 0) AS placed, coalesce(sum(confirmed), 0) AS confirmed,"
                " coalesce(sum(cancelled), 0) AS cancelled,"
                " coalesce(sum(revenue) FILTER (WHERE currency = :currency), 0) AS revenue FROM minutes",
                currency=CURRENCY,
            )
            minutes = await view.all(
                _MinuteRow,
                "SELECT minute, sum(placed) AS placed, sum(confirmed) AS confirmed, sum(cancelled) AS cancelled"
                " FROM minutes WHERE minute > :since GROUP BY minute ORDER BY minute",
                since=now_minute - _HOUR,
            )
            top = await view.all(
                TopProduct,
                "SELECT sku, name, pieces, revenue FROM products WHERE revenue > 0"
                " ORDER BY revenue DESC, sku DESC LIMIT :top",
                top=TOP,
            )
        return Summary(
            placed=totals.placed,
            confirmed=totals.confirmed,
            cancelled=totals.cancelled,
            revenue=totals.revenue,
            currency=CURRENCY,
            conversion_ratio=totals.confirmed / totals.placed if totals.placed else 0.0,
            orders_per_minute=sum(row.placed for row in minutes) / _HOUR,
            minutes=tuple(_shown(row) for row in minutes),
            top_products=tuple(top),
        )

    async def minutes(self, since: datetime | None = None, limit: int = 60) -> Minutes:
        if since is None:
            first = _minute(world.now()) - limit + 1
        else:
            first = math.ceil((since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp() / 60)
        rows = await self.db.all(_Figures, _FIGURES, currency=CURRENCY, since=first, limit=limit + 1)
        page = rows[:limit]
        return Minutes(
            items=tuple(row.shown() for row in page),
            currency=CURRENCY,
            next_since=_instant(rows[limit].minute) if len(rows) > limit else None,
        )

    async def _count(
        self, at: datetime, currency: str, *, placed: int = 0, confirmed: int = 0, cancelled: int = 0, revenue: int = 0
    ) -> None:
        await self.tx.execute(
            _COUNT, minute=_minute(at), currency=currency, placed=placed, confirmed=confirmed, cancelled=cancelled,
            revenue=revenue,
        )  # fmt: skip

    async def _count_products(self, lines: tuple[OrderLine, ...], sign: int) -> None:
        await self.tx.many(
            _COUNT_PRODUCT,
            [
                {
                    "sku": line.sku,
                    "name": line.name,
                    "pieces": sign * line.quantity,
                    "revenue": sign * line.total.amount if line.price.currency == CURRENCY else 0,
                }
                for line in lines
            ],
        )


def _minute(at: datetime) -> int:
    return int(at.timestamp()) // 60


def _instant(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


def _shown(row: _MinuteRow) -> Minute:
    return Minute(
        at=_instant(row.minute),
        placed=row.placed,
        confirmed=row.confirmed,
        cancelled=row.cancelled,
    )
