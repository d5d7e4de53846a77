"""What was proved, sealed, for whoever carries it from one request to the next: nothing of it is kept here.

A ticket says for what it is, about whom, and until when. It opens only as what it was made for. What makes one good for
one use is in what it says: the password that it was made for, or a ceremony that is noted once it is answered.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Final, Literal, cast

from archstone import world
from archstone.errors import BackendError
from archstone.security import SealRing
from archstone.systems.shop.users.proving import TicketError

__all__ = ["CEREMONY_S", "EMAIL_S", "OFFER_S", "PROOF_S", "RESET_S", "SIGN_IN_S", "Tickets", "digest"]

SIGN_IN_S: Final = 300
"""Seconds for typing a code after the password."""
CEREMONY_S: Final = 300
"""Seconds for answering with a passkey."""
OFFER_S: Final = 600
"""Seconds for setting up an app."""
PROOF_S: Final = 600
"""Seconds for which somebody who has proved who they are is not asked again."""
RESET_S: Final = 600
"""Seconds for which the link of a mail is good."""
EMAIL_S: Final = 3_600
"""Seconds for which links to prove an address are good: people have to look for them."""
_MICROS: Final = 1_000_000

Purpose = Literal["sign-in", "proof", "totp-offer", "new-passkey", "passkey", "reset", "email", "email-undo", "sign-up"]


class Tickets:
    """Seals and opens tickets."""

    def __init__(self, ring: SealRing) -> None:
        self._ring = ring

    def issue(self, purpose: Purpose, lifetime_s: int, **facts: str) -> str:
        """Return a ticket that says `facts` for so many seconds."""
        told = json.dumps({**facts, "until": world.now_us() + lifetime_s * _MICROS})
        sealed = self._ring.seal(told.encode(), context=f"ticket/{purpose}")
        return base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def read(self, purpose: Purpose, ticket: str) -> Mapping[str, str]:
        """Return what a ticket says.

        Raises:
            TicketError: it was not made here for this purpose, or its time is over.
        """
        try:
            sealed = base64.b64decode(ticket + "=" * (-len(ticket) % 4), altchars=b"-_", validate=True)
            told = cast("dict[str, str]", json.loads(self._ring.open(sealed, context=f"ticket/{purpose}")))
        except (ValueError, BackendError) as error:
            raise TicketError from error
        if world.now_us() >= int(told["until"]):
            raise TicketError
        return told


def digest(text: str) -> str:
    """Return what tells whether a stored hash is still the same, without telling it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
