"""Cookies that name a session: bound to the host, read by no script, sent by no other site's form.

Over https their names begin with `__Host-`: a browser takes such a cookie only with `Secure`, `Path=/` and without a
domain, so that no neighbour on another host name can plant one. Over http, which is for one's own machine, they have
plain names and no `Secure`: whether `http://localhost` counts as secure differs between browsers (issue 2605 of
httpwg/http-extensions). A request is asked for the name that belongs to its scheme only.

Source: RFC 6265bis, sections 4.1.3 and 8.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from archstone.errors import ConfigError
from archstone.security.http.asgi import Pairs

__all__ = ["HostCookie", "read_cookies"]

_LONGEST_BYTES: Final = 16_384
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}").fullmatch
_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch
"""What may stand in a cookie's value without quotes, RFC 6265."""


@dataclass(frozen=True, slots=True)
class HostCookie:
    """A cookie to set, or to delete if its value is empty."""

    name: str
    value: str
    max_age_s: int = 0
    """How long a browser keeps it. 0: it forgets it."""
    same_site: Literal["Lax", "Strict"] = field(kw_only=True, default="Lax")
    """`Strict`: not sent even with a link from elsewhere, as for an administration."""
    readable: bool = field(kw_only=True, default=False)
    """Whether scripts of the page may read it, as one half of a double submit must be."""

    def __post_init__(self) -> None:
        if not _NAME(self.name) or not _VALUE(self.value):
            raise ConfigError(f"cookie {self.name!r}: name or value cannot stand in a header")

    def header(self, *, https: bool) -> tuple[bytes, bytes]:
        """Return the header of an answer that sets or deletes it."""
        parts = [f"{_named(self.name, https=https)}={self.value}", "Path=/", f"Max-Age={self.max_age_s}"]
        parts += [] if self.readable else ["HttpOnly"]
        parts += [f"SameSite={self.same_site}", *(["Secure"] if https else [])]
        return b"set-cookie", "; ".join(parts).encode("ascii")


def read_cookies(headers: Pairs, names: Collection[str], *, https: bool) -> dict[str, str]:
    """Return those of our cookies that came, by plain name.

    A name that comes twice counts as absent: one of the two was planted, and nobody can tell which.

    Args:
        headers: Of the request.
        names: Without their prefix.
        https: Whether the request came over TLS.
    """
    text = b"; ".join(value for name, value in headers if name == b"cookie")[:_LONGEST_BYTES].decode("latin-1")
    pairs = [part.strip().partition("=")[::2] for part in text.split(";")]
    found: dict[str, str] = {}
    for plain in names:
        values = [value for name, value in pairs if name == _named(plain, https=https)]
        if len(values) == 1:
            found[plain] = values[0]
    return found


def _named(name: str, *, https: bool) -> str:
    return f"__Host-{name}" if https else name
