"""Ask addresses that strangers have named, without being made to ask one's own network (SSRF).

    outgoing = Outgoing()
    found = await outgoing.fetch(webhook.url, method="POST", body=event, headers={"Content-Type": "application/json"})

Promise: only public addresses are asked, on ports 80 and 443, and what `Allowed` names. A name is resolved once, what
it resolved to is looked at, and the connection goes to that very address, so a name that leads elsewhere when it is
asked again (DNS rebinding) leads nowhere. Every hop of a redirect is a request of its own: looked at anew, on a new
connection, without what was meant for another host. Bytes, time and hops are bounded; no cookies, no proxies of the
environment, no compression, nothing kept between two requests.
Not for: one's own services (`archstone.services`), large files (an answer is held in memory), many requests to a host.

Source: OWASP, Server-Side Request Forgery Prevention Cheat Sheet.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from archstone.errors import ConfigError
from archstone.resilience import check
from archstone.security.outgoing.answer import Fetched, Reading
from archstone.security.outgoing.errors import OutgoingError
from archstone.security.outgoing.names import Names, Resolve
from archstone.security.outgoing.places import Allowed, Place, place_of

__all__ = ["Outgoing", "OutgoingBounds"]

MOST_TRIED: Final = 3
"""Addresses of one host."""
_PIECE: Final = 65_536
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_OURS: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingBounds:
    """How much a request may take."""

    answer_bytes: int = 8_000_000
    """Longest answer. Above 0."""
    total_s: float = 5.0
    """Longest time for it all, redirects included. Above 0."""
    connect_s: float = 2.0
    """Of that, longest time until a host has taken a connection. Above 0."""
    redirects: int = 3
    """Followed at most. At least 0. Only requests without effect are sent on."""

    def __post_init__(self) -> None:
        check(
            self,
            answer_bytes=(self.answer_bytes > 0, "above 0"),
            total_s=(self.total_s > 0, "above 0"),
            connect_s=(self.connect_s > 0, "above 0"),
            redirects=(self.redirects >= 0, "at least 0"),
        )


_BOUNDS: Final = OutgoingBounds()
_NOTHING: Final = Allowed()
_BARE: Final[Mapping[str, str]] = {}


class Outgoing:
    """Asks other hosts. It keeps no connection and remembers nothing."""

    def __init__(
        self,
        allowed: Allowed = _NOTHING,
        bounds: OutgoingBounds = _BOUNDS,
        *,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        agent: str = "archstone",
    ) -> None:
        """Say whom to trust, and for how long to wait.

        Args:
            allowed: What may be asked though it is not public.
            bounds: Of bytes, times and hops.
            resolve: Finds the addresses of a name. None: the system does.
            tls: Which certificates are trusted. None: those that the system trusts.
            agent: How it introduces itself.
        """
        self._allowed = allowed
        self._bounds = bounds
        self._resolve = resolve or Names()
        self._tls = tls
        self._agent = agent

    async def fetch(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] = _BARE, body: bytes = b""
    ) -> Fetched:
        """Return what a host answers, whatever its status. Cancelled, or failed, it leaves no connection behind.

        Args:
            url: What is asked for.
            method: GET and HEAD follow redirects; of others a redirect is the answer.
            headers: Sent along, to the host that the URL names and to no other.
            body: Sent along.

        Raises:
            OutgoingError: It may not be asked, or did not answer within the bounds. It may have received the request.
            ConfigError: The method or a header is none.
        """
        _check_request(method, headers)
        place = first = place_of(url, self._allowed)
        follow = self._bounds.redirects if method in {"GET", "HEAD"} else 0
        try:
            async with asyncio.timeout(self._bounds.total_s):
                for _ in range(1 + follow):
                    own = headers if place[:3] == first[:3] else _BARE
                    answer, content = await self._ask(place, self._request(place, method, own, body), method)
                    if answer.location is None or not follow:
                        return Fetched(answer.status, _texts(answer.headers), content, url)
                    url = _joined(url, answer.location)
                    place = place_of(url, self._allowed)
        except TimeoutError as error:
            raise OutgoingError("late", f"no whole answer in {self._bounds.total_s:g} s", place.host) from error
        raise OutgoingError("answer", f"more than {follow} redirects", place.host)

    async def _ask(self, place: Place, request: bytes, method: str) -> tuple[Reading, bytes]:
        reader, writer = await self._connect(place)
        try:
            writer.write(request)
            answer = Reading(place.host, self._bounds.answer_bytes, bodiless=method == "HEAD")
            return answer, await answer.body(reader)
        except OSError as error:
            raise OutgoingError("answer", "the connection was lost", place.host) from error
        finally:
            writer.transport.abort()

    async def _connect(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to an address that was looked at, and to no other: it is not a name that is handed on."""
        try:
            async with asyncio.timeout(self._bounds.connect_s):
                found = await self._resolve(place.host, place.port)
                return await self._connect_to(place, self._allowed.addresses(place, found)[:MOST_TRIED])
        except TimeoutError as error:
            raise OutgoingError(
                "unreachable", f"no connection in {self._bounds.connect_s:g} s", place.host, dead=True
            ) from error

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
        raise OutgoingError("unreachable", why, place.host, dead=True) from failed

    def _request(self, place: Place, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = {"User-Agent": self._agent, **headers}
        if body or method not in {"GET", "HEAD"}:
            lines["Content-Length"] = str(len(body))
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        head = (
            f"{method} {place.target} HTTP/1.1\r\nHost: {place.authority}\r\n{told}"
            "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        )
        return head.encode("latin-1") + body


def _check_request(method: str, headers: Mapping[str, str]) -> None:
    faults = [f"method {method!r} is none of {', '.join(sorted(_METHODS))}"] if method not in _METHODS else []
    faults += [
        f"header {name!r} cannot be sent"
        for name, value in headers.items()
        if not _NAME(name) or not _VALUE(value) or name.lower() in _OURS
    ]
    if faults:
        raise ConfigError(f"outgoing request: {'; '.join(faults)}")


def _texts(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""
