"""What guards the accounts: how often passwords are tried in vain, and how many accounts come from one place."""

from ipaddress import ip_network
from typing import Final

from archstone import context
from archstone.resilience import RateLimit
from archstone.security import Attempts

__all__ = ["Guard"]

_NEW: Final = RateLimit(0.2, burst=20)
"""New accounts from one place, which may be a whole office: twenty at once, then one in five seconds."""


class Guard:
    """Made once per run."""

    def __init__(self) -> None:
        self.passwords = Attempts("exchange passwords")
        self._new = _NEW.bind("exchange accounts")

    def take_new(self) -> None:
        """Count a new account. RateLimitedError: too many came from there."""
        if where := place():
            self._new.take(where)


def place() -> str:
    """Return where the running request comes from; empty where that says nothing: not known, or this machine."""
    where = context.whence()
    try:
        return "" if ip_network(where, strict=False).is_loopback else where
    except ValueError:
        return ""
