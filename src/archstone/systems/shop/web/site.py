"""The pages as one ASGI application: one straight line from a request to an answer.

In this order: the path; who is there; how often they come; that what changes something comes from our own pages; what
was typed; a place inside; then the page. Whatever goes wrong on the way is a page as well, with words about what
became of the request. An order's page that changes by itself is a stream and holds no place.
"""

import math
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Final, cast
from urllib.parse import parse_qsl, quote

from archstone import context, world
from archstone.context import Call
from archstone.errors import ArchstoneError
from archstone.gateway import Console, Receive, Scope, Send, Story, client_key
from archstone.observability import counter, histogram, span
from archstone.resilience import Gate, Limiter, SharedLimiter
from archstone.security import CrossSiteError, HostCookie, check_same_origin
from archstone.services import Access
from archstone.systems.pages import accepts_gzip
from archstone.systems.shop.orders.contract import OrderUnknownError, OrderView
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.web.asgi import ClientGoneError, Response, headers_of
from archstone.systems.shop.web.body import Forms
from archstone.systems.shop.web.clients import Clients
from archstone.systems.shop.web.cookies import SESSION, cookies_of
from archstone.systems.shop.web.desk import SESSION_KEEP_S, Desk
from archstone.systems.shop.web.exchange import Answer, Page, PageMissingError, Redirect, Request
from archstone.systems.shop.web.failures import MethodError, failure_page
from archstone.systems.shop.web.inside import inside
from archstone.systems.shop.web.money import locale_of
from archstone.systems.shop.web.pages.admin.data import Data
from archstone.systems.shop.web.pages.behind import last_order, seen
from archstone.systems.shop.web.pages.orders import shown
from archstone.systems.shop.web.rendering import PAGE_HEADERS, assets, templates
from archstone.systems.shop.web.routes import Route, find
from archstone.systems.shop.web.streams import STREAM_HEADERS, Streams, once
from archstone.systems.shop.web.words import NOTICES, Told
from archstone.systems.shop.window import Window

__all__ = ["Limits", "Site"]

MOST_PARAMETERS: Final = 20
_EVENTS: Final = re.compile(r"(?:/orders/([0-9a-f]{32}))?(/counter)?/events")
_ASSET: Final = re.compile(r"/assets/([a-z0-9][a-z0-9.-]{0,60})")

_requests = counter("shop_page_requests", "Pages answered, by route and status.", ("route", "status"))
_seconds = histogram("shop_page_seconds", "Time from request to answer, by route.", ("route",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What visitors must pass."""

    limiter: Limiter | SharedLimiter | None
    """How often one may come. None: as often as they like."""
    gate: Gate | None
    """How many may be inside. None: all."""
    access: Access
    """Who may see what."""
    time_limit_s: float
    """Longest time for a page, seconds."""


class Site:
    """An ASGI 3 application."""

    def __init__(
        self,
        clients: Clients,
        limits: Limits,
        *,
        window: Window,
        ready: Callable[[], bool],
        console: Console | None = None,
        proxied: bool = False,
        programs: Programs | None = None,
    ) -> None:
        """Say whom to ask and what visitors must pass.

        Args:
            clients: Whom to ask.
            limits: What visitors must pass.
            window: What is kept near.
            ready: Tells whether the shop is open: streams end when it is not.
            console: What is known of the run behind. None: nothing.
            proxied: Whether `/images` shows pictures of elsewhere, so that pages may name them.
            programs: What lets programs in. None: there is none.
        """
        self._desk = Desk(clients, window, console, programs)
        self._limits = limits
        self._assets = assets()
        self._templates = templates(proxied=proxied)
        self._streams = Streams(ready)
        self._forms = Forms()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says. There is nothing to open or close."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        if scope["type"] != "http":
            return
        call = Call(deadline_s=world.monotonic() + self._limits.time_limit_s, correlation_id=world.new_id())
        with context.enter(call), suppress(ClientGoneError):
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        wanted = accepts_gzip(scope["headers"])
        if (asset := _ASSET.fullmatch(path)) is not None and scope["method"] in {"GET", "HEAD"}:
            file = self._assets.answer(asset[1], _query(scope).get("v", ""), packed=wanted)
            if file is not None:
                await file.send(send)
                return
        events = _EVENTS.fullmatch(path) if path != "/events" else None
        found = find(path)
        name = "none" if found is None else next(iter(found[0].values())).path
        if events is not None:
            name = f"/orders/{{order}}{events[2] or ''}/events"
        begun_s = world.monotonic()
        request = _bare(scope, receive)
        try:
            request = replace(request, headers=headers_of(scope["headers"]))
            if events is not None and scope["method"] == "GET":
                response = await self._stream(events[1], request, send, behind=events[2] is not None)
            else:
                with span(f"{request.method} {name}", kind="server") as work:
                    response = _remembering(await self._answered(request, found), request)
                    work.set("http.response.status_code", response.status)
        except ClientGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the visitor gets a page
            response = await self._html(request, failure_page(error))
        if response is not None:
            _requests.labels(name, str(response.status)).inc()
            _seconds.labels(name).observe(world.monotonic() - begun_s)
            response.pack(wanted=wanted)
            await response.send(send)

    async def _answered(
        self, request: Request, found: tuple[Mapping[str, Route], Mapping[str, str]] | None
    ) -> Response:
        """Let in who may come, and return what the page answers."""
        await self._admit(request)
        if found is None:
            raise PageMissingError
        routes, request.parts = found
        route = routes.get(request.method)
        if route is None:
            raise MethodError(", ".join(sorted(routes)))
        if request.method == "POST":
            check_same_origin(request.headers, https=request.https)
            request.form = await self._forms.read(request.headers, request.receive)
        if (elsewhere := self._first_to(route, request, routes)) is not None:
            return _redirect(elsewhere, request)
        gate = self._limits.gate
        with nullcontext() if gate is None else gate.admit(1 if route.urgent else 0):
            answer = await self._handled(route, request)
            if isinstance(answer, Redirect):
                return _redirect(answer, request)
            if isinstance(answer, Data):
                return answer.response()
            return await self._html(request, answer)

    def _first_to(self, route: Route, request: Request, routes: Mapping[str, Route]) -> Redirect | None:
        """Return where a visitor must go first: to sign in, to prove who they are, or to get a second factor.

        Raises:
            ForbiddenError: the page is for another role.
        """
        visitor = request.visitor
        if visitor is None:
            told = "&told=ended" if request.method == "POST" else ""
            return Redirect(to=f"/login?next={quote(_back_to(request, routes))}{told}") if route.signed_in else None
        if route.role is not None and visitor.needs_factor:
            return Redirect(to="/account/security?told=factor")
        if route.role is not None:
            self._limits.access.check(route.path, route.role, request.principal)
        if route.proved and not visitor.proved:
            return Redirect(to=f"/account/prove?next={quote(_back_to(request, routes))}&told=prove")
        return None

    async def _admit(self, request: Request) -> None:
        """Find out who is there, and count it."""
        await self._desk.recognise(request)
        if self._limits.limiter is not None:
            await self._limits.limiter.turn(request.counted_as)

    async def _handled(self, route: Route, request: Request) -> Answer | Data:
        with context.enter(context.current()._replace(principal=request.principal)):
            return await route.handler(self._desk, request)

    async def _html(self, request: Request, page: Page) -> Response:
        """Return a page, in the frame that all have. The frame goes without what cannot be had."""
        if page.part:
            html = self._templates.page(page.template, request.locale, page.values)
            return Response(page.status, [*PAGE_HEADERS], html.encode())
        pieces, shelves = 0, ()
        with suppress(ArchstoneError), context.enter(context.current()._replace(principal=request.principal)):
            pieces, shelves = await self._desk.pieces(request), await self._desk.shelves()
        frame = {
            "visitor": request.visitor,
            "pieces": pieces,
            "shelves": shelves,
            "told": NOTICES.get(request.told),
            "here": request.path,
            "asked": "",
            "chaos": self._desk.chaos,
        }
        html = self._templates.page(page.template, request.locale, {**frame, **page.values})
        headers = [*PAGE_HEADERS, *page.headers, *(each.header(https=request.https) for each in page.cookies)]
        if page.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % math.ceil(page.retry_after_s)))
        return Response(page.status, headers, html.encode())

    async def _stream(self, order_id: str | None, request: Request, send: Send, *, behind: bool) -> Response | None:
        """Tell an open page of changes; return an answer only if there is nothing to tell.

        Args:
            order_id: Of what. None: the visitor's last order.
            request: Who asks.
            send: Where to.
            behind: Whether of what happens behind the counter, not of the order's page.
        """
        if request.headers.get(b"sec-fetch-site", b"same-origin") != b"same-origin":
            raise CrossSiteError
        await self._admit(request)
        if request.visitor is None:
            raise PageMissingError
        # A stream has no deadline of its own: each of its questions has one.
        with context.enter(context.current()._replace(principal=request.principal, deadline_s=None)):
            if behind:
                return await self._stream_inside(order_id, request, send)
            try:
                order = await self._desk.clients.orders.order(order_id or "")
            except OrderUnknownError as error:
                raise PageMissingError from error

            def render(order: OrderView) -> tuple[str, str, bool]:
                values = shown(self._desk, order)
                about = cast("Told", values["about"])
                stamp = f"{len(order.timeline)}{'-slow' if about.slow else ''}"
                return stamp, self._templates.page("_order.html", request.locale, values), about.over

            last_id = request.headers.get(b"last-event-id", b"")[:40].decode("latin-1")
            stamp, _, over = render(order)
            if over and last_id == stamp:
                return Response(204, [])  # which is how a browser is told not to come back
            await self._streams.serve(
                self._desk.clients.orders, order, render, last_id=last_id, whose=request.counted_as,
                receive=request.receive, send=send,
            )  # fmt: skip
        return None

    async def _stream_inside(self, order_id: str | None, request: Request, send: Send) -> Response | None:
        """Tell the panel behind the counter of its order."""
        order_id = order_id or await last_order(self._desk, request)

        def render(story: Story | None) -> str:
            values = {"order_id": order_id, "inside": None if story is None else inside(story)}
            return self._templates.page("_counter.html", request.locale, values)

        console = self._desk.console
        if order_id is None or console is None:
            return Response(200, list(STREAM_HEADERS), once("counter", render(None)))
        await seen(self._desk, order_id)
        await self._streams.watch(
            console.watch(order_id), render, whose=request.counted_as, receive=request.receive, send=send
        )
        return None


def _remembering(response: Response, request: Request) -> Response:
    """Return the answer with the session's cookie, if it is to be kept longer and the page has not set another."""
    if request.renewed and all(
        name != b"set-cookie" or SESSION.encode() not in value for name, value in response.headers
    ):
        cookie = HostCookie(SESSION, request.cookies[SESSION], SESSION_KEEP_S)
        response.headers.append(cookie.header(https=request.https))
    return response


def _bare(scope: Scope, receive: Receive) -> Request:
    """Return what can be said of any request, however broken."""
    pairs = scope["headers"]
    https = scope.get("scheme") == "https"
    accepted = next((value for name, value in pairs if name == b"accept-language"), b"")
    return Request(
        method="GET" if scope["method"] == "HEAD" else scope["method"],
        path=scope["path"],
        query=_query(scope),
        headers={},
        cookies=cookies_of(pairs, https=https),
        https=https,
        address=client_key(scope),
        locale=locale_of(accepted.decode("latin-1")),
        receive=receive,
    )


def _query(scope: Scope) -> dict[str, str]:
    try:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=MOST_PARAMETERS)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def _back_to(request: Request, routes: Mapping[str, Route]) -> str:
    """Return where to go after signing in: to this page, or from a form to the next page above it."""
    path = request.path
    while "GET" not in routes:
        path = path.rpartition("/")[0] or "/"
        routes = (find(path) or ({}, {}))[0]
    return path


def _redirect(answer: Redirect, request: Request) -> Response:
    headers = [(b"location", answer.to.encode("ascii")), (b"cache-control", b"no-store")]
    headers += [each.header(https=request.https) for each in answer.cookies]
    if any(each.name == SESSION and not each.value for each in answer.cookies):
        # Somebody signs out: what their browser has kept of our pages goes with the session.
        headers.append((b"clear-site-data", b'"cache", "storage"'))
    return Response(303, headers)
