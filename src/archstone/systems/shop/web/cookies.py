"""The two cookies of the pages: who is signed in, and which cart a guest has. How they are bound: `HostCookie`."""

import re
from collections.abc import Iterable
from typing import Final

from archstone.security import read_cookies

__all__ = ["CART", "SESSION", "cookies_of"]

SESSION: Final = "shop-session"
CART: Final = "shop-cart"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch


def cookies_of(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> dict[str, str]:
    """Return those of our cookies that came and have the form of a token, by plain name."""
    found = read_cookies(headers, (SESSION, CART), https=https)
    return {name: value for name, value in found.items() if _TOKEN(value)}
