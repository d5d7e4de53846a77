"""Read a request's body, whole, within a number of bytes and of seconds.

Promise: never more than the limit is kept in memory, whatever the client declares or leaves undeclared; a body that
never ends is given up: one time limit for all of it, what is thrown away included. A refused body of moderate size is
read to its end and thrown away first, because a client that is still sending would otherwise see a broken connection
in place of the answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from archstone.services.http.asgi import Headers, Message, Receive, direct
from archstone.services.http.errors import BodyLateError, BodyTooLargeError, ClientGoneError
from archstone.services.http.headers import content_length
from archstone.services.http.waiting import Resumed, Ring, Watch, Watched

__all__ = ["DRAIN_BYTES", "in_time", "read_body"]

DRAIN_BYTES: Final = 16 * 1024 * 1024
"""How much of a refused body is read and thrown away; beyond it the connection is closed."""


def in_time(limit_s: float) -> Watch:
    """Return the watch that gives up a body after `limit_s` seconds."""

    def watch(ring: Ring) -> Callable[[], None]:
        return asyncio.get_running_loop().call_later(limit_s, ring, BodyLateError(limit_s)).cancel

    return watch


async def read_body(receive: Receive, headers: Headers, *, limit_bytes: int, watch: Watch) -> bytes:
    """Return the whole body.

    Args:
        receive: The server's.
        headers: Of the request.
        limit_bytes: Longest body.
        watch: From `in_time`.

    Raises:
        BodyTooLargeError: it is, or is declared, longer than `limit_bytes`.
        BodyLateError: it did not arrive in time.
        ClientGoneError: the client hung up before its end.
    """
    server = direct(receive)
    if server is not None and (whole := server.whole_body()) is not None:
        if len(whole) > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        return whole
    declared = headers.get(b"content-length")
    if declared is not None and content_length(declared) > limit_bytes:
        if int(declared) <= DRAIN_BYTES and b"expect" not in headers:
            await Watched(_drain(receive, DRAIN_BYTES), watch)
        raise BodyTooLargeError(limit_bytes)
    steps = receive().__await__()
    try:
        # Nearly always the body is there: one step by hand costs half of what `Watched` costs.
        pending = next(steps)
    except StopIteration as done:
        message: Message = done.value
    else:
        # One watch for all that follows: with one for the first part and one for the rest, both times would add up.
        return await Watched(_read(Resumed(steps, pending), receive, limit_bytes), watch)
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= limit_bytes:
        return body
    return await Watched(_read_on(message, receive, limit_bytes), watch)


async def _read(first: Awaitable[Message], receive: Receive, limit_bytes: int) -> bytes:
    return await _read_on(await first, receive, limit_bytes)


async def _read_on(message: Message, receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while message["type"] != "http.disconnect":
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > limit_bytes:
            if more:
                await _drain(receive, DRAIN_BYTES)
            raise BodyTooLargeError(limit_bytes)
        if not more:
            return b"".join(parts)
        message = await receive()
    raise ClientGoneError


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
