"""What happens to accounts that others want to hear of."""

from datetime import datetime

from archstone.data import Event
from archstone.systems.shop.values import UserId

__all__ = ["PasswordChanged"]


class PasswordChanged(Event, name="users.password-changed", version=1, key="user_id"):
    """Somebody who knew the password has set another one. All other sessions have ended."""

    user_id: UserId
    at: datetime
