"""Writing to a customer: look up how, compose, hand over, write down. A coroutine per kind of mail, each a saga's step.

What is written down is for administrators who look into an order, so of a mail about an account nothing is. The mailer
alone decides what was sent before.
"""

from typing import Final

from archstone import world
from archstone.data import Database
from archstone.systems.shop.notifications.mail import (
    Mail,
    cancelled_mail,
    confirmed_mail,
    password_mail,
    refunded_mail,
    reset_mail,
    security_mail,
)
from archstone.systems.shop.notifications.mailer import Mailer
from archstone.systems.shop.notifications.site import Site
from archstone.systems.shop.orders.events import OrderCancelled, OrderConfirmed, OrderRefunded
from archstone.systems.shop.users.contract import Contact, UserRead, UserUnknownError
from archstone.systems.shop.users.events import PasswordChanged, PasswordResetAsked, SecurityChanged
from archstone.systems.shop.users.proving import Recovery

__all__ = ["Post"]

_SENT: Final = (
    "INSERT INTO mails (id, order_id, recipient, subject, about, sent_at)"
    " VALUES (:id, :order_id, :recipient, :subject, :about, :at) ON CONFLICT DO NOTHING"
)


class Post:
    """Tells a customer of an event. Telling again is harmless: the event's id is the mail's."""

    def __init__(self, db: Database, *, users: UserRead, recovery: Recovery, mailer: Mailer, site: Site) -> None:
        self._db = db
        self._users = users
        self._recovery = recovery
        self._site = site
        self._mailer = mailer

    async def confirmed(self, event: OrderConfirmed, event_id: str) -> None:
        """Tell that the order is confirmed."""
        to = await self._contact(event.customer_id)
        if to is None:
            return
        mail = confirmed_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language)
        await self._send(mail)

    async def cancelled(self, event: OrderCancelled, event_id: str) -> None:
        """Tell that the order is cancelled, and why."""
        to = await self._contact(event.customer_id)
        if to is None:
            return
        mail = cancelled_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language)
        await self._send(mail)

    async def refunded(self, event: OrderRefunded, event_id: str) -> None:
        """Tell that money was given back, and why."""
        to = await self._contact(event.customer_id)
        if to is None:
            return
        mail = refunded_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language)
        await self._send(mail)

    async def password_changed(self, event: PasswordChanged, event_id: str) -> None:
        """Tell that the password is another one."""
        to = await self._contact(event.user_id)
        if to is None:
            return
        await self._send(password_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language))

    async def security_changed(self, event: SecurityChanged, event_id: str) -> None:
        """Tell that a second factor is another one, or that a backup code was used."""
        to = await self._contact(event.user_id)
        if to is None:
            return
        await self._send(security_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language))

    async def reset_asked(self, event: PasswordResetAsked, event_id: str) -> None:
        """Send the link to choose another password, if there is an account. It is written nowhere but in the mail."""
        found = await self._recovery.reset_ticket(event.email)
        if found is None:
            return
        to = found.contact
        link = f"{self._site.url}/reset?ticket={found.ticket}"
        await self._send(
            reset_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language, link=link)
        )

    async def _contact(self, user_id: str) -> Contact | None:
        """Return how to write to a customer. None: the account is deleted, and there is nobody to write to."""
        try:
            return await self._users.contact(user_id)
        except UserUnknownError:
            return None

    async def _send(self, mail: Mail) -> None:
        await self._mailer.send(mail)
        if mail.order_id is None:
            return
        await self._db.execute(
            _SENT, id=mail.id, order_id=mail.order_id, recipient=mail.to, subject=mail.subject, about=mail.about,
            at=world.now_us(),
        )  # fmt: skip
