"""A server's side of a request, without what an application of ours does not need.

uvicorn speaks ASGI on every request: an event, a dictionary, two messages and a timer each, and every header of the
answer is searched for bytes that must not be there. That is half of what serving a small command costs. Here an
application may take the body and give the answer in one piece each (`archstone.services.http.Direct`); one that does
not, as a mounted one, is served as uvicorn serves it.

Promise: what ASGI promises; an answer in one piece is written with one call; a header that would break out of its
line is refused as before. Give `BoundedHttp` (module `heads`), which stands on this, to uvicorn as `http=`. Needs the
extra `serve`.
"""

import asyncio
from collections.abc import Iterable
from itertools import chain
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application, HTTPScope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from archstone.services.http import Direct

__all__ = ["DirectHttp"]


class Exchange(RequestResponseCycle, Direct):
    """One request and its answer: uvicorn's, made with less, and able to go the short way."""

    # What the answer has not come to yet; set on the instance by what uvicorn's own code does.
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding: bool | None = None
    expected_content_length = 0
    access_log = False

    def __init__(self, protocol: "DirectHttp", scope: HTTPScope, *, keep_alive: bool) -> None:
        """Begin; uvicorn's own constructor makes an event for each request, here one is made when it is waited for."""
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.default_headers = protocol.server_state.default_headers
        self.on_response = protocol.on_response_complete
        self.logger = protocol.logger
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body: bytes | bytearray = b""
        self._event: asyncio.Event | None = None
        self._news = False
        self._tasks = protocol.tasks
        if protocol.access_log:
            self.access_log = True
            self.access_logger = protocol.access_logger

    @property
    def message_event(self) -> asyncio.Event:
        """What uvicorn's `receive` waits for."""
        if self._event is None:
            self._event = asyncio.Event()
            if self._news:
                self._event.set()
        return self._event

    def tell(self) -> None:
        """Say that there is something to receive."""
        self._news = True
        if self._event is not None:
            self._event.set()

    def take(self, body: bytes) -> int:
        """Keep a part of the body; return how much there is. One that comes in one part is not copied."""
        if not self.body:
            self.body = body
        elif isinstance(self.body, bytes):
            self.body = bytearray(self.body) + body
        else:
            self.body += body
        self.tell()
        return len(self.body)

    async def run_asgi(self, app: ASGI3Application) -> None:
        """Run the application as uvicorn does; at its end its task leaves the list of those that a shutdown awaits."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException:  # the boundary: uvicorn does the same
            self.logger.exception("exception in ASGI application")
            await self._give_up()
        else:
            if not self.response_complete and not self.disconnected:
                self.logger.error("ASGI callable returned without completing its answer")
                await self._give_up()
        finally:
            self.on_response = _nothing
            if (task := asyncio.current_task()) is not None:
                self._tasks.discard(task)

    async def _give_up(self) -> None:
        if self.response_started:
            self.transport.close()
        else:
            await self.send_500_response()

    def whole_body(self) -> bytes | None:
        """Return the body if all of it is here and nothing of it has been received; see `Direct`."""
        if self.more_body or self.disconnected or self.response_complete or self.waiting_for_100_continue:
            return None
        body, self.body = self.body, b""
        self._news = False
        if self._event is not None:
            self._event.clear()
        return body if isinstance(body, bytes) else bytes(body)

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write the answer, if nothing of it has been sent and the client takes what it is sent; see `Direct`."""
        if self.response_started or self.flow.write_paused or self.access_log:
            return False
        head = self._head(status, headers)
        if head is None:
            return False  # uvicorn says what is wrong with it
        self.response_started = self.response_complete = True
        if self.disconnected:
            return True
        if self.scope["method"] == "HEAD":
            body = b""
        self.transport.write(head + body)
        self.tell()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """Return the head of an answer, None if a header would break out of its line."""
        parts = [STATUS_LINE[status]]
        for name, value in chain(self.default_headers, headers) if self.default_headers else headers:
            parts += (name, b": ", value, b"\r\n")
        lines = len(parts) // 4 + 2
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        # Counting is quicker than asking whether they are `in` it: that tries whether a number is meant first.
        return head if head.count(b"\n") == lines == head.count(b"\r") and not head.count(b"\0") else None


class DirectHttp(HttpToolsProtocol):
    """One connection. Pipelining, streams, upgrades and shutting down are uvicorn's."""

    parser: httptools.HttpRequestParser  # uvicorn has None for it after the end
    cycle: Exchange
    _idle: asyncio.TimerHandle | None = None
    _used = False
    """Whether an answer has been given since the timer looked last."""
    _open = 0
    """Requests that have begun to come and are not answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as uvicorn declares it
        """Note what all requests of a connection have in common."""
        super().connection_made(transport)
        # Copying what has all its keys costs a quarter of making it anew.
        self._app = cast("ASGI3Application", self.app)  # pyright: ignore[reportUnknownMemberType] - uvicorn has no type for it
        self._same: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": "",
            "root_path": self.root_path,
            "path": "",
            "raw_path": b"",
            "query_string": b"",
            "headers": [],
            "state": {},
        }
        if peer := transport.get_extra_info("peercert"):
            self._same["extensions"] = {"archstone.peer": peer}  # for `archstone.security.mtls`

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin with a request; its scope is made when its head is there."""
        self._open += 1
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Start the application on a request, or let it wait for the one before on this connection."""
        parser = self.parser
        version = parser.get_http_version()
        scope = self.scope = self._scope_of(parser.get_method().decode("ascii"), version)
        if self.ws_protocol_class is not None and self._leaves_http():
            return
        app = self._app if self.limit_concurrency is None or not self._too_many() else service_unavailable
        before = self.cycle  # None until the first
        cycle = Exchange(self, scope, keep_alive=version != "1.0" and parser.should_keep_alive())
        self.cycle = cycle  # pyright: ignore[reportIncompatibleVariableOverride] - every one is made here
        if not before or before.response_complete:
            self._start_asgi_task(cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        cycle = self.cycle
        if (self.ws_protocol_class is not None and self._leaves_http()) or cycle.response_complete:
            return
        if cycle.take(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Note that the body is whole."""
        cycle = self.cycle
        if (self.ws_protocol_class is not None and self._leaves_http()) or cycle.response_complete:
            return
        cycle.more_body = False
        cycle.tell()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one for as long as a connection may be idle."""
        self.server_state.total_requests += 1
        self._open -= 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        # One timer for a connection, not one for each request, which nearly always would be cancelled by the next.
        self._used = True
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Close the connection if it has been idle since the last look: for once to twice the time it may be."""
        self._idle = None
        if self.transport.is_closing() or self._open > 0:
            return  # the end of the answer that is under way starts the time anew
        if self._used:
            self._used = False
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look)
        else:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.tasks.add(self.loop.create_task(cycle.run_asgi(app)))

    def _scope_of(self, method: str, version: str) -> HTTPScope:
        url = self.url
        if url.startswith(b"/") and url.find(b"#") < 0:  # the usual form needs no parsing
            raw_path, _, query_string = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, query_string = parsed.path, parsed.query or b""
        path = raw_path.decode("ascii")
        if self.root_path:
            path, raw_path = self.root_path + path, self.root_path.encode("ascii") + raw_path
        scope = self._same.copy()
        scope["http_version"] = version
        scope["method"] = method
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query_string
        scope["headers"] = self.headers
        scope["state"] = self.app_state.copy()
        return cast("HTTPScope", scope)

    def _leaves_http(self) -> bool:
        return self.parser.should_upgrade() and self._should_upgrade()

    def _too_many(self) -> bool:
        limit = cast("int", self.limit_concurrency)
        return len(self.connections) >= limit or len(self.tasks) >= limit


def _nothing() -> None:
    return None
