"""Inventory's links of the checkout that goes by events: it holds, it sells, it puts back (`shop/checkout.py`)."""

from archstone.services import on
from archstone.systems.shop.checkout import (
    CheckoutBegun,
    GoodsHeld,
    GoodsPutBack,
    GoodsRefused,
    GoodsSold,
    MoneyRefused,
    MoneyReturned,
    ParcelMadeOut,
    SaleRefused,
)
from archstone.systems.shop.inventory.contract import OutOfStockError, ReservationClosedError
from archstone.systems.shop.inventory.service import InventoryService

__all__ = ["ChoreographedInventory"]


class ChoreographedInventory(InventoryService, name="inventory"):
    """The inventory, which also acts on what others say. An order that was given up is left as it is."""

    @on(CheckoutBegun)
    async def hold_goods(self, event: CheckoutBegun) -> None:
        """Hold the goods of an order, or refuse it."""
        try:
            await self.reserve(event.order_id, event.lines)
        except OutOfStockError as refusal:
            self.tx.publish(GoodsRefused(order_id=event.order_id, reason=str(refusal)))
        except ReservationClosedError:
            return  # it was turned back before this came; who said so has been answered
        else:
            self.tx.publish(
                GoodsHeld(
                    order_id=event.order_id, customer_id=event.customer_id, total=event.total, address=event.address,
                    payment_token=event.payment_token,
                )
            )  # fmt: skip

    @on(ParcelMadeOut)
    async def sell_goods(self, event: ParcelMadeOut) -> None:
        """Sell the goods of an order that is paid, or refuse that: its hold can have expired."""
        try:
            await self.commit(event.order_id)
        except OutOfStockError as refusal:
            self.tx.publish(SaleRefused(order_id=event.order_id, reason=str(refusal)))
        except ReservationClosedError:
            return  # likewise
        else:
            self.tx.publish(GoodsSold(order_id=event.order_id))

    @on(MoneyRefused)
    async def put_back_unpaid(self, event: MoneyRefused) -> None:
        """Put the goods of an order back that is not paid."""
        await self._put_back(event.order_id, event.reason)

    @on(MoneyReturned)
    async def put_back_repaid(self, event: MoneyReturned) -> None:
        """Put the goods of an order back whose money has gone back."""
        await self._put_back(event.order_id, event.reason)

    async def _put_back(self, order_id: str, reason: str) -> None:
        await self.release(order_id)
        self.tx.publish(GoodsPutBack(order_id=order_id, reason=reason))
