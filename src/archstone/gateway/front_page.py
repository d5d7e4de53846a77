"""What a person sees who opens the root in a browser, or a path that is not there; programs get a problem document.

A browser is known by its `Accept` header: it names `text/html`, which no client of an API does by itself.
"""

import re
from collections.abc import Iterable
from html import escape
from typing import Final

from archstone.services.http import Response
from archstone.services.http.page import POLICY, document

__all__ = ["FrontPage", "wants_page"]

_HTML: Final = re.compile(rb"(?:^|,)\s*text/html\s*(?:$|,|;\s*q=(?!0(?:\.0*)?\s*(?:,|$)))", re.IGNORECASE).search
_DOCUMENTS: Final = (("/docs", "every operation, with its types"), ("/openapi.json", "the same for programs"))
_HEALTH: Final = (("/health/ready", "whether requests are taken"),)


def wants_page(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether the request headers (names in lower case) ask for HTML in so many words."""
    return any(name == b"accept" and _HTML(value) for name, value in headers)


class FrontPage:
    """The pages of one system, made once."""

    __slots__ = ("_found", "_missing")

    def __init__(self, title: str, version: str, *, documents: bool) -> None:
        name = escape(title)
        links = (*(_DOCUMENTS if documents else ()), *_HEALTH)
        rows = "".join(f'<tr><td><a href="{path}">{path}</a></td><td>{what}</td></tr>' for path, what in links)
        head = f"<h1>{name}</h1><p>An API, version {escape(version)}, served by Archstone.</p>"
        self._found = document(title, f'{head}<main><table class="links">{rows}</table></main>').encode()
        lost = f"<h1>Nothing is here</h1><p>{name} has no such page. What there is:</p>"
        self._missing = document(
            f"Not found: {title}", f'{lost}<main><table class="links">{rows}</table></main>'
        ).encode()

    def found(self) -> Response:
        """Return the page at the root, which says what this is."""
        return _page(200, self._found)

    def missing(self) -> Response:
        """Return the page for a path that is not there."""
        return _page(404, self._missing)


def _page(status: int, body: bytes) -> Response:
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-cache" if status == 200 else b"no-store"),
        (b"content-security-policy", POLICY),
        (b"vary", b"accept"),
    ]
    return Response(status, headers, body)
