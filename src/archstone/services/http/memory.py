"""Ask an ASGI application without a network: for tests, and for the simulator, whose loop has no sockets.

    answer = await ask(app, "GET", "/api/v1/stock/kettle")
    inventory = client(Inventory, AsgiTransport(app, prefix="/api/v1", token=token))

Promise: the application sees what a server would show it: undecoded path, lower-case header names, a body in one or
more parts, a disconnect when the asker is cancelled. What is sent and answered is bytes, as over a network.
"""

import asyncio
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from archstone import context, world
from archstone.resilience import OutOfTimeError
from archstone.services.http.answers import Answer, result_of
from archstone.services.http.asgi import ASGIApp, Message, Response, Scope
from archstone.services.http.principal import PrincipalCodec
from archstone.services.http.wire import Sender
from archstone.services.operation import Operation

__all__ = ["AsgiTransport", "ask"]


class _Exchange:
    """The server's side of one request."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = list(parts) or [b""]
        self._gone = asyncio.Event()
        self.response = Response(0, [])

    async def receive(self) -> Message:
        """Hand out the next part of the body; after the last one wait until the asker is gone."""
        if self._parts and not self._gone.is_set():
            return {"type": "http.request", "body": self._parts.pop(0), "more_body": bool(self._parts)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Collect the answer."""
        if message["type"] == "http.response.start":
            self.response.status = message["status"]
            self.response.headers = list(message.get("headers", ()))
        else:
            self.response.body += message.get("body", b"")

    def hang_up(self) -> None:
        """Let the application know that nobody waits."""
        self._gone.set()


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | Sequence[bytes] = b"",
    client: tuple[str, int] | None = ("127.0.0.1", 50_000),
    scheme: str = "http",
) -> Response:
    """Return the answer of `app`; status 0 if it ended without one. Cancelling it is hanging up.

    Args:
        app: Any ASGI 3 application.
        method: Upper case.
        target: Path and query string, percent-encoded.
        headers: Name and value.
        body: Whole, or in the parts in which it arrives.
        client: Address and port of who asks.
        scheme: `http` or `https`.
    """
    raw_path, _, query = target.partition("?")
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": client,
        "server": ("127.0.0.1", 80),
    }
    exchange = _Exchange([body] if isinstance(body, bytes) else body)
    # A task of its own with an empty Call, as behind a network: nothing of the asker's context leaks in.
    with context.enter(context.Call()):
        task = asyncio.ensure_future(_run(app, scope, exchange))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        exchange.hang_up()
        raise
    return exchange.response


async def _run(app: ASGIApp, scope: Scope, exchange: _Exchange) -> None:
    await app(scope, exchange.receive, exchange.send)


class AsgiTransport:
    """A `Transport` to an ASGI application in this process: HTTP in everything but the network.

    Args:
        app: The application.
        prefix: Stands before each path.
        principals: Writes who asks. None: calls go out as nobody.
        token: A bearer token to send, for calls through a gateway.
        timeout_s: Time for a call that has no deadline of its own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        prefix: str = "",
        principals: PrincipalCodec | None = None,
        token: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._app = app
        self._sender = Sender(prefix=prefix, principals=principals, token=token)
        self._timeout_s = timeout_s

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Make the call under the current `Call`, see `Transport.call`."""
        call = context.current()
        now_s = world.monotonic()
        left_s = self._timeout_s if call.deadline_s is None else call.deadline_s - now_s
        if left_s <= 0:
            raise OutOfTimeError(operation.full_name, 0.0, begun=False)
        target, headers, body = self._sender.write(operation, arguments, call, left_s)
        try:
            async with asyncio.timeout(left_s):
                response = await ask(self._app, operation.method, target, headers=headers, body=body or b"")
        except TimeoutError as error:
            raise OutOfTimeError(operation.full_name, left_s) from error
        return result_of(Answer(response.status, response.body), operation, call.key)
