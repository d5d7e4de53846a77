"""The words of ASGI 3, as far as middlewares here need them."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

__all__ = ["SAFE", "App", "Message", "Pairs", "Receive", "Scope", "Send", "header_of", "is_https", "refuse"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Pairs = Iterable[tuple[bytes, bytes]]
"""Headers, names in lower case."""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing, so that nobody gains by having another's browser send them."""


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """Return a header of a request; None if it did not come, or came twice: then nobody knows which one counts."""
    found = [value for each, value in scope["headers"] if each == name]
    return found[0] if len(found) == 1 else None


def is_https(scope: Scope) -> bool:
    """Return whether a request came over TLS, as far as the server knows: behind a proxy it must trust its headers."""
    return scope.get("scheme") in {"https", "wss"}


async def refuse(send: Send, status: int, code: str, detail: str) -> None:
    """Answer with a problem document."""
    body = b'{"type":"urn:archstone:error:%s","title":"Refused","status":%d,"detail":"%s"}' % (
        code.encode("ascii"), status, detail.encode("ascii"),
    )  # fmt: skip
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
