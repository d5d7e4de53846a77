"""The server's side of a connection, where uvicorn's own words are not ours: broken HTTP, and its log.

Promise: what cannot be parsed gets a problem document as any other bad request does, and the connection is closed;
a head is bounded in bytes and in time (`gateway.heads`); a message of a web socket is bounded in bytes, and a socket
whose other end is silent is closed; what uvicorn logs goes where all log lines go, in their form.
"""

import importlib.util
import logging
import socket
from typing import Any, Final

from archstone.gateway.heads import BoundedHttp
from archstone.observability import get_logger
from archstone.services.http import BadRequestError

__all__ = ["Connection", "doors", "sockets", "take_over_log"]

_WRONG: Final = BadRequestError("request", "is not HTTP/1.1 as RFC 9112 has it; the connection is closed")


_DOORS: Final = 16
_LONGEST_MESSAGE: Final = 65_536
"""Bytes of a message that comes over a web socket."""
_PING_S: Final = 20.0


def doors(listener: socket.socket) -> list[socket.socket]:
    """Return a listening socket and copies of it, which the server closes.

    libuv accepts one connection of each listening handle in a turn of the loop. Under load a turn takes 15 ms, so
    that two hundred clients who come at once would wait for seconds, a health check among them. With copies 16 come in
    at each turn; that costs a new connection some microseconds where none else waits.
    """
    return [listener, *(listener.dup() for _ in range(_DOORS - 1))]


def sockets() -> dict[str, Any]:
    """Return how uvicorn speaks WebSocket: by `websockets`, or not at all where that is not installed.

    Messages are not compressed: that is 300 KB of memory for each connection, and most of them are a hundred bytes.
    """
    if importlib.util.find_spec("websockets") is None:
        return {"ws": "none"}
    return {
        "ws": "websockets-sansio", "ws_max_size": _LONGEST_MESSAGE, "ws_ping_interval": _PING_S,
        "ws_ping_timeout": _PING_S, "ws_per_message_deflate": False,
    }  # fmt: skip


class Connection(BoundedHttp):
    """A connection whose broken requests are answered like all others."""

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close."""
        del msg
        self.answer_and_close(_WRONG)


class _Handler(logging.Handler):
    """Passes on what is worth a line: warnings about single requests are not, or strangers could fill the log."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger(record.name).error(record.getMessage(), exc_info=record.exc_info[1] if record.exc_info else None)


def take_over_log() -> None:
    """Send uvicorn's errors to the log of the system; its warnings (broken requests) are counted by nobody."""
    server = logging.getLogger("uvicorn")
    server.handlers = [_Handler(logging.ERROR)]
    server.propagate = False
