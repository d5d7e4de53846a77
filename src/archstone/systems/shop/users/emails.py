"""What users promises about another address of mail: asked for, confirmed from the new one, undone from the old one."""

from archstone.services import ANYONE, Contract, command, query
from archstone.systems.shop.users.contract import EmailTakenError
from archstone.systems.shop.users.proving import (
    BrowserMark,
    Code,
    Contact,
    NewPassword,
    NotProvedError,
    Ticket,
    TicketError,
    TooManyTriesError,
    UserUnknownError,
    WeakPasswordError,
    WrongCodeError,
)
from archstone.systems.shop.values import Email, UserId, Value

__all__ = ["EmailChanges", "EmailTicket"]


class EmailTicket(Value):
    """What a mail about another address holds."""

    ticket: Ticket
    contact: Contact
    """Whom to write to, and where: the new address, or the one before."""


class EmailChanges(Contract, version="1.0"):
    """Another address of mail for an account. Nothing changes before somebody reads mail there."""

    @command(
        "/users/me/email-changes", public=True, requires="account:write", status=202, key_required=False, record=False,
        raises=(UserUnknownError, NotProvedError, TooManyTriesError),
    )  # fmt: skip
    async def ask_email(self, email: Email, proof: Ticket | None = None, browser: BrowserMark | None = None) -> None:
        """Send a link to another address, if the account of who is signed in can have it.

        Asks for a recent proof, as `Factors` does. The answer does not tell whether somebody has the address.
        """
        ...

    @command(
        "/email-changes/done", public=True, requires=ANYONE, status=204, key_required=False, record=False,
        raises=(TicketError, EmailTakenError),
    )  # fmt: skip
    async def confirm_email(self, ticket: Ticket) -> None:
        """Let the account have the new address, with the ticket that was sent there: good for an hour, and once.

        Every session ends, and so do links to reset the password. A mail to the old address tells of it, with a
        ticket to undo it for a week; so long nobody else can have the old address.
        """
        ...

    @command(
        "/email-changes/undone", public=True, requires=ANYONE, status=204, key_required=False, record=False,
        raises=(TicketError, WeakPasswordError, WrongCodeError, TooManyTriesError),
    )  # fmt: skip
    async def undo_email(self, ticket: Ticket, new: NewPassword, code: Code = "") -> None:
        """Take the account back to the old address, with the ticket that was sent there, and set another password.

        Asks for a code where the account had an app before the change. What was added since goes: an app, passkeys,
        backup codes; every session ends, every API key, and all that apps may do. Later changes are
        undone with it, and a ticket is good once.
        """
        ...

    @query("/users/{user_id}/email-ticket/{email}", requires="service")
    async def email_ticket(self, user_id: UserId, email: Email) -> EmailTicket | None:
        """Return the ticket for a mail to the new address. None: this account cannot have it, or is gone."""
        ...

    @query("/users/{user_id}/email-undo-ticket/{email}", requires="service")
    async def email_undo_ticket(self, user_id: UserId, email: Email) -> EmailTicket | None:
        """Return the ticket for a mail to the old address. None: there is no way back, or no more."""
        ...
