"""How programs reach the exchange besides REST, as a surge sends its traffic: the stream, and the binary protocol.

Each is one trader's connection. It answers what is sent by the status that REST would have answered with, and counts
the fills that its trader is told of, so that they can be compared with those that the exchange lists.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson

from archstone.errors import ArchstoneError, ConfigError
from archstone.lab import Answer, LabError, Way, WireAnswer
from archstone.systems.exchange.entry import Report
from archstone.systems.exchange.entry.binary import EntryClient, EntryRefusedError, Fault, over_tcp
from archstone.systems.exchange.matching import COMMAND, Side, Told, commands_of

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Fill", "Heard", "by_binary", "by_stream"]

_UNANSWERED: Final = 60_000
_OPEN_S: Final = 10.0
_STATUS: Final = {
    "refused": 409,
    "exchange.order-refused": 409,
    "exchange.unknown-order": 404,
    "exchange.unknown-instrument": 404,
    "invalid": 422,
    "too_fast": 429,
}
"""Of what the stream says instead of an answer; whatever else it says means that it cannot now."""


class Fill(NamedTuple):
    """One side of a trade."""

    sequence: int
    number: int
    side: str
    price: int
    lots: int


class Heard(Way):
    """A way that hears of its trader's fills."""

    fills: Counter[Fill]


class _ByStream(Heard):
    def __init__(self, socket: "ClientConnection") -> None:
        self.fills = Counter[Fill]()
        self._socket = socket
        self._asked = deque[Answer]()
        self._unsent = asyncio.Queue[str]()
        self._is_over = False

    def send(self, body: bytes, answer: Answer) -> None:
        if self._is_over:
            answer(_said(0))
            return
        self._asked.append(answer)
        self._unsent.put_nowait(body.decode())

    async def write(self) -> None:
        while True:
            await self._socket.send(await self._unsent.get())

    async def read(self) -> None:
        try:
            async for text in self._socket:
                self._hear(orjson.loads(text))
        finally:
            self._is_over = True
            while self._asked:
                self._asked.popleft()(_said(0))

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "reply":
            status = 200 if message["ok"] else _STATUS.get(message["code"], 503)
            self._asked.popleft()(_said(status, orjson.dumps(message)))
        elif message["type"] == "reports":
            for each in message["reports"]:
                if each["kind"] == "traded":
                    fill = Fill(message["sequence"], each["number"], each["side"], each["price"], each["quantity"])
                    self.fills[fill] += 1


@asynccontextmanager
async def by_stream(url: str, token: str) -> AsyncGenerator[Heard]:
    """Connect a trader over WebSocket, who hears its reports. LabError: it is not let in.

    Args:
        url: `ws://HOST:PORT/ws`.
        token: Of the trader.
    """
    try:
        from websockets.asyncio.client import connect  # noqa: PLC0415 - not on every system
        from websockets.exceptions import WebSocketException  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("nothing speaks WebSocket: pip install 'archstone[exchange]'") from error
    async with AsyncExitStack() as life:
        try:
            opening = connect(url, additional_headers={"Authorization": f"Bearer {token}"}, open_timeout=_OPEN_S)
            socket = await life.enter_async_context(opening)
        except (OSError, WebSocketException) as error:
            raise LabError(f"no WebSocket at {url}: {error}") from error
        way = _ByStream(socket)
        for work in (way.read(), way.write()):
            task = asyncio.create_task(work, name="surge by stream")
            life.push_async_callback(_ended, task)
        subscribed: asyncio.Future[WireAnswer] = asyncio.get_running_loop().create_future()
        way.send(b'{"op": "subscribe", "channels": ["reports"]}', subscribed.set_result)
        if (answer := await subscribed).status != 200:
            raise LabError(f"the stream does not tell reports: {answer.body.decode()}")
        yield way


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _ByBinary(Heard):
    def __init__(self, client: EntryClient) -> None:
        self.fills = Counter[Fill]()
        self._client = client
        client.on_report = self._hear

    def send(self, body: bytes, answer: Answer) -> None:
        row = np.frombuffer(body, COMMAND)
        try:
            answered = self._client.submit(commands_of(row)[0], book=int(row["book"][0]))
        except ArchstoneError:
            answer(_said(0))
        else:
            answered.add_done_callback(partial(_answered, answer))

    def _hear(self, report: Report) -> None:
        if report.kind == Told.TRADED:
            side = Side(report.side).name.lower()
            self.fills[Fill(report.sequence, report.order, side, report.price, report.quantity)] += 1


@asynccontextmanager
async def by_binary(host: str, port: int, token: str) -> AsyncGenerator[Heard]:
    """Connect a trader by the binary protocol. LabError: it is not let in."""
    client = EntryClient(token, over_tcp(host, port), unanswered=_UNANSWERED)
    async with AsyncExitStack() as life:
        try:
            async with asyncio.timeout(_OPEN_S):
                await life.enter_async_context(client)
        except (ArchstoneError, TimeoutError) as error:
            raise LabError(f"no binary protocol at {host}:{port}: {error or 'nobody answers'}") from error
        yield _ByBinary(client)


def _answered(answer: Answer, future: asyncio.Future[Report]) -> None:
    error = None if future.cancelled() else future.exception()
    if isinstance(error, EntryRefusedError):
        answer(_said({Fault.TOO_FAST: 429, Fault.AWAY: 503}.get(error.fault, 422)))
    elif error is not None or future.cancelled():
        answer(_said(0))
    else:
        report = future.result()
        status = 409 if report.kind == Told.REJECTED else 200
        answer(_said(status, b'{"order":{"number":%d}}' % report.order))


def _said(status: int, body: bytes = b"") -> WireAnswer:
    return WireAnswer(status, body, retry_after=status == 503, begun=True)
