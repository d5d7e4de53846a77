"""End a query that nobody waits for any more: its client hung up, or its deadline has passed."""

import asyncio
from collections.abc import Callable
from typing import Final

from archstone import world
from archstone.context import Call
from archstone.resilience import OutOfTimeError
from archstone.services.http.asgi import Receive
from archstone.services.http.errors import ClientGoneError
from archstone.services.http.waiting import Ring, Watch

__all__ = ["until_gone"]

LISTEN_AFTER_S: Final = 0.02
"""A query that answers sooner is not worth the task that listens for its client."""


def until_gone(receive: Receive, name: str, call: Call) -> Watch:
    """Return the watch over a query: it rings at the deadline of `call`, or when the client hangs up."""

    def watch(ring: Ring) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        listener: asyncio.Task[None] | None = None

        def listen() -> None:
            nonlocal listener
            listener = loop.create_task(_listen(receive, ring))

        timers = [loop.call_later(LISTEN_AFTER_S, listen)]
        if call.deadline_s is not None:
            left_s = max(0.0, call.deadline_s - world.monotonic())
            timers.append(loop.call_later(left_s, lambda: ring(OutOfTimeError(name, left_s))))

        def stop() -> None:
            for timer in timers:
                timer.cancel()
            if listener is not None:
                listener.cancel()

        return stop

    return watch


async def _listen(receive: Receive, ring: Ring) -> None:
    # What a client sends as the body of a query is passed over.
    while (await receive())["type"] != "http.disconnect":
        pass
    ring(ClientGoneError())
