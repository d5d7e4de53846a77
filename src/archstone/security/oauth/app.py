"""An OAuth server as an ASGI application, to be mounted at the path of its issuer.

    async with Database("sqlite:///oauth.db") as db, OAuth(db, settings, keys=ring, people=people) as oauth:
        app.mount("/oauth", OAuthApp(oauth))                       # FastAPI, Starlette
        gateway = Gateway(mounts={"/oauth": OAuthApp(oauth)})      # or ours
        app.mount("/.well-known", OAuthApp(oauth).well_known)      # RFC 8414 puts its document at the root

Errors are those of the RFCs, as JSON to programs and as pages to people. Each address is limited in how often it comes.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from archstone.errors import RejectedError
from archstone.observability import get_logger
from archstone.security.errors import TokenError
from archstone.security.oauth.consenting import PersonEndpoints
from archstone.security.oauth.errors import OAuthError
from archstone.security.oauth.http import (
    Answer,
    Receive,
    Request,
    Scope,
    Send,
    bearer,
    json_answer,
    read_form,
    read_json,
    request_of,
)
from archstone.security.oauth.metadata import metadata
from archstone.security.oauth.pages import message_page, style
from archstone.security.oauth.registration import register
from archstone.security.oauth.server import OAuth
from archstone.security.oauth.token_endpoint import TokenEndpoint

__all__ = ["OAuthApp"]

Handler = Callable[[Request, Receive], Awaitable[Answer]]

_PAGES: Final = frozenset({"/authorize", "/consent", "/device", "/apps"})
_FOR_ALL: Final = ((b"access-control-allow-origin", b"*"),)
"""Metadata and public keys are for every page of the world to read. Nothing else is."""
_log = get_logger(__name__)


class OAuthApp:
    """An ASGI 3 application."""

    def __init__(self, oauth: OAuth) -> None:
        self.oauth = oauth
        self._people = PersonEndpoints(oauth)
        self._tokens = TokenEndpoint(oauth)
        self._routes: Mapping[tuple[str, str], Handler] = {
            ("GET", "/authorize"): lambda request, _: self._people.authorize(request),
            ("GET", "/consent"): lambda request, _: self._people.consent(request),
            ("POST", "/consent"): self._decide,
            ("GET", "/device"): lambda request, _: self._people.device(request),
            ("POST", "/device"): self._device_typed,
            ("GET", "/apps"): lambda request, _: self._people.apps(request),
            ("POST", "/apps"): self._end_app,
            ("POST", "/par"): self._push,
            ("POST", "/token"): self._token,
            ("POST", "/introspect"): self._introspect,
            ("POST", "/revoke"): self._revoke,
            ("POST", "/device_authorization"): self._begin_device,
            ("GET", "/userinfo"): self._userinfo,
            ("POST", "/userinfo"): self._userinfo,
            ("POST", "/register"): self._register,
            ("GET", "/jwks.json"): self._jwks,
            ("GET", "/.well-known/openid-configuration"): self._metadata,
            ("GET", "/.well-known/oauth-authorization-server"): self._metadata,
            ("GET", "/style.css"): self._style,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream, as ASGI 3 says. There is nothing to open or close."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        if scope["type"] == "http":
            await (await self._answer(scope, receive)).send(send)

    async def well_known(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the metadata where RFC 8414 wants it: at the root of its host, before the issuer's path."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            ours = path == f"/oauth-authorization-server{self._people.root}" and scope["method"] in {"GET", "HEAD"}
            answer = json_answer(metadata(self.oauth), headers=_FOR_ALL) if ours else _error("not_found", "", 404)
            await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        page = False
        try:
            request = request_of(scope)
            page = request.path in _PAGES
            await self.oauth.asking.turn(request.address)
            handler = self._routes.get((request.method, request.path))
            if handler is None:
                return self._lost(request)
            return await handler(request, receive)
        except OAuthError as error:
            if page:
                return message_page(self._people.root, "This did not work", f"{error.description}.", status=400)
            return _refused(error, basic="basic" in _authorization(scope))
        except RejectedError as error:
            return self._later(error, page=page)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, there is an answer
            _log.error("an oauth request failed", path=scope["path"], exc_info=error)
            if page:
                return message_page(self._people.root, "Something went wrong", "Please try again later.", status=500)
            return _error("server_error", "it is our fault, and has been written down", 500)

    def _lost(self, request: Request) -> Answer:
        methods = sorted(method for method, path in self._routes if path == request.path)
        if not methods or (request.path == "/register" and not self.oauth.settings.registration):
            return _error("not_found", "there is nothing here", 404)
        return _error("invalid_request", "this method is not for this place", 405, allow=", ".join(methods))

    def _later(self, error: RejectedError, *, page: bool) -> Answer:
        after = ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))),)
        status = error.status if error.status in {429, 503} else 503
        if page:
            shown = message_page(self._people.root, "Please wait a moment", "Too many come at once.", status=status)
            return Answer(status, shown.body, (*shown.headers, *after))
        return json_answer(
            {"error": "temporarily_unavailable", "error_description": "too many requests: try again later"},
            status=status,
            headers=after,
        )

    async def _decide(self, request: Request, receive: Receive) -> Answer:
        return await self._people.decide(request, await read_form(request, receive))

    async def _device_typed(self, request: Request, receive: Receive) -> Answer:
        return await self._people.device_typed(request, await read_form(request, receive))

    async def _end_app(self, request: Request, receive: Receive) -> Answer:
        return await self._people.end_app(request, await read_form(request, receive))

    async def _push(self, request: Request, receive: Receive) -> Answer:
        said = await read_form(request, receive)
        client = await self._tokens.client_of(request, said)
        return json_answer(await self._people.push(client, said), status=201)

    async def _begin_device(self, request: Request, receive: Receive) -> Answer:
        said = await read_form(request, receive)
        client = await self._tokens.client_of(request, said)
        return json_answer(await self._people.begin_device(client, said))

    async def _token(self, request: Request, receive: Receive) -> Answer:
        return json_answer(await self._tokens.token(request, await read_form(request, receive)))

    async def _introspect(self, request: Request, receive: Receive) -> Answer:
        return json_answer(await self._tokens.introspect(request, await read_form(request, receive)))

    async def _revoke(self, request: Request, receive: Receive) -> Answer:
        await self._tokens.revoke(request, await read_form(request, receive))
        return Answer(200)

    async def _userinfo(self, request: Request, _: Receive) -> Answer:
        token = bearer(request)
        if token is None:
            raise OAuthError("invalid_token", "send the access token as Authorization: Bearer")
        try:
            claims = self.oauth.tokens.verify(token)
        except TokenError:
            raise OAuthError("invalid_token", "the access token is not good") from None
        scopes = claims.principal.scopes or frozenset[str]()
        if "openid" not in scopes:
            raise OAuthError("insufficient_scope", "the scope openid was not asked for")
        person = await self.oauth.people.find(claims.principal.id)
        if person is None:
            raise OAuthError("invalid_token", "whoever allowed this is not there any more")
        told: dict[str, object] = {"sub": person.id}
        for scope in sorted(scopes & person.claims.keys()):
            told |= person.claims[scope]
        return json_answer(told)

    async def _register(self, request: Request, receive: Receive) -> Answer:
        if not self.oauth.settings.registration:
            return self._lost(request)
        return json_answer(await register(self.oauth, await read_json(request, receive)), status=201)

    async def _jwks(self, _request: Request, _receive: Receive) -> Answer:
        return json_answer(self.oauth.tokens.ring.jwks(), headers=_FOR_ALL)

    async def _metadata(self, _request: Request, _receive: Receive) -> Answer:
        return json_answer(metadata(self.oauth), headers=_FOR_ALL)

    async def _style(self, _request: Request, _receive: Receive) -> Answer:
        return style()


def _authorization(scope: Scope) -> str:
    found = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return found[:10].decode("latin-1").lower()


def _refused(error: OAuthError, *, basic: bool) -> Answer:
    challenge = b""
    if error.fault == "invalid_client" and basic:
        challenge = b'Basic realm="oauth"'
    elif error.fault in {"invalid_token", "insufficient_scope"}:
        challenge = f'Bearer error="{error.fault}", error_description="{error.description}"'.encode("ascii", "replace")
    headers = ((b"www-authenticate", challenge),) if challenge else ()
    told = {"error": error.fault, "error_description": error.description}
    return json_answer(told, status=error.http_status, headers=headers)


def _error(fault: str, description: str, status: int, *, allow: str = "") -> Answer:
    headers = ((b"allow", allow.encode()),) if allow else ()
    return json_answer({"error": fault, "error_description": description}, status=status, headers=headers)
