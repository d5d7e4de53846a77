"""How an OAuth server is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from archstone.resilience import RateLimit, check

__all__ = ["OIDC_SCOPES", "OAuthSettings", "is_loopback"]

OIDC_SCOPES: Final[Mapping[str, str]] = {
    "openid": "Know that it is you",
    "profile": "Know your name",
    "email": "Know your e-mail address",
}
"""Those of OpenID Connect, in words for the person who is asked."""

_ASKING: Final = RateLimit(20, burst=100)
_GUESSING: Final = RateLimit(0.1, burst=10)


def is_loopback(host: str | None) -> bool:
    """Return whether a host name is this machine."""
    return host in {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """Who issues, for whom, what may be asked for, and for how long everything lives."""

    issuer: str
    """Address under which the server is mounted, without a slash at its end. https, except on this machine."""
    audience: str
    """Whom access tokens are for: the API."""
    scopes: Mapping[str, str] = field(default_factory=dict[str, str])
    """What may be asked for, by name, in words for the person who is asked. Those of OpenID Connect are there."""
    roles: frozenset[str] = frozenset()
    """Roles of a person that tokens may carry: what others do in somebody's name is less than what they may."""
    code_s: float = 60.0
    """Seconds that an authorization code is good for, once. In (0, 600]."""
    asking_s: float = 600.0
    """Seconds from the request of a client to the decision of the person, signing in included. In (0, 3600]."""
    access_s: int = 900
    """Whole seconds that an access token is good for. At least 1."""
    refresh_s: float = 7 * 86_400.0
    """Seconds that a refresh token is good for, once; each use gives the next. Above 0."""
    grant_s: float = 90 * 86_400.0
    """Seconds after which the person is asked again, however often it was refreshed. At least `refresh_s`."""
    id_token_s: int = 600
    """Whole seconds that an ID token is good for. At least 1."""
    device_s: float = 600.0
    """Seconds that a device waits for its person. In (0, 1800]."""
    device_interval_s: float = 5.0
    """Least seconds between two questions of a device; asked faster it grows by five. In [1, 60]."""
    refresh_list_s: float = 5.0
    """Seconds between two looks at the list of revoked tokens, where processes share it. Above 0."""
    stale_list_s: float = 30.0
    """Seconds without an answer about it after which no token is accepted. Above `refresh_list_s`."""
    require_state: bool = True
    """Whether a request without `state` is refused."""
    registration: bool = False
    """Whether anybody may register a client (RFC 7591)."""
    most_clients: int = 1_000
    """Clients at most. At least 1."""
    most_pending: int = 10_000
    """Requests that wait for a person, and likewise devices. At least 1."""
    asking: RateLimit = _ASKING
    """Requests from one address."""
    guessing: RateLimit = _GUESSING
    """Codes of devices that one person tries, and wrong secrets from one address: eight letters must not be found."""

    def __post_init__(self) -> None:
        """Check all settings at once."""
        place = urlsplit(self.issuer)
        fits = place.scheme == "https" or (place.scheme == "http" and is_loopback(place.hostname))
        plain = not (place.query or place.fragment or place.username or self.issuer.endswith("/"))
        names = all(
            name and name.isascii() and name.isprintable() and not {" ", '"', "\\"} & set(name) for name in self.scopes
        )
        check(
            self,
            issuer=(bool(fits and plain and place.hostname), "an https address without a slash at its end"),
            audience=(bool(self.audience), "not empty"),
            scopes=(names, "named by printable ASCII without blanks and quotes"),
            code_s=(0 < self.code_s <= 600, "in (0, 600]"),
            asking_s=(0 < self.asking_s <= 3_600, "in (0, 3600]"),
            access_s=(self.access_s >= 1, "at least 1"),
            refresh_s=(self.refresh_s > 0, "above 0"),
            grant_s=(self.grant_s >= self.refresh_s, "at least refresh_s"),
            id_token_s=(self.id_token_s >= 1, "at least 1"),
            device_s=(0 < self.device_s <= 1_800, "in (0, 1800]"),
            device_interval_s=(1 <= self.device_interval_s <= 60, "in [1, 60]"),
            refresh_list_s=(self.refresh_list_s > 0, "above 0"),
            stale_list_s=(self.stale_list_s > self.refresh_list_s, "above refresh_list_s"),
            most_clients=(self.most_clients >= 1, "at least 1"),
            most_pending=(self.most_pending >= 1, "at least 1"),
        )

    @property
    def words(self) -> Mapping[str, str]:
        """Every scope in words."""
        return {**OIDC_SCOPES, **self.scopes}
