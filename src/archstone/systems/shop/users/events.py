"""What happens to accounts that others want to hear of."""

from datetime import datetime

from archstone.data import Event
from archstone.systems.shop.values import UserId

__all__ = ["AccountDeleted", "PasswordChanged"]


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
