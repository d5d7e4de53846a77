"""Headers that keep a browser from doing more with a page than its author meant: policy with nonces, HSTS, isolation.

    app.add_middleware(SecureHeaders, headers=SecurityHeaders())
    ...
    <script nonce="{{ request.state.csp_nonce }}">…</script>

Promise: every answer carries them, errors of the application too; what the application sets itself it keeps. A nonce is
drawn anew for each request. `Strict-Transport-Security` goes out over TLS alone. A policy that would let scripts in
that nobody has vouched for (`'unsafe-inline'`, `'unsafe-eval'`, `*`, `data:`) is refused when it is made.
Do not keep pages with a nonce in a cache that others read from: a nonce that is known in advance guards nothing.

Source: W3C, Content Security Policy Level 3; OWASP Secure Headers Project. We differ from much advice in that we do not
send `X-XSS-Protection`: browsers have removed what it steered, and where it was left it leaked more than it held back.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from archstone import world
from archstone.errors import ConfigError
from archstone.security.http.asgi import App, Message, Receive, Scope, Send, is_https

__all__ = ["NONCE", "STRICT", "SecureHeaders", "SecurityHeaders", "nonce_of"]

NONCE: Final = "'nonce-{nonce}'"
"""In a directive of the policy: whatever the page has marked with the nonce of this request."""
STRICT: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "default-src": ("'none'",),
        "script-src": ("'self'", NONCE),
        "style-src": ("'self'", NONCE),
        "img-src": ("'self'", "data:"),
        "font-src": ("'self'",),
        "connect-src": ("'self'",),
        "form-action": ("'self'",),
        "frame-ancestors": ("'none'",),
        "base-uri": ("'none'",),
    }
)
"""What a page may load: from itself, and what it marks. `default-src 'none'` holds for all that is not named."""
_NONCE_BYTES: Final = 16
_SCRIPTS: Final = frozenset({"script-src", "script-src-elem", "script-src-attr", "style-src", "object-src"})
_WEAK: Final = frozenset(
    {"'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "*", "data:", "blob:", "http:", "https:"}
)
_SOURCE: Final = re.compile(r"[^\s;,]+")
_FEATURES: Final = (
    "accelerometer", "camera", "geolocation", "gyroscope", "magnetometer", "microphone", "payment", "usb",
)  # fmt: skip
_STATE: Final = "csp_nonce"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityHeaders:
    """What is sent with every answer."""

    policy: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: STRICT)
    """Content-Security-Policy: directives with their sources, in which `NONCE` stands for that of the request."""
    report_to: str | None = None
    """Path to which browsers report what the policy held back. None: nowhere."""
    hsts_s: int = 31_536_000
    """How long browsers shall come over TLS only, seconds. 0: they forget it."""
    hsts_subdomains: bool = True
    """Whether hosts below this one are meant, too."""
    hsts_preload: bool = False
    """Whether the host may be put into browsers' lists. Hard to take back, so never by itself."""
    referrer: str = "strict-origin-when-cross-origin"
    """Of the address of a page, what others are told of which somebody has come from it."""
    denied_features: tuple[str, ...] = _FEATURES
    """What neither a page nor what it embeds may use."""
    opener: str | None = "same-origin"
    """Cross-Origin-Opener-Policy: no window of another origin gets a hold of ours. None: not sent."""
    resource: str | None = "same-origin"
    """Cross-Origin-Resource-Policy: no page of another origin may embed an answer. None: not sent, as for a CDN."""
    embedder: str | None = None
    """Cross-Origin-Embedder-Policy, such as `require-corp`: needed for shared memory, and breaks embedding what has not
    agreed. None: not sent."""

    def __post_init__(self) -> None:
        faults = [*_policy_faults(self.policy)]
        if self.hsts_s < 0:
            faults.append(f"hsts_s={self.hsts_s} must be at least 0")
        if self.hsts_preload and not (self.hsts_subdomains and self.hsts_s >= 31_536_000):
            faults.append("hsts_preload asks for hsts_subdomains and a year")
        texts = [self.referrer, self.opener or "", self.resource or "", self.embedder or "", self.report_to or ""]
        faults += [f"{each!r} cannot stand in a header" for each in texts if not each.isascii() or "\n" in each]
        if faults:
            raise ConfigError(f"security headers: {'; '.join(faults)}")

    @property
    def csp(self) -> str:
        """The text of the policy, with `{nonce}` where that of the request belongs."""
        told = [f"{name} {' '.join(sources)}".strip() for name, sources in self.policy.items()]
        return "; ".join([*told, *([f"report-uri {self.report_to}"] if self.report_to else [])])

    def pairs(self, *, https: bool) -> list[tuple[bytes, bytes]]:
        """Return all of them but the policy, names in lower case."""
        told: list[tuple[str, str | None]] = [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),  # for browsers older than frame-ancestors
            ("referrer-policy", self.referrer),
            ("permissions-policy", ", ".join(f"{each}=()" for each in self.denied_features)),
            ("cross-origin-opener-policy", self.opener),
            ("cross-origin-resource-policy", self.resource),
            ("cross-origin-embedder-policy", self.embedder),
        ]
        if https:
            more = ("; includeSubDomains" if self.hsts_subdomains else "") + ("; preload" if self.hsts_preload else "")
            told.append(("strict-transport-security", f"max-age={self.hsts_s}{more}"))
        return [(name.encode(), value.encode("ascii")) for name, value in told if value]


class SecureHeaders:
    """An ASGI application whose answers carry `SecurityHeaders`."""

    def __init__(self, app: App, headers: SecurityHeaders | None = None) -> None:
        """Stand in front of `app`; None: all defaults."""
        self._app = app
        headers = headers or SecurityHeaders()
        self._policy = headers.csp
        self._plain = headers.pairs(https=False)
        self._secure = headers.pairs(https=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = base64.urlsafe_b64encode(world.secret_bytes(_NONCE_BYTES)).rstrip(b"=").decode()
        scope.setdefault("state", {})[_STATE] = nonce
        extra = [
            *(self._secure if is_https(scope) else self._plain),
            (b"content-security-policy", self._policy.replace("{nonce}", nonce).encode("ascii")),
        ]

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-powered-by"]
                named = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(pair for pair in extra if pair[0] not in named)]
            await send(message)

        await self._app(scope, receive, guarded)


def nonce_of(scope: Scope) -> str:
    """Return the nonce of a request, for the attribute `nonce` of scripts and styles; `request.state.csp_nonce`, too.

    Raises:
        ConfigError: `SecureHeaders` does not stand in front.
    """
    try:
        return str(scope["state"][_STATE])
    except KeyError:
        raise ConfigError("no nonce: put SecureHeaders in front of the application") from None


def _policy_faults(policy: Mapping[str, tuple[str, ...]]) -> list[str]:
    needed = ("default-src", "base-uri", "frame-ancestors")
    faults = [f"policy: {each} is missing" for each in needed if each not in policy]
    for name, sources in policy.items():
        wrong = [each for each in sources if not _SOURCE.fullmatch(each) or not each.isascii()]
        weak = sorted(_WEAK.intersection(sources)) if name in _SCRIPTS or name == "default-src" else []
        faults += [f"policy: {name} {each!r} cannot stand in a header" for each in wrong]
        faults += [f"policy: {name} {each} lets in what nobody has vouched for: mark it with NONCE" for each in weak]
    return faults
