"""What users promises about proving who one is: second factors, passkeys, recent proof, and a way back by mail."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, command, query
from archstone.systems.shop.notifications.mail import Language
from archstone.systems.shop.values import Email, UserId, Value, VisibleText

__all__ = [
    "BackupCodesOnce",
    "BrowserMark",
    "Code",
    "Contact",
    "Factors",
    "FactorsError",
    "NewPassword",
    "NotProvedError",
    "OfferedPassword",
    "PasskeyAnswer",
    "PasskeyAsk",
    "PasskeyRefusedError",
    "PasskeyView",
    "Proof",
    "Recovery",
    "ResetTicket",
    "SecondFactorError",
    "SecurityView",
    "SessionView",
    "Ticket",
    "TicketError",
    "TooManyTriesError",
    "TotpOffer",
    "UserUnknownError",
    "Way",
    "WeakPasswordError",
    "WrongCodeError",
    "WrongPasswordError",
]

NewPassword = Annotated[str, StringConstraints(min_length=8, max_length=200)]
"""8 to 200 characters. What they are is not prescribed: rules about digits make passwords worse (NIST SP 800-63B)."""
OfferedPassword = Annotated[str, StringConstraints(max_length=200)]
BrowserMark = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The SHA-256 of a browser session's token, in hex: it names the session and opens nothing."""
Code = Annotated[str, StringConstraints(max_length=40)]
"""Six digits of an app, or a backup code; blanks and dashes do not count."""
Ticket = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
"""Sealed by the service: it says what was proved, until when, and nobody reads or makes one."""
PasskeyAnswer = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
"""What `navigator.credentials` answered, as JSON."""
Way = Literal["totp", "backup"]


class WeakPasswordError(DomainError, code="users.weak-password", status=409):
    """The password would be guessed at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"this password {self.reason}: choose another"


class WrongPasswordError(DomainError, code="users.wrong-password", status=403):
    """Who is signed in was asked for the password again, and gave another. Nothing was changed."""

    def __str__(self) -> str:
        return "this is not the password of the account that is signed in: nothing was changed"


class TooManyTriesError(DomainError, code="users.too-many-tries", status=429):
    """Too many passwords or codes were wrong. This one was not looked at."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"too many tries have failed: this one was not looked at, come again in {self.retry_after_s:.0f} s"


class SecondFactorError(DomainError, code="users.second-factor", status=401):
    """Address and password are right, and the account asks for a code as well: `confirm` takes ticket and code."""

    def __init__(self, ticket: str, ways: tuple[Way, ...]) -> None:
        super().__init__(ticket, ways)
        self.ticket = ticket
        """Good for five minutes; it opens nothing by itself."""
        self.ways = ways

    def __str__(self) -> str:
        return "the account asks for a second factor: send the ticket with a code"


class WrongCodeError(DomainError, code="users.wrong-code", status=403):
    """A code does not fit, was used before, or its time is over."""

    def __str__(self) -> str:
        return "this code does not fit, was used before, or its time is over"


class TicketError(DomainError, code="users.ticket", status=403):
    """A ticket, a link of a mail or a ceremony was made by nobody here, for something else, or its time is over."""

    def __str__(self) -> str:
        return "this has been used, or its time is over: begin again"


class NotProvedError(DomainError, code="users.not-proved", status=403):
    """This asks for a recent proof of who one is: password, and code where the account has a second factor."""

    def __str__(self) -> str:
        return "prove first who you are: it is too long ago"


class PasskeyRefusedError(DomainError, code="users.passkey", status=403):
    """The answer of a passkey does not hold, or nobody here knows the key."""

    def __str__(self) -> str:
        return "this passkey was not accepted: try again, or use another way"


class UserUnknownError(DomainError, code="users.unknown", status=404):
    """There is no such user."""

    def __str__(self) -> str:
        return "there is no such user"


class FactorsError(DomainError, code="users.factors", status=409):
    """A second factor cannot be changed so: there is none, or there are too many."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return self.what


class Contact(Value):
    """How to write to somebody."""

    email: str
    name: str
    language: Language


class PasskeyView(Value):
    """A passkey of the user who is signed in."""

    id: UserId
    name: str
    added_at: datetime
    used_at: datetime | None
    """None: never yet."""


class SessionView(Value):
    """A browser that is signed in."""

    mark: BrowserMark
    begun_at: datetime
    seen_at: datetime
    """At most a day behind."""


class SecurityView(Value):
    """How an account is secured."""

    totp: bool
    """Whether an app makes codes for it."""
    codes_left: Annotated[int, Field(ge=0)]
    """Backup codes that were not used."""
    passkeys: tuple[PasskeyView, ...]
    """Oldest first, at most ten."""
    sessions: tuple[SessionView, ...]
    """Newest first, at most twenty."""


class TotpOffer(Value):
    """A secret for an app, which counts once a code of it has been seen."""

    secret: str
    """As people type it."""
    svg: str
    """The same as a picture to scan."""
    offer: Ticket
    """For `add_totp`; good for ten minutes."""


class PasskeyAsk(Value):
    """What a page asks a device."""

    options: str
    """JSON for `navigator.credentials`."""
    ceremony: Ticket
    """To be sent with the answer; good for five minutes and one answer."""


class BackupCodesOnce(Value):
    """New backup codes. They are shown this once; the old ones do not work any more."""

    codes: tuple[str, ...]


class Proof(Value):
    """Says that somebody has just proved who they are."""

    proof: Ticket
    expires_in: Annotated[int, Field(ge=0)]
    """Seconds that it is good for."""


_PROVED = (UserUnknownError, NotProvedError, FactorsError)


class Factors(Contract, version="1.0"):
    """The second factors of the user who is signed in. Changing them asks for a recent proof, and a mail tells of it.

    A proof is a ticket of `prove`, or the session of a browser that has proved itself within ten minutes.
    """

    @query("/users/me/security", public=True, requires="account:read", raises=(UserUnknownError,))
    async def security(self) -> SecurityView:
        """Return how the account is secured."""
        ...

    @command(
        "/users/me/proofs", public=True, requires="account:write", key_required=False, record=False,
        raises=(UserUnknownError, WrongPasswordError, WrongCodeError, TooManyTriesError),
    )  # fmt: skip
    async def prove(self, password: OfferedPassword, code: Code = "", browser: BrowserMark | None = None) -> Proof:
        """Prove who one is: by the password, and by a code where the account has a second factor."""
        ...

    @command(
        "/users/me/totp/offers", public=True, requires="account:write", key_required=False, record=False,
        raises=(UserUnknownError,),
    )  # fmt: skip
    async def offer_totp(self) -> TotpOffer:
        """Make a secret for an app. Nothing is kept until `add_totp`."""
        ...

    @command(
        "/users/me/totp", public=True, requires="account:write", key_required=False, record=False,
        raises=(*_PROVED, TicketError, WrongCodeError, TooManyTriesError),
    )  # fmt: skip
    async def add_totp(
        self, offer: Ticket, code: Code, proof: Ticket | None = None, browser: BrowserMark | None = None
    ) -> BackupCodesOnce:
        """Let an app make codes, in place of one that did, once it has made a right one. Other sessions end."""
        ...

    @command(
        "/users/me/totp/removal",
        public=True,
        requires="account:write",
        status=204,
        key_required=False,
        record=False,
        raises=_PROVED,
    )
    async def remove_totp(self, proof: Ticket | None = None, browser: BrowserMark | None = None) -> None:
        """Ask for codes no more; backup codes go as well. Other sessions end."""
        ...

    @command(
        "/users/me/backup-codes",
        public=True,
        requires="account:write",
        key_required=False,
        record=False,
        raises=_PROVED,
    )
    async def renew_codes(self, proof: Ticket | None = None, browser: BrowserMark | None = None) -> BackupCodesOnce:
        """Make ten new backup codes in place of the old ones."""
        ...

    @command(
        "/users/me/passkeys/ceremonies",
        public=True,
        requires="account:write",
        key_required=False,
        record=False,
        raises=(UserUnknownError, FactorsError),
    )
    async def ask_new_passkey(self) -> PasskeyAsk:
        """Begin to register a passkey."""
        ...

    @command(
        "/users/me/passkeys", public=True, requires="account:write", status=204, key_required=False, record=False,
        raises=(*_PROVED, TicketError, PasskeyRefusedError),
    )  # fmt: skip
    async def add_passkey(
        self,
        ceremony: Ticket,
        answer: PasskeyAnswer,
        name: VisibleText,
        proof: Ticket | None = None,
        browser: BrowserMark | None = None,
    ) -> None:
        """Register a passkey."""
        ...

    @command(
        "/users/me/passkeys/{passkey_id}/removal", public=True, requires="account:write", status=204,
        key_required=False, record=False,
        raises=_PROVED,
    )  # fmt: skip
    async def remove_passkey(
        self, passkey_id: UserId, proof: Ticket | None = None, browser: BrowserMark | None = None
    ) -> None:
        """Forget a passkey. One that is unknown is forgotten already."""
        ...


class ResetTicket(Value):
    """What a mail to somebody who has forgotten the password holds."""

    ticket: Ticket
    contact: Contact


class Recovery(Contract, version="1.0"):
    """A way back for whoever has forgotten the password: a link by mail. It goes around no second factor."""

    @command("/password-resets", public=True, requires=ANYONE, status=202, record=False, key_required=False)
    async def ask_reset(self, email: Email) -> None:
        """Send a link to the address if somebody has registered with it. The answer does not tell whether."""
        ...

    @command(
        "/password-resets/done", public=True, requires=ANYONE, status=204, record=False, key_required=False,
        raises=(TicketError, WeakPasswordError, WrongCodeError, TooManyTriesError),
    )  # fmt: skip
    async def reset_password(
        self,
        ticket: Ticket,
        new: NewPassword,
        code: Code = "",
        programs: bool = False,  # noqa: FBT001, FBT002 - in a request it has its name
    ) -> None:
        """Set another password with the ticket of a mail, and a code where the account has a second factor.

        Every session ends. With `programs` so do its API keys and all that apps may do for it: for who has lost the
        account to somebody, and has it back now. A ticket is good for ten minutes and once: the password that it
        was made for is gone.
        """
        ...

    @query("/users/reset-ticket/{email}", requires="service")
    async def reset_ticket(self, email: Email) -> ResetTicket | None:
        """Return the ticket for a mail, and how to write it. None: nobody can sign in with this address."""
        ...
