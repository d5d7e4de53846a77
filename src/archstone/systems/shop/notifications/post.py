"""Writing to a customer: look up how, compose, hand over. One coroutine per kind of mail, each a step of a saga."""

from archstone.systems.shop.notifications.mail import cancelled_mail, confirmed_mail
from archstone.systems.shop.notifications.mailer import Mailer
from archstone.systems.shop.orders.events import OrderCancelled, OrderConfirmed
from archstone.systems.shop.users.contract import UserRead

__all__ = ["Post"]


class Post:
    """Tells a customer of an event. Telling again is harmless: the event's id is the mail's."""

    def __init__(self, users: UserRead, mailer: Mailer) -> None:
        self._users = users
        self._mailer = mailer

    async def confirmed(self, event: OrderConfirmed, event_id: str) -> None:
        """Tell that the order is confirmed."""
        to = await self._users.contact(event.customer_id)
        mail = confirmed_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language)
        await self._mailer.send(mail)

    async def cancelled(self, event: OrderCancelled, event_id: str) -> None:
        """Tell that the order is cancelled, and why."""
        to = await self._users.contact(event.customer_id)
        mail = cancelled_mail(event, mail_id=event_id, to=to.email, name=to.name, language=to.language)
        await self._mailer.send(mail)
