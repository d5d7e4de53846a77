"""The principal of a call, signed, as it travels from process to process of one system.

`PrincipalAssertions` is the `PrincipalCodec` of services over HTTP: a process writes who asks, another one that has
the same key file believes it. An assertion lives for a minute; it is signed once per principal and half minute, and
verified once per text, so that a call pays for two look-ups. It is not for the outside: the gateway never accepts it.

Who acts in the principal's name goes with it (`Principal.by`, by its id), so that it is on record wherever the work is
done. Scopes, and how often a program may come, do not: they are asked for at the front door.
"""

from archstone import world
from archstone.context import NOBODY, Principal, Program
from archstone.security.keys import SigningKeys
from archstone.security.tokens import Tokens

__all__ = ["PrincipalAssertions"]

_NOBODY_TEXT = "-"


class PrincipalAssertions:
    """Writes and reads principals for other processes of the same system."""

    def __init__(self, keys: SigningKeys, *, system: str, lifetime_s: int = 60, remembered: int = 10_000) -> None:
        """Take the keys that all processes of the system share.

        Args:
            keys: As `KeyFile.load` gives them.
            system: Name of the system; another system's assertions are refused.
            lifetime_s: Whole seconds an assertion is good for, at least 2.
            remembered: Principals, and texts, kept at most.
        """
        self._tokens = Tokens(
            keys,
            issuer=f"archstone:{system}",
            audience=f"archstone:{system}:internal",
            kind="principal+jwt",
            lifetime_s=lifetime_s,
            remembered=remembered,
        )
        self._limit = remembered
        self._written: dict[Principal, tuple[str, int]] = {}

    def encode(self, principal: Principal) -> str:
        """Return the principal as signed text that is good for at least half the lifetime."""
        if not principal.signed_in:
            return _NOBODY_TEXT
        now_us = world.now_us()
        written = self._written.get(principal)
        if written is not None and now_us < written[1]:
            return written[0]
        if written is None and len(self._written) >= self._limit:
            del self._written[next(iter(self._written))]
        text = self._tokens.issue(principal, actor="" if principal.by is None else principal.by.id).text
        self._written[principal] = (text, now_us + self._tokens.lifetime_s * 500_000)
        return text

    def decode(self, text: str) -> Principal:
        """Return the principal.

        Raises:
            TokenExpiredError: It was written longer ago than the lifetime.
            TokenError: No process of this system wrote it.
        """
        if text == _NOBODY_TEXT:
            return NOBODY
        claims = self._tokens.verify(text)
        return claims.principal._replace(by=Program(claims.actor)) if claims.actor else claims.principal
