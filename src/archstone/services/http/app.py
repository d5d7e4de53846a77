"""Serve contracts over HTTP: a thin ASGI 3 application.

Promise: arguments are validated and results encoded by the operation's own compiled codec; every failure is a problem
document (see `problems`); bodies, headers and waiting times are bounded; when the client hangs up, a query is
cancelled and a command runs on. Any status but the operation's own means that the body is a problem document.
Invalid arguments are 400; 422 is kept for a key that came back with other arguments.
Not for: streams, uploads, web sockets. Mount any other ASGI application beside it, or this one in yours.
"""

from collections.abc import Awaitable, Sequence
from typing import Final

from archstone import context, world
from archstone.context import Call, Principal, new_tuple
from archstone.observability import parse_traceparent
from archstone.resilience import check
from archstone.services.errors import KeyMissingError, RequestInvalidError
from archstone.services.http.asgi import Headers, Receive, Response, Scope, Send, live
from archstone.services.http.body import in_time, read_body
from archstone.services.http.disconnect import until_gone
from archstone.services.http.documents import Documents
from archstone.services.http.errors import ClientGoneError, MethodError, RouteError
from archstone.services.http.headers import (
    CORRELATION_ID,
    DEADLINE_MS,
    IDEMPOTENCY_KEY,
    TRACEPARENT,
    check_json,
    correlation_id,
    idempotency_key,
    read_headers,
    remaining_s,
)
from archstone.services.http.principal import PrincipalHook, nobody
from archstone.services.http.problems import refusal
from archstone.services.http.query_string import parse_query
from archstone.services.http.route import Match, Route, raw_path_of
from archstone.services.http.router import Router
from archstone.services.http.waiting import Resumed, Watch, Watched
from archstone.services.http.whole_numbers import with_whole_numbers
from archstone.services.operation import Operation, Transport

__all__ = ["ContractApp"]

PUBLIC_KEY_LIMIT: Final = 255
"""Characters of an idempotency key that a client chooses."""
NESTED_KEY_LIMIT: Final = 2048
"""Characters of a key between services: it names the calls that led here."""
_NO_PARAMETERS: Final[dict[str, str]] = {}


class ContractApp:
    """An ASGI application that serves operations, each through its transport.

    Args:
        routes: Each operation and whoever carries its calls.
        prefix: Stands before each path: empty, or `/api/v1`.
        strict: Refuse unknown fields and hide what failed inside: at the edge. Between services unknown fields are
            ignored, so that upgrades can roll.
        principal: Says who asks; by default nobody is signed in.
        body_limit_bytes: Longest body. Above 0.
        time_limit_s: Longest time for a request, and for its body to arrive; a caller may ask for less.
    """

    def __init__(
        self,
        routes: Sequence[tuple[Operation, Transport]],
        *,
        prefix: str = "",
        strict: bool = False,
        title: str = "Archstone",
        version: str = "1.0",
        principal: PrincipalHook = nobody,
        body_limit_bytes: int = 1_000_000,
        time_limit_s: float = 30.0,
    ) -> None:
        self.body_limit_bytes = body_limit_bytes
        self.time_limit_s = time_limit_s
        check(
            self,
            body_limit_bytes=(body_limit_bytes > 0, "above 0"),
            time_limit_s=(time_limit_s > 0, "above 0"),
        )
        self.prefix = prefix
        self._strict = strict
        self._principal = principal
        self._in_time = in_time(time_limit_s)
        self._router = Router([Route(operation, transport, prefix) for operation, transport in routes])
        operations = [operation for operation, _ in routes]
        self.documents = Documents(operations, prefix=prefix, title=title, version=version, strict=strict)
        self._documents_at = {
            f"{prefix}/openapi.json".encode(): self.documents.openapi,
            f"{prefix}/docs".encode(): self.documents.page,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        if scope["type"] == "http":
            response = await self._answer(scope, receive)
            if response is not None:
                await response.send(send)
        elif scope["type"] == "lifespan":
            await live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def find(self, method: str, raw_path: bytes) -> Match:
        """Return the route of a request.

        Raises:
            RouteError: nothing has this path.
            MethodError: the path does not take this method.
            BadRequestError: the path cannot be decoded.
        """
        found = self._router.find(raw_path)
        if found is None:
            raise RouteError(raw_path.decode("latin-1")[:200])
        endpoint = found[0].endpoints.get(method)
        if endpoint is None:
            raise MethodError(method, found[0].allow.decode())
        route, names = endpoint
        values = found[1]
        if not values:
            path = _NO_PARAMETERS
        elif len(values) == 1:
            path = {names[0]: values[0]}
        else:
            path = dict(zip(names, values, strict=True))
        return new_tuple(Match, (route, path))

    async def read(
        self, route: Route, headers: Headers, receive: Receive, *, call: Call, watch: Watch | None = None
    ) -> bytes:
        """Return the body of a command.

        Args:
            route: Where it goes.
            headers: Of the request.
            receive: The server's.
            call: The call that the headers describe.
            watch: Looks after a body that is waited for, and gives it up. None: within this application's time limit.

        Raises:
            ArchstoneError: The request is refused; `problem` makes an answer of it.
            ClientGoneError: Nobody waits for an answer.
        """
        if call.key is None and route.operation.key_required:
            raise KeyMissingError(route.name)
        body = await read_body(receive, headers, limit_bytes=self.body_limit_bytes, watch=watch or self._in_time)
        if body:
            check_json(headers, body)
        return body

    async def perform(
        self, match: Match, scope: Scope, body: bytes | None, receive: Receive, *, call: Call
    ) -> Response:
        """Decode the arguments, make the call under `call`, and return its encoded result; its headers are shared.

        Raises:
            ArchstoneError: The request is refused, or the call failed; `problem` makes an answer of it.
            ClientGoneError: Nobody waits for an answer.
        """
        route = match.route
        operation = route.operation
        arguments = self._arguments(match, scope["query_string"], body)
        token = context.set_current(call)
        try:
            work = route.transport.call(operation, arguments)
            # A command is not watched: its transport ends the wait at the deadline, and lets the work run on.
            result = await (_unless_gone(work, receive, route.name, call) if route.query else work)
        finally:
            context.leave(token)
        return Response(operation.status, route.success_headers, route.encode(result))

    def _arguments(self, match: Match, query_string: bytes, body: bytes | None) -> dict[str, object]:
        operation, fields = match.route.operation, parse_query(query_string)
        try:
            return operation.decode(match.path, fields, body, strict=self._strict)
        except RequestInvalidError:
            whole = with_whole_numbers(body) if body and self._strict else None
            if whole is None:
                raise
            return operation.decode(match.path, fields, whole, strict=True)

    def call_of(self, headers: Headers, route: Route, principal: Principal, *, correlation: str | None = None) -> Call:
        """Return the call that the headers describe, within this application's time limit.

        Args:
            headers: Of the request.
            route: Where it goes.
            principal: Who asks.
            correlation: The id of the chain of calls. None: what the header says.
        """
        limit_s = self.time_limit_s
        if (asked := headers.get(DEADLINE_MS)) is not None:
            limit_s = min(limit_s, remaining_s(asked))
        key = None
        if not route.query and (raw := headers.get(IDEMPOTENCY_KEY)) is not None:
            key = idempotency_key(raw, limit=PUBLIC_KEY_LIMIT if self._strict else NESTED_KEY_LIMIT)
        parent = headers.get(TRACEPARENT)
        trace = None if parent is None else parse_traceparent(parent.decode("latin-1"))
        if correlation is None and (chain := headers.get(CORRELATION_ID)) is not None:
            correlation = correlation_id(chain)
        until_s = world.monotonic() + limit_s
        return new_tuple(Call, (principal, until_s, trace, key, correlation, None, None, None))

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        operation: Operation | None = None
        instance: str | None = None
        try:
            raw_path = raw_path_of(scope)
            headers = read_headers(scope["headers"])
            match = self.find(scope["method"], raw_path)
            operation = match.route.operation
            asked = self._principal(headers)
            principal = asked if isinstance(asked, Principal) else await asked
            call = self.call_of(headers, match.route, principal)
            instance = call.correlation_id
            route = match.route
            body = None if route.query else await self.read(route, headers, receive, call=call)
            return await self.perform(match, scope, body, receive, call=call)
        except RouteError as error:
            document = self._document(scope["method"], raw_path_of(scope))
            return document or refusal(error, instance=world.new_id(), operation=None, frank=not self._strict)
        except ClientGoneError:
            return None
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the client gets a document
            return refusal(error, instance=instance or world.new_id(), operation=operation, frank=not self._strict)

    def _document(self, method: str, raw_path: bytes) -> Response | None:
        document = self._documents_at.get(raw_path)
        return document() if document is not None and method in ("GET", "HEAD") else None


async def _unless_gone(work: Awaitable[object], receive: Receive, name: str, call: Call) -> object:
    """Await a query; end it when it is too late, or when nobody waits for it."""
    steps = work.__await__()
    try:
        # Nearly always it answers at once: one step by hand costs less than a watch that never begins.
        pending = next(steps)
    except StopIteration as done:
        return done.value
    return await Watched(Resumed(steps, pending), until_gone(receive, name, call))
