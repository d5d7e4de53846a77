"""Requests and answers of the OAuth endpoints: small, strict, bounded.

RFC 6749, section 3.1: a parameter that comes twice is an error, one without a value counts as absent.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit, urlunsplit

from archstone.security.oauth.errors import OAuthError

__all__ = [
    "ASGIApp",
    "Answer",
    "Receive",
    "Request",
    "Scope",
    "Send",
    "basic_credentials",
    "bearer",
    "json_answer",
    "read_form",
    "read_json",
    "redirect",
    "request_of",
    "with_query",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_BODY: Final = 16_384
LONGEST_QUERY: Final = 8_192
LONGEST_VALUE: Final = 4_096
MOST_FIELDS: Final = 40
BODY_S: Final = 10.0
_FORM: Final = "application/x-www-form-urlencoded"
_NO_STORE: Final = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    scope: Scope
    method: str
    path: str
    """Below the mount."""
    headers: Mapping[str, str]
    """By lower-case name; of one that came twice both, parted by a comma."""
    query: Mapping[str, str]
    address: str
    """What a client is counted by: for IPv6 its /64."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, whole."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=_NO_STORE)

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def request_of(scope: Scope) -> Request:
    """Return what an ASGI scope asks.

    Raises:
        OAuthError: Its query is too long, or names something twice.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    query = scope.get("query_string", b"")
    if len(query) > LONGEST_QUERY:
        raise OAuthError("invalid_request", f"the query has {len(query)} bytes, limit {LONGEST_QUERY}")
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return Request(scope, method, path, headers, _fields(query.decode("latin-1")), _address(scope))


def _address(scope: Scope) -> str:
    client: tuple[str, int] | None = scope.get("client")
    if client is None:
        return "unknown"
    try:
        address = ip_address(client[0].partition("%")[0])
    except ValueError:
        return client[0]
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def _fields(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "the parameters cannot be read, or are too many") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise OAuthError("invalid_request", "a parameter came twice")
        if len(value) > LONGEST_VALUE:
            raise OAuthError("invalid_request", f"a parameter has {len(value)} characters, limit {LONGEST_VALUE}")
        found[name] = value
    return {name: value for name, value in found.items() if value}


async def read_form(request: Request, receive: Receive) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        OAuthError: It is no form, too long, too slow, or names something twice.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"the body must be {_FORM}")
    return _fields((await _body(receive)).decode("latin-1"))


async def read_json(request: Request, receive: Receive) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        OAuthError: It is none, too long or too slow.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise OAuthError("invalid_request", "the body must be application/json")
    try:
        said: object = json.loads(await _body(receive))
    except (ValueError, RecursionError):
        raise OAuthError("invalid_request", "the body is no JSON") from None
    if not isinstance(said, dict):
        raise OAuthError("invalid_request", "the body is no JSON object")
    return cast("dict[str, Any]", said)


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise OAuthError("invalid_request", "the body broke off")
                part = message.get("body", b"")
                size += len(part)
                if size > LONGEST_BODY:
                    raise OAuthError("invalid_request", f"the body has more than {LONGEST_BODY} bytes")
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError:
        raise OAuthError("invalid_request", "the body did not arrive in time") from None
    return b"".join(parts)


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return id and secret of HTTP Basic, as RFC 6749, section 2.3.1, encodes them. None: there are none.

    Raises:
        OAuthError: The header is of another form.
    """
    kind, _, rest = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        text = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
    except ValueError:
        raise OAuthError("invalid_client", "the Authorization header cannot be read") from None
    name, colon, secret = text.partition(":")
    if not colon:
        raise OAuthError("invalid_client", "the Authorization header cannot be read")
    return unquote_plus(name), unquote_plus(secret)


def bearer(request: Request) -> str | None:
    """Return the bearer token of the Authorization header. None: there is none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


def json_answer(value: object, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return a JSON answer that nobody keeps."""
    return Answer(status, json.dumps(value).encode(), ((b"content-type", b"application/json"), *_NO_STORE, *headers))


def redirect(to: str) -> Answer:
    """See there, with GET."""
    return Answer(303, b"", ((b"location", to.encode("latin-1")), (b"referrer-policy", b"no-referrer"), *_NO_STORE))


def with_query(uri: str, **more: str | None) -> str:
    """Return a URI with more in its query; None is left out."""
    place = urlsplit(uri)
    added = urlencode({name: value for name, value in more.items() if value is not None})
    return urlunsplit(place._replace(query=f"{place.query}&{added}" if place.query else added))
