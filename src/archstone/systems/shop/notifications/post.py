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
    email_changed_mail,
    email_mail,
    password_mail,
    refunded_mail,
    reset_mail,
    security_mail,
    sign_up_mail,
)
from archstone.systems.shop.notifications.mailer import Mailer
from archstone.systems.shop.notifications.site import Site
from archstone.systems.shop.orders.events import OrderCancelled, OrderConfirmed, OrderRefunded
from archstone.systems.shop.users.contract import Contact, UserRead, UserUnknownError
from archstone.systems.shop.users.emails import EmailChanges
from archstone.systems.shop.users.events import (
    EmailChangeAsked,
    EmailChanged,
    PasswordChanged,
    PasswordResetAsked,
    SecurityChanged,
    SignUpAsked,
)
from archstone.systems.shop.users.joining import SignUps
from archstone.systems.shop.users.proving import Recovery

__all__ = ["FORGET", "Post"]

_SENT: Final = (
    "INSERT INTO mails (id, order_id, recipient, subject, about, sent_at)"
    " VALUES (:id, :order_id, :recipient, :subject, :about, :at) ON CONFLICT DO NOTHING"
)
FORGET: Final = "UPDATE mails SET recipient = '' WHERE recipient = :email AND sent_at <= :at"
"""Take an address out of what is kept of mails. Later ones are of who has it since."""


class Post:
    """Tells a customer of an event. Telling again is harmless: the event's id is the mail's."""

    def __init__(
        self,
        db: Database,
        *,
        users: UserRead,
        recovery: Recovery,
        emails: EmailChanges,
        sign_ups: SignUps,
        mailer: Mailer,
        site: Site,
    ) -> None:
        self._db = db
        self._sign_ups = sign_ups
        self._users = users
        self._recovery = recovery
        self._emails = emails
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

    async def email_asked(self, event: EmailChangeAsked, event_id: str) -> None:
        """Send the link to the new address, if the account can have it. It is written nowhere but in the mail."""
        found = await self._emails.email_ticket(event.user_id, event.email)
        if found is None:
            return
        to, link = found.contact, f"{self._site.url}/email-change?ticket={found.ticket}"
        await self._send(
            email_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language, link=link)
        )

    async def email_changed(self, event: EmailChanged, event_id: str) -> None:
        """Tell the address of before, with the way back, and keep it no longer with the mails that went there."""
        found = await self._emails.email_undo_ticket(event.user_id, event.old)
        if found is not None:
            to, link = found.contact, f"{self._site.url}/email-undo?ticket={found.ticket}"
            await self._send(
                email_changed_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language, link=link)
            )
        await self._db.execute(FORGET, email=event.old, at=round(event.at.timestamp() * 1_000_000))

    async def sign_up_asked(self, event: SignUpAsked, event_id: str) -> None:
        """Send the link to make an account, or tell who has one. Whoever asked learns nothing of it."""
        found, url = await self._sign_ups.sign_up_mail(event.email), self._site.url
        if found.contact is None:
            links = (f"{url}/sign-up?ticket={found.ticket}",)
            mail = sign_up_mail(event, mail_id=event_id, to=event.email, language="en", name=None, links=links)
        else:
            to, links = found.contact, (f"{url}/login", f"{url}/forgot")
            mail = sign_up_mail(event, mail_id=event_id, to=to.email, language=to.language, name=to.name, links=links)
        await self._send(mail)

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
