"""Send browsers that come over http to https.

    redirect = HttpsRedirect(port=443)          # serve it on port 80
    app.add_middleware(HttpsOnly)               # or, where one server has both: in front of the application

Promise: 308, so that method and body stay what they were; only to the host that was asked for, which must look like
one, and to none that is not in `hosts` if some are named. Nothing of the request reaches the application.
"""

import re
from typing import Final

from archstone.security.http.asgi import App, Receive, Scope, Send, header_of, is_https, refuse

__all__ = ["HttpsOnly", "HttpsRedirect"]

_HOST: Final = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]{2,45}\])(?::\d{1,5})?")


class HttpsRedirect:
    """An ASGI application that answers every request with the same address over https."""

    def __init__(self, *, port: int = 443, hosts: tuple[str, ...] = ()) -> None:
        """Say where https is.

        Args:
            port: Of https.
            hosts: Names that it answers to, in lower case without a port. (): whatever looks like a name.
        """
        self._port = port
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return
        host = _HOST.fullmatch((header_of(scope, b"host") or b"").decode("latin-1").lower())
        if host is None or (self._hosts and host[1] not in self._hosts):
            await refuse(send, 421, "security.host", "this server does not answer to that name")
            return
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode("ascii", "ignore")
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        port = b"" if self._port == 443 else b":%d" % self._port
        location = b"https://" + host[1].encode() + port + raw_path.split(b"?")[0] + query
        headers = [(b"location", location), (b"content-length", b"0"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 308, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class HttpsOnly:
    """An ASGI application that is reached over https alone; others are sent there."""

    def __init__(self, app: App, *, port: int = 443, hosts: tuple[str, ...] = ()) -> None:
        """Stand in front of `app`; see `HttpsRedirect`."""
        self._app = app
        self._redirect = HttpsRedirect(port=port, hosts=hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        plain = scope["type"] in {"http", "websocket"} and not is_https(scope)
        await (self._redirect if plain else self._app)(scope, receive, send)
