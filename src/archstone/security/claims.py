"""What a token says, and whether it says it to us, for this use, and now.

Source: RFC 7519, section 4.1; RFC 9068 (access tokens); RFC 8725, sections 3.8 to 3.11.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from archstone import world
from archstone.context import Principal, Program
from archstone.security.errors import TokenError, TokenExpiredError

__all__ = ["Claims", "Expected", "scopes_of"]

_MICROS: Final = 1_000_000
_LATEST_S: Final = 1 << 40
"""No instant of a token is later: beyond it lie typing errors and overflows."""


class Claims(NamedTuple):
    """What a verified token says."""

    principal: Principal
    token_id: str
    issued_us: int
    """Microseconds since the epoch, to the second."""
    expires_us: int
    """The first microsecond at which it is refused."""
    client_id: str = ""
    """The OAuth client that it was given to; empty if to none."""
    grant: str = ""
    """What it goes back to: all tokens of one consent, or of one sign-in, name the same. Empty: nothing."""
    actor: str = ""
    """Who acts for the principal, after an exchange of tokens; empty: nobody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must say to be accepted."""

    issuer: str
    audience: str
    kind: str = "at+jwt"
    """The `typ`, in lower case."""
    leeway_s: float = 0.0
    """Seconds that the clocks of issuer and verifier may be apart. In [0, 60]."""

    def claims(self, kind: str, said: Mapping[str, Any]) -> Claims:
        """Return the claims of a token whose signature holds.

        Raises:
            TokenExpiredError: Its time is over.
            TokenError: Something else is wrong; no part of the token is quoted.
        """
        if kind != self.kind:
            raise TokenError("it was made for another use")
        if said.get("iss") != self.issuer:
            raise TokenError("another issuer made it")
        audience = said.get("aud")
        if audience != self.audience and not (isinstance(audience, list) and self.audience in audience):
            raise TokenError("it is for another audience")
        issued_us, expires_us = self._times(said)
        scope = said.get("scope")
        client_id = _text(said, "client_id") if "client_id" in said else ""
        scopes = None if scope is None else scopes_of(_text(said, "scope"))
        who = _text(said, "sub")
        app = f"client:{client_id}" if client_id else who
        return Claims(
            Principal(who, _roles(said), scopes, None if app == who else Program(app)),
            _text(said, "jti"),
            issued_us,
            expires_us,
            client_id,
            _text(said, "grant") if "grant" in said else "",
            _actor(said),
        )

    def _times(self, said: Mapping[str, Any]) -> tuple[int, int]:
        leeway_us, now_us = round(self.leeway_s * _MICROS), world.now_us()
        issued_us, expires_us = _instant(said, "iat"), _instant(said, "exp")
        if now_us >= expires_us + leeway_us:
            raise TokenExpiredError
        if issued_us > now_us + leeway_us:
            raise TokenError("it comes from the future")
        if "nbf" in said and _instant(said, "nbf") > now_us + leeway_us:
            raise TokenError("its time has not come")
        return issued_us, expires_us + leeway_us


def scopes_of(text: str) -> frozenset[str]:
    """Return the scopes of a text in which blanks part them."""
    return frozenset(text.split())


def _text(said: Mapping[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or (not found and name != "scope"):
        raise TokenError(f"its {name} is no text")
    return found


def _instant(said: Mapping[str, Any], name: str) -> int:
    found = said.get(name)
    if type(found) not in {int, float} or not 0 <= cast("float", found) < _LATEST_S:
        raise TokenError(f"its {name} is no instant")
    return int(cast("float", found) * _MICROS)


def _roles(said: Mapping[str, Any]) -> frozenset[str]:
    roles: object = said.get("roles", [])
    if not isinstance(roles, list):
        raise TokenError("its roles are no list")
    names = cast("list[object]", roles)
    if not all(isinstance(name, str) for name in names):
        raise TokenError("its roles are no names")
    return frozenset(cast("list[str]", names))


def _actor(said: Mapping[str, Any]) -> str:
    act: object = said.get("act")
    if act is None:
        return ""
    actor: object = cast("dict[str, object]", act).get("sub") if isinstance(act, dict) else None
    if not isinstance(actor, str):
        raise TokenError("its actor is nobody")
    return actor
