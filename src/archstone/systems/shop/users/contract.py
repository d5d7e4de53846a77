"""What users promises, in seven contracts, so that nobody depends on more than they use.

`Sessions` is for programs that sign in and out, `BrowserSessions` for the pages, `UserRead` and `UserWrite` for who
looks at and changes a profile, `UserAdmin` for administrators; `Factors` and `Recovery`, in `proving`, for who secures
an account or has lost the way in.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archstone.errors import DomainError
from archstone.services import ANYONE, Contract, command, query
from archstone.systems.shop.notifications.mail import Language
from archstone.systems.shop.paging import BadCursorError
from archstone.systems.shop.users.proving import (
    BrowserMark,
    Code,
    Contact,
    NewPassword,
    OfferedPassword,
    PasskeyAnswer,
    PasskeyAsk,
    PasskeyRefusedError,
    SecondFactorError,
    Ticket,
    TicketError,
    TooManyTriesError,
    UserUnknownError,
    WeakPasswordError,
    WrongCodeError,
    WrongPasswordError,
)
from archstone.systems.shop.values import Cursor, Email, PageSize, Reason, UserId, Value, VisibleText

__all__ = [
    "BrowserSession",
    "BrowserSessions",
    "Change",
    "Contact",
    "DeactivatedError",
    "EmailTakenError",
    "LastAdminError",
    "Preferences",
    "Role",
    "Session",
    "SessionEndedError",
    "Sessions",
    "SignInError",
    "SignUpByMailError",
    "Theme",
    "User",
    "UserAdmin",
    "UserChange",
    "UserChanges",
    "UserPage",
    "UserRead",
    "UserUnknownError",
    "UserWrite",
    "Visitor",
    "WeakPasswordError",
    "WrongPasswordError",
    "browser_mark",
]

Role = Literal["customer", "support", "admin"]
Theme = Literal["auto", "light", "dark"]
Change = Literal["granted", "withdrawn", "deactivated", "reactivated"]
SearchText = Annotated[str, StringConstraints(max_length=100)]
RefreshText = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class EmailTakenError(DomainError, code="users.email-taken", status=409):
    """Somebody has registered with this address."""

    def __init__(self, email: str) -> None:
        super().__init__(email)
        self.email = email

    def __str__(self) -> str:
        return f"{self.email} is registered already: sign in"


class SignUpByMailError(DomainError, code="users.sign-up-by-mail", status=403):
    """This shop makes accounts only for who reads mail at their address. It does not tell whether there is one."""

    def __str__(self) -> str:
        return "this shop wants to write to you first: ask for a link at /sign-ups"


class SignInError(DomainError, code="users.sign-in", status=401):
    """Address and password do not belong together. Whether the address is known is not told."""

    def __str__(self) -> str:
        return "e-mail address or password is wrong"


class DeactivatedError(SignInError, code="users.deactivated", status=403):
    """Address and password are right, and the account is closed. Only who knows the password is told."""

    def __str__(self) -> str:
        return "this account has been deactivated: write to the shop if that should be a mistake"


class LastAdminError(DomainError, code="users.last-admin", status=409):
    """Nobody would be left to administer the shop."""

    def __str__(self) -> str:
        return "this is the last administrator who can sign in: make somebody else one first"


class SessionEndedError(DomainError, code="users.session-ended", status=401):
    """The refresh token gives no new session: unknown, used, expired or revoked."""

    def __str__(self) -> str:
        return "the session has ended: sign in again"


class User(Value):
    """Somebody who has registered."""

    id: UserId
    email: str
    """Empty if the account was deleted."""
    name: str
    """Empty if the account was deleted."""
    roles: tuple[Role, ...]
    created_at: datetime
    active: bool = True
    """Whether signing in is possible."""
    deleted: bool = False
    """Whether the account was deleted by its owner: nothing else is known any more."""


class UserPage(Value):
    """Some users, oldest first, and where the next ones are."""

    items: tuple[User, ...]
    next_cursor: str | None


class UserChange(Value):
    """A change that was made to an account by an administrator."""

    number: Annotated[int, Field(ge=0)]
    """Rising; the newest has the highest."""
    user_id: UserId
    what: Change
    role: Role | None
    """Granted or withdrawn; None otherwise."""
    reason: str | None
    by: str
    """Id of the administrator; `operator` on the command line."""
    at: datetime


class UserChanges(Value):
    """Some changes, newest first, and where the next ones are."""

    items: tuple[UserChange, ...]
    next_cursor: str | None


class Preferences(Value):
    """How somebody likes the shop."""

    language: Language = "en"
    """Of the mails that the shop sends."""
    theme: Theme = "auto"


class Session(Value):
    """Proof of having signed in."""

    access_token: str
    """For the header `Authorization: Bearer …`."""
    refresh_token: str
    """Good for one use, to get the next session."""
    expires_in: Annotated[int, Field(ge=0)]
    """Seconds that the access token is good for."""
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105


_SIGN_IN = (SignInError, DeactivatedError, SecondFactorError, TooManyTriesError)
_CONFIRM = (TicketError, WrongCodeError, TooManyTriesError, DeactivatedError)


class Sessions(Contract, version="1.0"):
    """Signing in and out."""

    @command("/sessions", public=True, requires=ANYONE, raises=_SIGN_IN, record=False, key_required=False)
    async def login(self, email: Email, password: OfferedPassword) -> Session:
        """Sign in with address and password. An account with a second factor answers with a ticket for `confirm`."""
        ...

    @command("/sessions/second-factor", public=True, requires=ANYONE, raises=_CONFIRM, record=False, key_required=False)
    async def confirm(self, ticket: Ticket, code: Code) -> Session:
        """Finish signing in with a code of the app, or a backup code."""
        ...

    @command(
        "/sessions/refresh", public=True, requires=ANYONE, raises=(SessionEndedError,), record=False, key_required=False
    )
    async def refresh(self, refresh_token: RefreshText) -> Session:
        """Exchange a refresh token for the next session. It is used up by this."""
        ...

    @command("/sessions/logout", public=True, requires=ANYONE, status=204, record=False, key_required=False)
    async def logout(self, refresh_token: RefreshText) -> None:
        """Sign out: end the session that a refresh token belongs to. One that is unknown has ended already."""
        ...


class BrowserSession(Value):
    """Proof of having signed in with a browser."""

    token: str
    """For a cookie that no script can read. Kept nowhere else."""
    user: User


class Visitor(Value):
    """Who is signed in with a browser."""

    user: User
    preferences: Preferences
    renew: bool
    """Whether the visit should be written down with `renew`, so that the session does not end from being idle."""
    proved: bool = True
    """Whether the visitor has proved who they are within ten minutes."""
    needs_factor: bool = False
    """Whether the role of an administrator waits for a second factor, which the shop asks of administrators."""


def browser_mark(token: str) -> str:
    """Return what names the session that a cookie's token belongs to. No salt is needed: the token is all chance."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class BrowserSessions(Contract, version="1.0"):
    """Signing in and out with a browser. For the pages alone: the API knows tokens only.

    A session ends after 14 days without a visit, after 90 days in any case, and at once when it is ended here or when
    a role is withdrawn.
    """

    @command("/browser-sessions", requires="service", raises=_SIGN_IN, record=False)
    async def begin(
        self, email: Email, password: OfferedPassword, instead_of: BrowserMark | None = None
    ) -> BrowserSession:
        """Sign in with address and password, under a token that is new; end the session that the browser had."""
        ...

    @command("/browser-sessions/second-factor", requires="service", raises=_CONFIRM, record=False)
    async def confirm_begin(self, ticket: Ticket, code: Code, instead_of: BrowserMark | None = None) -> BrowserSession:
        """Finish signing in with a code of the app, or a backup code; end the session that the browser had."""
        ...

    @command("/browser-sessions/passkey-ceremonies", requires="service", record=False)
    async def ask_passkey(self) -> PasskeyAsk:
        """Begin to sign in with a passkey: nobody has to say first who they are."""
        ...

    @command(
        "/browser-sessions/passkeys", requires="service", record=False,
        raises=(TicketError, PasskeyRefusedError, DeactivatedError, TooManyTriesError),
    )  # fmt: skip
    async def begin_with_passkey(
        self, ceremony: Ticket, answer: PasskeyAnswer, instead_of: BrowserMark | None = None
    ) -> BrowserSession:
        """Sign in with a passkey, which is both factors at once: the device, and what unlocks it."""
        ...

    @query("/browser-sessions/{mark}", requires="service", raises=(SessionEndedError,))
    async def visitor(self, mark: BrowserMark) -> Visitor:
        """Return who is signed in, with the roles of this moment."""
        ...

    @command("/browser-sessions/{mark}/visits", requires="service", status=204, record=False)
    async def renew(self, mark: BrowserMark) -> None:
        """Write down that the session is in use."""
        ...

    @command("/browser-sessions/{mark}", method="DELETE", requires="service", status=204, record=False)
    async def end(self, mark: BrowserMark) -> None:
        """Sign out. A session that is unknown has ended already."""
        ...

    @command("/browser-sessions/of/{user_id}", method="DELETE", requires="service", status=204, record=False)
    async def end_all(self, user_id: UserId) -> None:
        """Sign a user out everywhere: every browser, and every program as soon as its access token ends."""
        ...


class UserRead(Contract, version="1.0"):
    """Looking at users."""

    @query("/users/me", public=True, requires="account:read", raises=(UserUnknownError,))
    async def me(self) -> User:
        """Return who is signed in."""
        ...

    @query("/users/me/preferences", public=True, requires="account:read", raises=(UserUnknownError,))
    async def preferences(self) -> Preferences:
        """Return how the user who is signed in likes the shop."""
        ...

    @query("/users/{user_id}/contact", requires="service", raises=(UserUnknownError,))
    async def contact(self, user_id: UserId) -> Contact:
        """Return how to write to a user."""
        ...


class UserWrite(Contract, version="1.0"):
    """Changing users."""

    @command(
        "/users", public=True, requires=ANYONE, status=201,
        raises=(EmailTakenError, WeakPasswordError, TooManyTriesError, SignUpByMailError),
        key_required=False, record=False,  # a record would hold a quick digest of the password; the address is the key
    )  # fmt: skip
    async def register(self, email: Email, password: NewPassword, name: VisibleText) -> User:
        """Register a customer. A shop that signs up by mail refuses; see `SignUps`."""
        ...

    @command(
        "/users/me", method="PATCH", public=True, requires="account:write", raises=(UserUnknownError,),
        key_required=False,
    )  # fmt: skip
    async def rename(self, name: VisibleText) -> User:
        """Change the name of the user who is signed in."""
        ...

    @command(
        "/users/me/password", method="PUT", public=True, requires="account:write", status=204, key_required=False,
        record=False,
        raises=(UserUnknownError, WrongPasswordError, WeakPasswordError, TooManyTriesError),
    )  # fmt: skip
    async def change_password(
        self,
        current: OfferedPassword,
        new: NewPassword,
        refresh_token: RefreshText | None = None,
        browser: BrowserMark | None = None,
    ) -> None:
        """Change the password of the user who is signed in, and sign them out everywhere else; a mail tells them.

        The session of `refresh_token` or `browser` goes on. Access tokens already issued last 15 minutes at most. A
        repeat finds the password changed and is refused: nothing of a password is kept to know the repeat by.
        """
        ...

    @command(
        "/users/me/deletion", public=True, requires="account:write", status=204, key_required=False, record=False,
        raises=(UserUnknownError, WrongPasswordError, LastAdminError, TooManyTriesError),
    )  # fmt: skip
    async def delete_account(self, password: OfferedPassword) -> None:
        """Delete the account of the user who is signed in, for good.

        Name, address of mail, preferences, cart and sessions are erased; the address can be registered again. Orders
        stay as they are, under the number of the user. Access tokens already issued last 15 minutes at most.
        """
        ...

    @command(
        "/users/me/preferences", method="PUT", public=True, requires="account:write", raises=(UserUnknownError,),
        key_required=False,
    )  # fmt: skip
    async def prefer(self, language: Language = "en", theme: Theme = "auto") -> Preferences:
        """Set how the user who is signed in likes the shop."""
        ...


class UserAdmin(Contract, version="1.0"):
    """Administering users."""

    @query("/users", public=True, requires="users:read", raises=(BadCursorError,))
    async def users(
        self,
        search: SearchText | None = None,
        role: Role | None = None,
        active: bool | None = None,  # noqa: FBT001 - a field of the query string
        limit: PageSize = 20,
        cursor: Cursor | None = None,
    ) -> UserPage:
        """List users that fit everything given, oldest first; `search` is a part of a name or of an address."""
        ...

    @query("/users/{user_id}", public=True, requires="users:read", raises=(UserUnknownError,))
    async def user(self, user_id: UserId) -> User:
        """Return a user."""
        ...

    @query("/users-by-address/{email}", requires="users:read")
    async def user_with(self, email: Email) -> User | None:
        """Return who has registered with an address. None: nobody."""
        ...

    @query("/users/{user_id}/changes", public=True, requires="users:read", raises=(UserUnknownError, BadCursorError))
    async def user_changes(self, user_id: UserId, limit: PageSize = 20, cursor: Cursor | None = None) -> UserChanges:
        """List who granted and withdrew what of a user, and closed or opened the account, newest first."""
        ...

    @command("/roles", public=True, requires="users:grant", raises=(UserUnknownError,), key_required=False)
    async def grant(self, email: Email, role: Role) -> User:
        """Give a user a role. It holds from the next sign-in or refresh on."""
        ...

    @command(
        "/roles/withdrawals", public=True, requires="users:grant", raises=(UserUnknownError, LastAdminError),
        key_required=False,
    )  # fmt: skip
    async def withdraw(self, email: Email, role: Role) -> User:
        """Take a role from a user, and end all their sessions. Access tokens already issued last 15 minutes at most."""
        ...

    @command(
        "/users/{user_id}/deactivation", public=True, requires="users:close", raises=(UserUnknownError, LastAdminError),
        key_required=False,
    )  # fmt: skip
    async def deactivate(self, user_id: UserId, reason: Reason) -> User:
        """Close an account: nobody signs in with it, and its sessions, API keys and what apps may do for it end.

        They stay ended when it is opened again. Orders and the address stay: they belong to the shop's books.
        """
        ...

    @command(
        "/users/{user_id}/deactivation", method="DELETE", public=True, requires="users:close",
        raises=(UserUnknownError,), key_required=False,
    )  # fmt: skip
    async def reactivate(self, user_id: UserId) -> User:
        """Open an account again. One that is open stays so."""
        ...
