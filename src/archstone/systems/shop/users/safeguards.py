"""What guards the accounts of the shop: keys, limits of tries, what second factors are made of. Made once per run."""

import hashlib
import hmac
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final

from archstone import context
from archstone.resilience import Limiter, RateLimit, SharedLimiter, SharedState
from archstone.security import Attempts, Passkeys, SealRing, SigningKeys, Totp
from archstone.systems.shop.users.tickets import Tickets

__all__ = ["Safeguards", "place"]

_RESET_MAILS: Final = RateLimit(1 / 600, burst=3)
"""Mails with a link, to one address: three at once, then one in ten minutes."""
_EMAIL_CHANGES: Final = RateLimit(1 / 600, burst=5)
"""Other addresses that one account asks for: five at once, then one in ten minutes."""
_SIGN_UPS: Final = RateLimit(0.5, burst=30)
"""New accounts from one place, which may be a whole office: thirty at once, then one in two seconds."""
_CODES: Final = (RateLimit(1 / 60, burst=4), RateLimit(30 / 3600, burst=19), RateLimit(50 / 86_400, burst=49))
"""Wrong codes of one account: after five a minute each, after twenty two, after fifty half an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguards:
    """Made once per run; opens and closes nothing."""

    keys: SigningKeys = field(repr=False)
    """Of a file of their own: they seal the secrets of apps, and tickets."""
    passkeys: Passkeys
    totp: Totp = field(default_factory=lambda: Totp("Archstone Shop"))
    shared: SharedState | None = None
    """Where failures, sign-ups and mails are counted for all processes; open it before. None: in this one."""
    admins_need_factor: bool = False
    """Whether administrators are none until they have a second factor."""
    sign_up_by_mail: bool = False
    """Whether accounts are made only for who reads mail at their address, so that nobody learns who has one."""
    ring: SealRing = field(init=False)
    tickets: Tickets = field(init=False)
    passwords: Attempts = field(init=False)
    codes: Attempts = field(init=False)
    reset_mails: "Limiter | SharedLimiter" = field(init=False)
    sign_ups: "Limiter | SharedLimiter" = field(init=False)
    email_changes: "Limiter | SharedLimiter" = field(init=False)

    def __post_init__(self) -> None:
        ring = SealRing(self.keys.keys)
        made = {
            "ring": ring,
            "tickets": Tickets(ring),
            "passwords": Attempts("passwords", shared=self.shared),
            "codes": Attempts("codes", account=_CODES, shared=self.shared),
            "reset_mails": _RESET_MAILS.bind("reset mails", store=self.shared),
            "sign_ups": _SIGN_UPS.bind("sign-ups", store=self.shared),
            "email_changes": _EMAIL_CHANGES.bind("changes of e-mail addresses", store=self.shared),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def place_mark(self, user_id: str, where: str) -> str:
        """Return under which name a place of a user is kept: whoever has the table learns no address from it."""
        # The oldest key: with a new one in front every place would be unknown.
        text = f"{user_id}/{where}".encode()
        return hmac.digest(self.keys.keys[-1], text, hashlib.sha256).hex()[:32]


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
