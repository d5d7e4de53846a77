"""Answer while the bytes of a request are being read: about health always, to a query that there is no room for.

What is read waits for its turn behind all that was read before it. A health check would wait for a flood that is then
refused; answered here, it waits for no more than the turn that is under way.
A query is refused where the gate says that more have come than this turn can serve. A refusal by the application
costs a task, a request's worth of bookkeeping in the server and a document: 50 us, which at thousands a second is what
the served ones would have needed. Here it costs finding the operation, 10 us, and one write. It is the same answer,
byte for byte but for its values.
Only requests without a body that nothing else is under way for on their connection: all others go the long way, which
answers the same. The bound here is loose, twice what the last turn has taken in; the exact one is the gate's.
"""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final

from archstone.errors import ArchstoneError
from archstone.gateway.hardening import hardened
from archstone.gateway.request_id import request_id
from archstone.resilience import Gate, OverloadedError
from archstone.services.http import Response, problem, read_headers

__all__ = ["Early", "early_of", "head_of"]

_NOT_HERE: Final = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_MARK: Final = "0" * 32


class Early:
    """What one gateway answers at once."""

    def __init__(
        self,
        gate: Gate,
        *,
        health: Mapping[bytes, Callable[[], Response]],
        ordinary: Callable[[bytes], str | None],
        count: Callable[[str, int], None],
    ) -> None:
        """Compile the refusal.

        Args:
            gate: Says whether there are too many.
            health: Pages by path. They come at once and are small.
            ordinary: Returns the name of the query at a path; None if there is none, or one with priority.
            count: Counts an answer: its operation and status.
        """
        self._gate = gate
        self._health = health
        self._ordinary = ordinary
        self._count = count
        self._parts = {https: _compiled(gate.crowd_error(), https=https) for https in (False, True)}

    def answer(
        self, raw_path: bytes, headers: Iterable[tuple[bytes, bytes]], *, https: bool, extra: bytes
    ) -> bytes | None:
        """Return the whole answer to a GET about health, or that cannot be served in this turn; None if it may go on.

        Args:
            raw_path: As it came, without the query string.
            headers: Of the request, names in lower case.
            https: Whether it came encrypted.
            extra: More header lines, each with its end.
        """
        page = self._health.get(raw_path)
        if page is None and not self._gate.overloaded:
            return None
        offered = None
        for name, value in headers:
            if name in _NOT_HERE:
                return None
            if name == b"x-request-id":
                offered = value
        if page is not None:
            return self._about_health(raw_path.decode(), page, headers, https=https, extra=extra)
        name = self._ordinary(raw_path)
        if name is None or not self._gate.crowded():
            return None
        self._count(name, 503)
        ticket = request_id(offered).encode()
        head, before, after = self._parts[https]
        length = len(before) + len(ticket) + len(after)
        return b"%sx-request-id: %s\r\n%scontent-length: %d\r\n\r\n%s%s%s" % (
            head, ticket, extra, length, before, ticket, after,
        )  # fmt: skip

    def _about_health(
        self,
        name: str,
        page: Callable[[], Response],
        headers: Iterable[tuple[bytes, bytes]],
        *,
        https: bool,
        extra: bytes,
    ) -> bytes | None:
        try:
            ticket = request_id(read_headers(headers).get(b"x-request-id"))
        except ArchstoneError:
            return None  # the long way says what is wrong with them
        response = page()
        self._count(name, response.status)
        own = hardened(response.headers, https=https, ticket=ticket)
        own.append((b"content-length", b"%d" % len(response.body)))
        return b"%s%s\r\n%s" % (head_of(response.status, own), extra, response.body)


def early_of(app: object) -> Early | None:
    """Return what refuses early for an ASGI application, also for one that the server has wrapped."""
    for _ in range(4):
        if (found := getattr(app, "early", None)) is not None:
            return found if isinstance(found, Early) else None
        app = getattr(app, "app", None)
    return None


def _compiled(error: OverloadedError, *, https: bool) -> tuple[bytes, bytes, bytes]:
    """Return the answer's head without id and length, and what stands before and after the id in its body."""
    response = problem(error, instance=_MARK)
    own = [pair for pair in hardened(response.headers, https=https, ticket=_MARK) if pair[0] != b"x-request-id"]
    before, _, after = response.body.partition(_MARK.encode())
    return head_of(response.status, own), before, after


def head_of(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of an answer, without the empty line at its end."""
    lines = b"".join(b"%s: %s\r\n" % pair for pair in headers)
    return b"HTTP/1.1 %d %s\r\n%s" % (status, HTTPStatus(status).phrase.encode(), lines)
