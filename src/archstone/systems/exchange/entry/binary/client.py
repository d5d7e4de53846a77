"""A client of the binary protocol: requests in, reports out, across lost connections.

    async with EntryClient(key, over_tcp("127.0.0.1", 7100)) as client:
        report = await client.new(book=1, side=Side.BUY, price=100, quantity=5)

A connection that is lost is made again. The server then tells what had happened meanwhile, and what it does not tell of
was never done: that is sent again. So each request is done once, or refused, and its caller comes to know which.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Final, Self, cast

import numpy as np

from archstone import world
from archstone.sockets import check_other
from archstone.systems.exchange.entry.binary.errors import (
    EntryClosedError,
    EntryRefusedError,
    TooManyUnansweredError,
)
from archstone.systems.exchange.entry.binary.messages import SIZE, Choice, Fault, Logon, Say, logon
from archstone.systems.exchange.entry.reports import NOW, REPORT, Flags, Position, Report, reports_of
from archstone.systems.exchange.matching import Command, Kind, Side, Told, rows_of

__all__ = ["Connect", "EntryClient", "over_tcp"]

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[object]]
"""Makes a connection with the protocol that it is given; OSError if it cannot be made now."""

_FATAL: Final = frozenset(
    {Fault.MALFORMED, Fault.VERSION, Fault.DENIED, Fault.FORGOTTEN, Fault.TAKEN_OVER, Fault.NUMBER, Fault.LEFT}
)
_SILENT: Final = 3
_LEAST_S: Final = 0.001
"""Of a timer: a shorter one could be over before the clock has moved."""
_AGAIN_S: Final = (0.02, 1.0)
_LEAVE_S: Final = 5.0
_TAG: Final = 0xFFFF


def over_tcp(host: str, port: int, *, ssl: SSLContext | None = None) -> Connect:
    """Return what connects over TCP."""

    async def connect(protocol: Callable[[], asyncio.Protocol]) -> object:
        made, _ = await asyncio.get_running_loop().create_connection(protocol, host, port, ssl=ssl)
        check_other(made)
        return made

    return connect


@dataclass(slots=True)
class _Asked:
    """A request that has no answer yet."""

    book: int
    command: Command
    answer: asyncio.Future[Report]

    def is_answered_by(self, report: Report) -> bool:
        if self.command.kind == Kind.MASS_CANCEL:
            return report.kind == Told.SWEPT or (report.kind == Told.REJECTED and not report.order)
        return report.order == self.command.id


class _Link(asyncio.Protocol):
    """One connection."""

    def __init__(self, made: "Callable[[_Link], None]", heard: "Callable[[_Link, Report], None]") -> None:
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.heard_s = self.sent_s = world.monotonic()
        self._made, self._heard = made, heard
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        self.heard_s = world.monotonic()
        data = self._rest + data
        whole = len(data) // SIZE * SIZE
        self._rest = data[whole:]
        for report in reports_of(np.frombuffer(data, REPORT, whole // SIZE)):
            if not self.lost.is_set():
                self._heard(self, report)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.lost.is_set():
            self.sent_s = world.monotonic()
            self.transport.write(data)

    def drop(self) -> None:
        self.lost.set()
        if self.transport is not None:
            self.transport.abort()


class EntryClient:
    """Requests of one account."""

    def __init__(
        self,
        credential: str,
        connect: Connect,
        *,
        account: int = 0,
        position: Position = NOW,
        choices: Choice = Choice.NONE,
        heartbeat_s: float = 1.0,
        unanswered: int = 1_000,
        on_report: Callable[[Report], None] | None = None,
    ) -> None:
        """Name the exchange; nothing happens before it is entered.

        Args:
            credential: An API key or a token.
            connect: Where, and how.
            account: Which it must be; 0: the one that the credential stands for.
            position: Of the last report that was seen; what came after it is told again. By default from now on.
            choices: What the server is to do by itself.
            heartbeat_s: Either side says something at least so often; after three of them in silence the connection is
                given up and made again.
            unanswered: Requests without an answer at most, below 65,536.
            on_report: Called with each report, in order and each once; it must not raise.
        """
        self.position = position
        """Of the last report that was seen: keep it, and go on from there."""
        self.account = account
        self.highest = 0
        """The highest number of an order that is known to be used; the next is above."""
        self.connections = 0
        """That were made so far."""
        self.on_report = on_report
        self._credential, self._choices = credential.encode(), choices
        self._connect = connect
        self._heartbeat_s, self._limit = heartbeat_s, unanswered
        self._request = self._number = 0
        self._asked: dict[int, _Asked] = {}
        self._link: _Link | None = None
        self._ready = asyncio.Event()
        self._fault: Fault | None = None
        self._ended: Fault | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connect, and read what had happened meanwhile. EntryClosedError: the exchange does not want us."""
        self._running = asyncio.create_task(self._run(), name="binary order entry client")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._running}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._running.cancel()
            raise
        finally:
            ready.cancel()
        if self._running.done():
            raise EntryClosedError(self._ended or Fault.UNKNOWN)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Log out: the exchange does what was sent before, and what it has answered by then is told."""
        assert self._running is not None
        if self._link is not None and self._ready.is_set():
            self._link.send(_message(Say.LOGOUT))
            await asyncio.wait({self._running}, timeout=_LEAVE_S)
        self._running.cancel()
        await asyncio.wait({self._running})

    # Requests

    def next_number(self) -> int:
        """Return a number for a new order; the account must use no other ones."""
        self.highest += 1
        return self.highest

    def submit(self, command: Command, *, book: int) -> asyncio.Future[Report]:
        """Send a request, at once if there is a connection; return what becomes its first report.

        The `id` of the command is the number of the order. The future fails with EntryRefusedError if the exchange
        did not take the request, and with EntryClosedError if the client ends before the answer.

        Raises:
            TooManyUnansweredError: So many requests have no answer yet.
            EntryClosedError: The client has ended.
        """
        if self._ended is not None:
            raise EntryClosedError(self._ended)
        if len(self._asked) >= self._limit:
            raise TooManyUnansweredError(self._limit)
        asked = _Asked(book, command, asyncio.get_running_loop().create_future())
        self._send(asked)
        return asked.answer

    async def new(self, *, book: int, side: Side, quantity: int, price: int = 0, **more: int) -> Report:
        """Enter an order, and return ACCEPTED or REJECTED. Without a price it is a market order."""
        more.setdefault("type", 0 if price else 1)
        number = self.next_number()
        command = Command(Kind.NEW, number, side=side, price=price, quantity=quantity, **more)
        return await self.submit(command, book=book)

    async def cancel(self, *, book: int, order: int) -> Report:
        """Cancel an order, and return CANCELED or REJECTED."""
        return await self.submit(Command(Kind.CANCEL, order), book=book)

    async def replace(self, *, book: int, order: int, quantity: int, price: int = 0, believed: int = 0) -> Report:
        """Say what is to be open of an order from now on, and return REPLACED or REJECTED.

        Args:
            book: Where the order is.
            order: Its number.
            quantity: Lots.
            price: 0 for market orders.
            believed: Lots that are open as far as one knows: what was filled since is taken off `quantity`. 0: unsaid.
        """
        command = Command(Kind.REPLACE, order, price=price, quantity=quantity, trigger=believed)
        return await self.submit(command, book=book)

    async def mass_cancel(self, *, book: int, side: int = 0) -> Report:
        """Cancel all orders in a book (0: of both sides), and return SWEPT or REJECTED."""
        return await self.submit(Command(Kind.MASS_CANCEL, side=side), book=book)

    def _send(self, asked: _Asked) -> None:
        self._request += 1
        self._asked[self._request & _TAG] = asked
        if self._link is not None and self._ready.is_set():
            row = rows_of([asked.command])
            row["book"], row["sequence"] = asked.book, self._request
            self._link.send(row.tobytes())

    # The connection

    async def _run(self) -> None:
        wait_s = _AGAIN_S[0]
        try:
            while self._fault not in _FATAL:
                self._fault = None
                before = self.connections
                try:
                    await self._connect(lambda: _Link(self._made, self._heard))
                except OSError:
                    self._link = None
                if self._link is not None:
                    await self._watch(self._link)
                wait_s = _AGAIN_S[0] if self.connections > before else min(2 * wait_s, _AGAIN_S[1])
                if self._fault not in _FATAL:
                    self._fault = None
                    await asyncio.sleep(wait_s * world.random().uniform(0.5, 1))
        finally:
            self._end(self._fault or Fault.LEFT)

    def _end(self, fault: Fault) -> None:
        self._ended = fault
        if self._link is not None:
            self._link.drop()
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(EntryClosedError(fault))
                asked.answer.exception()  # nobody may be waiting
        self._asked.clear()

    async def _watch(self, link: _Link) -> None:
        """Keep a connection until it is lost."""
        try:
            while not link.lost.is_set():
                now_s = world.monotonic()
                if now_s - link.heard_s > _SILENT * self._heartbeat_s:
                    return
                if now_s - link.sent_s >= self._heartbeat_s:
                    link.send(_message(Say.HEARTBEAT))
                try:
                    async with asyncio.timeout(max(_LEAST_S, link.sent_s + self._heartbeat_s - now_s)):
                        await link.lost.wait()
                except TimeoutError:
                    continue
        finally:
            self._ready.clear()
            self._link = None
            link.drop()

    def _made(self, link: _Link) -> None:
        self._link, self._number = link, 0
        sequence, part = self.position
        wanted = Logon(self.account, self._choices, int(self._heartbeat_s * 1_000), sequence, part, self._request)
        link.send(logon(wanted, self._credential))

    def _heard(self, link: _Link, report: Report) -> None:
        self._number += 1
        if report.number != self._number:
            link.drop()  # something between us has lost or made up bytes
            return
        if report.kind < Say.HEARTBEAT:
            self._told(report)
        elif report.kind == Say.BYE:
            self._fault = Fault(report.reason)
            link.drop()
        else:
            self._said(report)

    def _said(self, report: Report) -> None:
        match report.kind:
            case Say.WELCOME:
                self.account, self.highest = report.order, max(self.highest, report.left)
                if self.position >= NOW:
                    self.position = Position(report.sequence)
            case Say.RESUMED:
                self._resume()
            case Say.REFUSED if (asked := self._asked.pop(report.tag, None)) is not None and not asked.answer.done():
                asked.answer.set_exception(EntryRefusedError(report.reason, report.quantity / 1_000))
            case _:
                pass

    def _told(self, report: Report) -> None:
        if report.position <= self.position:
            return
        self.position = report.position
        if report.flags & Flags.OWN:
            asked = self._asked.get(report.tag)
            if asked is not None and asked.is_answered_by(report):
                del self._asked[report.tag]
                if not asked.answer.done():
                    asked.answer.set_result(report)
        if self.on_report is not None:
            self.on_report(report)

    def _resume(self) -> None:
        """Send what the exchange has never done, in the order in which it was asked for."""
        self.connections += 1
        self._ready.set()
        lost = [*self._asked.values()]
        self._asked.clear()
        for asked in lost:
            self._send(asked)


def _message(kind: Say) -> bytes:
    return rows_of([Command(kind)]).tobytes()
