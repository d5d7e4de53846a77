"""An order's page that changes by itself: server-sent events, one stream per open page, within bounds.

Each event is the changed part of the page, as HTML, under an id that says how far the order is; who comes back with
`Last-Event-ID` hears of nothing twice. There is nothing to be missed either: an event tells how the order stands, not
what has happened since. Promise: at most 500 streams, of one person 6; one ends after 5 minutes (a browser comes back
by itself, and is asked again who it is), when the order can change no more, when the client is gone, and within half
a second when the shop is about to stop; a comment every 15 seconds keeps proxies from closing it.

Source: WHATWG HTML, section 9.2, server-sent events.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Final

from archstone import world
from archstone.errors import ArchstoneError
from archstone.gateway import Message, Receive, Send, Story, Watch
from archstone.observability import gauge
from archstone.resilience import OverloadedError
from archstone.systems.shop.orders.contract import Orders, OrderView

__all__ = ["STREAM_HEADERS", "Render", "Streams", "once"]

MOST: Final = 500
MOST_EACH: Final = 6
LONGEST_S: Final = 300.0
HEARTBEAT_S: Final = 15.0
TICK_S: Final = 0.5
"""How often is looked whether the shop is about to stop."""
PACE_S: Final = 0.2
"""Shortest time between two looks behind the counter."""
PENDING_S: Final = 3.0
"""Longest wait for an order to end before it is looked at again: then it may be slow, and that is told."""
PARCEL_S: Final = 5.0
"""How often is looked how far the parcel is. Nobody tells of that, and it takes minutes."""
RETRY_MS: Final = 2_000
STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

_open = gauge("shop_order_streams", "Pages of orders that are told of changes.")

Render = Callable[[OrderView], tuple[str, str, bool]]
"""From an order: what stands for how far it is, the part of the page as HTML, and whether it can change no more."""


class Streams:
    """All streams of a process."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        """Take what tells whether the shop is open; once it is not, streams end."""
        self._ready = ready
        self._each: dict[str, int] = {}
        self._count = 0
        _open.watch(lambda: self._count)

    async def serve(
        self,
        orders: Orders,
        first: OrderView,
        render: Render,
        *,
        last_id: str,
        whose: str,
        receive: Receive,
        send: Send,
    ) -> None:
        """Tell of an order until its end.

        Args:
            orders: Whom to ask, as the person in the running context.
            first: The order as it stands.
            render: Makes the part of the page.
            last_id: Of the event that the browser has seen last; empty: none.
            whose: What the person is counted by.

        Raises:
            OverloadedError: there are too many streams, of all or of this person. Nothing was sent.
        """
        with self._place(whose):
            await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})
            await send(_part(f"retry: {RETRY_MS}\n\n"))
            gone = asyncio.create_task(_gone(receive))
            try:
                async with aclosing(self._events(orders, first, render, last_id=last_id, gone=gone)) as events:
                    async for text in events:
                        await send(_part(text))
            finally:
                await _ended(gone)
            await send({"type": "http.response.body", "body": b""})

    async def watch(
        self, stories: Watch, render: Callable[[Story], str], *, whose: str, receive: Receive, send: Send
    ) -> None:
        """Tell of what happens behind the counter, until the client is gone, 5 minutes are over, or the shop stops.

        Args:
            stories: Where they come from; closed in the end.
            render: Makes the panel.
            whose: What the person is counted by.
            receive: Of the connection.
            send: Of the connection.

        Raises:
            OverloadedError: there are too many streams, of all or of this person. Nothing was sent.
        """
        try:
            with self._place(whose):
                await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})
                await send(_part(f"retry: {RETRY_MS}\n\n"))
                gone = asyncio.create_task(_gone(receive))
                try:
                    async with aclosing(self._told(stories, render, gone)) as events:
                        async for text in events:
                            await send(_part(text))
                finally:
                    await _ended(gone)
                await send({"type": "http.response.body", "body": b""})
        finally:
            await stories.aclose()

    async def _told(
        self, stories: Watch, render: Callable[[Story], str], gone: "asyncio.Task[None]"
    ) -> AsyncGenerator[str]:
        """Yield what to send: the panel whenever it changes, and comments in between."""
        begun_s = said_s = world.monotonic()
        last = ""
        looking = asyncio.create_task(_following(stories))
        try:
            while True:
                await asyncio.wait({looking, gone}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                now_s = world.monotonic()
                if gone.done() or not self._ready() or now_s - begun_s > LONGEST_S:
                    return
                if looking.done():
                    story = looking.result()
                    if story is None:
                        return
                    if (html := render(story)) != last:
                        last, said_s = html, now_s
                        yield _event("counter", story.mark, html)
                    await asyncio.sleep(PACE_S)
                    looking = asyncio.create_task(_following(stories))
                elif now_s - said_s >= HEARTBEAT_S:
                    said_s = now_s
                    yield ": still here\n\n"
        finally:
            await _ended(looking)

    @contextmanager
    def _place(self, whose: str) -> Generator[None]:
        each = self._each.get(whose, 0)
        if self._count >= MOST:
            raise OverloadedError("order pages", "streams", self._count, MOST, RETRY_MS / 1000)
        if each >= MOST_EACH:
            raise OverloadedError("order pages", "streams of one person", each, MOST_EACH, RETRY_MS / 1000)
        self._count += 1
        self._each[whose] = each + 1
        try:
            yield
        finally:
            self._count -= 1
            if each_left := self._each[whose] - 1:
                self._each[whose] = each_left
            else:
                del self._each[whose]

    async def _events(
        self, orders: Orders, order: OrderView, render: Render, *, last_id: str, gone: "asyncio.Task[None]"
    ) -> AsyncGenerator[str]:
        """Yield what to send: events, and comments in between."""
        begun_s = said_s = world.monotonic()
        with suppress(ArchstoneError):  # the browser comes back by itself, and the page says so
            while True:
                stamp, html, over = render(order)
                if stamp != last_id:
                    last_id, said_s = stamp, world.monotonic()
                    yield _event("order", stamp, html)
                if over:
                    yield _event("over", stamp, "")
                    return
                looking = asyncio.create_task(_next(orders, order))
                try:
                    while not looking.done():
                        await asyncio.wait({looking, gone}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                        now_s = world.monotonic()
                        if gone.done() or not self._ready() or now_s - begun_s > LONGEST_S:
                            return
                        if now_s - said_s >= HEARTBEAT_S:
                            said_s = now_s
                            yield ": still here\n\n"
                    order = looking.result()
                finally:
                    await _ended(looking)


def once(name: str, data: str) -> bytes:
    """Return a whole stream of one event, after which a browser need not come back."""
    return (_event(name, "once", data) + _event("over", "once", "")).encode()


async def _following(stories: Watch) -> Story | None:
    """Return the next story. None: there will be no more."""
    return await anext(stories, None)


async def _next(orders: Orders, order: OrderView) -> OrderView:
    """Return the order when there may be something new."""
    if order.status == "pending":
        return await orders.order(order.id, PENDING_S)
    await asyncio.sleep(PARCEL_S)
    return await orders.order(order.id)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # seen already, or of no interest any more


def _event(name: str, id: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.splitlines()) or "data:\n"
    return f"event: {name}\nid: {id}\n{lines}\n"


def _part(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
