"""The headers that carry a call: key, deadline, trace, correlation. Read strictly, written once.

Promise: a header that decides something (a key, a length, a credential) counts only if it came once and is well
formed; anything else is a BadRequestError that names it. A broken `traceparent` is ignored, as W3C asks.
"""

import re
from collections.abc import Iterable
from typing import Final

import orjson

from archstone.services.http.asgi import Headers
from archstone.services.http.errors import BadRequestError, ContentTypeError, HeadersTooLargeError

__all__ = [
    "CORRELATION_ID",
    "DEADLINE_MS",
    "IDEMPOTENCY_KEY",
    "PRINCIPAL",
    "TRACEPARENT",
    "check_json",
    "content_length",
    "correlation_id",
    "idempotency_key",
    "read_headers",
    "remaining_s",
]

IDEMPOTENCY_KEY: Final = b"idempotency-key"
DEADLINE_MS: Final = b"archstone-deadline-ms"
CORRELATION_ID: Final = b"archstone-correlation-id"
PRINCIPAL: Final = b"archstone-principal"
TRACEPARENT: Final = b"traceparent"

HEADERS_LIMIT_BYTES: Final = 32_768
"""The values of all headers of one request together."""
HEADERS_LIMIT: Final = 100
"""How many headers one request may have."""
_ONCE: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"transfer-encoding",
        CORRELATION_ID,
        DEADLINE_MS,
        IDEMPOTENCY_KEY,
        PRINCIPAL,
        TRACEPARENT,
    }
)
_visible = re.compile(rb"[!-~]+").fullmatch
_digits = re.compile(rb"[0-9]{1,15}").fullmatch
_correlation = re.compile(rb"[0-9A-Za-z._:/=+-]{1,128}").fullmatch
_json_type = re.compile(rb"application/(?:[\w.!#$&^-]+\+)?json[ \t]*(?:;.*)?", re.IGNORECASE | re.DOTALL).fullmatch


def read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return request headers as a dictionary; repeated list headers are joined by a comma.

    Raises:
        HeadersTooLargeError: above 100 headers or 32 KiB in all.
        BadRequestError: a header that decides something came twice, or the body has two lengths.
    """
    pairs = pairs if isinstance(pairs, list) else list(pairs)
    headers = dict(pairs)
    size = len(b"".join(headers.values()))
    if len(pairs) != len(headers):
        headers, size = _join(pairs)
    if size > HEADERS_LIMIT_BYTES or len(pairs) > HEADERS_LIMIT:
        raise HeadersTooLargeError(size, HEADERS_LIMIT_BYTES)
    if b"transfer-encoding" in headers and b"content-length" in headers:
        # Two readers of one connection would disagree where the next request begins.
        raise BadRequestError("header content-length", "came together with transfer-encoding; send one of them")
    return headers


def _join(pairs: list[tuple[bytes, bytes]]) -> tuple[Headers, int]:
    headers: Headers = {}
    for name, value in pairs:
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            raise BadRequestError(f"header {name.decode('latin-1')}", "came twice; send it once")
        else:
            headers[name] += b", " + value
    return headers, sum(len(value) for _, value in pairs)


def idempotency_key(raw: bytes, *, limit: int) -> str:
    """Return the key: 1 to `limit` visible ASCII characters."""
    if len(raw) > limit or not _visible(raw):
        raise BadRequestError("header idempotency-key", f"must have 1 to {limit} visible ASCII characters")
    return raw.decode()


def remaining_s(raw: bytes) -> float:
    """Return the seconds that the caller goes on waiting, from a whole number of milliseconds."""
    if not _digits(raw):
        raise BadRequestError("header archstone-deadline-ms", "must be a whole number of milliseconds")
    return int(raw) / 1000


def correlation_id(raw: bytes) -> str | None:
    """Return the id if it is 1 to 128 harmless characters, else None: a bad one is replaced, not refused."""
    return raw.decode() if _correlation(raw) else None


def content_length(raw: bytes) -> int:
    """Return the declared length of a body."""
    if not raw.isdigit() or len(raw) > 15:
        raise BadRequestError("header content-length", "must be a whole number of bytes")
    return int(raw)


def check_json(headers: Headers, body: bytes) -> None:
    """Refuse a body that is not declared as plain, unpacked JSON, or that names what JSON has no word for."""
    kind = headers.get(b"content-type", b"")
    if kind != b"application/json" and not _json_type(kind):
        raise ContentTypeError(kind.decode("latin-1"))
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise ContentTypeError(f"{kind.decode('latin-1')} packed as {headers[b'content-encoding'].decode('latin-1')}")
    if body.find(b"NaN") >= 0 or body.find(b"Infinity") >= 0:  # half of what `in` costs
        # pydantic's parser takes them for numbers; a strict one tells those from the same letters within a text.
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadRequestError("body", f"is not JSON: {error}") from None
