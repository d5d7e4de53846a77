"""The headers that keep a browser from doing more with an answer than reading it."""

from collections.abc import Iterable
from typing import Final

__all__ = ["guarded", "hardened", "security_headers"]

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
PAGE_HEADERS: Final = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""They mean something for what is shown, so not for answers of the API."""
API_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
HSTS: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
"""Sent over https only: over http a browser ignores it, and a proxy in front may not."""


def security_headers(*, https: bool, api: bool) -> list[tuple[bytes, bytes]]:
    """Return what every answer carries; of the API with a policy under which nothing in it is run or shown."""
    headers = [*SECURITY_HEADERS]
    if api:
        headers.append(API_POLICY)
    else:
        headers.extend(PAGE_HEADERS)
    if https:
        headers.append(HSTS)
    return headers


def guarded(own: Iterable[tuple[bytes, bytes]], extra: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return an application's own headers with those of `extra` that it did not set itself."""
    headers = list(own)
    named = {name.lower() for name, _ in headers}
    headers.extend(pair for pair in extra if pair[0] not in named)
    return headers


_PLAIN: Final = tuple(security_headers(https=False, api=True))
_SECURE: Final = tuple(security_headers(https=True, api=True))
_NAMES: Final = frozenset(name for name, _ in _SECURE)


def hardened(own: list[tuple[bytes, bytes]], *, https: bool, ticket: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer of the API, names in lower case, with what it did not set itself and its id."""
    extra = _SECURE if https else _PLAIN
    for name, _ in own:
        if name in _NAMES:
            return [*guarded(own, extra), (b"x-request-id", ticket.encode())]
    return [*own, *extra, (b"x-request-id", ticket.encode())]
