"""The words of ASGI 3 as far as pages need them, and one answer as a value."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

__all__ = [
    "ASGIApp",
    "BrokenRequestError",
    "ClientGoneError",
    "Headers",
    "Message",
    "Receive",
    "Response",
    "Scope",
    "Send",
    "headers_of",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[bytes, bytes]
"""Request headers by lower-case name."""

MOST_HEADERS: Final = 100
MOST_BYTES: Final = 32_768
_ONCE: Final = frozenset({b"content-type", b"host", b"last-event-id", b"origin", b"sec-fetch-site"})
"""Headers that decide something: what came twice cannot be trusted."""
_BODILESS: Final = frozenset({204, 304})


class ClientGoneError(Exception):
    """The client hung up before the end of its request."""


class BrokenRequestError(Exception):
    """The headers are too many, too long, or contradict each other."""


class Response:
    """A whole answer: status, headers without Content-Length, and body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    async def send(self, send: Send) -> None:
        """Send it. The server drops the body of an answer to HEAD."""
        headers = self.headers
        if self.status not in _BODILESS:
            headers = [*headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers of a request; of one that came more than once, and decides nothing, the last.

    Raises:
        BrokenRequestError: there are more than 100, together longer than 32 KiB, or one that decides came twice.
    """
    found: Headers = {}
    size = 0
    for count, (name, value) in enumerate(pairs, 1):
        size += len(value)
        if count > MOST_HEADERS or size > MOST_BYTES or (name in _ONCE and name in found):
            raise BrokenRequestError
        found[name] = value
    return found
