"""Notifications: an e-mail for each confirmed and each cancelled order, for each refund, for each new password.

Sending is a step of a saga, not part of a transaction: a mail that has left cannot be rolled back. The mail's id is
that of the event, so a step that is repeated after a crash sends the same mail, which the mailer knows.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NamedTuple, cast

from archstone.resilience import Exponential, Retry
from archstone.sagas import saga
from archstone.services import Service, on
from archstone.systems.shop.notifications.contract import About, Mails, SentMail
from archstone.systems.shop.notifications.mailer import Mailer
from archstone.systems.shop.notifications.post import FORGET, Post
from archstone.systems.shop.notifications.site import Site
from archstone.systems.shop.orders.events import OrderCancelled, OrderConfirmed, OrderRefunded
from archstone.systems.shop.users.contract import UserRead
from archstone.systems.shop.users.emails import EmailChanges
from archstone.systems.shop.users.events import (
    AccountDeleted,
    EmailChangeAsked,
    EmailChanged,
    PasswordChanged,
    PasswordResetAsked,
    SecurityChanged,
    SignUpAsked,
)
from archstone.systems.shop.users.joining import SignUps
from archstone.systems.shop.users.proving import Recovery

__all__ = ["NotificationsService"]

PATIENT: Final = Retry(100, backoff=Exponential(0.5, cap_s=60.0), on=(Exception,))
"""The post may be away for more than an hour before a mail is given up."""
SEND_TIMEOUT_S: Final = 30.0
"""Seconds for one attempt to hand a mail over."""


MAX_TOLD: Final = 100


class _Row(NamedTuple):
    id: str
    recipient: str
    subject: str
    about: str
    sent_at: int

    def mail(self) -> SentMail:
        at = datetime.fromtimestamp(self.sent_at / 1_000_000, UTC)
        return SentMail(
            id=self.id, to=self.recipient, subject=self.subject, about=cast("About", self.about), sent_at=at
        )


class NotificationsService(Service, Mails, name="notifications"):
    """Tells customers what became of their orders. Keeps `Mails`."""

    users: UserRead
    recovery: Recovery
    emails: EmailChanges
    sign_ups: SignUps
    mailer: Mailer
    site: Site

    @cached_property
    def post(self) -> Post:
        """What the steps of the sagas call."""
        return Post(
            self.db,
            users=self.users,
            recovery=self.recovery,
            emails=self.emails,
            sign_ups=self.sign_ups,
            mailer=self.mailer,
            site=self.site,
        )

    @on(OrderConfirmed)
    @saga(version=1)
    async def tell_confirmed(self, event: OrderConfirmed) -> None:
        """Write to the customer that the order is confirmed."""
        await self.step(self.post.confirmed, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(OrderCancelled)
    @saga(version=1)
    async def tell_cancelled(self, event: OrderCancelled) -> None:
        """Write to the customer that the order is cancelled, and why."""
        await self.step(self.post.cancelled, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(OrderRefunded)
    @saga(version=1)
    async def tell_refunded(self, event: OrderRefunded) -> None:
        """Write to the customer that money was given back, and why."""
        await self.step(self.post.refunded, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(PasswordChanged)
    @saga(version=1)
    async def tell_password_changed(self, event: PasswordChanged) -> None:
        """Write to the customer that the password was changed."""
        await self.step(self.post.password_changed, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(SecurityChanged)
    @saga(version=1)
    async def tell_security_changed(self, event: SecurityChanged) -> None:
        """Write to the customer that a second factor was changed."""
        await self.step(self.post.security_changed, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(PasswordResetAsked)
    @saga(version=1)
    async def send_reset_link(self, event: PasswordResetAsked) -> None:
        """Write to the address, if somebody has registered with it, how to set another password."""
        await self.step(self.post.reset_asked, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(EmailChangeAsked)
    @saga(version=1)
    async def send_email_link(self, event: EmailChangeAsked) -> None:
        """Write to the new address of somebody, if it can be theirs, how to say that it is right."""
        await self.step(self.post.email_asked, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(EmailChanged)
    @saga(version=1)
    async def tell_email_changed(self, event: EmailChanged) -> None:
        """Write to the address of before how to undo the change."""
        await self.step(self.post.email_changed, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(SignUpAsked)
    @saga(version=1)
    async def send_sign_up_link(self, event: SignUpAsked) -> None:
        """Write to an address that somebody wants an account with."""
        await self.step(self.post.sign_up_asked, event, self._event_id, retry=PATIENT, timeout_s=SEND_TIMEOUT_S)

    @on(AccountDeleted)
    async def forget_recipient(self, event: AccountDeleted) -> None:
        """Take the address out of what is kept of mails. Later ones are of who has registered with it since."""
        await self.tx.execute(FORGET, email=event.email, at=round(event.at.timestamp() * 1_000_000))

    async def mails_of(self, order_id: str) -> tuple[SentMail, ...]:
        rows = await self.db.all(
            _Row,
            "SELECT id, recipient, subject, about, sent_at FROM mails WHERE order_id = :order_id"
            " ORDER BY sent_at, id LIMIT :limit",
            order_id=order_id, limit=MAX_TOLD,
        )  # fmt: skip
        return tuple(row.mail() for row in rows)

    @property
    def _event_id(self) -> str:
        """The id of the message that started this saga: what names the mail, however often it is sent."""
        found = self.call.causation_id
        if found is None:
            raise LookupError("a mail is about an event, but this saga was started by none")
        return found
