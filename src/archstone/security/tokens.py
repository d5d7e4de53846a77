"""Access tokens: short-lived JSON Web Tokens that say who asks, signed by one issuer for one audience.

A token carries issuer, audience, subject, roles or scopes, id, times, and the id of its key. Verifying accepts the
algorithm of that key and one type only, so that neither `none` nor a token made for another use passes. A token that
was verified is remembered by its hash, a bounded number of them and never beyond its end, since the same one comes with
each request of its bearer; whether it was revoked is asked each time.

It cannot be taken back before it expires unless `is_revoked` is given (see `Revocations`). To stay signed in, use
`RefreshTokens`. Source: RFC 7519, RFC 8725 (best practice), RFC 9068 (profile for access tokens).
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple

from archstone import world
from archstone.context import Principal
from archstone.errors import ConfigError
from archstone.security.claims import Claims, Expected
from archstone.security.errors import TokenError, TokenExpiredError
from archstone.security.jws import LONGEST, Opener, sign, unverified_key_id
from archstone.security.keyring import KeyRing
from archstone.security.keys import SigningKeys

__all__ = ["AccessToken", "Claims", "Tokens"]

_MICROS: Final = 1_000_000
_HEADERS_REMEMBERED: Final = 64


class AccessToken(NamedTuple):
    """A token that has just been issued."""

    text: str
    """What the bearer sends."""
    expires_in_s: int
    """Seconds until it is refused."""
    token_id: str = ""
    """Its `jti`."""


class Tokens:
    """Issues and verifies the tokens of one issuer for one audience."""

    def __init__(
        self,
        keys: SigningKeys | KeyRing,
        *,
        issuer: str,
        audience: str,
        lifetime_s: int = 900,
        kind: str = "at+jwt",
        remembered: int = 10_000,
        is_revoked: Callable[[Claims], bool] | None = None,
    ) -> None:
        """Take the keys; nothing is read or written.

        Args:
            keys: Those that this system shares (HS256), or a ring (HS256, RS256, ES256, EdDSA).
            issuer: Who signs; a token of another issuer is refused.
            audience: Whom it is for; a token for another audience is refused.
            lifetime_s: Whole seconds a token is good for, at least 1.
            kind: The `typ` of the header; a token of another kind is refused.
            remembered: Verified tokens kept at most, at least 0.
            is_revoked: Asked at each verification, also of a remembered token. Quick, does not wait.
        """
        if not lifetime_s >= 1:
            raise ConfigError(f"Tokens: lifetime_s={lifetime_s} must be at least 1")
        self.lifetime_s = lifetime_s
        self._expected = Expected(issuer=issuer, audience=audience, kind=kind)
        self._limit = remembered
        self._is_revoked = is_revoked
        self._seen: dict[bytes, tuple[Claims, int]] = {}
        self.use(keys)

    def use(self, keys: SigningKeys | KeyRing) -> None:
        """Sign and verify with these keys from now on: after a rotation. What was remembered is verified again."""
        self.ring: KeyRing = keys if isinstance(keys, KeyRing) else KeyRing.of(keys)
        self._keys = self.ring.by_id()
        self._opener = Opener(self._keys)
        self._seen.clear()
        self._named: dict[str, bool] = {}

    def refuse(self, is_revoked: Callable[[Claims], bool]) -> None:
        """Ask `is_revoked` at each verification from now on, where what is revoked is known only after these tokens."""
        self._is_revoked = is_revoked

    def knows(self, text: str) -> bool:
        """Return whether a token names one of our keys: then it is ours to judge. It proves nothing."""
        header = text[:LONGEST].partition(".")[0]
        known = self._named.get(header)
        if known is None:
            if len(self._named) >= _HEADERS_REMEMBERED:
                self._named.clear()
            known = self._named[header] = unverified_key_id(header) in self._keys
        return known

    def issue(
        self,
        principal: Principal,
        *,
        scopes: Iterable[str] | None = None,
        audience: str | None = None,
        lifetime_s: int | None = None,
        client_id: str = "",
        grant: str = "",
        actor: str = "",
    ) -> AccessToken:
        """Return a token for somebody who has signed in; its roles are those of this moment.

        Args:
            principal: Whose it is.
            scopes: All that may be done with it. None: what the principal may do.
            audience: None: that of these tokens.
            lifetime_s: Whole seconds, at least 1. None: that of these tokens.
            client_id: The OAuth client that it is given to; empty: to none.
            grant: What it goes back to; see `Claims.grant`.
            actor: Who acts for the principal; empty: nobody else.

        Raises:
            ConfigError: `principal` is nobody.
        """
        if not principal.signed_in:
            raise ConfigError("Tokens.issue: a token for nobody; sign the user in first")
        now = world.now_us() // _MICROS
        lives_s = self.lifetime_s if lifetime_s is None else lifetime_s
        claims: dict[str, Any] = {
            "iss": self._expected.issuer,
            "aud": audience or self._expected.audience,
            "sub": principal.id,
            "roles": sorted(principal.roles),
            "jti": world.new_id(),
            "iat": now,
            "nbf": now,
            "exp": now + lives_s,
        }
        if scopes is not None:
            claims["scope"] = " ".join(sorted(scopes))
        claims |= {name: text for name, text in (("client_id", client_id), ("grant", grant)) if text}
        if actor:
            claims["act"] = {"sub": actor}
        return AccessToken(self.signed(claims, kind=self._expected.kind), lives_s, claims["jti"])

    def signed(self, claims: dict[str, Any], *, kind: str) -> str:
        """Return claims as a token of some kind, signed by the key of this moment. Nothing is added to them."""
        key = self.ring.signer()
        return sign({"alg": key.algorithm, "kid": key.id, "typ": kind}, claims, key.key)

    def verify(self, text: str) -> Claims:
        """Return what a token says.

        Raises:
            TokenExpiredError: Its time is over.
            TokenError: It is not ours, not for this audience or use, changed, or revoked. The reason names what is
                wrong and never quotes the token.
        """
        if len(text) > LONGEST:
            raise TokenError(f"it has {len(text)} characters, limit {LONGEST}")
        try:
            raw = text.encode("ascii")
        except UnicodeEncodeError:
            raise TokenError("it is malformed") from None
        # By its hash: of two texts that hash alike nobody knows a pair, and none is kept in the clear.
        mark = sha256(raw).digest()
        found = self._seen.get(mark)
        if found is None:
            claims = self._verified(raw, mark)
        else:
            claims, until_us = found
            if world.now_us() >= until_us:
                del self._seen[mark]
                raise TokenExpiredError
        if self._is_revoked is not None and self._is_revoked(claims):
            raise TokenError("it has been revoked")
        return claims

    def _verified(self, raw: bytes, mark: bytes) -> Claims:
        header, said = self._opener.open(raw)
        ends_us = header.key.until_us
        if ends_us is not None and world.now_us() >= ends_us:
            raise TokenError("its key is not one of ours any more")
        claims = self._expected.claims(header.kind, said)
        if self._limit:
            if len(self._seen) >= self._limit:
                # The oldest goes: it is the next to expire, or near it, since all live equally long.
                del self._seen[next(iter(self._seen))]
            self._seen[mark] = claims, claims.expires_us if ends_us is None else min(claims.expires_us, ends_us)
        return claims
