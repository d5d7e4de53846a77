"""Access tokens: short-lived JSON Web Tokens that say who asks, signed with HMAC-SHA-256.

A token carries issuer, audience, subject, roles, id, times, and the id of its key. Verifying accepts one algorithm
and one type only, so that neither `none` nor a token made for another use passes. A token that was verified is
remembered until it expires (a bounded number of them), since the same one comes with each request of its bearer.

It cannot be taken back before it expires: keep the lifetime short, or hand in `is_revoked`. To stay signed in, use
`RefreshTokens`. Source: RFC 7519, RFC 8725 (best practice), RFC 9068 (profile for access tokens).
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from archstone import world
from archstone.context import Principal
from archstone.errors import ConfigError
from archstone.security.errors import TokenError, TokenExpiredError
from archstone.security.keys import SigningKeys

try:
    from joserfc import jwt
    from joserfc.errors import ExpiredTokenError
    from joserfc.jwk import GuestProtocol, OctKey
except ImportError as error:  # pragma: no cover - the core is installed without it
    message = "archstone.security needs joserfc: pip install 'archstone[security]'"
    raise ImportError(message, name="joserfc") from error

__all__ = ["AccessToken", "Claims", "Tokens"]

_ALGORITHM: Final = "HS256"
_LENGTH_LIMIT: Final = 4_096
_MICROS: Final = 1_000_000


class AccessToken(NamedTuple):
    """A token that has just been issued."""

    text: str
    """What the bearer sends."""
    expires_in_s: int
    """Seconds until it is refused."""


class Claims(NamedTuple):
    """What a verified token says."""

    principal: Principal
    token_id: str
    issued_us: int
    """Microseconds since the epoch, to the second."""
    expires_us: int
    """The first microsecond at which it is refused."""


class Tokens:
    """Issues and verifies the tokens of one issuer for one audience."""

    def __init__(
        self,
        keys: SigningKeys,
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
            keys: The newest signs, all verify.
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
        self._keys = {name: OctKey.import_key(key) for name, key in keys.by_id().items()}
        self._signer = next(iter(self._keys))
        self._header = {"alg": _ALGORITHM, "kid": self._signer, "typ": kind}
        self._issuer = issuer
        self._audience = audience
        self._kind = kind
        self._registry = _registry(issuer, audience)
        self._limit = remembered
        self._is_revoked = is_revoked
        self._seen: dict[str, Claims] = {}

    def issue(self, principal: Principal) -> AccessToken:
        """Return a token for somebody who has signed in; its roles are those of this moment.

        Raises:
            ConfigError: `principal` is nobody.
        """
        if not principal.signed_in:
            raise ConfigError("Tokens.issue: a token for nobody; sign the user in first")
        now = world.now_us() // _MICROS
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": principal.id,
            "roles": sorted(principal.roles),
            "jti": world.new_id(),
            "iat": now,
            "exp": now + self.lifetime_s,
        }
        text = jwt.encode(self._header, claims, self._keys[self._signer], algorithms=[_ALGORITHM])
        return AccessToken(text, self.lifetime_s)

    def verify(self, text: str) -> Claims:
        """Return what a token says.

        Raises:
            TokenExpiredError: Its time is over.
            TokenError: It is not ours, not for this audience or use, changed, or revoked. The reason names what is
                wrong and never quotes the token.
        """
        claims = self._seen.get(text)
        if claims is None:
            claims = self._verified(text)
            self._remember(text, claims)
        elif world.now_us() >= claims.expires_us:
            del self._seen[text]
            raise TokenExpiredError
        if self._is_revoked is not None and self._is_revoked(claims):
            raise TokenError("it has been revoked")
        return claims

    def _verified(self, text: str) -> Claims:
        if len(text) > _LENGTH_LIMIT:
            raise TokenError(f"it has {len(text)} characters, limit {_LENGTH_LIMIT}")
        try:
            token = jwt.decode(text, self._key_for, algorithms=[_ALGORITHM])
            self._registry.validate(token.claims)
        except ExpiredTokenError:
            raise TokenExpiredError from None
        except TokenError:
            raise
        except Exception as error:  # noqa: BLE001  a text that breaks the parser (deep nesting) is a bad token too
            raise TokenError(_reason(error)) from None
        if token.header.get("typ") != self._kind:
            raise TokenError("it was made for another use")
        return _claims(token.claims)

    def _key_for(self, token: GuestProtocol) -> OctKey:
        """Return the key that a token names. One that names none is not ours, though we may have but one key."""
        key = self._keys.get(str(token.headers().get("kid")))
        if key is None:
            raise TokenError("its key is not one of ours")
        return key

    def _remember(self, text: str, claims: Claims) -> None:
        if self._limit == 0:
            return
        if len(self._seen) >= self._limit:
            # The oldest goes: it is the next to expire, or near it, since all live equally long.
            del self._seen[next(iter(self._seen))]
        self._seen[text] = claims


def _registry(issuer: str, audience: str) -> jwt.JWTClaimsRegistry:
    needed: jwt.ClaimsOption = {"essential": True}
    return jwt.JWTClaimsRegistry(
        now=lambda: world.now_us() // _MICROS,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        sub=needed,
        jti=needed,
        iat=needed,
        exp=needed,
    )


def _claims(claims: dict[str, Any]) -> Claims:
    roles: object = claims.get("roles", [])
    if not isinstance(roles, list):
        raise TokenError("its roles are no list")
    names = cast("list[object]", roles)
    if not all(isinstance(name, str) for name in names):
        raise TokenError("its roles are no names")
    return Claims(
        Principal(str(claims["sub"]), frozenset(str(name) for name in names)),
        str(claims["jti"]),
        int(claims["iat"]) * _MICROS,
        int(claims["exp"]) * _MICROS,
    )


def _reason(error: Exception) -> str:
    """Return a reason that quotes nothing of the token: the library's name of the error, in words."""
    kind = getattr(error, "error", "") or "malformed"
    return f"it does not hold ({kind.replace('_', ' ')})"
