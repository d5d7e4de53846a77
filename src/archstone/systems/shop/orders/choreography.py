"""Orders' links of the checkout that goes by events: it begins, confirms, cancels, and keeps the deadline.

Which form a new order takes is a setting. One under way goes on as it began, since the saga is in its table and the
events are on the bus, whatever the setting says after the next start.

Nobody sees the whole of such a checkout, so nobody would see that it stands still. Orders keeps the one thing that
watches: until when each must have ended. One that is late is turned back, again and again until it is cancelled, and
from the third time on as an error in the log.
"""

from functools import cached_property
from typing import Final

from archstone import world
from archstone.observability import get_logger
from archstone.services import every, on
from archstone.systems.shop.checkout import (
    NOT_COMPLETED,
    CheckoutBegun,
    CheckoutForm,
    CheckoutTurnedBack,
    GoodsPutBack,
    GoodsRefused,
    GoodsSold,
)
from archstone.systems.shop.orders import checkouts
from archstone.systems.shop.orders.contract import OrderStatus
from archstone.systems.shop.orders.order import Order, State
from archstone.systems.shop.orders.service import BY_CUSTOMER, OrdersService
from archstone.systems.shop.payments.provider import PaymentToken
from archstone.systems.shop.values import Address, Lines, OrderId

__all__ = ["ChoreographedOrders"]

LOUD_AFTER: Final = 2
"""Ways back without an end after which the next one is an error in the log."""
_log = get_logger("archstone.shop.orders")


class ChoreographedOrders(OrdersService, name="orders"):
    """Orders, which begins checkouts in the form that is set and carries on those of both."""

    form: CheckoutForm
    """Of new orders."""

    async def place(self, lines: Lines, address: Address, payment_token: PaymentToken) -> OrderStatus:
        """Place an order; see `Orders.place`."""
        if self.form is CheckoutForm.CHOREOGRAPHY:
            await checkouts.check_room(self.db)
        return await super().place(lines, address, payment_token)

    async def begin_checkout(self, order: Order, lines: Lines, token: PaymentToken) -> None:
        """Begin what carries a new order to its end: its saga, or the first event of its chain."""
        if self.form is CheckoutForm.SAGA:
            await super().begin_checkout(order, lines, token)
            return
        await checkouts.begin(self.tx, order.id)
        self.tx.publish(
            CheckoutBegun(
                order_id=order.id, customer_id=order.customer_id, lines=lines, total=order.total,
                address=order.address, payment_token=token,
            )
        )  # fmt: skip

    @on(GoodsSold)
    async def confirm_sold(self, event: GoodsSold) -> None:
        """Confirm an order, unless it was turned back meanwhile."""
        if await checkouts.end_forward(self.tx, event.order_id):
            await self.confirm(event.order_id)

    @on(GoodsRefused)
    async def cancel_refused(self, event: GoodsRefused) -> None:
        """Cancel an order of which nothing was held."""
        await self._give_up(event.order_id, event.reason)

    @on(GoodsPutBack)
    async def cancel_put_back(self, event: GoodsPutBack) -> None:
        """Cancel an order of which everything is given back."""
        await self._give_up(event.order_id, event.reason)

    async def cancel(self, order_id: OrderId) -> OrderStatus:
        """Ask for an order to be cancelled; see `Orders.cancel`. One under way by events is turned back at once."""
        status = await super().cancel(order_id)
        if status.status == "pending":
            await self._turn_back(order_id, BY_CUSTOMER)
        return status

    @every(1.0)
    async def turn_back_late(self) -> None:
        """Turn back checkouts whose time is up, and once more those whose way back has no end."""
        for each in await checkouts.late(self.tx, since_us=self._looking_since_us):
            await self._turn_back(each.order_id, NOT_COMPLETED, turns=each.turns)
            tell = _log.error if each.turns >= LOUD_AFTER else _log.warning
            tell("a checkout by events has no end, and is turned back", order=each.order_id, before=each.turns)

    @cached_property
    def _looking_since_us(self) -> int:
        return world.now_us()

    async def _turn_back(self, order_id: OrderId, reason: str, *, turns: int = 0) -> None:
        if await checkouts.turn(self.tx, order_id, turns=turns):
            self.tx.publish(CheckoutTurnedBack(order_id=order_id, reason=reason))

    async def _give_up(self, order_id: OrderId, reason: str) -> None:
        order = await self.kept.find(Order, order_id, tx=self.tx)
        await checkouts.end(self.tx, order_id)
        if order is None or order.state not in {State.PENDING, State.STOPPING}:
            return  # news that came twice, or by two ways
        order.cancel(order.reason or reason, world.now())
        await self.kept.put(self.tx, order)
        self.tx.after_commit(lambda: self.endings.tell(order_id))
