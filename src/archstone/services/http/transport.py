"""Call a contract over HTTP: the client's half, lean, on kept-alive connections.

    async with HttpTransport("http://10.0.0.7:8080", principals=codec) as transport:
        inventory = client(Inventory, transport)

Promise: deadline, key, trace, correlation id and principal travel with each call; declared errors come back as
themselves, refusals as the branch they belong to, anything else as RemoteError. Connections and waiting callers are
bounded. A lost connection is tried once more where that is safe: not one byte of the answer has come, and the call is
a query or carries a key. Cancelling closes the connection, which cancels a query on the other side.
Not for: finding and balancing instances; this is one address.
"""

import asyncio
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from archstone import context, world
from archstone.context import Call
from archstone.errors import ConfigError
from archstone.resilience import OutOfTimeError, check
from archstone.services.http.answers import Answer, result_of
from archstone.services.http.connection import Connection
from archstone.services.http.errors import UnreachableError
from archstone.services.http.peers import NamedTls, PeerTls
from archstone.services.http.pool import Pool
from archstone.services.http.principal import PrincipalCodec
from archstone.services.http.wire import Sender
from archstone.services.operation import Operation

__all__ = ["HttpTransport"]

_PORTS: Final = {"http": 80, "https": 443}


class HttpTransport:
    """A `Transport` to one address. `async with` closes it; nothing is opened before the first call.

    Args:
        url: `http://host:port/prefix` or `https://…`; the prefix stands before each path.
        principals: Writes who asks for the other side. None: calls go out as nobody.
        token: A bearer token to send, for calls through a gateway.
        tls: For https: how this side proves itself, and who the other side must be. None: a certificate of the host's
            name that the system trusts, and none of our own.
        connections: Most connections at once. At least 1.
        waiting: Most callers that wait for a connection; the next is refused with PoolFullError. At least 0.
        timeout_s: Time for a call that has no deadline of its own. Above 0.
        answer_limit_bytes: Longest answer. Above 0.
    """

    def __init__(
        self,
        url: str,
        *,
        principals: PrincipalCodec | None = None,
        token: str | None = None,
        tls: PeerTls | None = None,
        connections: int = 64,
        waiting: int = 1024,
        timeout_s: float = 30.0,
        answer_limit_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.connections = connections
        self.waiting = waiting
        self.timeout_s = timeout_s
        self.answer_limit_bytes = answer_limit_bytes
        check(
            self,
            connections=(connections >= 1, "at least 1"),
            waiting=(waiting >= 0, "at least 0"),
            timeout_s=(timeout_s > 0, "above 0"),
            answer_limit_bytes=(answer_limit_bytes > 0, "above 0"),
        )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in _PORTS or not host:
            raise ConfigError(f"address {url!r} is none: write it as http://host:port")
        if tls is not None and parts.scheme != "https":
            raise ConfigError(f"address {url!r} with tls=: nobody would be asked who they are: write it as https://…")
        self._pool = Pool(
            host,
            port or _PORTS[parts.scheme],
            tls=None if parts.scheme == "http" else tls or NamedTls(),
            connections=connections,
            waiting=waiting,
            limit_bytes=answer_limit_bytes,
        )
        self._sender = Sender(prefix=parts.path.rstrip("/"), principals=principals, token=token)
        self._fixed = f" HTTP/1.1\r\nhost: {parts.netloc.rpartition('@')[2]}"

    async def __aenter__(self) -> Self:
        """Return the transport; nothing is opened."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close its connections. Calls that wait for one are refused; calls under way end first."""
        self._pool.close()

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        """Make the call under the current `Call`, see `Transport.call`. When cancelled, a command may have run."""
        call = context.current()
        now_s = world.monotonic()
        ends_s = now_s + self.timeout_s if call.deadline_s is None else call.deadline_s
        if ends_s <= now_s:
            raise OutOfTimeError(operation.full_name, 0.0, begun=False)
        request = self._request(operation, arguments, call, ends_s - now_s)
        repeatable = operation.kind == "query" or call.key is not None
        answer = await self._ask(request, operation.full_name, ends_s, repeatable=repeatable)
        return result_of(answer, operation, call.key)

    def _request(self, operation: Operation, arguments: dict[str, object], call: Call, left_s: float) -> bytes:
        target, headers, body = self._sender.write(operation, arguments, call, left_s)
        lines = "".join([f"\r\n{name}: {value}" for name, value in headers])
        head = f"{operation.method} {target}{self._fixed}{lines}\r\n\r\n".encode()
        return head if body is None else head + body

    async def _ask(self, request: bytes, name: str, ends_s: float, *, repeatable: bool) -> Answer:
        """Send the request; once more on a new connection if the old one turns out to be closed."""
        connection = self._pool.take()
        if connection is None:
            connection = await self._connect(name, ends_s, fresh=False)
        try:
            return await self._exchange(connection, request, name, ends_s)
        except UnreachableError:
            if not (repeatable and connection.reused and connection.silent):
                raise
        return await self._exchange(await self._connect(name, ends_s, fresh=True), request, name, ends_s)

    async def _connect(self, name: str, ends_s: float, *, fresh: bool) -> Connection:
        left_s = ends_s - world.monotonic()
        try:
            async with asyncio.timeout(left_s):
                return await self._pool.acquire(fresh=fresh)
        except TimeoutError as error:
            raise OutOfTimeError(name, left_s, begun=False) from error

    async def _exchange(self, connection: Connection, request: bytes, name: str, ends_s: float) -> Answer:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Answer] = loop.create_future()
        left_s = ends_s - world.monotonic()
        timer = loop.call_later(left_s, _expire, waiter, name, left_s)
        try:
            connection.exchange(request, waiter)
            return await waiter
        except BaseException:
            # The answer may still come, and it would come to the next caller.
            connection.close()
            raise
        finally:
            timer.cancel()
            self._pool.release(connection)


def _expire(waiter: asyncio.Future[Answer], name: str, limit_s: float) -> None:
    if not waiter.done():
        waiter.set_exception(OutOfTimeError(name, limit_s))
