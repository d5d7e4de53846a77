"""An answer as the reverse-proxy cache keeps it, and what its headers say about keeping it.

Source: RFC 9111, sections 3 (storing), 4.2 (freshness) and 5.2 (Cache-Control); RFC 5861 (stale answers).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias

import orjson

__all__ = [
    "CODEC",
    "Headers",
    "Stored",
    "age_s",
    "directives",
    "end_to_end",
    "lifetime_s",
    "seconds_of",
    "stale_s",
    "values",
]

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade", b"age", b"cache-status"}
)  # fmt: skip
_STATUSES: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
_LONGEST_S: Final = 31_536_000


@dataclass(frozen=True, slots=True)
class Stored:
    """A whole answer, or, with status 0, the names of the request's headers that its answers vary by."""

    status: int
    headers: Headers
    body: bytes


class _StoredCodec:
    """Headers as JSON, a line feed, the body as it is."""

    def encode(self, value: Any, /) -> bytes:
        """Return the bytes of an answer."""
        pairs = [(name.decode("latin-1"), text.decode("latin-1")) for name, text in value.headers]
        return orjson.dumps([value.status, pairs]) + b"\n" + value.body

    def decode(self, encoded: bytes, /) -> Stored:
        """Return the answer."""
        head, _, body = encoded.partition(b"\n")
        status, pairs = orjson.loads(head)
        return Stored(status, tuple((name.encode("latin-1"), text.encode("latin-1")) for name, text in pairs), body)


CODEC: Final = _StoredCodec()


def values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the members of a header that is a list, from all its lines, in lower case."""
    lines = [text.decode("latin-1") for key, text in headers if key.lower() == name]
    return [member.strip().lower() for line in lines for member in line.split(",") if member.strip()]


def directives(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return the directives of `Cache-Control`, those without a value as empty text."""
    split = [member.partition("=") for member in values(headers, b"cache-control")]
    return {name.strip(): text.strip(' "') for name, _, text in split}


def lifetime_s(status: int, headers: Headers) -> float:
    """Return the age in seconds up to which a shared cache may serve an answer without asking, 0 if it may not keep it.

    Only an explicit time counts: nothing is guessed. What says `private`, `no-store`, `no-cache`, sets a cookie, or
    varies by everything is not kept.
    """
    says = directives(headers)
    names = {name.lower() for name, _ in headers}
    if status not in _STATUSES or says.keys() & {"private", "no-store", "no-cache"} or b"set-cookie" in names:
        return 0.0
    if "*" in values(headers, b"vary"):
        return 0.0
    return max(0.0, min(_explicit_s(says, headers), _LONGEST_S))


def stale_s(headers: Headers, directive: str) -> int:
    """Return for how many seconds after its end an answer may be served by `directive` of RFC 5861, 0 if it may not.

    `must-revalidate` and `proxy-revalidate` forbid it. `s-maxage` alone does not where the answer says both, though RFC
    9111 (section 5.2.2.10) reads as if it did: whoever writes the two together means this cache.
    """
    says = directives(headers)
    if says.keys() & {"must-revalidate", "proxy-revalidate"}:
        return 0
    return min(seconds_of(says.get(directive, "")) or 0, _LONGEST_S)


def age_s(headers: Headers) -> float:
    """Return how old an answer was when it came."""
    return seconds_of(_one(headers, b"age")) or 0


def _explicit_s(says: Mapping[str, str], headers: Headers) -> float:
    for name in ("s-maxage", "max-age"):
        if name in says:
            return seconds_of(says[name]) or 0
    try:
        ends = parsedate_to_datetime(_one(headers, b"expires"))
        return (ends - parsedate_to_datetime(_one(headers, b"date"))).total_seconds()
    except (ValueError, TypeError):
        return 0.0  # absent, or no date: it has ended, says the RFC


def _one(headers: Headers, name: bytes) -> str:
    return next((text.decode("latin-1") for key, text in headers if key.lower() == name), "")


def seconds_of(text: str) -> int | None:
    """Return a number of seconds, at most a year; None: it is no whole number."""
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0")
    # Python refuses to read numbers of thousands of digits.
    return min(int(digits or "0"), _LONGEST_S) if len(digits) < 12 else _LONGEST_S


def end_to_end(headers: Headers) -> Headers:
    """Return the headers that may be kept."""
    named = {name.encode("latin-1") for name in values(headers, b"connection")}
    return tuple((name, text) for name, text in headers if name.lower() not in _HOP_BY_HOP | named)
