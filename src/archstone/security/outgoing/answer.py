"""One answer of a host that nobody trusts, read within its bounds as httptools tells of it."""

import asyncio
from typing import Any, Final, NamedTuple

from archstone.security.outgoing.errors import OutgoingError

__all__ = ["Fetched", "Reading"]

HEAD_BYTES: Final = 65_536
_PIECE: Final = 65_536
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Fetched(NamedTuple):
    """What a host has answered."""

    status: int
    headers: dict[str, str]
    """By lower-case name; of one that came twice, the first. Nothing of it is to be believed."""
    body: bytes
    url: str
    """Where it was found, after redirects."""


class Reading:
    """Reads one answer. What the other side says of its length is a claim; what comes is counted."""

    def __init__(self, host: str, limit_bytes: int, *, bodiless: bool = False) -> None:
        """Begin.

        Args:
            host: Who answers.
            limit_bytes: Longest body.
            bodiless: Whether it is an answer to HEAD, which says how long a body would be and has none.
        """
        self._host = host
        self._bodiless = bodiless
        self._limit_bytes = limit_bytes
        self._parser = _parser(self)
        self.headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._begun = False
        self._whole = False

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self._parser.get_status_code())

    @property
    def location(self) -> str | None:
        """Where a redirect leads; None for any other answer."""
        if self.status in _REDIRECTS and b"location" in self.headers:
            return self.headers[b"location"].decode("latin-1")
        return None

    async def body(self, reader: asyncio.StreamReader) -> bytes:
        """Return the body; of a redirect, and of an answer to HEAD, nothing is read.

        Raises:
            OutgoingError: It is too long, or ends before its end.
        """
        heard = 0
        while not self._whole:
            data = await reader.read(_PIECE)
            if not data:
                return self._ended()
            heard += len(data)
            self._feed(data)
            if self._begun and (self._bodiless or self.location is not None):
                return b""
            # Twice: what is cut into many pieces has a line for each. It is the body that counts.
            too_long = heard > HEAD_BYTES + 2 * self._limit_bytes or self._size > self._limit_bytes or self._claimed()
            if too_long or (not self._begun and heard > HEAD_BYTES):
                raise OutgoingError("large", f"more than {self._limit_bytes} bytes", self._host)
        return b"".join(self._body)

    def _feed(self, data: bytes) -> None:
        from httptools import HttpParserError  # noqa: PLC0415 - see `_parser`

        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not self._whole:  # what comes behind the end is not looked at
                raise self._failed("it is not HTTP") from error

    def _claimed(self) -> bool:
        """Whether it says that it will be too long."""
        told = self.headers.get(b"content-length", b"0") if self._begun else b"0"
        return told.isdigit() and int(told[:19]) > self._limit_bytes

    def _ended(self) -> bytes:
        """Return the body that ends with the connection, if that is how its end is told."""
        if self._begun and not {b"content-length", b"transfer-encoding"} & self.headers.keys():
            return b"".join(self._body)
        raise self._failed("it was cut off")

    def _failed(self, why: str) -> OutgoingError:
        return OutgoingError("answer", why, self._host)

    # httptools calls these
    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of one that comes twice, the first."""
        self.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        """Take note, but for answers such as 100 Continue: the answer proper is still to come."""
        if self.status >= 200:
            self._begun = True
        else:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body; what is beyond the bound is counted only."""
        self._size += len(body)
        if self._size <= self._limit_bytes:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Take note that it is whole."""
        self._whole = self._begun


def _parser(reading: Reading) -> Any:
    try:
        from httptools import HttpResponseParser  # noqa: PLC0415 - only who asks needs it, not who imports security
    except ImportError as error:  # pragma: no cover - the suite has it
        raise ImportError("outgoing requests need httptools: pip install 'archstone[serve]'") from error
    return HttpResponseParser(reading)
