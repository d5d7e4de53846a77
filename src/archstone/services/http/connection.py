"""One kept-alive HTTP/1.1 connection of a client: one exchange at a time, parsed by httptools.

Promise: an answer belongs to the request that went out on this connection, or the connection is closed. What arrives
while nobody asked closes it; so does cancelling an exchange, since its answer would come to the next caller.
Not for: pipelining, streams, informational answers (they are skipped).
"""

import asyncio
import ssl

from archstone.services.http.answers import Answer
from archstone.services.http.errors import UnreachableError

try:
    from httptools import HttpParserError, HttpResponseParser
except ImportError as error:  # pragma: no cover - the suite has it
    raise ImportError("archstone's HTTP client needs httptools: pip install 'archstone[serve]'") from error

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """A connection and the parser of its answers."""

    __slots__ = ("_body", "_heard", "_limit_bytes", "_parser", "_transport", "_waiter", "address", "context", "reused")

    def __init__(self, address: str, *, limit_bytes: int) -> None:
        self.address = address
        self.reused = False
        """Whether an exchange has ended on it: the other side may have closed it meanwhile."""
        self.context: ssl.SSLContext | None = None
        """With what it was opened. None: without TLS."""
        self._limit_bytes = limit_bytes
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []
        self._heard = 0
        self._parser = HttpResponseParser(self)

    @property
    def open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether not one byte of the answer under way has come."""
        return self._heard == 0

    def exchange(self, request: bytes, waiter: asyncio.Future[Answer]) -> None:
        """Send a whole request; `waiter` gets the answer, or UnreachableError if the connection is lost."""
        self._waiter = waiter
        self._heard = 0
        if self._transport is None or self._transport.is_closing():
            self._fail("closed by the other side")
        else:
            self._transport.write(request)

    def close(self) -> None:
        """Close at once. An answer under way is lost."""
        self._waiter = None
        if self._transport is not None:
            self._transport.abort()

    # asyncio calls these
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._transport = None
        self._fail("closed by the other side" if exc is None else str(exc) or type(exc).__name__)

    def data_received(self, data: bytes) -> None:
        """Parse; data that nobody asked for closes the connection."""
        if self._waiter is None:
            self.close()
            return
        self._heard += len(data)
        try:
            if self._heard > self._limit_bytes:
                self._give_up(f"its answer is longer than {self._limit_bytes} bytes")
            else:
                self._parser.feed_data(data)
        except HttpParserError as error:
            self._give_up(f"its answer is not HTTP: {error}")

    # httptools calls these
    def on_message_begin(self) -> None:
        """Close at an answer that comes right behind the one asked for: the next caller would take it for its own."""
        if self._waiter is None:
            self.close()

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        status = self._parser.get_status_code()
        body, self._body = b"".join(self._body), []
        if status < 200 or self._waiter is None:  # 100 Continue and its like: the answer proper is still to come
            return
        waiter, self._waiter = self._waiter, None
        self.reused = True
        if not self._parser.should_keep_alive():
            self.close()
        if not waiter.done():
            waiter.set_result(Answer(status, body))

    def _give_up(self, why: str) -> None:
        self._fail(why)
        self.close()

    def _fail(self, why: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(UnreachableError(self.address, why, sent=True))
