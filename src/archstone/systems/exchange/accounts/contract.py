"""What accounts promises: an account with play money at once, or one by e-mail and password; keys for programs."""

import hashlib
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, command, query
from archstone.systems.exchange.desk.contract import Value

__all__ = [
    "AccountAdmin",
    "AccountNumber",
    "Accounts",
    "Browsers",
    "Email",
    "EmailTakenError",
    "Key",
    "KeyPage",
    "Name",
    "NewKey",
    "NewPassword",
    "NoSessionError",
    "OfferedPassword",
    "Role",
    "Scope",
    "Session",
    "SignInError",
    "TooManyTriesError",
    "UnknownEmailError",
    "UnknownHolderError",
    "UnknownKeyError",
    "Visitor",
    "WeakPasswordError",
    "WrongPasswordError",
    "browser_mark",
]

Role = Literal["trader", "watcher", "admin"]
Scope = Literal["orders:read", "orders:write"]
AccountNumber = Annotated[int, Field(ge=1, le=2**32 - 1)]
NewPassword = Annotated[str, StringConstraints(min_length=8, max_length=200)]
OfferedPassword = Annotated[str, StringConstraints(max_length=200)]
Mark = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The SHA-256 of a browser session's token, in hex: it names the session and opens nothing."""
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]


def _normal(text: str) -> str:
    try:
        # Asking DNS would make registration wait for strangers' servers.
        return validate_email(text, check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error


Email = Annotated[str, StringConstraints(max_length=254), AfterValidator(_normal)]


class EmailTakenError(DomainError, code="exchange.email-taken", status=409):
    """Somebody has registered with this address."""

    def __init__(self, email: str) -> None:
        super().__init__(email)
        self.email = email

    def __str__(self) -> str:
        return f"{self.email} is registered already: sign in"


class SignInError(DomainError, code="exchange.sign-in", status=401):
    """Address and password do not belong together. Whether the address is known is not told."""

    def __str__(self) -> str:
        return "e-mail address or password is wrong"


class WrongPasswordError(DomainError, code="exchange.wrong-password", status=403):
    """Who is signed in was asked for the password again, and gave another. Nothing was changed."""

    def __str__(self) -> str:
        return "this is not the password of the account that is signed in: nothing was changed"


class WeakPasswordError(DomainError, code="exchange.weak-password", status=422):
    """The password would be guessed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"this password {self.reason}: choose another"


class TooManyTriesError(DomainError, code="exchange.too-many-tries", status=429):
    """Too many passwords were wrong, or too many accounts were opened. Nothing was done."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"too many tries: nothing was done, come again in {self.retry_after_s:.0f} s"


class NoSessionError(DomainError, code="exchange.no-session", status=401):
    """The browser's session has ended."""

    def __str__(self) -> str:
        return "the session has ended: sign in again"


class UnknownKeyError(DomainError, code="exchange.unknown-key", status=404):
    """The account has no such API key that is still good, or it has as many as it may have."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told

    def __str__(self) -> str:
        return self.told


class UnknownEmailError(DomainError, code="exchange.unknown-email", status=404):
    """Nobody has registered with this address."""

    def __init__(self, email: str) -> None:
        super().__init__(email)
        self.email = email

    def __str__(self) -> str:
        return f"nobody has registered as {self.email}: register first, then be given a role"


class UnknownHolderError(DomainError, code="exchange.unknown-holder", status=404):
    """Nobody has opened an account of this number."""

    def __init__(self, account: int) -> None:
        super().__init__(account)
        self.account = account

    def __str__(self) -> str:
        return f"nobody has opened account {self.account}: nothing was ended"


class Visitor(Value):
    """Who has an account."""

    account: Annotated[int, Field(ge=1)]
    name: str
    email: str
    """Empty: a trial account."""
    role: Role


class Session(Value):
    """An account, and a token that acts for it."""

    visitor: Visitor
    access_token: str
    expires_in: int
    """Seconds."""


class Key(Value):
    """An API key. Its text is known to its owner alone."""

    id: KeyId
    name: str
    hint: str
    """How it begins."""
    scopes: tuple[Scope, ...]
    uses: int


class KeyPage(Value):
    """Keys that are still good, newest first."""

    items: tuple[Key, ...]


class NewKey(Value):
    """A key that has just been made. Its text is told this once."""

    text: str
    key: Key


class Accounts(Contract, version="1.0"):
    """For people, and for their programs."""

    @command("/trial", public=True, requires=ANYONE, raises=(TooManyTriesError,), record=False, key_required=False)
    async def trial(self) -> Session:
        """Open an account with play money, at once. It ends with the browser's cookie, or with its keys."""
        ...

    @command(
        "/accounts", public=True, requires=ANYONE, raises=(EmailTakenError, WeakPasswordError, TooManyTriesError),
        record=False, key_required=False,
    )  # fmt: skip
    async def register(self, email: Email, password: NewPassword, name: Name) -> Session:
        """Open an account that one can come back to."""
        ...

    @command(
        "/sessions", public=True, requires=ANYONE, raises=(SignInError, TooManyTriesError), record=False,
        key_required=False,
    )  # fmt: skip
    async def login(self, email: Email, password: OfferedPassword) -> Session:
        """Return a token for an account."""
        ...

    @query("/me", public=True, requires="account:read", raises=(NoSessionError,))
    async def me(self) -> Visitor:
        """Return whose account it is."""
        ...

    @command(
        "/accounts/password", public=True, requires="account:write",
        raises=(WrongPasswordError, WeakPasswordError, TooManyTriesError, NoSessionError), record=False,
        key_required=False,
    )  # fmt: skip
    async def change_password(self, current: OfferedPassword, new: NewPassword) -> Session:
        """Change the password. Every session and token of the account ends; the token that is returned is a new one.

        API keys stay. A trial account has no password that could be changed.
        """
        ...

    @command(
        "/accounts/sign-out", public=True, requires="account:write", raises=(NoSessionError,), record=False,
        key_required=False,
    )  # fmt: skip
    async def sign_out(self) -> None:
        """End every session and every token of the account, this one too. API keys stay: each is ended by its id."""
        ...

    @query("/keys", public=True, requires="account:read")
    async def keys(self) -> KeyPage:
        """Return the account's API keys."""
        ...

    @command(
        "/keys", public=True, requires="account:write", raises=(UnknownKeyError,), record=False, key_required=False
    )
    async def make_key(self, name: Name, scopes: tuple[Scope, ...] = ("orders:read", "orders:write")) -> NewKey:
        """Make an API key, good for a year, for these scopes only."""
        ...

    @command(
        "/keys/{id}", method="DELETE", public=True, requires="account:write", raises=(UnknownKeyError,), record=False,
        key_required=False,
    )  # fmt: skip
    async def end_key(self, id: KeyId) -> KeyPage:
        """End a key at once."""
        ...


class Browsers(Contract, version="1.0"):
    """For the pages: sessions of browsers, by cookie."""

    @command("/browsers", requires="service", record=False)
    async def begin(self, account: int) -> str:
        """Begin a session of somebody who has just signed in, and return its token."""
        ...

    @query("/browsers/{mark}", requires="service", raises=(NoSessionError,))
    async def visitor(self, mark: Mark) -> Visitor:
        """Return whose session it is."""
        ...

    @command("/browsers/{mark}", method="DELETE", requires="service")
    async def end(self, mark: Mark) -> None:
        """End a session; one that is unknown has ended already."""
        ...


class AccountAdmin(Contract, version="1.0"):
    """For who administers the exchange."""

    @command("/accounts/roles", public=True, requires="accounts:grant", raises=(UnknownEmailError,), key_required=False)
    async def grant(self, email: Email, role: Role) -> Visitor:
        """Give an account another role. Its tokens end, as the old role is in them; its browsers have the new one."""
        ...

    @command(
        "/accounts/{account}/shut-out", public=True, requires="accounts:grant", raises=(UnknownHolderError,),
        record=False, key_required=False,
    )  # fmt: skip
    async def shut_out(self, account: AccountNumber) -> None:
        """End every session, token and API key of an account, such as one that was stolen. Its orders stay."""
        ...


def browser_mark(token: str) -> str:
    """Return under what the session of a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()
