"""Shipping's links of the checkout that goes by events: it makes out parcels and stops them (`shop/checkout.py`)."""

from archstone.services import on
from archstone.systems.shop.checkout import (
    CheckoutTurnedBack,
    MoneyRefused,
    MoneyTaken,
    ParcelMadeOut,
    ParcelStopped,
    SaleRefused,
)
from archstone.systems.shop.shipping.contract import ShipmentClosedError
from archstone.systems.shop.shipping.service import ShippingService

__all__ = ["ChoreographedShipping"]


class ChoreographedShipping(ShippingService, name="shipping"):
    """Shipping, which also acts on what others say. The way back begins here, whoever turned it."""

    @on(MoneyTaken)
    async def make_out(self, event: MoneyTaken) -> None:
        """Make out the parcel of an order that is paid."""
        try:
            await self.create(event.order_id, event.address)
        except ShipmentClosedError:
            # It was turned back before the money was taken. Payments heard of that from here, so the money goes back.
            return
        self.tx.publish(ParcelMadeOut(order_id=event.order_id))

    @on(CheckoutTurnedBack)
    async def stop_given_up(self, event: CheckoutTurnedBack) -> None:
        """Stop the parcel of an order that was given up."""
        await self._stop(event.order_id, event.reason)

    @on(SaleRefused)
    async def stop_unsold(self, event: SaleRefused) -> None:
        """Stop the parcel of an order whose goods are gone."""
        await self._stop(event.order_id, event.reason)

    @on(MoneyRefused)
    async def close_unpaid(self, event: MoneyRefused) -> None:
        """Make out no parcel any more for an order that is not paid. Nobody waits for that."""
        await self.cancel(event.order_id)

    async def _stop(self, order_id: str, reason: str) -> None:
        await self.cancel(order_id)  # no parcel of an unconfirmed order has left
        self.tx.publish(ParcelStopped(order_id=order_id, reason=reason))
