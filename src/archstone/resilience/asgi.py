"""Limits in front of any ASGI application: FastAPI, Starlette, Django, Archstone's own.

    app.add_middleware(
        Guarded,
        shed=Shed(200), limit=RateLimit(50, burst=100), bulkhead=Bulkhead(50, max_waiting=100), timeout_s=10.0,
    )

A request passes them in this order. What is refused is answered before the application sees it: 503 or 429 with
`Retry-After`, 504 when its time is up, each as a problem document. An answer that has begun is not replaced: the error
goes to the server then, which ends the connection. Rejections that the application raises itself are answered alike.

Only HTTP requests are guarded; web sockets and the life of the application pass through.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from math import ceil
from typing import Any, Final

import orjson

from archstone.errors import ArchstoneError, DeadlineError, RejectedError
from archstone.resilience.bulkhead import Bulkhead
from archstone.resilience.deadline import within
from archstone.resilience.ratelimit import RateLimit
from archstone.resilience.shed import Shed

__all__ = ["Guarded", "client_address"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TITLES: Final = {429: "Too Many Requests", 503: "Service Unavailable", 504: "Gateway Timeout"}


def client_address(scope: Scope) -> str:
    """Return the address of the peer: behind a proxy that of the proxy, so give a `key` of your own there."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _ordinary(_scope: Scope) -> int:
    return 0


class Guarded:
    """An ASGI application behind shedding, a rate limit, a bulkhead and a limit of time; each is optional."""

    def __init__(
        self,
        app: App,
        *,
        name: str = "http",
        shed: Shed | None = None,
        limit: RateLimit | None = None,
        bulkhead: Bulkhead | None = None,
        timeout_s: float | None = None,
        key: Callable[[Scope], str] = client_address,
        priority: Callable[[Scope], int] = _ordinary,
    ) -> None:
        """Bind the policies.

        Args:
            app: What is guarded.
            name: In errors and metrics.
            shed: Requests inside at once, those in the queue of the bulkhead included.
            limit: How often one key may come.
            bulkhead: Requests that the application works on at once.
            timeout_s: Longest that a request takes, the wait for a place included. Above 0.
            key: Whose request it is, for `limit`.
            priority: 0 is ordinary; 1 and above may use the reserve of `shed`: health checks, payments.
        """
        self.app = app
        self.name = name
        self.gate = None if shed is None else shed.bind(name)
        self.limiter = None if limit is None else limit.bind(name)
        self.compartment = None if bulkhead is None else bulkhead.bind(name)
        self._timeout_s = timeout_s
        self._key = key
        self._priority = priority

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._serve(scope, receive, sending)
        except (RejectedError, DeadlineError) as error:
            if begun:
                raise
            await _answer(error, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            if self.gate is not None:
                stack.enter_context(self.gate.admit(self._priority(scope)))
            if self.limiter is not None:
                await self.limiter.turn(self._key(scope))
            if self._timeout_s is not None:
                await stack.enter_async_context(within(self._timeout_s, name=self.name))
            if self.compartment is not None:
                await stack.enter_async_context(self.compartment.admit())
            await self.app(scope, receive, send)


async def _answer(error: ArchstoneError, send: Send) -> None:
    headers = [(b"content-type", b"application/problem+json")]
    problem: dict[str, object] = {
        "type": f"urn:archstone:error:{error.code}",
        "title": _TITLES.get(error.status, "Refused"),
        "status": error.status,
        "detail": str(error),
    }
    if isinstance(error, RejectedError):
        problem["retry_after_s"] = error.retry_after_s
        headers.append((b"retry-after", str(ceil(error.retry_after_s)).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(problem)})
