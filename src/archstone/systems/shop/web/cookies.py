"""The two cookies of the pages: who is signed in, and which cart a guest has.

Over https their names begin with `__Host-`: a browser takes such a cookie only with `Secure`, `Path=/` and without a
domain, so that no neighbour on another host name can plant one. Over http, which is for one's own machine, they have
plain names and no `Secure`: whether `http://localhost` counts as secure differs between browsers (issue 2605 of
httpwg/http-extensions). A request is asked for the name that belongs to its scheme only.

Both are `HttpOnly` and `SameSite=Lax`: no script reads them, and no other site's form sends them.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["CART", "SESSION", "SetCookie", "cookie_header", "cookies_of"]

SESSION: Final = "shop-session"
CART: Final = "shop-cart"
_LONGEST_BYTES: Final = 16_384
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch


class SetCookie(NamedTuple):
    """A cookie to set, or to delete if its value is empty."""

    name: str
    value: str
    max_age_s: int = 0


def cookies_of(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> dict[str, str]:
    """Return those of our cookies that came and have the form of a token, by plain name.

    A name that comes twice counts as absent: one of the two was planted, and nobody can tell which.
    """
    text = b"; ".join(value for name, value in headers if name == b"cookie")[:_LONGEST_BYTES].decode("latin-1")
    pairs = [part.strip().partition("=")[::2] for part in text.split(";")]
    names = {_named(name, https=https): name for name in (SESSION, CART)}
    found: dict[str, str] = {}
    for sent, plain in names.items():
        values = [value for name, value in pairs if name == sent]
        if len(values) == 1 and _TOKEN(values[0]):
            found[plain] = values[0]
    return found


def cookie_header(cookie: SetCookie, *, https: bool) -> tuple[bytes, bytes]:
    """Return the header that sets or deletes a cookie."""
    secure = "; Secure" if https else ""
    value = (
        f"{_named(cookie.name, https=https)}={cookie.value}; Path=/; Max-Age={cookie.max_age_s}; HttpOnly"
        f"; SameSite=Lax{secure}"
    )
    return b"set-cookie", value.encode("ascii")


def _named(name: str, *, https: bool) -> str:
    return f"__Host-{name}" if https else name
