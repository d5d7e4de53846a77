"""What guards the accounts of the shop: keys, limits of tries, what second factors are made of. Made once per run."""

import hashlib
import hmac
from dataclasses import dataclass, field
from ipaddress import ip_network
from types import TracebackType
from typing import Final, Self

from archstone import context
from archstone.resilience import Limiter, RateLimit, SharedLimiter, SharedState
from archstone.security import Attempts, Passkeys, SealRing, SigningKeys, Totp
from archstone.systems.shop.users.tickets import Tickets

__all__ = ["Safeguards", "place", "take"]

_RESET_MAILS: Final = RateLimit(1 / 600, burst=3)
"""Mails with a link, to one address: three at once, then one in ten minutes."""
_SIGN_UPS: Final = RateLimit(0.5, burst=30)
"""New accounts from one place, which may be a whole office: thirty at once, then one in two seconds."""
_CODES: Final = (RateLimit(1 / 60, burst=4), RateLimit(30 / 3600, burst=19), RateLimit(50 / 86_400, burst=49))
"""Wrong codes of one account: after five a minute each, after twenty two, after fifty half an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguards:
    """Opened before the first service and closed after the last one."""

    keys: SigningKeys = field(repr=False)
    """Of a file of their own: they seal the secrets of apps, and tickets."""
    passkeys: Passkeys
    totp: Totp = field(default_factory=lambda: Totp("Archstone Shop"))
    shared: SharedState | None = None
    """Where failures, sign-ups and mails are counted for all processes. None: in this one."""
    admins_need_factor: bool = False
    """Whether administrators are none until they have a second factor."""
    ring: SealRing = field(init=False)
    tickets: Tickets = field(init=False)
    passwords: Attempts = field(init=False)
    codes: Attempts = field(init=False)
    reset_mails: "Limiter | SharedLimiter" = field(init=False)
    sign_ups: "Limiter | SharedLimiter" = field(init=False)

    def __post_init__(self) -> None:
        ring = SealRing(self.keys.keys)
        made = {
            "ring": ring,
            "tickets": Tickets(ring),
            "passwords": Attempts("passwords", shared=self.shared),
            "codes": Attempts("codes", account=_CODES, shared=self.shared),
            "reset_mails": self._bound(_RESET_MAILS, "reset mails"),
            "sign_ups": self._bound(_SIGN_UPS, "sign-ups"),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    async def __aenter__(self) -> Self:
        if self.shared is not None:
            await self.shared.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.shared is not None:
            await self.shared.__aexit__(kind, error, traceback)

    def _bound(self, limit: RateLimit, name: str) -> "Limiter | SharedLimiter":
        return limit.bind(name) if self.shared is None else limit.bind(name, store=self.shared)

    def place_mark(self, user_id: str, where: str) -> str:
        """Return under which name a place of a user is kept: whoever has the table learns no address from it."""
        # The oldest key: with a new one in front every place would be unknown.
        text = f"{user_id}/{where}".encode()
        return hmac.digest(self.keys.keys[-1], text, hashlib.sha256).hex()[:32]


async def take(limiter: "Limiter | SharedLimiter", key: str) -> None:
    """Count one more of what `key` does, here or for all processes. RateLimitedError: that would be too many."""
    if isinstance(limiter, Limiter):
        limiter.take(key)
    else:
        await limiter.take(key)


def place() -> str:
    """Return where the running request comes from; empty where that says nothing: not known, or this machine.

    Behind a proxy on this machine that `trusted_proxies` does not name everybody seems to be here: nobody is limited
    for what others do.
    """
    where = context.whence()
    try:
        return "" if ip_network(where, strict=False).is_loopback else where
    except ValueError:
        return ""
