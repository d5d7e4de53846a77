"""The exchange over WebSocket: JSON both ways, for browsers and for programs.

Promise: replies come in the order of what was asked; a report comes once, in order, and all reports of one command in
one message, so that a client that was cut off goes on after the last sequence that it has; what is only looked at is
conflated (see `outbox`). There is a heartbeat each `HEARTBEAT_S`. At most `MOST` connections, `MOST_EACH` of one
account or address; who asks faster than `PACE` is refused, not cut off. Whoever signed out, or whose key was revoked or
whose token has run out, is cut off within `AGAIN_S`.

Who it is: a cookie, from our own pages only; or a bearer token or an API key in the headers; or nobody, who sees the
market and can do nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from archstone import context, world
from archstone.context import NOBODY, Call, Principal
from archstone.errors import ArchstoneError, DeniedError
from archstone.gateway import Receive, Response, Scope, Send, Verify, client_key
from archstone.observability import counter, get_logger
from archstone.resilience import RateLimit, RateLimitedError
from archstone.security import CrossSiteError, check_same_origin
from archstone.systems.exchange.accounts.contract import NoSessionError, browser_mark
from archstone.systems.exchange.accounts.guard import place
from archstone.systems.exchange.desk.contract import OrderRefusedError, UnknownInstrumentError
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.entry import ForgottenError, Position
from archstone.systems.exchange.web import messages
from archstone.systems.exchange.web.clients import PAGES, Clients
from archstone.systems.exchange.web.cookies import session_of
from archstone.systems.exchange.web.outbox import Outbox, Shown

__all__ = ["HEARTBEAT_S", "MOST", "MOST_EACH", "PACE_S", "Stream"]

MOST: Final = 2_000
MOST_EACH: Final = 20
PACE_S: Final = 0.1
"""Seconds between two looks at what has changed."""
HEARTBEAT_S: Final = 5.0
AGAIN_S: Final = 30.0
"""Seconds between two looks at whether who connected is still let in: a key is revoked, a token runs out."""
PACE: Final = RateLimit(200, burst=400)
"""Of what one connection asks."""
NEW: Final = RateLimit(5, burst=50)
"""Connections that one address begins: each may cost a look at a key, or at a session."""
DEADLINE_S: Final = 10.0
_TOO_SLOW: Final = 1013
_NOT_OURS: Final = 1008
_GOING_AWAY: Final = 1001
_log = get_logger("archstone.exchange.stream")
_connections = counter("exchange_stream_connections", "Connections of the stream, by what became of them.", ("what",))


class _Gone(Exception):
    """The client has left."""


class Stream:
    """An ASGI 3 application."""

    def __init__(self, floor: Floor, clients: Clients, *, verify: Verify, ready: Callable[[], bool]) -> None:
        """Take what it needs.

        Args:
            floor: Where everything is seen.
            clients: Who does what is asked.
            verify: Whose token it is.
            ready: Whether the exchange is open; connections end when it is not.
        """
        self._floor = floor
        self._clients = clients
        self._verify = verify
        self._ready = ready
        self._shown = Shown(floor)
        self._each: dict[str, int] = {}
        self._new = NEW.bind("exchange stream, new")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            text = b"this is a web socket: connect with ws:// or wss://; it needs the package websockets on the server"
            await Response(426, [(b"content-type", b"text/plain"), (b"upgrade", b"websocket")], text).send(send)
            return
        if scope["type"] != "websocket" or (await receive())["type"] != "websocket.connect":
            return
        try:
            if where := place():
                self._new.take(where)
            who = await self._principal(scope)
        except RateLimitedError:
            _connections.labels("too fast").inc()
            await send({"type": "websocket.close", "code": _TOO_SLOW})
            return
        except (CrossSiteError, DeniedError):
            _connections.labels("refused").inc()
            await send({"type": "websocket.close", "code": _NOT_OURS})
            return
        counted = who.id or client_key(scope)
        if sum(self._each.values()) >= MOST or self._each.get(counted, 0) >= MOST_EACH:
            _connections.labels("full").inc()
            await send({"type": "websocket.close", "code": _TOO_SLOW})
            return
        with self._place(counted):
            await send({"type": "websocket.accept"})
            _connections.labels("open").inc()
            serving = _Connection(self._shown, self._clients, who, send, self._ready)
            await serving.serve(receive, partial(self._principal, scope))

    @contextmanager
    def _place(self, counted: str) -> Generator[None]:
        self._each[counted] = self._each.get(counted, 0) + 1
        try:
            yield
        finally:
            self._each[counted] -= 1
            if not self._each[counted]:
                del self._each[counted]

    async def _principal(self, scope: Scope) -> Principal:
        """Return who connects.

        Raises:
            CrossSiteError: A page of somebody else, with the cookie of one of ours.
            DeniedError: A token that is not valid.
        """
        headers = dict(scope["headers"])
        offered = headers.get(b"authorization", b"").removeprefix(b"Bearer ") or headers.get(b"x-api-key", b"")
        if offered:
            found = self._verify(offered.decode("latin-1"))
            return found if isinstance(found, Principal) else await found
        https = scope.get("scheme") == "wss"
        token = session_of(scope["headers"], https=https)
        if token is None:
            return NOBODY
        check_same_origin({name: headers[name] for name in (b"origin", b"host") if name in headers}, https=https)
        with context.enter(Call(principal=PAGES, deadline_s=world.monotonic() + DEADLINE_S)), suppress(NoSessionError):
            visitor = await self._clients.browsers.visitor(browser_mark(token))
            return Principal(str(visitor.account), frozenset({visitor.role}))
        return NOBODY


class _Connection:
    """One client, from when it was accepted on."""

    def __init__(self, shown: Shown, clients: Clients, who: Principal, send: Send, ready: Callable[[], bool]) -> None:
        self._floor = shown.floor
        self._trading = clients.trading
        self._who = who
        self._account = int(who.id) if who.id.isdigit() else None
        self._send = send
        self._ready = ready
        self._woken = asyncio.Event()
        self._pace = PACE.bind("exchange stream")
        self._outbox = Outbox(shown, self._account, self._woken.set)

    async def serve(self, receive: Receive, again: Callable[[], Awaitable[Principal]]) -> None:
        """Read and write until one side ends it, or who connected would not be let in `again` as the same."""
        if self._account is not None:
            await self._floor.open_account(self._account)
        self._outbox.push({"type": "welcome", "sequence": self._floor.board.sequence, "account": self._account})
        ends = [self._floor.feed.listen(self._outbox.hear)]
        if self._account is not None:
            ends.append(self._floor.reports.listen(self._account, self._outbox.hear_reports))
        writing = asyncio.create_task(self._write(), name="exchange stream")
        reading = asyncio.create_task(self._read(receive), name="exchange stream reads")
        watching = asyncio.create_task(self._watch(again), name="exchange stream, still allowed")
        tasks = (writing, reading, watching)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end()
            for task in tasks:
                task.cancel()
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(done, Exception) and not isinstance(done, _Gone):
                    _log.warning("a connection of the stream failed", exc_info=done)

    async def _watch(self, again: Callable[[], Awaitable[Principal]]) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            try:
                is_same = await again() == self._who
            except (CrossSiteError, DeniedError):
                is_same = False
            except ArchstoneError as error:  # who cannot be asked has not said no
                _log.warning("whether a connection is still allowed is not known", exc_info=error)
                continue
            if not is_same:
                await self._close(_NOT_OURS)
                return

    # Writing

    async def _write(self) -> None:
        now_s = said_s = world.monotonic()
        looked = _tick(now_s)
        while True:
            # All connections look at the same instants, so that what all may see is put into words once for them.
            with suppress(TimeoutError):
                async with asyncio.timeout((_tick(now_s) + 1) * PACE_S - now_s):
                    await self._woken.wait()
            self._woken.clear()
            sent = [*self._outbox.prompt()]
            now_s = world.monotonic()
            if _tick(now_s) > looked:
                looked = _tick(now_s)
                sent += self._outbox.conflated()
            if self._outbox.overrun or not self._ready():
                await self._close(_TOO_SLOW if self._outbox.overrun else _GOING_AWAY)
                return
            if not sent and now_s - said_s >= HEARTBEAT_S:
                sent.append(f'{{"type":"heartbeat","sequence":{self._floor.board.sequence}}}')
            for text in sent:
                await self._say({"type": "websocket.send", "text": text})
                said_s = now_s

    async def _close(self, code: int) -> None:
        await self._say({"type": "websocket.close", "code": code})

    async def _say(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError as error:  # servers tell by it that the client has left
            raise _Gone from error

    # Reading

    async def _read(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            self._outbox.push(await self._answer(message.get("text") or ""))

    async def _answer(self, text: str) -> dict[str, Any]:
        """Return the reply to a message; whatever is wrong with it is said in the reply."""
        ref = messages.ref_of(text)
        try:
            self._pace.take("")
            asked = messages.read(text)
            call = Call(principal=self._who, deadline_s=world.monotonic() + DEADLINE_S, correlation_id=world.new_id())
            with context.enter(call):
                return {"type": "reply", "ref": ref, "ok": True, **await self._done(asked)}
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(each) for each in first["loc"])
            return _fault(ref, "invalid", f"{where}: {first['msg']}" if where else first["msg"])
        except RateLimitedError:
            return _fault(ref, "too_fast", "too many messages: nothing was done, wait a moment")
        except OrderRefusedError as error:
            return {**_fault(ref, "refused", error.text), "reason": error.reason, "number": error.number}
        except ArchstoneError as error:
            return _fault(ref, error.code, str(error))

    async def _done(self, asked: messages.Asked) -> dict[str, Any]:
        match asked:
            case messages.Ping():
                return {"sequence": self._floor.board.sequence}
            case messages.Subscribe():
                return self._subscribed(asked)
            case messages.Unsubscribe():
                for channel in asked.channels:
                    self._outbox.unsubscribe(channel)
                return {}
            case messages.HowMany():
                self._check_scope("orders:read")
                found = await self._trading.most(asked.symbol, asked.side, asked.price, asked.trigger)
                return found.model_dump()
            case _:
                self._check_scope()
                return await self._traded(asked)

    async def _traded(
        self, asked: messages.Place | messages.Cancel | messages.Replace | messages.CancelAll
    ) -> dict[str, Any]:
        match asked:
            case messages.Place():
                outcome = await self._trading.place(asked.order)
            case messages.Cancel():
                outcome = await self._trading.cancel(asked.number)
            case messages.Replace():
                outcome = await self._trading.replace(asked.number, asked.quantity, asked.price)
            case messages.CancelAll():
                canceled = await self._trading.cancel_all(asked.symbol, asked.side)
                return {"sequence": self._floor.board.sequence, "orders": canceled.items}
        return {"sequence": outcome.sequence, "order": outcome.order}

    def _subscribed(self, asked: messages.Subscribe) -> dict[str, Any]:
        private = {"account", "reports"} & {*asked.channels}
        if private and self._account is None:
            raise DeniedError("sign in for the channels account and reports")
        if private:
            self._check_scope("orders:read")
        for channel in asked.channels:
            _, _, rest = channel.partition(":")
            if (symbol := rest.partition(":")[0]) and self._floor.instruments.named(symbol) is None:
                raise UnknownInstrumentError(symbol)
        if len({*self._outbox.channels, *asked.channels}) > messages.MOST_CHANNELS:
            raise DeniedError(f"a connection has at most {messages.MOST_CHANNELS} channels")
        told: dict[str, Any] = {"sequence": self._floor.board.sequence}
        if "reports" in asked.channels and asked.after is not None:
            told["complete"] = self._resume(asked.after)
        for channel in asked.channels:
            self._outbox.subscribe(channel)
        return told

    def _resume(self, after: int) -> bool:
        """Send the reports after a sequence; return whether all of them are still kept. If not none is sent."""
        try:
            self._outbox.tell(self._floor.reports.after(self._account or 0, Position(after)))
        except ForgottenError:
            return False
        return True

    def _check_scope(self, scope: str = "orders:write") -> None:
        """Refuse what an API key was not made for; the services check the rest."""
        if self._who.scopes is not None and scope not in self._who.scopes:
            raise DeniedError(f"the key was not given {scope}")


def _tick(now_s: float) -> int:
    """Return how often connections have looked by then. A little early is in time: a timer can be, by a bit."""
    return int(now_s / PACE_S + 0.001)


def _fault(ref: str, code: str, text: str) -> dict[str, Any]:
    return {"type": "reply", "ref": ref, "ok": False, "code": code, "text": text}
