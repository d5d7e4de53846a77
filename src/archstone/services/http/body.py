"""Read a request's body, whole, within a number of bytes and of seconds.

Promise: never more than the limit is kept in memory, whatever the client declares or leaves undeclared; a body that
never ends is given up. A refused body of moderate size is read to its end and thrown away first, because a client
that is still sending would otherwise see a broken connection in place of the answer.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from archstone.services.http.asgi import Headers, Receive
from archstone.services.http.errors import BodyLateError, BodyTooLargeError, ClientGoneError
from archstone.services.http.headers import content_length
from archstone.services.http.waiting import Ring, Watched

__all__ = ["DRAIN_BYTES", "read_body"]

DRAIN_BYTES: Final = 16 * 1024 * 1024
"""How much of a refused body is read and thrown away; beyond it the connection is closed."""


async def read_body(receive: Receive, headers: Headers, *, limit_bytes: int, limit_s: float) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLargeError: it is, or is declared, longer than `limit_bytes`.
        BodyLateError: it did not arrive within `limit_s` seconds.
        ClientGoneError: the client hung up before its end.
    """

    def watch(ring: Ring) -> Callable[[], None]:
        return asyncio.get_running_loop().call_later(limit_s, ring, BodyLateError(limit_s)).cancel

    try:
        length = content_length(headers, limit_bytes=limit_bytes)
    except BodyTooLargeError:
        if int(headers[b"content-length"]) <= DRAIN_BYTES and b"expect" not in headers:
            await Watched(_drain(receive, DRAIN_BYTES), watch)
        raise
    if length == 0:
        return b""
    return await Watched(_read(receive, limit_bytes), watch)


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    body = b""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body = message.get("body", b"")
        size += len(body)
        more = message.get("more_body", False)
        if size > limit_bytes:
            if more:
                await _drain(receive, DRAIN_BYTES)
            raise BodyTooLargeError(limit_bytes)
        if not more:
            break
        parts.append(body)
    if not parts:
        return body
    parts.append(body)
    return b"".join(parts)


async def _drain(receive: Receive, most_bytes: int) -> None:
    """Throw the rest of a body away, at most so much of it."""
    left = most_bytes
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        if not message.get("more_body", False):
            return
        # An empty message counts as well, so that a server that sends only those cannot hold us here.
        left -= max(1, len(message.get("body", b"")))
