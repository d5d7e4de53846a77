"""What attacks share: an application behind middlewares, asked in memory, and how a planted weakness must show."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from archstone.services.http import Response, ask

Pairs = tuple[tuple[str, str], ...]


class Target:
    """An application that counts what reached it, and answers with headers of its own."""

    def __init__(self, *headers: tuple[bytes, bytes], body: bytes = b"secret of whoever is signed in") -> None:
        self.reached: list[str] = []
        self.scopes: list[Any] = []
        self.headers = headers
        self.body = body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached.append(scope.get("method", scope["type"]))
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        headers = [(b"content-type", b"text/plain"), *self.headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def header(answer: Response, name: str) -> str | None:
    found = [value.decode() for each, value in answer.headers if each == name.encode()]
    return ", ".join(found) if found else None


async def asked(app: Any, method: str, path: str = "/", *headers: tuple[str, str], scheme: str = "https") -> Response:
    own = {name for name, _ in headers}
    base = [] if "host" in own else [("host", "shop.test")]
    return await ask(app, method, path, headers=[*base, *headers], scheme=scheme)


def caught(check: Callable[[], object]) -> None:
    """Assert that a check fails against a weak variant: else it would not notice the hole."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check()


async def caught_later(check: Callable[[], Awaitable[object]]) -> None:
    """`caught`, for a check that waits."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await check()
