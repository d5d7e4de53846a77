"""The server's side of a connection, where uvicorn's own words are not ours: broken HTTP, and its log.

Promise: what cannot be parsed gets a problem document as any other bad request does, and the connection is closed;
what uvicorn logs goes where all log lines go, in their form.
"""

import logging
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from archstone import world
from archstone.observability import get_logger
from archstone.services.http import BadRequestError, refusal

__all__ = ["Connection", "take_over_log"]

_WRONG: Final = BadRequestError("request", "is not HTTP/1.1 as RFC 9112 has it; the connection is closed")


class Connection(HttpToolsProtocol):
    """A connection whose broken requests are answered like all others."""

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close."""
        del msg
        ticket = world.new_id()
        response = refusal(_WRONG, instance=ticket, operation=None, frank=False)
        headers = [
            *response.headers,
            (b"content-length", b"%d" % len(response.body)),
            (b"connection", b"close"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", ticket.encode()),
        ]
        lines = b"".join(b"%s: %s\r\n" % pair for pair in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%s\r\n%s" % (lines, response.body))
        self.transport.close()


class _Handler(logging.Handler):
    """Passes on what is worth a line: warnings about single requests are not, or strangers could fill the log."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger(record.name).error(record.getMessage(), exc_info=record.exc_info[1] if record.exc_info else None)


def take_over_log() -> None:
    """Send uvicorn's errors to the log of the system; its warnings (broken requests) are counted by nobody."""
    server = logging.getLogger("uvicorn")
    server.handlers = [_Handler(logging.ERROR)]
    server.propagate = False
