"""Open and close mounted applications with the gateway: the lifespan protocol of ASGI, for several at once.

Promise: all are opened in order before the server takes requests, and closed in the reverse order; one that fails to
open stops the start and the earlier ones are closed again; one that does not know the protocol is left alone.
The server must run with its lifespan switched on.
"""

import asyncio
from collections.abc import Sequence

from archstone.services.http import ASGIApp, Message, Receive, Scope, Send

__all__ = ["lifespans"]


class _Life:
    """One application's side of the protocol, in a task of its own."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def tell(self, what: str) -> str | None:
        """Pass `startup` or `shutdown` on; return why it failed, None if it did not."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif self._task.done():
            return None
        self._inbox.put_nowait({"type": f"lifespan.{what}"})
        answer = await self._answers.get()
        if answer is not None and answer["type"] == f"lifespan.{what}.failed":
            return str(answer.get("message", "")) or "no reason given"
        return None

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._inbox.get, self._answers.put)
        except Exception:  # noqa: BLE001, S110 - raising is how an application says that it has no lifespan
            pass
        finally:
            self._answers.put_nowait(None)


async def lifespans(apps: Sequence[ASGIApp], scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the lifespan of an application that consists of `apps`."""
    lives: list[_Life] = []
    await receive()
    for app in apps:
        life = _Life(app, dict(scope))
        if (why := await life.tell("startup")) is not None:
            await _close(lives)
            await send({"type": "lifespan.startup.failed", "message": why})
            return
        lives.append(life)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    failures = await _close(lives)
    if failures:
        await send({"type": "lifespan.shutdown.failed", "message": "; ".join(failures)})
    else:
        await send({"type": "lifespan.shutdown.complete"})


async def _close(lives: list[_Life]) -> list[str]:
    return [why for life in reversed(lives) if (why := await life.tell("shutdown")) is not None]
