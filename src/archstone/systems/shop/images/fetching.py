"""Fetch a picture over HTTP: bounded in bytes and time, from addresses that were looked at, without cookies.

Every hop of a redirect is a request of its own: a new place, looked at anew, on a new connection. Nothing that the
other side says of its answer is believed, neither how long it is nor what it is. For small files: the whole is held
in memory.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from urllib.parse import urljoin

from archstone.systems.shop.images.bounds import ImageBounds
from archstone.systems.shop.images.failures import ImageError
from archstone.systems.shop.images.names import Names, Resolve
from archstone.systems.shop.images.places import Allowed, Place, place_of

try:
    from httptools import HttpParserError, HttpResponseParser
except ImportError as error:  # pragma: no cover - the suite has it
    raise ImportError("the shop's images need httptools: pip install 'archstone[systems]'") from error

__all__ = ["Fetch", "Fetcher"]

MOST_REDIRECTS: Final = 3
MOST_TRIED: Final = 3
"""Addresses of one host."""
HEAD_BYTES: Final = 65_536
_PIECE: Final = 65_536
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


Fetch = Callable[[str], Awaitable[bytes]]
"""Returns what is found at an address, or raises ImageError."""


class _Got(NamedTuple):
    """Of one request: the body, or where to ask instead."""

    body: bytes
    location: str | None


class Fetcher:
    """Fetches pictures. It keeps no connection and remembers nothing."""

    def __init__(
        self,
        allowed: Allowed,
        bounds: ImageBounds,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Say whom to trust, and for how long to wait.

        Args:
            allowed: What may be asked though it is not public.
            bounds: Of bytes and times.
            resolve: Finds the addresses of a name. None: the system does.
            tls: Which certificates are trusted. None: those that the system trusts.
        """
        self._allowed = allowed
        self._bounds = bounds
        self._resolve = resolve or Names()
        self._tls = tls

    async def fetch(self, url: str) -> bytes:
        """Return what is found at an address. Cancelled, or failed, it leaves no connection behind.

        Raises:
            ImageError: there is nothing, or it may not be asked for.
        """
        place = place_of(url, self._allowed)
        try:
            async with asyncio.timeout(self._bounds.fetch_s):
                for _ in range(1 + MOST_REDIRECTS):
                    got = await self._ask(place)
                    if got.location is None:
                        return got.body
                    url = _joined(url, got.location)
                    place = place_of(url, self._allowed)
        except TimeoutError as error:
            raise ImageError("late", f"no whole answer in {self._bounds.fetch_s:g} s", host=place.host) from error
        raise ImageError("answer", f"more than {MOST_REDIRECTS} redirects", host=place.host)

    async def _ask(self, place: Place) -> _Got:
        reader, writer = await self._connect(place)
        try:
            writer.write(_request(place))
            return await _Answer(place.host, self._bounds.original_bytes).read(reader)
        except OSError as error:
            raise ImageError("answer", "the connection was lost", host=place.host) from error
        finally:
            writer.transport.abort()

    async def _connect(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to an address that was looked at, and to no other: it is not a name that is handed on."""
        try:
            async with asyncio.timeout(self._bounds.connect_s):
                found = await self._resolve(place.host, place.port)
                return await self._connect_to(place, self._allowed.addresses(place, found)[:MOST_TRIED])
        except TimeoutError as error:
            why = f"no connection in {self._bounds.connect_s:g} s"
            raise ImageError("unreachable", why, host=place.host, dead=True) from error

    async def _connect_to(
        self, place: Place, addresses: tuple[str, ...]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failed: OSError | None = None
        for address in addresses:
            try:
                if not place.secure:
                    return await asyncio.open_connection(address, place.port, limit=_PIECE)
                self._tls = self._tls or ssl.create_default_context()
                return await asyncio.open_connection(
                    address, place.port, limit=_PIECE, ssl=self._tls, server_hostname=place.host.rstrip(".")
                )
            except OSError as error:
                failed = error
        why = "its certificate is not trusted" if isinstance(failed, ssl.SSLError) else "it takes no connection"
        raise ImageError("unreachable", why, host=place.host, dead=True) from failed


class _Answer:
    """Reads one answer as httptools tells of it."""

    def __init__(self, host: str, limit_bytes: int) -> None:
        self._host = host
        self._limit_bytes = limit_bytes
        self._parser = HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._begun = False
        self._whole = False

    async def read(self, reader: asyncio.StreamReader) -> _Got:
        """Return the body, or where a redirect leads.

        Raises:
            ImageError: it is no 200, or too long, or ends before its end.
        """
        heard = 0
        while not self._whole:
            data = await reader.read(_PIECE)
            if not data:
                return self._ended()
            heard += len(data)
            try:
                self._parser.feed_data(data)
            except HttpParserError as error:
                if not self._whole:  # what comes behind the end is not looked at
                    raise self._failed("it is not HTTP") from error
            if self._begun and (location := self._elsewhere()) is not None:
                return _Got(b"", location)
            # Twice: what is cut into many pieces has a line for each. It is the body that counts.
            too_long = heard > HEAD_BYTES + 2 * self._limit_bytes or self._size > self._limit_bytes
            if too_long or (not self._begun and heard > HEAD_BYTES):
                raise self._too_large()
        return _Got(b"".join(self._body), None)

    def _elsewhere(self) -> str | None:
        """Return where a redirect leads, None for the picture itself; raise for what is neither."""
        status = self._parser.get_status_code()
        if status in _REDIRECTS and b"location" in self._headers:
            return self._headers[b"location"].decode("latin-1")
        if status != 200:
            raise self._failed(f"status {status}")
        told = self._headers.get(b"content-length", b"0")
        if told.isdigit() and int(told[:19]) > self._limit_bytes:
            raise self._too_large()
        return None

    def _ended(self) -> _Got:
        """Return the body that ends with the connection, if that is how its end is told."""
        open_end = self._begun and not {b"content-length", b"transfer-encoding"} & self._headers.keys()
        if open_end:
            return _Got(b"".join(self._body), None)
        raise self._failed("it was cut off")

    def _failed(self, why: str) -> ImageError:
        return ImageError("answer", why, host=self._host)

    def _too_large(self) -> ImageError:
        return ImageError("large", f"more than {self._limit_bytes} bytes", host=self._host)

    # httptools calls these
    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of one that comes twice, the first."""
        self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        """Take note, but for answers such as 100 Continue: the answer proper is still to come."""
        if self._parser.get_status_code() >= 200:
            self._begun = True
        else:
            self._headers.clear()

    def on_body(self, body: bytes) -> None:
        """Collect a part of the body; what is beyond the bound is counted only."""
        self._size += len(body)
        if self._size <= self._limit_bytes:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Take note that it is whole."""
        self._whole = self._begun


def _request(place: Place) -> bytes:
    return (
        f"GET {place.target} HTTP/1.1\r\nHost: {place.authority}\r\nUser-Agent: archstone-shop\r\n"
        "Accept: image/avif, image/webp, image/png, image/jpeg, image/gif\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""
