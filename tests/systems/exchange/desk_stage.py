"""The exchange in one process for tests of the desk: people who trade, and their connections to the stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest

from archstone.context import Principal
from archstone.runtime import Embedded, running
from archstone.systems.exchange.accounts.contract import Accounts, Session
from archstone.systems.exchange.desk.contract import NewOrder, Trading
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.matching import Commands
from archstone.systems.exchange.sequencer import Batch, Sequencer, UnavailableError
from archstone.systems.exchange.system import exchange

C = TypeVar("C")

ADMIN = Principal("1", frozenset({"admin"}))
HOST = "exchange.test"


@dataclass
class Stage:
    """A running exchange."""

    run: Embedded

    @property
    def floor(self) -> Floor:
        return self.run.parts.provided[Floor]

    def client(self, contract: type[C], who: Principal | None = None) -> C:
        return self.run.client(contract, as_=who or Principal())

    async def trader(self) -> "Trader":
        session = await self.client(Accounts).trial()
        return Trader(self, session)


@dataclass
class Trader:
    """Somebody with a trial account."""

    stage: Stage
    session: Session

    @property
    def account(self) -> int:
        return self.session.visitor.account

    @property
    def trading(self) -> Trading:
        return self.stage.client(Trading, Principal(str(self.account), frozenset({"trader"})))

    async def place(self, side: Any, quantity: int, price: int | None = None, **more: Any) -> Any:
        new = NewOrder(symbol="ACME", side=side, quantity=quantity, price=price, **more)
        return (await self.trading.place(new)).order


@asynccontextmanager
async def exchange_running(data: Path) -> AsyncIterator[Stage]:
    async with running(exchange, data=data, options={"bots": "off", "sequencer": "memory"}) as run:
        yield Stage(run)


@contextmanager
def fate_unknown(sequencer: Sequencer, *, is_kept: bool) -> Iterator[None]:
    """Have what is submitted answered by nobody, as when the leader stops: kept by the other node, or never."""
    below = sequencer.submit

    async def submit(commands: Commands) -> Batch:
        if is_kept:
            await below(commands)
        raise UnavailableError("the node stopped leading")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequencer, "submit", submit)
        yield


@dataclass
class Socket:
    """A web socket as an ASGI server would hold it, whose client reads everything at once unless it is told not to."""

    app: Any
    headers: dict[str, str] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    """What came, oldest first, taken out by `next`."""
    closed: int | None = None
    accepted: bool = False
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set: the client does not read."""
    inbox: "asyncio.Queue[dict[str, Any]]" = field(default_factory=asyncio.Queue)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    async def open(self) -> "Socket":
        pairs = [(b"host", HOST.encode()), *((name.encode(), value.encode()) for name, value in self.headers.items())]
        scope = {
            "type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "headers": pairs,
            "scheme": "ws", "client": ("203.0.113.5", 5000), "root_path": "", "subprotocols": [],
        }  # fmt: skip
        self.paused.set()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(self.app(scope, self.inbox.get, self._send))
        while not self.accepted and self.closed is None:
            await self._news()
        return self

    async def _send(self, message: dict[str, Any]) -> None:
        await self.paused.wait()
        if message["type"] == "websocket.accept":
            self.accepted = True
        elif message["type"] == "websocket.close":
            self.closed = message["code"]
        else:
            self.sent.append(json.loads(message["text"]))
        self.more.set()

    async def _news(self) -> None:
        self.more.clear()
        async with asyncio.timeout(60):
            await self.more.wait()

    async def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """Say something and return the reply."""
        self.say(op, **more)
        return await self.next("reply")

    def say(self, op: str, **more: Any) -> None:
        self.inbox.put_nowait({"type": "websocket.receive", "text": json.dumps({"op": op, **more})})

    async def next(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind, and forget it; those of other kinds stay."""
        while True:
            for message in self.sent:
                if message["type"] == kind:
                    self.sent.remove(message)
                    return message
            assert self.closed is None, f"closed with {self.closed}"
            await self._news()

    async def close(self) -> None:
        """Leave."""
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        assert self.task is not None
        await self.task


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    cookies: list[str]
    text: str


@dataclass
class Visitor:
    """A browser without scripts: it keeps cookies and sends forms."""

    app: Any
    cookies: dict[str, str] = field(default_factory=dict)
    origin: str = f"http://{HOST}"

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._ask("GET", path, b"", headers)

    async def post(self, path: str, **form: str) -> Answer:
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": self.origin}
        return await self._ask("POST", path, urlencode(form).encode(), headers)

    async def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        plain, _, query = path.partition("?")
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        pairs = [(b"host", HOST.encode()), (b"cookie", cookie.encode())]
        pairs += [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": method, "path": plain, "raw_path": plain.encode(), "query_string": query.encode(),
            "headers": pairs, "scheme": "http", "client": ("203.0.113.5", 5000), "root_path": "",
            "http_version": "1.1",
        }  # fmt: skip
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        found = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        cookies = [value for name, value in found if name == "set-cookie"]
        for each in cookies:
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value
        text = b"".join(each.get("body", b"") for each in sent[1:]).decode("utf-8", "replace")
        return Answer(sent[0]["status"], dict(found), cookies, text)
