"""What a program and what a person reads about an application: `/openapi.json` and `/docs`, made when first asked."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from pydantic_core import to_json

from archstone.services.http.asgi import Response
from archstone.services.http.openapi import openapi
from archstone.services.http.page import POLICY, page
from archstone.services.operation import Operation

__all__ = ["Documents"]


class Documents:
    """The two documents of a set of operations."""

    def __init__(self, operations: Sequence[Operation], *, prefix: str, title: str, version: str, strict: bool) -> None:
        self._operations = operations
        self._prefix = prefix
        self._title = title
        self._version = version
        self._strict = strict

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The OpenAPI document as a value."""
        return openapi(
            self._operations, prefix=self._prefix, title=self._title, version=self._version, strict=self._strict
        )

    @cached_property
    def _openapi(self) -> bytes:
        return to_json(self.schema)

    @cached_property
    def _page(self) -> bytes:
        return page(self.schema).encode()

    def openapi(self) -> Response:
        """Return the OpenAPI document as an answer."""
        return Response(200, [(b"content-type", b"application/json"), (b"cache-control", b"no-cache")], self._openapi)

    def page(self) -> Response:
        """Return the page for people as an answer: no script, and a policy that allows none."""
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"content-security-policy", POLICY),
        ]
        return Response(200, headers, self._page)
