"""Payments: the shop's own record of money, and the sagas that reach the provider.

The provider is called from a step, never inside a transaction: first it moves the money, known by the order's id, then
one transaction records that and announces it. A crash between the two repeats the first with the same id.
"""

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, cast

from archstone import world
from archstone.errors import ArchstoneError, BackendError, DeadlineError, RejectedError
from archstone.observability import get_logger
from archstone.resilience import Exponential, Retry, within
from archstone.sagas import saga
from archstone.services import Service
from archstone.systems.shop.payments import refunds
from archstone.systems.shop.payments.administration import MoneyOfOrder, PaymentAdmin
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.conduct import Mode
from archstone.systems.shop.payments.contract import (
    FORWARD,
    PATIENCE_S,
    Invoice,
    NoInvoiceError,
    PartRefund,
    Payment,
    Payments,
    RefundReason,
)
from archstone.systems.shop.payments.drill import BankDrill, BankState, NoDrillError
from archstone.systems.shop.payments.events import PaymentCaptured, PaymentRefunded
from archstone.systems.shop.payments.guard import ANSWER_S, GuardedProvider
from archstone.systems.shop.payments.provider import (
    Authorisation,
    PaymentDeclinedError,
    PaymentToken,
    Receipt,
    RefundRefusedError,
)
from archstone.systems.shop.roles import OWN_ORDER
from archstone.systems.shop.values import Money, OrderId, RefundId, UserId

__all__ = ["PaymentsService"]

_log = get_logger("archstone.shop.payments")

ROUND_S: Final = 16.0
"""Seconds for a charge with all that is tried again of it, see `guard.py`."""
LOOK_UP_S: Final = 1.0
"""Seconds that the provider has to tell what it knows."""
ONCE_S: Final = 2 * ANSWER_S
"""Seconds to have money given back: for a place, and for the answer."""
UNASKED: Final = Retry(100, backoff=Exponential(0.5, cap_s=5.0), total_s=PATIENCE_S, on=(RejectedError,))
"""A charge that was refused before the provider was asked waits here, and the order with it."""
PATIENT: Final = Retry(100, backoff=Exponential(0.1, cap_s=60.0), on=(Exception,))
"""A part that is given back cannot be taken again, so from there it only goes forward."""
CALLED_OFF: Final = "the payment was called off"


class _Row(NamedTuple):
    order_id: str
    customer_id: str
    amount: int
    currency: str
    state: str
    invoice: int | None
    captured_at: int | None
    refunded_at: int | None
    refunded: int


_FIND: Final = (
    "SELECT order_id, customer_id, amount, currency, state, invoice, captured_at, refunded_at, refunded"
    " FROM payments WHERE order_id = :order_id"
)


class PaymentsService(Service, Payments, PaymentAdmin, BankDrill, name="payments"):
    """Keeps `Payments`, `PaymentAdmin` and `BankDrill`."""

    provider: GuardedProvider
    """Who moves the money."""

    undo_retry = FORWARD

    @saga(version=1)
    async def charge(  # pyright: ignore[reportIncompatibleMethodOverride] - @saga says Coroutine, not CoroutineType
        self, order_id: OrderId, customer_id: UserId, amount: Money, token: PaymentToken
    ) -> Payment:
        await self.step(
            self.provider.charge, order_id, amount, token,
            undo=(self.provider.refund, order_id), retry=UNASKED, timeout_s=ROUND_S,
        )  # fmt: skip
        return await self.step(self.record_capture, order_id, customer_id, amount)

    @saga(version=1)
    async def refund(self, order_id: OrderId) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        receipt = await self.step(self.provider.refund, order_id, retry=FORWARD, timeout_s=ONCE_S)
        await self.step(self.record_refund, order_id, receipt)

    @saga(version=1)
    async def refund_part(  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        self, order_id: OrderId, refund_id: RefundId, amount: Money, reason: RefundReason
    ) -> PartRefund:
        done = await self.step(self.open_refund, order_id, refund_id, amount, reason)
        if done:
            done = await self.step(self.give_part, order_id, refund_id, amount, retry=PATIENT, timeout_s=ONCE_S)
            if done is None:
                return PartRefund(id=refund_id, order_id=order_id, amount=amount, state="open")
            await self.step(self.close_refund, order_id, refund_id, amount, done, retry=PATIENT)
        return PartRefund(id=refund_id, order_id=order_id, amount=amount, state="done" if done else "refused")

    async def open_refund(self, order_id: OrderId, refund_id: RefundId, amount: Money, reason: RefundReason) -> bool:
        """Step: promise a part to a refund; False if that is more than is left."""
        return await refunds.open_part(self.tx, order_id, refund_id, amount=amount, reason=reason)

    async def give_part(self, order_id: OrderId, refund_id: RefundId, amount: Money) -> bool | None:
        """Step: have the provider give a part back; False if it refuses, None if it does not answer."""
        try:
            await self.provider.refund_part(order_id, refund_id, amount)
        except RefundRefusedError:
            return False
        except (BackendError, RejectedError, DeadlineError):
            return None
        return True

    async def close_refund(self, order_id: OrderId, refund_id: RefundId, amount: Money, given: bool) -> None:  # noqa: FBT001 - a step's arguments are journaled by position
        """Step: write down what became of a refund."""
        if given:
            await refunds.book(self.tx, order_id, refund_id, amount=amount)
        else:
            await refunds.refuse(self.tx, refund_id)

    async def record_capture(self, order_id: OrderId, customer_id: UserId, amount: Money) -> Payment:
        """Write down that an order is paid, give it an invoice and say so; once."""
        known = await self.tx.first(_Row, _FIND, order_id=order_id)
        if known is not None and known.state != "captured":
            # It was refunded while the provider's answer was on its way.
            raise PaymentDeclinedError(CALLED_OFF)
        if known is None:
            now = world.now()
            await self.tx.execute(
                "INSERT INTO payments (order_id, customer_id, amount, currency, state, invoice, captured_at) VALUES"
                " (:order_id, :customer_id, :amount, :currency, 'captured',"
                " (SELECT coalesce(max(invoice), 0) + 1 FROM payments), :at)",
                order_id=order_id, customer_id=customer_id, amount=amount.amount, currency=amount.currency,
                at=world.now_us(),
            )  # fmt: skip
            self.tx.publish(PaymentCaptured(order_id=order_id, customer_id=customer_id, amount=amount, at=now))
        return Payment(order_id=order_id, amount=amount, state="captured")

    async def record_refund(self, order_id: OrderId, receipt: Receipt) -> None:
        """Write down that an order's money is given back, or that none was taken; once."""
        now = world.now()
        known = await self.tx.first(_Row, _FIND, order_id=order_id)
        if known is None:
            await self.tx.execute(
                "INSERT INTO payments (order_id, customer_id, amount, currency, state, refunded_at)"
                " VALUES (:order_id, '', :amount, :currency, 'closed', :at)",
                order_id=order_id, amount=receipt.amount.amount, currency=receipt.amount.currency, at=world.now_us(),
            )  # fmt: skip
            await refunds.book_unseen(self.tx, order_id, receipt.amount)
        elif known.state == "captured":
            await refunds.book_rest(self.tx, order_id, receipt.amount)
            amount = Money(amount=known.amount, currency=known.currency)
            self.tx.publish(PaymentRefunded(order_id=order_id, customer_id=known.customer_id, amount=amount, at=now))

    async def invoice(self, order_id: OrderId) -> Invoice:
        row = await self.db.first(_Row, _FIND, order_id=order_id)
        mine = row is not None and self.allows(OWN_ORDER, row.customer_id, name=order_id)
        if row is None or not mine or row.invoice is None or row.captured_at is None or row.state == "closed":
            raise NoInvoiceError(order_id)
        return Invoice(
            number=f"INV-{row.invoice:06d}",
            order_id=row.order_id,
            customer_id=row.customer_id,
            amount=Money(amount=row.amount, currency=row.currency),
            state=cast("Literal['captured', 'refunded']", row.state),
            issued_at=_instant(row.captured_at),
            refunded_at=None if row.refunded_at is None else _instant(row.refunded_at),
            refunded=Money(amount=row.refunded, currency=row.currency),
        )

    async def money_of(self, order_id: OrderId) -> MoneyOfOrder:
        answered, authorisation = await self._looked_up(order_id)
        row = await self.db.first(_Row, _FIND, order_id=order_id)
        taken = None if row is None or row.captured_at is None else Money(amount=row.amount, currency=row.currency)
        return MoneyOfOrder(
            order_id=order_id,
            state="none" if row is None else cast("Literal['captured', 'refunded', 'closed']", row.state),
            amount=taken,
            captured_at=None if row is None or row.captured_at is None else _instant(row.captured_at),
            refunded=None if row is None or taken is None else Money(amount=row.refunded, currency=row.currency),
            refunds=await refunds.refunds_of(self.db, order_id),
            invoice=None if row is None or row.invoice is None else f"INV-{row.invoice:06d}",
            authorisation=authorisation,
            provider_answered=answered,
        )

    async def bank(self) -> BankState:
        line = self.provider.state()
        asked = self._drilled.conduct if self._drilled is not None else None
        return BankState(
            mode=None if asked is None else asked.mode,
            calls=None if asked is None else asked.calls.total(),
            **line._asdict(),
        )

    async def turn(self, mode: Mode) -> BankState:
        if self._drilled is None:
            raise NoDrillError
        await self._drilled.turn(mode)
        _log.warning("the bank is turned", mode=mode, by=self.principal.id)
        return await self.bank()

    @property
    def _drilled(self) -> Bank | None:
        """The embedded bank; None where money is moved by somebody else."""
        provider = self.provider.provider
        return provider if isinstance(provider, Bank) else None

    async def _looked_up(self, order_id: str) -> tuple[bool, Authorisation | None]:
        """Return whether the provider answered, and what it knows."""
        try:
            async with within(LOOK_UP_S):
                return True, await self.provider.look_up(order_id)
        except ArchstoneError:
            return False, None


def _instant(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
