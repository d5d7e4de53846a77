"""What users promises about signing up by mail, where the shop asks for it: nobody learns who has an account."""

from typing import Literal

from archstone.services import ANYONE, Contract, command, query
from archstone.systems.shop.users.contract import EmailTakenError, User
from archstone.systems.shop.users.proving import (
    Contact,
    NewPassword,
    Ticket,
    TicketError,
    TooManyTriesError,
    WeakPasswordError,
)
from archstone.systems.shop.values import Email, Value, VisibleText

__all__ = ["SignUpMail", "SignUpWay", "SignUps"]


class SignUpMail(Value):
    """What goes to an address that somebody wants to sign up with: a ticket, or to whom it belongs already."""

    ticket: Ticket | None
    """None: there is an account."""
    contact: Contact | None
    """Of that account. None: there is none."""


class SignUpWay(Value):
    """How accounts are made."""

    way: Literal["at-once", "by-mail"]


class SignUps(Contract, version="1.0"):
    """Signing up by mail. The address is proved before there is an account; `UserWrite.register` makes one at once."""

    @query("/sign-ups/way", public=True, requires=ANYONE)
    async def sign_up_way(self) -> SignUpWay:
        """Return how accounts are made in this shop."""
        ...

    @command(
        "/sign-ups", public=True, requires=ANYONE, status=202, key_required=False, record=False,
        raises=(TooManyTriesError,),
    )  # fmt: skip
    async def ask_sign_up(self, email: Email) -> None:
        """Send a link to make an account; to who has one, a mail that says so. The answer does not tell which."""
        ...

    @command(
        "/sign-ups/done", public=True, requires=ANYONE, status=201, key_required=False, record=False,
        raises=(TicketError, EmailTakenError, WeakPasswordError),
    )  # fmt: skip
    async def sign_up(self, ticket: Ticket, password: NewPassword, name: VisibleText) -> User:
        """Register a customer with the ticket of a mail, which is good for an hour and for one account."""
        ...

    @query("/users/sign-up-mail/{email}", requires="service")
    async def sign_up_mail(self, email: Email) -> SignUpMail:
        """Return what to write to an address."""
        ...
