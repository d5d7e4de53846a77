"""Which other sites' pages may read our answers (CORS): exact origins, never what the request says.

    app.add_middleware(Cors, allow=Origins(("https://app.example.org",), credentials=True))

Promise: an origin that is not listed gets no header that would let it read, whatever it sends; `null` and patterns
cannot be listed; `*` never goes with credentials. `Vary: Origin` keeps caches from mixing answers up. A preflight is
answered here and is kept by browsers for `max_age_s`.
Not for keeping requests away: a page elsewhere can send simple ones without asking; see `SameOrigin`.

Source: WHATWG Fetch, CORS protocol.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from archstone.errors import ConfigError
from archstone.security.http.asgi import App, Message, Receive, Scope, Send, header_of

__all__ = ["Cors", "Origins", "check_origins"]

ANY: Final = "*"
_ORIGIN: Final = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """Return origins as they are.

    Raises:
        ConfigError: One is none, written as browsers write it: `https://app.example.org`, no path, no pattern.
    """
    found = tuple(origins)
    faults = [repr(each) for each in found if not _ORIGIN.fullmatch(each) or each.endswith((":80", ":443"))]
    if faults:
        raise ConfigError(
            f"origins: {', '.join(faults)}: write each as a browser does, such as https://app.example.org or "
            "http://localhost:3000: lower case, no path, no usual port, no pattern"
        )
    return found


@dataclass(frozen=True, slots=True)
class Origins:
    """Who may read, and what they may send."""

    origins: tuple[str, ...]
    """Exactly as browsers write them; `("*",)` for anybody, without credentials."""
    methods: tuple[str, ...] = field(kw_only=True, default=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
    headers: tuple[str, ...] = field(kw_only=True, default=("authorization", "content-type", "idempotency-key"))
    """Request headers beyond the plain ones."""
    exposed: tuple[str, ...] = field(kw_only=True, default=())
    """Answer headers that pages may read beyond the plain ones."""
    credentials: bool = field(kw_only=True, default=False)
    """Whether cookies go along and answers to them may be read."""
    max_age_s: int = field(kw_only=True, default=600)
    """How long a browser keeps the answer to a preflight, seconds. From 0 to 86,400; Chromium keeps 7,200 at most."""

    def __post_init__(self) -> None:
        faults: list[str] = []
        if self.origins == (ANY,):
            if self.credentials:
                faults.append("origins=* with credentials=True would let any site read what is whose: name the sites")
        else:
            check_origins(self.origins)
        words = (*self.methods, *self.headers, *self.exposed)
        faults += [f"{each!r} is no name" for each in words if not _TOKEN.fullmatch(each) or each == ANY]
        if not 0 <= self.max_age_s <= 86_400:
            faults.append(f"max_age_s={self.max_age_s} must be in [0, 86400]")
        if faults:
            raise ConfigError(f"CORS: {'; '.join(faults)}")

    def takes(self, origin: bytes | None) -> bytes | None:
        """Return what an answer says of the origin of its request; None: nothing."""
        if origin is None:
            return None
        if self.origins == (ANY,):
            return b"*"
        return next((each for each in (one.encode("ascii") for one in self.origins) if each == origin), None)


class Cors:
    """An ASGI application that some other sites may read."""

    def __init__(self, app: App, allow: Origins) -> None:
        """Stand in front of `app`."""
        self._app = app
        self._allow = allow
        self._preflight = [
            (b"access-control-allow-methods", ", ".join(allow.methods).encode()),
            (b"access-control-allow-headers", ", ".join(allow.headers).encode()),
            (b"access-control-max-age", b"%d" % allow.max_age_s),
        ]
        self._exposed = [(b"access-control-expose-headers", ", ".join(allow.exposed).encode())] if allow.exposed else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = self._told(header_of(scope, b"origin"))
        if scope["method"] == "OPTIONS" and header_of(scope, b"access-control-request-method") is not None:
            await self._answer_preflight(told, send)
            return

        async def readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [pair for pair in message.get("headers", ()) if not pair[0].startswith(b"access-control-")]
                more = [*told, *self._exposed] if told else []
                message["headers"] = [*own, *more, (b"vary", b"origin")]
            await send(message)

        await self._app(scope, receive, readable)

    def _told(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        found = self._allow.takes(origin)
        if found is None:
            return []
        told = [(b"access-control-allow-origin", found)]
        if self._allow.credentials:
            told.append((b"access-control-allow-credentials", b"true"))
        return told

    async def _answer_preflight(self, told: list[tuple[bytes, bytes]], send: Send) -> None:
        # What is asked for is not compared here: the browser does that with the lists, for what it knows of the page.
        vary = (b"vary", b"origin, access-control-request-method, access-control-request-headers")
        headers = [*told, *self._preflight, vary] if told else [vary]
        await send({"type": "http.response.start", "status": 204 if told else 403, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
