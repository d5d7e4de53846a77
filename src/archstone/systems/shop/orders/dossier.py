"""All that is known of an order: its own history, and what the services that own the rest tell, asked at once."""

import asyncio
import json
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeVar

from archstone.data import Database
from archstone.errors import ArchstoneError
from archstone.services import options
from archstone.systems.shop.inventory.administration import StockAdmin
from archstone.systems.shop.notifications.contract import Mails
from archstone.systems.shop.orders import checkouts
from archstone.systems.shop.orders.administration import HistoryEntry, OrderDossier
from archstone.systems.shop.orders.contract import OrderUnknownError
from archstone.systems.shop.orders.order import Happening, rebuild
from archstone.systems.shop.orders.reading import entry_of, view_of
from archstone.systems.shop.orders.store import history_of
from archstone.systems.shop.payments.administration import PaymentAdmin
from archstone.systems.shop.shipping.administration import ShippingAdmin
from archstone.systems.shop.values import OrderId

__all__ = ["Witnesses", "dossier_of"]

T = TypeVar("T")

ANSWER_S: Final = 2.0
"""Seconds that each service has."""


class Witnesses(NamedTuple):
    """Who is asked about an order."""

    payments: PaymentAdmin
    shipping: ShippingAdmin
    inventory: StockAdmin
    notifications: Mails


class _Cause(NamedTuple):
    version: int
    type: str
    metadata: str
    at: int


async def dossier_of(db: Database, order_id: OrderId, *, ask: Witnesses) -> OrderDossier:
    """Return the dossier of an order.

    Raises:
        OrderUnknownError: there is no such order.
    """
    history = await history_of(db, order_id)
    if not history:
        raise OrderUnknownError(order_id)
    order = rebuild(history)
    missing: list[str] = []
    payment, parcel, goods, mails = await asyncio.gather(
        _told("payments", options(ask.payments, timeout_s=ANSWER_S).money_of(order_id), missing),
        _told("shipping", options(ask.shipping, timeout_s=ANSWER_S).parcel_of(order_id), missing),
        _told("inventory", options(ask.inventory, timeout_s=ANSWER_S).goods_of(order_id), missing),
        _told("notifications", options(ask.notifications, timeout_s=ANSWER_S).mails_of(order_id), missing),
    )
    return OrderDossier(
        order=view_of(order, history), customer_id=order.customer_id, state=order.state.value,
        checkout=await checkouts.checkout_of(db, order_id), refundable=order.refundable,
        history=await _history(db, order_id, history),
        payment=payment, parcel=parcel, goods=goods, mails=mails, missing=tuple(sorted(missing)),
    )  # fmt: skip


async def _told(name: str, asked: Awaitable[T], missing: list[str]) -> T | None:
    """Return what a service tells; None, and its name among the missing, where it does not."""
    try:
        return await asked
    except ArchstoneError:
        missing.append(name)
        return None


async def _history(db: Database, order_id: str, history: tuple[Happening, ...]) -> tuple[HistoryEntry, ...]:
    rows = await db.all(
        _Cause,
        "SELECT version, type, metadata, at FROM events WHERE stream = :id AND version <= :last ORDER BY version",
        id=order_id,
        last=len(history),
    )
    return tuple(_entry(row, event) for row, event in zip(rows, history, strict=True))


def _entry(row: _Cause, event: Happening) -> HistoryEntry:
    causes: dict[str, str | None] = json.loads(row.metadata)
    return HistoryEntry(
        version=row.version, type=row.type, what=entry_of(event).what,
        at=datetime.fromtimestamp(row.at / 1_000_000, UTC),
        caused_by=causes.get("caused_by"), correlation_id=causes.get("correlation_id"),
    )  # fmt: skip
