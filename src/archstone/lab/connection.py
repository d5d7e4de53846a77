"""The client's side of a connection, as lean as it can be: the generator shares a machine with what it measures.

One request at a time, answers by callback, no task and no future for each. What comes back is a status, whether it
said `Retry-After`, and the body if somebody wants it.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from archstone.errors import ConfigError
from archstone.sockets import check_other

try:
    import httptools
except ImportError as error:  # pragma: no cover: shown by the test of the core install
    message = "the lab needs an HTTP parser: pip install 'archstone[systems]'"
    raise ConfigError(message) from error

__all__ = ["Answer", "Dial", "Line", "Target", "WireAnswer", "dialer"]

BROKEN: Final = 0
"""Stands for the status where the connection ended before a whole answer had come."""
_BODY_LIMIT_BYTES: Final = 16 * 1024 * 1024


class WireAnswer(NamedTuple):
    """What came back."""

    status: int
    """0: the connection ended first."""
    body: bytes
    """Empty unless it was wanted."""
    retry_after: bool
    begun: bool
    """Whether any byte of an answer had come."""


Answer = Callable[[WireAnswer], None]


class Line(Protocol):
    """A connection that is open, for one request at a time."""

    @property
    def alive(self) -> bool:
        """Whether another request can be sent."""
        ...

    def send(self, data: bytes, answer: Answer, *, want_body: bool) -> None:
        """Send a whole request; `answer` is called once, later, unless the line is closed first."""
        ...

    def close(self) -> None:
        """End it; nobody is told of an answer any more."""
        ...


Dial = Callable[[], Awaitable[Line]]
"""Opens a connection; raises OSError."""


class Target(NamedTuple):
    """Where requests go."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Target":
        """Return what a URL names.

        Raises:
            ConfigError: it is not of the form http://host[:port].
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme not in {"http", "https"} or not host or parts.path.strip("/") or parts.query:
            raise ConfigError(f"--url {url}: write http://host:port or https://host:port, without a path")
        tls = parts.scheme == "https"
        return cls(host, port or (443 if tls else 80), tls)

    @property
    def authority(self) -> str:
        """What the header Host says."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def dialer(target: Target) -> Dial:
    """Return what opens connections to `target`."""
    context = ssl.create_default_context() if target.tls else None

    async def dial() -> Line:
        loop = asyncio.get_running_loop()
        made, line = await loop.create_connection(_Line, target.host, target.port, ssl=context)
        check_other(made)
        return line

    return dial


class _Line(asyncio.Protocol):
    __slots__ = ("_answer", "_begun", "_body", "_closing", "_parser", "_retry_after", "_transport", "_want", "alive")

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._body: list[bytes] = []
        self._want = self._begun = self._retry_after = self._closing = False
        self.alive = False

    def send(self, data: bytes, answer: Answer, *, want_body: bool) -> None:
        transport = self._transport
        assert transport is not None
        self._answer, self._want = answer, want_body
        self._begun = self._retry_after = False
        transport.write(data)

    def close(self) -> None:
        self.alive, self._answer = False, None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.alive = True

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            # Only what refuses says it. Looking at each header would cost a call for each.
            self._retry_after = data.startswith(b"HTTP/1.1 503") and b"retry-after:" in data.lower()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end()

    def eof_received(self) -> None:
        self.alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self.alive = False
        answer, self._answer = self._answer, None
        if self._transport is not None:
            self._transport.close()
        if answer is not None:
            answer(WireAnswer(BROKEN, b"", retry_after=False, begun=self._begun))

    def on_body(self, body: bytes) -> None:
        if self._want:
            self._body.append(body)
            if len(self._body) > 1 and sum(map(len, self._body)) > _BODY_LIMIT_BYTES:
                self._end()

    def on_message_complete(self) -> None:
        body = b"".join(self._body) if self._body else b""
        self._body.clear()
        if not self._parser.should_keep_alive():
            self.alive = False
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(WireAnswer(self._parser.get_status_code(), body, retry_after=self._retry_after, begun=True))
