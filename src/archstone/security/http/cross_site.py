"""Whether a request that changes something comes from our own pages (CSRF), by what a browser says of itself.

A browser says so twice: `Sec-Fetch-Site` by itself, and `Origin` with every POST. Both are looked at. A request with
neither comes from no browser of the last years, and is refused as well: programs have tokens. Cookies with
`SameSite=Lax` or `Strict` are the other half. Pages answer with a `Referrer-Policy` other than `no-referrer`: under
that a browser sends `Origin: null` even to ourselves.

    app.add_middleware(SameOrigin, trusted=("https://admin.example.org",))

Not for: APIs whose callers send a bearer token and no cookie, since no browser adds that by itself.

Source: OWASP, Cross-Site Request Forgery Prevention Cheat Sheet; W3C, Fetch Metadata Request Headers.
"""

from collections.abc import Mapping
from typing import Final

from archstone.errors import DeniedError
from archstone.security.http.asgi import SAFE, App, Receive, Scope, Send, header_of, is_https, refuse
from archstone.security.http.cors import check_origins

__all__ = ["CrossSiteError", "SameOrigin", "check_same_origin"]

_OWN: Final = frozenset({b"same-origin", b"none"})
"""`none`: the person asked for it, such as by restoring a tab. No page can cause it."""
_NAMES: Final = (b"host", b"origin", b"sec-fetch-site")


class CrossSiteError(DeniedError, code="security.cross-site", status=403):
    """The request does not come from our own pages. Nothing was done."""

    def __str__(self) -> str:
        return "the request does not come from a page of this site: nothing has been done; open the page and try again"


def check_same_origin(headers: Mapping[bytes, bytes], *, https: bool, trusted: frozenset[bytes] = frozenset()) -> None:
    """Refuse what another site has sent.

    Behind a proxy that ends TLS the scheme is right only if the server trusts the proxy's headers.

    Args:
        headers: Of the request, names in lower case; of these three none may have come twice.
        https: Whether it came over TLS.
        trusted: Other origins whose pages may send, as bytes.

    Raises:
        CrossSiteError: A header says that it comes from elsewhere, or none says from where.
    """
    site = headers.get(b"sec-fetch-site")
    origin = headers.get(b"origin")
    if origin is not None and origin in trusted:
        return
    if site is None and origin is None:
        raise CrossSiteError
    if site is not None and site not in _OWN:
        raise CrossSiteError
    host = headers.get(b"host", b"")
    if origin is not None and (not host or origin != (b"https://" if https else b"http://") + host):
        raise CrossSiteError


class SameOrigin:
    """An ASGI application that only its own pages change.

    Requests that change nothing pass. Web sockets are for our own pages too, since a browser sends cookies with them.
    """

    def __init__(self, app: App, *, trusted: tuple[str, ...] = ()) -> None:
        """Stand in front of `app`.

        Args:
            app: What is guarded.
            trusted: Other origins whose pages may send, exactly: `https://admin.example.org`.
        """
        self._app = app
        self._trusted = frozenset(each.encode("ascii") for each in check_origins(trusted))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        kind = scope["type"]
        if kind == "websocket" or (kind == "http" and scope["method"] not in SAFE):
            try:
                check_same_origin(_deciding(scope), https=is_https(scope), trusted=self._trusted)
            except CrossSiteError as error:
                if kind == "websocket":
                    await send({"type": "websocket.close", "code": 1008})
                else:
                    await refuse(send, error.status, error.code, str(error))
                return
        await self._app(scope, receive, send)


def _deciding(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers that decide; one that came twice counts as one from elsewhere."""
    found: dict[bytes, bytes] = {}
    for name in _NAMES:
        if any(each == name for each, _ in scope["headers"]):
            found[name] = header_of(scope, name) or b""
    return found
