"""The pages as one ASGI application: one straight line from a request to an answer.

In this order: the path; who is there; how often they come; that what changes something comes from our own pages; what
was typed; a place inside; then the page. Whatever goes wrong on the way is a page as well.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote

from archstone import context, world
from archstone.context import Call
from archstone.gateway import Receive, Response, Scope, Send, client_key
from archstone.observability import counter, histogram, span
from archstone.resilience import Gate, Limiter
from archstone.security import check_same_origin
from archstone.services import Access
from archstone.systems.exchange.accounts.contract import NoSessionError, browser_mark
from archstone.systems.exchange.web.asking import FormError, Hall, Page, PageMissingError, Redirect, Request
from archstone.systems.exchange.web.clients import PAGES
from archstone.systems.exchange.web.cookies import session_of, theme_of
from archstone.systems.exchange.web.failures import failure_page
from archstone.systems.exchange.web.rendering import NOTICES, PAGE_HEADERS, assets, templates
from archstone.systems.exchange.web.routes import Route, find
from archstone.systems.pages import accepts_gzip

__all__ = ["Limits", "Site"]

_ASSET: Final = re.compile(r"/assets/([a-z0-9][a-z0-9.-]{0,60})")
_FORM_BYTES: Final = 16_384
_FORM_S: Final = 10.0
_MOST_FIELDS: Final = 20

_requests = counter("exchange_page_requests", "Pages answered, by route and status.", ("route", "status"))
_seconds = histogram("exchange_page_seconds", "Time from request to answer, by route.", ("route",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What visitors must pass."""

    limiter: Limiter | None
    """How often one may come. None: as often as they like."""
    gate: Gate | None
    """How many may be inside. None: all."""
    access: Access
    """Who may see what."""
    time_limit_s: float
    """Longest time for a page, seconds."""


class Site:
    """An ASGI 3 application."""

    def __init__(self, hall: Hall, limits: Limits) -> None:
        """Take what pages have at hand, and what visitors must pass."""
        self._hall = hall
        self._limits = limits
        self._assets = assets()
        self._templates = templates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says. There is nothing to open or close."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        if scope["type"] != "http":
            return
        asset = _ASSET.fullmatch(scope["path"])
        if asset is not None and scope["method"] in {"GET", "HEAD"}:
            packed = accepts_gzip(scope["headers"])
            response = self._assets.answer(asset[1], _pairs(scope["query_string"]).get("v", ""), packed=packed)
            if response is not None:
                await response.send(send)
                return
        call = Call(deadline_s=world.monotonic() + self._limits.time_limit_s, correlation_id=world.new_id())
        with context.enter(call):
            await (await self._measured(_request(scope, receive))).send(send)

    async def _measured(self, request: Request) -> Response:
        found = find(request.path)
        name = "none" if found is None else next(iter(found[0].values())).path
        begun_s = world.monotonic()
        with span(f"{request.method} {name}", kind="server") as work:
            try:
                response = await self._answered(request, found)
            except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the visitor gets a page
                response = self._html(request, failure_page(error))
            work.set("http.response.status_code", response.status)
        _requests.labels(name, str(response.status)).inc()
        _seconds.labels(name).observe(world.monotonic() - begun_s)
        return response

    async def _answered(
        self, request: Request, found: tuple[Mapping[str, Route], Mapping[str, str]] | None
    ) -> Response:
        """Let in who may come, and return what the page answers."""
        await self._recognise(request)
        if self._limits.limiter is not None:
            self._limits.limiter.take(request.counted_as)
        if found is None or (route := found[0].get(request.method)) is None:
            raise PageMissingError
        request.parts = found[1]
        if request.method == "POST":
            check_same_origin(request.headers, https=request.https)
            request.form = await _form(request)
        if route.signed_in and request.visitor is None:
            return _redirect(Redirect(to=f"/login?next={quote(_back_to(request, found[0]))}"), request)
        if route.requires is not None:
            self._limits.access.check(route.path, route.requires, request.principal)
        gate = self._limits.gate
        place = nullcontext() if gate is None else gate.admit(1 if route.urgent else 0)
        with place, context.enter(context.current()._replace(principal=request.principal)):
            answer = await route.handler(self._hall, request)
        return _redirect(answer, request) if isinstance(answer, Redirect) else self._html(request, answer)

    async def _recognise(self, request: Request) -> None:
        """Find out whose session the request's cookie names. A session that has ended is nobody's."""
        if request.token is None:
            return
        asking = context.enter(context.current()._replace(principal=PAGES))
        with asking, suppress(NoSessionError):
            request.visitor = await self._hall.clients.browsers.visitor(browser_mark(request.token))

    def _html(self, request: Request, page: Page) -> Response:
        frame = {
            "visitor": request.visitor, "theme": request.theme, "here": request.path,
            "told": NOTICES.get(request.query.get("told", "")),
            "watches": request.visitor is not None and request.visitor.role in {"watcher", "admin"},
        }  # fmt: skip
        html = self._templates.page(page.template, {**frame, **page.values})
        return Response(page.status, [*PAGE_HEADERS, *page.headers], html.encode())


def _request(scope: Scope, receive: Receive) -> Request:
    https = scope.get("scheme") == "https"
    return Request(
        method="GET" if scope["method"] == "HEAD" else scope["method"], path=scope["path"],
        query=_pairs(scope["query_string"]), headers=dict(scope["headers"]), https=https, address=client_key(scope),
        theme=theme_of(scope["headers"], https=https), token=session_of(scope["headers"], https=https),
        receive=receive,
    )  # fmt: skip


def _pairs(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(text.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(pairs))


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form. FormError: it is none, is too long, or came too slowly."""
    kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise FormError(415)
    body = b""
    try:
        async with asyncio.timeout(_FORM_S):
            while True:
                message = await request.receive()
                body += message.get("body", b"")
                if len(body) > _FORM_BYTES or message["type"] == "http.disconnect":
                    raise FormError(413)
                if not message.get("more_body", False):
                    return _pairs(body)
    except TimeoutError as error:
        raise FormError(408) from error


def _back_to(request: Request, routes: Mapping[str, Route]) -> str:
    """Return where to go after signing in: to this page, or from a form to the page that it stands on."""
    return request.path if "GET" in routes else request.path.rpartition("/")[0] or "/"


def _redirect(answer: Redirect, request: Request) -> Response:
    headers = [(b"location", answer.to.encode("ascii")), (b"cache-control", b"no-store"), *answer.headers]
    headers += [each.header(https=request.https) for each in answer.cookies]
    return Response(303, headers)
