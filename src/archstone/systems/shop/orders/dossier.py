"""All that is known of an order: its own history, and what the services that own the rest tell, asked at once."""

import asyncio
from collections.abc import Awaitable
from typing import Final, NamedTuple, TypeVar, cast

from archstone.errors import ArchstoneError
from archstone.eventsourcing import Recorded
from archstone.services import options
from archstone.systems.shop.inventory.administration import StockAdmin
from archstone.systems.shop.notifications.contract import Mails
from archstone.systems.shop.orders import checkouts
from archstone.systems.shop.orders.administration import HistoryEntry, OrderDossier, OrderState
from archstone.systems.shop.orders.contract import OrderUnknownError
from archstone.systems.shop.orders.order import Happening
from archstone.systems.shop.orders.reading import entry_of, view_of
from archstone.systems.shop.orders.store import OrderStore, rebuilt
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


async def dossier_of(kept: OrderStore, order_id: OrderId, *, ask: Witnesses) -> OrderDossier:
    """Return the dossier of an order.

    Raises:
        OrderUnknownError: there is no such order.
    """
    history = await kept.history(order_id)
    if not history:
        raise OrderUnknownError(order_id)
    order = rebuilt(order_id, history)
    missing: list[str] = []
    payment, parcel, goods, mails = await asyncio.gather(
        _told("payments", options(ask.payments, timeout_s=ANSWER_S).money_of(order_id), missing),
        _told("shipping", options(ask.shipping, timeout_s=ANSWER_S).parcel_of(order_id), missing),
        _told("inventory", options(ask.inventory, timeout_s=ANSWER_S).goods_of(order_id), missing),
        _told("notifications", options(ask.notifications, timeout_s=ANSWER_S).mails_of(order_id), missing),
    )
    return OrderDossier(
        order=view_of(order, history), customer_id=order.customer_id, state=cast("OrderState", order.state.value),
        checkout=await checkouts.checkout_of(kept.db, order_id), refundable=order.refundable,
        history=tuple(map(_entry, history)),
        payment=payment, parcel=parcel, goods=goods, mails=mails, missing=tuple(sorted(missing)),
    )  # fmt: skip


async def _told(name: str, asked: Awaitable[T], missing: list[str]) -> T | None:
    """Return what a service tells; None, and its name among the missing, where it does not."""
    try:
        return await asked
    except ArchstoneError:
        missing.append(name)
        return None


def _entry(stored: Recorded[Happening]) -> HistoryEntry:
    event = stored.event
    return HistoryEntry(
        version=stored.version, type=event.event_name, what=entry_of(event).what, at=event.at,
        caused_by=stored.caused_by, correlation_id=stored.correlation_id,
    )  # fmt: skip
