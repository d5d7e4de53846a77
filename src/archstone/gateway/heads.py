"""Bound what a server keeps of a request before any application sees it: its head, and what stands around its body.

uvicorn on httptools has no such bound: a header without end grows in memory as long as its client sends, at a cost
that grows with its square, and a client that sends a byte a minute keeps its connection for ever. This is the one
place below the gateway, whose own limits (100 headers, 32 KiB) begin when the head is there.

Promise: of bytes that lead neither to a whole head, nor to a part of a body, nor to its end (names, values, target,
trailers, chunk extensions), at most 64 KiB and what one read of the socket holds (256 KiB) are kept; beyond that the
answer is 431, or nothing if an answer is under way, and the connection is closed. A head has 20 seconds to arrive.
Give the class to uvicorn as `http=`. Needs the extra `serve`.
"""

import asyncio
from typing import Final, cast

from archstone import world
from archstone.gateway.direct import DirectHttp
from archstone.gateway.early import Early, early_of, head_of
from archstone.services.http import HeadersTooLargeError, Response, refusal

__all__ = ["HEAD_LIMIT_BYTES", "HEAD_LIMIT_S", "BoundedHttp"]

HEAD_LIMIT_BYTES: Final = 65_536
"""What may come without a head, a part of a body or an end being complete."""
HEAD_LIMIT_S: Final = 20.0
"""How long a connection may be new, or a head under way."""
_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 16 * 1024 * 1024


class BoundedHttp(DirectHttp):
    """One connection."""

    _pending_bytes = 0
    """What has come since the last progress."""
    _passed_over_bytes = 0
    """What has come since the refusal."""
    _refused = False
    _late: asyncio.TimerHandle | None = None
    _early: Early | None = None
    _answered_early = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as uvicorn declares it
        """Give a new connection its time to say what it wants."""
        self._early = early_of(cast("object", self.app))  # pyright: ignore[reportUnknownMemberType] - uvicorn has no type for it
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_LIMIT_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._progress()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass the bytes to the parser, and refuse the connection if they lead nowhere for too long."""
        if self._refused:
            self._pass_over(data)
            return
        self._pending_bytes += len(data)
        # Named, here and below: finding the next class by `super()` costs more than what it is asked for.
        DirectHttp.data_received(self, data)
        if self._pending_bytes and not self.transport.is_closing():
            if self._pending_bytes > HEAD_LIMIT_BYTES:
                self._refuse()
            elif self._late is None:
                self._late = self.loop.call_later(HEAD_LIMIT_S, self._give_up)

    def on_headers_complete(self) -> None:
        """Note the progress, and answer at once what can be answered at once."""
        self._pending_bytes = 0
        if self._late is not None:
            self._progress()
        if self._early is not None and self._answer_early(self._early):
            self._answered_early = True
            return
        DirectHttp.on_headers_complete(self)

    def on_body(self, body: bytes) -> None:
        """Note the progress."""
        self._pending_bytes = 0
        if self._late is not None:
            self._progress()
        DirectHttp.on_body(self, body)

    def on_message_complete(self) -> None:
        """Note the progress."""
        self._pending_bytes = 0
        if self._late is not None:
            self._progress()
        if self._answered_early:
            self._answered_early = False
            self.on_response_complete()
            return
        DirectHttp.on_message_complete(self)

    def answer_and_close(self, error: Exception) -> None:
        """Tell by a problem document why the connection ends here, and close it."""
        self._write(error)
        self.transport.close()

    def _answer_early(self, early: Early) -> bool:
        """Answer a GET here if it is that simple; only where no other answer is under way on this connection."""
        if self.cycle and not self.cycle.response_complete:  # None until the first head is there
            return False
        parser = self.parser
        if parser.get_method() != b"GET" or not parser.should_keep_alive() or parser.get_http_version() != "1.1":
            return False
        raw_path, _, _ = self.url.partition(b"?")
        extra = b"".join([b"%s: %s\r\n" % pair for pair in self.server_state.default_headers])
        answer = early.answer(raw_path, self.headers, https=self.scheme == "https", extra=extra)
        if answer is None:
            return False
        self.transport.write(answer)
        return True

    def _write(self, error: Exception) -> None:
        ticket = world.new_id()
        response = refusal(error, instance=ticket, operation=None, frank=False)
        self.transport.write(_bytes_of(response, ticket))

    def _progress(self) -> None:
        self._pending_bytes = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self) -> None:
        size_bytes = self._pending_bytes
        self._progress()
        if self.cycle and not self.cycle.response_complete:
            self.transport.close()  # another answer would land in the middle of this one
            return
        self._refused = True
        self._write(HeadersTooLargeError(size_bytes, HEAD_LIMIT_BYTES))
        # Who is still sending would see a reset connection in place of the answer: listen on for a moment.
        self._late = self.loop.call_later(_LINGER_S, self.transport.close)

    def _pass_over(self, data: bytes) -> None:
        self._passed_over_bytes += len(data)
        if self._passed_over_bytes > _LINGER_BYTES:
            self.transport.close()

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()


def _bytes_of(response: Response, ticket: str) -> bytes:
    headers = [
        *((name, value) for name, value in response.headers if name != b"connection"),
        (b"content-length", b"%d" % len(response.body)),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", ticket.encode()),
    ]
    return b"%s\r\n%s" % (head_of(response.status, headers), response.body)
