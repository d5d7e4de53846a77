"""What an order asks of other services, one coroutine per step of its sagas.

A step must reach others outside any transaction, so these are no methods of the service. When a partner refuses, its
reason is written down before the checkout turns back, for the customer: the way back does not know it.
"""

from collections.abc import Awaitable
from typing import Final, TypeVar

from archstone import world
from archstone.errors import DomainError
from archstone.systems.shop.checkout import NOT_COMPLETED
from archstone.systems.shop.inventory.contract import Inventory
from archstone.systems.shop.orders.endings import Endings
from archstone.systems.shop.orders.order import Order, State
from archstone.systems.shop.orders.store import OrderStore
from archstone.systems.shop.payments.contract import Payments, RefundReason
from archstone.systems.shop.payments.provider import PaymentToken
from archstone.systems.shop.shipping.contract import ParcelLeftError, Shipping
from archstone.systems.shop.values import Address, Lines, Money, OrderId, RefundId, UserId

__all__ = ["Partners"]

T = TypeVar("T")

_KEEP: Final = "INSERT INTO refusals (order_id, reason) VALUES (:id, :reason) ON CONFLICT DO NOTHING"


class Partners:
    """The other services, as one order at a time sees them. Each call may be repeated: it names the order."""

    def __init__(
        self, kept: OrderStore, *, endings: Endings, inventory: Inventory, payments: Payments, shipping: Shipping
    ) -> None:
        self._orders = kept
        self._endings = endings
        self._inventory = inventory
        self._payments = payments
        self._shipping = shipping

    async def hold_goods(self, order_id: OrderId, lines: Lines) -> None:
        """Have the goods held."""
        await self._kept(order_id, self._inventory.reserve(order_id, lines))

    async def take_money(self, order_id: OrderId, customer_id: UserId, total: Money, token: PaymentToken) -> None:
        """Have the money taken."""
        await self._kept(order_id, self._payments.charge(order_id, customer_id, total, token))

    async def make_out_parcel(self, order_id: OrderId, address: Address) -> None:
        """Have the parcel made out."""
        await self._kept(order_id, self._shipping.create(order_id, address))

    async def sell_goods(self, order_id: OrderId) -> None:
        """Have the held goods booked as sold."""
        await self._kept(order_id, self._inventory.commit(order_id))

    async def stop_parcel(self, order_id: OrderId) -> bool:
        """Have the parcel stopped; False if it has left already."""
        try:
            await self._shipping.cancel(order_id)
        except ParcelLeftError:
            return False
        return True

    async def give_money_back(
        self, order_id: OrderId, refund_id: RefundId, amount: Money, reason: RefundReason
    ) -> bool | None:
        """Have a part of the money given back; False if less is left, None if the bank does not answer."""
        answer = await self._payments.refund_part(order_id, refund_id, amount, reason)
        return None if answer.state == "open" else answer.state == "done"

    async def give_up(self, order_id: OrderId) -> None:
        """Have the goods put back, and end the order as cancelled, with the reason that was kept.

        It is the undo of the first step, so it is the last thing that a checkout does on its way back: whoever sees
        the order cancelled can rely on everything being given back.
        """
        await self._inventory.release(order_id)
        async with self._orders.db.transaction() as tx:
            order = await self._orders.find(Order, order_id, tx=tx)
            if order is None or order.state is State.CANCELLED:
                return
            kept = await tx.first(str, "SELECT reason FROM refusals WHERE order_id = :id", id=order_id)
            order.cancel(order.reason or kept or NOT_COMPLETED, world.now())
            await self._orders.put(tx, order)
            tx.after_commit(lambda: self._endings.tell(order_id))

    async def _kept(self, order_id: OrderId, asked: Awaitable[object]) -> None:
        try:
            await asked
        except DomainError as refusal:
            await self._orders.db.execute(_KEEP, id=order_id, reason=str(refusal)[:300])
            raise
