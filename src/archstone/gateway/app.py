"""The gateway at work: one ASGI application, one straight line through it.

A request passes, from the outside in: request id, server span, security headers; health, metrics and documents;
shedding, token, rate limit, `requires`; the body, within its limits; a place inside; then the operation, with its
deadline; and on the way out entity tag and packing. What is refused before it is known who asks is limited too, by
address. Each concern is a function of its own module; here stands their order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from archstone import context, world
from archstone.context import NOBODY, Call, Principal, new_tuple
from archstone.errors import ArchstoneError, DeniedError
from archstone.gateway.admission import Verify, client_key, principal_of
from archstone.gateway.bodies import Bodies
from archstone.gateway.early import Early
from archstone.gateway.encoding import Compress, pack, worth_packing
from archstone.gateway.etag import unless_known
from archstone.gateway.front_page import FrontPage, wants_page
from archstone.gateway.hardening import hardened, security_headers
from archstone.gateway.lifespan import lifespans
from archstone.gateway.mounts import Mount, mount_of, serve_mount
from archstone.gateway.own_pages import live, metrics_page, ready_page
from archstone.gateway.rates import Rates
from archstone.gateway.request_id import request_id
from archstone.gateway.scopes import scoped
from archstone.gateway.watchers import Watchers
from archstone.observability import counter, histogram, span
from archstone.resilience import Gate, OverloadedError, RateLimitedError
from archstone.services import Access, check_allowed
from archstone.services.http import (
    ClientGoneError,
    ContractApp,
    Headers,
    Match,
    MethodError,
    Receive,
    Response,
    RouteError,
    Scope,
    Send,
    raw_path_of,
    read_headers,
    refusal,
)

__all__ = ["GatewayApp", "Policies"]

_requests = counter("archstone_http_requests", "Requests answered, by operation and status.", ("operation", "status"))
_seconds = histogram("archstone_http_request_seconds", "Time from request to answer, by operation.", ("operation",))
_UNROUTED: Final = "none"
_METRICS: Final = b"/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What a request must pass."""

    verify: Verify
    access: Access
    rates: Rates
    gate: Gate | None
    bodies: Bodies
    compress: Compress | None
    urgent: frozenset[str]
    watchers: Watchers
    """Who sees the metrics."""


def _count(name: str, status: int) -> None:
    _requests.labels(name, str(status)).inc()


class GatewayApp:
    """An ASGI 3 application: public operations under a prefix, health, metrics, documents, mounted applications."""

    def __init__(
        self,
        contracts: ContractApp,
        policies: Policies,
        *,
        ready: Callable[[], tuple[bool, dict[str, object]]],
        metrics: Callable[[], str],
        documents: bool,
        mounts: tuple[Mount, ...],
        title: str = "Archstone",
        version: str = "1.0",
    ) -> None:
        self._contracts = contracts
        self._front = FrontPage(title, version, documents=documents)
        self._policies = policies
        self._mounts = mounts
        within = f"{contracts.prefix}/"
        # What lies below the prefix is an operation's, unless something is mounted in there.
        self._operations = within if not any(f"{at}/".startswith(within) for at, _ in mounts) else None
        gate = policies.gate
        health = {b"/health/live": live, b"/health/ready": lambda: ready_page(ready)}
        self.early = None if gate is None else Early(gate, health=health, ordinary=self._ordinary_query, count=_count)
        self._own: Mapping[bytes, Callable[[], Response]] = {
            **health,
            _METRICS: lambda: metrics_page(metrics),
        }
        if documents:
            own = contracts.documents
            self._own = {**self._own, b"/openapi.json": own.openapi, b"/docs": own.page}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says."""
        kind = scope["type"]
        if kind != "lifespan":
            context.set_whence(client_key(scope).removeprefix("address:"))
        mount = self._mount_of(scope) if self._mounts and kind != "lifespan" else None
        if kind == "lifespan":
            await lifespans([app for _, app in self._mounts], scope, receive, send)
        elif mount is not None:
            await self._pass_on(mount, scope, receive, send)
        elif kind == "http":
            response = await self._answer(scope, receive)
            if response is not None:
                await response.send(send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        began_s = world.monotonic()
        name, ticket, own = _UNROUTED, "", None
        try:
            headers = read_headers(scope["headers"])
            ticket = request_id(headers.get(b"x-request-id"))
            raw_path = raw_path_of(scope)
            if (own := self._own_at(raw_path, scope)) is not None:
                name = raw_path.decode()
                response = await self._own_page(own, scope["method"], headers)
            else:
                match = self._contracts.find(scope["method"], raw_path)
                name = match.route.name
                # A full house refuses before a span is opened and a token verified: refusing must cost next to nothing.
                response = self._shed(name, ticket)
                if response is None:
                    response = await self._traced(match, scope, headers, receive, ticket=ticket)
        except ClientGoneError:
            return None
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the client gets a document
            ticket = ticket or request_id(None)
            if own is None:
                # No limit was met on the way here: looking for paths, and for headers that hurt, is limited by address.
                response = self._refused(await self._rated(error, scope), scope, ticket=ticket)
            else:
                response = self._refused(error, scope, ticket=ticket)
        _requests.labels(name, str(response.status)).inc()
        _seconds.labels(name).observe(world.monotonic() - began_s)
        response.headers = hardened(response.headers, https=scope.get("scheme") == "https", ticket=ticket)
        return response

    def _own_at(self, raw_path: bytes, scope: Scope) -> Callable[[], Response] | None:
        """Return what the gateway itself says there. None: nothing, or not to this one."""
        if raw_path == _METRICS and not self._policies.watchers.let_in(scope):
            return None
        return self._own.get(raw_path)

    def _ordinary_query(self, raw_path: bytes) -> str | None:
        """Return the name of the query at a path; None if there is none, or if it may use the reserve."""
        if self._operations is None or raw_path in self._own:
            return None  # something else may be mounted there: the long way knows
        try:
            name = self._contracts.find("GET", raw_path).route.name
        except ArchstoneError:
            return None
        return None if name in self._policies.urgent else name

    def _shed(self, name: str, ticket: str) -> Response | None:
        """Return the answer to who cannot come in now, None if they can."""
        gate = self._policies.gate
        if gate is not None:
            try:
                gate.admit(1 if name in self._policies.urgent else 0)
            except OverloadedError as full:
                return refusal(full, instance=ticket, operation=None, frank=False)
        return None

    def _refused(self, error: Exception, scope: Scope, *, ticket: str) -> Response:
        """Tell a program by a problem document, and a person who looks for a page that is not there by a page."""
        response = refusal(error, instance=ticket, operation=None, frank=False)
        if isinstance(error, RouteError) and scope["method"] in {"GET", "HEAD"}:
            if wants_page(scope["headers"]):
                return self._front.found() if raw_path_of(scope) == b"/" else self._front.missing()
            response.headers.append((b"vary", b"accept"))
        return response

    async def _own_page(self, own: Callable[[], Response], method: str, headers: Headers) -> Response:
        if method not in {"GET", "HEAD"}:
            raise MethodError(method, "GET, HEAD")
        response = own()
        compress = self._policies.compress
        if compress is not None and worth_packing(response, compress):
            await pack(response, headers.get(b"accept-encoding", b""), compress)
        return response

    async def _traced(self, match: Match, scope: Scope, headers: Headers, receive: Receive, *, ticket: str) -> Response:
        """Answer within a server span; a refusal is an answer too, so that the span says which."""
        route = match.route
        call = self._contracts.call_of(headers, route, NOBODY, correlation=ticket)
        token = context.set_current(call)
        try:
            with span(route.span_name, kind="server") as work:
                try:
                    response = await self._admitted(match, scope, headers, receive)
                except ClientGoneError:
                    raise
                except Exception as error:  # noqa: BLE001 - the boundary
                    work.fail(error)
                    response = refusal(error, instance=ticket, operation=route.operation, frank=False)
                work.set("http.response.status_code", response.status)
                return response
        finally:
            context.leave(token)

    async def _admitted(self, match: Match, scope: Scope, headers: Headers, receive: Receive) -> Response:
        """Let in who may come; whoever is still sending waits outside, where waiting takes no one's place."""
        route, policies = match.route, self._policies
        place = policies.gate  # it has just admitted this one, and nobody is inside before the `with` below
        principal, key = await self._principal(scope, headers)
        if principal.scopes is not None:
            principal = scoped(route.operation, principal, policies.access)
        check_allowed(route.operation, principal, policies.access)
        _, until_s, trace, idempotency_key, chain, _, _, _ = context.current()
        call = new_tuple(Call, (principal, until_s, trace, idempotency_key, chain, None, None, None))
        body = None
        if not route.query:
            watch = policies.bodies.of(key, None if principal.by is None else principal.by.id)
            body = await self._contracts.read(route, headers, receive, call=call, watch=watch)
            # The house may have filled up meanwhile.
            if place is not None:
                place.admit(1 if route.name in policies.urgent else 0)
        if route.query:
            work = self._packed(match, scope, headers, receive, call=call)
        else:
            work = self._contracts.perform(match, scope, body, receive, call=call)
        if place is None:
            return await work
        with place:
            return await work

    async def _packed(self, match: Match, scope: Scope, headers: Headers, receive: Receive, *, call: Call) -> Response:
        """Ask a query; tag and pack what it answers."""
        response = await self._contracts.perform(match, scope, None, receive, call=call)
        response.headers = [*response.headers]
        compress = self._policies.compress
        pays = compress is not None and worth_packing(response, compress)
        response = unless_known(response, headers.get(b"if-none-match"))
        if pays and compress is not None and response.body:
            await pack(response, headers.get(b"accept-encoding", b""), compress)
        return response

    async def _principal(self, scope: Scope, headers: Headers) -> tuple[Principal, str]:
        """Return who asks, if they may ask that often, and under which name they are counted."""
        rates = self._policies.rates
        try:
            principal = principal_of(headers, self._policies.verify)
            if not isinstance(principal, Principal):
                principal = await principal
        except DeniedError:
            # Guessing tokens is limited as well, by address: whose token it would be is not known.
            await rates.turn(client_key(scope))
            raise
        key = f"user:{principal.id}" if principal.signed_in else client_key(scope)
        # Before anything is refused: what is refused costs as well.
        await rates.take(key, principal)
        return principal, key

    async def _rated(self, error: Exception, scope: Scope) -> Exception:
        """Return what to tell a client that gets `error`: that it comes too often, if it does."""
        if not isinstance(error, ArchstoneError):
            return error
        try:
            await self._policies.rates.turn(client_key(scope))
        except RateLimitedError as too_often:
            return too_often
        return error

    def _mount_of(self, scope: Scope) -> Mount | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if self._operations is not None and path.startswith(self._operations):
            return None
        mount = mount_of(path, self._mounts)
        prefix = self._contracts.prefix
        if mount is None or path.encode() in self._own:
            return None
        # The longer claim wins, so that pages mounted at the root leave the operations where they are.
        return None if len(prefix) > len(mount[0]) and path.startswith(f"{prefix}/") else mount

    async def _pass_on(self, mount: Mount, scope: Scope, receive: Receive, send: Send) -> None:
        offered = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        ticket = request_id(offered)

        def refuse(error: Exception) -> Response:
            return refusal(error, instance=ticket, operation=None, frank=False)

        extra = security_headers(https=scope.get("scheme") == "https", api=False)
        extra.append((b"x-request-id", ticket.encode()))
        await serve_mount(mount, scope, receive, send, extra=extra, refuse=refuse)
