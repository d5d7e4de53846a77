"""What happens to accounts that others want to hear of."""

from datetime import datetime
from typing import Literal

from archstone.data import Event
from archstone.systems.shop.values import UserId

__all__ = [
    "AccountDeleted",
    "EmailChangeAsked",
    "EmailChanged",
    "PasswordChanged",
    "PasswordResetAsked",
    "SecurityChange",
    "SecurityChanged",
    "SignUpAsked",
]

SecurityChange = Literal["totp-added", "totp-removed", "codes-renewed", "code-used", "passkey-added", "passkey-removed"]


class PasswordChanged(Event, name="users.password-changed", version=1, key="user_id"):
    """Somebody who knew the password has set another one. All other sessions have ended."""

    user_id: UserId
    at: datetime


class AccountDeleted(Event, name="users.account-deleted", version=1, key="user_id"):
    """Somebody has deleted their account. Whoever knows more of them than the law wants kept is to forget it."""

    user_id: UserId
    email: str
    """The address until now, to find what is kept under it. It can be registered again, by anybody."""
    at: datetime


class SecurityChanged(Event, name="users.security-changed", version=1, key="user_id"):
    """A second factor of somebody has changed, or a backup code was used: they are to know, in case it was not them."""

    user_id: UserId
    what: SecurityChange
    at: datetime


class EmailChangeAsked(Event, name="users.email-change-asked", version=1, key="user_id"):
    """Somebody wants another address of mail. Whether it can be theirs is not looked at yet."""

    user_id: UserId
    email: str
    """The new one."""
    at: datetime


class EmailChanged(Event, name="users.email-changed", version=1, key="user_id"):
    """An account has another address of mail, whose mail its owner reads. All sessions have ended."""

    user_id: UserId
    old: str
    """Where the way back is sent."""
    new: str
    at: datetime


class PasswordResetAsked(Event, name="users.password-reset-asked", version=1, key="email"):
    """Somebody has asked for a link to set another password. Whether the address is known is not looked at yet."""

    email: str
    at: datetime


class SignUpAsked(Event, name="users.sign-up-asked", version=1, key="email"):
    """Somebody wants an account, where the shop writes to them first. Whether they have one is not looked at yet."""

    email: str
    at: datetime
