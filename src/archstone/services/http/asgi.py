"""The words of ASGI 3, and one answer as a value.

For: every module here that speaks to an ASGI server. A `Response` is complete before its first byte is sent, so that
whoever stands outside (the gateway) can still add a tag, compress it or replace it.
Not for: streams. An application that streams is mounted beside the contracts and speaks ASGI itself.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

__all__ = ["ASGIApp", "Direct", "Headers", "Message", "Receive", "Response", "Scope", "Send", "direct", "live"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

Headers = dict[bytes, bytes]
"""Request headers by lower-case name, as bytes."""

_BODILESS: Final = frozenset({204, 304})


class Direct:
    """What a server can offer beside ASGI, for requests and answers that are in one piece: its own side of a request.

    An application finds it behind `receive` and `send` themselves, if they are its methods: where something stands in
    between that looks at messages, it is not found, and messages are what is sent.
    """

    def whole_body(self) -> bytes | None:
        """Return the body if it is here to its end and nothing of it has been received yet, and take it out."""
        raise NotImplementedError

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send an answer whole; False if that cannot be done now, and nothing has been sent."""
        raise NotImplementedError


def direct(word: Receive | Send) -> Direct | None:
    """Return whose method `receive` or `send` is, if it can go the short way."""
    server = getattr(word, "__self__", None)
    return server if isinstance(server, Direct) else None


class Response:
    """A whole answer: status, headers without Content-Length, and body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body

    async def send(self, send: Send) -> None:
        """Send it through an ASGI server's `send`. The server drops the body of an answer to HEAD."""
        status, headers, body = self.status, self.headers, self.body
        if status not in _BODILESS:
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        server = direct(send)
        if server is not None and server.answer(status, headers, body):
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def live(receive: Receive, send: Send) -> None:
    """Answer the lifespan protocol of an application that has nothing to open and nothing to close."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
