"""The cookies of the pages: who is signed in, and how the pages look. How they are bound: `HostCookie`."""

import re
from collections.abc import Iterable
from typing import Final

from archstone.security import read_cookies

__all__ = ["SESSION", "THEME", "session_of", "theme_of"]

SESSION: Final = "exchange-session"
THEME: Final = "exchange-theme"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}").fullmatch


def session_of(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> str | None:
    """Return the token of the browser's session, if it has the form of one. None: there is none."""
    found = read_cookies([*headers], (SESSION,), https=https).get(SESSION, "")
    return found if _TOKEN(found) else None


def theme_of(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> str:
    """Return how the pages look: `light`, `dark`, or `auto`, as the browser does."""
    found = read_cookies([*headers], (THEME,), https=https).get(THEME, "")
    return found if found in {"light", "dark"} else "auto"
