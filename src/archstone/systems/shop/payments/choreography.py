"""Payments' links of the checkout that goes by events: it takes money and gives it back (`shop/checkout.py`).

The bank is reached by the same sagas as ever, `charge` and `refund`, so both links are sagas around one of those. A
charge has one answer to the chain, whatever it meets: taken, or refused with nothing kept.
"""

from functools import cached_property

from archstone.data import Database
from archstone.sagas import saga
from archstone.services import on
from archstone.systems.shop.checkout import (
    NOT_COMPLETED,
    GoodsHeld,
    MoneyRefused,
    MoneyReturned,
    MoneyTaken,
    ParcelStopped,
)
from archstone.systems.shop.payments.contract import ANSWER_S, ASKING, Payments
from archstone.systems.shop.payments.provider import PaymentDeclinedError, PaymentToken
from archstone.systems.shop.payments.service import PaymentsService
from archstone.systems.shop.values import Address, Money, OrderId, UserId

__all__ = ["ChoreographedPayments"]


class ChoreographedPayments(PaymentsService, name="payments"):
    """Payments, which also acts on what others say."""

    payments: Payments
    """Itself, as others see it."""

    @cached_property
    def till(self) -> "Till":
        """What the steps of the links call."""
        return Till(self.db, self.payments)

    @on(GoodsHeld)
    async def ask_for_money(self, event: GoodsHeld) -> None:
        """Begin to take the money of an order, once: the saga has the order's id, by which it is found."""
        await self.tx.start(self.take_money, event, id=event.order_id)

    @saga(version=1)
    async def take_money(self, event: GoodsHeld) -> None:
        """Take the money of an order and say so; else say why not."""
        order_id = event.order_id
        refusal = await self.step(
            self.till.charge, order_id, event.customer_id, event.total, event.payment_token,
            undo=(self.till.give_up, order_id), retry=ASKING, timeout_s=ANSWER_S,
        )  # fmt: skip
        if refusal is None:
            await self.step(self.tell_taken, order_id, event.address)
        else:
            await self.step(self.tell_refused, order_id, refusal)

    async def tell_taken(self, order_id: OrderId, address: Address) -> None:
        """Step: the parcel can be made out."""
        self.tx.publish(MoneyTaken(order_id=order_id, address=address))

    async def tell_refused(self, order_id: OrderId, reason: str) -> None:
        """Step: the goods can go back."""
        self.tx.publish(MoneyRefused(order_id=order_id, reason=reason[:300]))

    @on(ParcelStopped)
    @saga(version=1)
    async def give_back(self, event: ParcelStopped) -> None:
        """Give back what was taken, let nothing be taken any more, and say so.

        A charge that is on its way meets that at the provider, or at `record_capture`, which gives it back.
        """
        await self.step(self.refund, event.order_id, timeout_s=ANSWER_S)
        await self.step(self.tell_returned, event.order_id, event.reason)

    async def tell_returned(self, order_id: OrderId, reason: str) -> None:
        """Step: the goods can go back."""
        self.tx.publish(MoneyReturned(order_id=order_id, reason=reason))


class Till:
    """What a link asks of the service itself. A step must do so outside any transaction, so these are no methods."""

    def __init__(self, db: Database, payments: Payments) -> None:
        self._db = db
        self._payments = payments

    async def charge(self, order_id: OrderId, customer_id: UserId, total: Money, token: PaymentToken) -> str | None:
        """Have the money taken; return why it was refused. None: it is taken."""
        try:
            await self._payments.charge(order_id, customer_id, total, token)
        except PaymentDeclinedError as refusal:
            return str(refusal)
        return None

    async def give_up(self, order_id: OrderId) -> None:
        """Undo of a charge that never got an answer, or whose answer could not be told: give back, and say so."""
        await self._payments.refund(order_id)
        async with self._db.transaction() as tx:
            tx.publish(MoneyRefused(order_id=order_id, reason=NOT_COMPLETED))
