"""The session of FIX 4.4: numbers in both directions, heartbeats, what is sent again, and what is refused.

    NEW ──Logon──> CHECKED ──Logon──> OPEN ──Logout──> over

Numbers, and the messages of the exchange itself (not heartbeats and the like), are remembered across connections while
the server lives. A client that comes back is told the execution reports that it missed as new messages, and gets with a
ResendRequest what was lost on the way. After a restart of the server numbers begin at 1: log on with ResetSeqNumFlag;
what is kept of reports from before is then told again, as PossResend: an ExecID that is known is the same report.
"""

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from archstone import world
from archstone.errors import DeniedError
from archstone.observability import get_logger
from archstone.systems.exchange.entry.fix.codec import FieldError, Framer, FramingError, Message, encoded, instant
from archstone.systems.exchange.entry.fix.orders import Orders, Outgoing, Request
from archstone.systems.exchange.entry.reports import ForgottenError, Position, Rows, reports_of
from archstone.systems.exchange.entry.sessions import End, Session
from archstone.systems.exchange.matching import Kind, rows_of
from archstone.systems.exchange.venue import order_id

if TYPE_CHECKING:
    from archstone.systems.exchange.entry.fix.server import FixServer

__all__ = ["FixSession", "Kept"]

_log: Final = get_logger("archstone.systems.exchange")
_ORDERS: Final = frozenset("DFGq")
_AHEAD: Final = frozenset("25")
"""What is done even if messages before it are missing: else both sides could wait for each other."""
_CLOSE_S: Final = 5.0
_TURN: Final = 64
"""Messages that are sent again before others get a turn."""
_UNKNOWN: Final = "whether your last requests were done is not known here: log on again, and be told"
_TEXTS: Final = {
    End.LEFT: "as you wish",
    End.TAKEN_OVER: "the account has logged on elsewhere",
    End.DENIED: "Password (554) stands for no account any more",
    End.CLOSING: "the exchange stops",
    End.UNKNOWN: _UNKNOWN,
    End.FAILED: _UNKNOWN,
    End.OVER: "the session is over",
}


class Kept:
    """What is remembered of one account across connections."""

    def __init__(self, orders: Orders, *, keep: int, told: int) -> None:
        self.incoming = self.outgoing = 1
        """The next number in each direction."""
        self.position = Position(0)
        """Of the last report that was told."""
        self.told = told
        """Reports up to this command may have been told before all that is remembered."""
        self.orders = orders
        self.tag = 0
        self.sent: OrderedDict[int, tuple[str, list[tuple[int, object]], str]] = OrderedDict()
        """Number, type, fields and time of what can be sent again; at most `keep`."""
        self._keep = keep

    def reset(self) -> None:
        """Begin with number 1 in both directions; reports go on where they were."""
        self.incoming = self.outgoing = 1
        self.sent.clear()

    def remember(self, kind: str, fields: list[tuple[int, object]], at: str) -> None:
        """Keep a message that is about to be sent."""
        self.sent[self.outgoing] = kind, fields, at
        if len(self.sent) > self._keep:
            self.sent.popitem(last=False)


class _EndError(Exception):
    """The session is to end, with a Logout that says why."""


class FixSession(Session, asyncio.Protocol):
    """One connection."""

    def __init__(self, server: "FixServer") -> None:
        super().__init__(server)
        self._server = server
        self._framer = Framer(limit_bytes=server.rules.message_bytes)
        self._transport: asyncio.Transport | None = None
        self._logon: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._early: list[Message] = []
        self._is_closed = self._is_open = self._is_tested = False
        self._client = ""
        self._kept: Kept | None = None
        self._asked_up_to = 0
        self._heard_s = self._sent_s = world.monotonic()
        self._interval_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.Task[None] | None = None

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; nothing, if it is one too many."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self._heard_s, self._is_tested = world.monotonic(), False
        try:
            for each in self._framer.feed(data):
                if self._is_closed:
                    return
                if isinstance(each, FieldError):
                    self.end(str(each))
                else:
                    self._come(each)
        except (FramingError, _EndError) as error:
            self.end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._close()

    # The life of it

    @property
    def is_over(self) -> bool:
        """Whether it is closed; see `Session`."""
        return self._is_closed

    @property
    def cancels(self) -> bool:
        """Whether the server does so; see `Session`."""
        return self._server.rules.cancel_on_disconnect and self._is_open

    def end_by(self, why: End) -> None:
        """Say Logout and why; see `Session`."""
        self.end(_TEXTS[why])

    async def log_on(self) -> None:
        """Wait for the Logon; see `Session`."""
        try:
            async with asyncio.timeout(self._server.rules.logon_s):
                message = await self._logon
                if message is not None:
                    await self._begin(message)
        except (_EndError, FieldError) as error:
            self.end(str(error))
        except TimeoutError:
            self.end("the logon took too long")

    async def _begin(self, message: Message) -> None:
        self._client = message.text(49)
        if message.text(56) != self._server.rules.name:
            raise _EndError(f"TargetCompID (56) is {self._server.rules.name}")
        message.choice(98, {"0": None})
        self._interval_s = float(message.number(108, least=1, most=3_600))
        try:
            account = await self._server.identify(message.text(554))
        except DeniedError as error:
            raise _EndError("Password (554) stands for no account") from error
        if await self.take_over(account, message.text(554)):
            self._open(message)

    def _open(self, message: Message) -> None:
        kept = self._kept = self._server.kept(self.account)
        resets = message.get(141) == "Y"
        if resets:
            kept.reset()
        number = message.number(34, least=1)
        if number < kept.incoming and not message.is_repeated:
            raise _EndError(f"MsgSeqNum too low, expecting {kept.incoming} but received {number}")
        self.send("A", [(98, 0), (108, int(self._interval_s)), (141, "Y" if resets else None)])
        self._is_open = True
        self._beat()
        if number > kept.incoming:
            self._ask_again(number)
        else:
            kept.incoming = number + 1
        self._tell_missed(kept)
        for each in self._early:
            self._come(each)
        self._early.clear()
        self._gate()

    def _tell_missed(self, kept: Kept) -> None:
        reports = self._server.reports
        try:
            rows = reports.after(self.account, kept.position)
        except ForgottenError as error:
            _log.warning("a FIX session has missed more than is kept", account=self.account, error=error)
            rows = reports.kept(self.account)
        self._tell(rows)
        self._unlisten = reports.listen(self.account, self._tell)

    def end(self, text: str) -> None:
        """Say Logout and why, and close; who has not logged on is closed without."""
        if self._is_closed:
            return
        if self._is_open:
            self.send("5", [(58, text)])
        elif self._client:
            self._write(encoded("5", [*self._head(1), (58, text)]))
        self._close()

    def _close(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._again is not None:
            self._again.cancel()
        self._awake.set()
        if not self._logon.done():
            self._logon.set_result(None)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(_CLOSE_S, self._transport.abort)

    # Messages out

    def _head(self, number: int, at: str | None = None) -> list[tuple[int, object]]:
        us, name = at or instant(world.now_us()), self._server.rules.name
        return [(34, number), (49, name), (52, us), (56, self._client)]

    def send(self, kind: str, fields: list[tuple[int, object]], *, keep: bool = False) -> None:
        """Send a message with the next number; `keep`: it can be sent again."""
        if self._is_closed or self._kept is None:
            return
        at = instant(world.now_us())
        if keep:
            self._kept.remember(kind, fields, at)
        data = encoded(kind, [*self._head(self._kept.outgoing, at), *fields])
        self._kept.outgoing += 1
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._sent_s = world.monotonic()
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._server.rules.unsent_bytes:
            self._transport.abort()  # it does not read; it gets the rest when it comes back
            self._close()

    def _say(self, outgoing: Outgoing) -> None:
        self.send(*outgoing, keep=True)

    def _tell(self, rows: Rows) -> None:
        if self._kept is None:
            return
        for report in reports_of(rows):
            if self._is_closed:
                return  # the next connection begins after `position`
            self._kept.position = report.position
            if (outgoing := self._kept.orders.told(report)) is not None:
                kind, fields = outgoing
                self._say((kind, [(97, "Y"), *fields] if report.sequence <= self._kept.told else fields))

    def _beat(self) -> None:
        now_s, interval_s = world.monotonic(), self._interval_s
        silent_s = now_s - self._heard_s
        if silent_s > 2.4 * interval_s:
            self.end("nothing came, not even an answer to a TestRequest")
            return
        if silent_s > 1.2 * interval_s and not self._is_tested:
            self._is_tested = True
            self.send("1", [(112, instant(world.now_us()))])
        if now_s - self._sent_s >= interval_s:
            self.send("0", [])
        rest_s = min(self._sent_s + interval_s, self._heard_s + (2.41 if self._is_tested else 1.21) * interval_s)
        self._timer = asyncio.get_running_loop().call_later(max(0.001, rest_s - now_s), self._beat)

    # Messages in

    def _come(self, message: Message) -> None:
        if not self._is_open:
            if self._logon.done():
                self._early.append(message)
                self._gate()
            elif message.kind == "A":
                self._logon.set_result(message)
            else:
                raise _EndError("the first message is a Logon")
            return
        try:
            if self._is_next(message):
                self._do(message)
        except FieldError as error:
            about = [(45, message.get(34)), (371, error.tag or None), (372, message.kind), (373, error.reason)]
            self.send("3", [*about, (58, error.text)])

    def _is_next(self, message: Message) -> bool:
        """Look at the number of a message, and return whether it is to be done now."""
        kept = self._kept
        assert kept is not None
        if (message.text(49), message.text(56)) != (self._client, self._server.rules.name):
            raise _EndError("SenderCompID (49) or TargetCompID (56) have changed")
        number = message.number(34, least=1)
        if message.kind == "4" and message.get(123) != "Y":
            kept.incoming = max(kept.incoming, message.number(36, least=1))
            return False
        if number > kept.incoming:
            self._ask_again(number)
            return message.kind in _AHEAD
        if number < kept.incoming:
            if not message.is_repeated:
                raise _EndError(f"MsgSeqNum too low, expecting {kept.incoming} but received {number}")
            return False
        kept.incoming += 1
        return True

    def _ask_again(self, number: int) -> None:
        assert self._kept is not None
        if self._kept.incoming > self._asked_up_to:
            self._asked_up_to = number
            self.send("2", [(7, self._kept.incoming), (16, 0)])

    def _do(self, message: Message) -> None:
        match message.kind:
            case "0" | "3":
                pass
            case "1":
                self.send("0", [(112, message.text(112))])
            case "2":
                self._send_again(message.number(7, least=1), message.number(16))
            case "4":
                self._skip(message.number(36, least=1))
            case "5":
                self._leaves = True
                self._awake.set()
            case "A":
                raise FieldError(35, 99, "logged on already")
            case _:
                self._request(message)

    def _skip(self, number: int) -> None:
        assert self._kept is not None
        if number < self._kept.incoming:
            raise FieldError(36, 5, f"at least {self._kept.incoming} is wanted")
        self._kept.incoming = number

    def _send_again(self, first: int, last: int) -> None:
        """Begin to send what was sent from one number to another; what was asked for before need not come any more."""
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.create_task(self._sending_again(first, last), name="FIX, sent again")

    async def _sending_again(self, first: int, last: int) -> None:
        kept = self._kept
        assert kept is not None
        last = min(last or kept.outgoing - 1, kept.outgoing - 1)
        gap = first
        for count, number in enumerate([each for each in kept.sent if first <= each <= last], 1):
            if (found := kept.sent.get(number)) is not None:  # else it has made room meanwhile
                self._fill(gap, number)
                kind, fields, at = found
                again: list[tuple[int, object]] = [*self._head(number), (43, "Y"), (122, at)]
                self._write(encoded(kind, [*again, *fields]))
                gap = number + 1
            if count % _TURN == 0:
                await asyncio.sleep(0)  # ten thousand in one go would keep everybody else waiting
        self._fill(gap, last + 1)

    def _fill(self, first: int, following: int) -> None:
        """Say that what is not sent again was of no importance."""
        if first < following:
            self._write(encoded("4", [*self._head(first), (43, "Y"), (123, "Y"), (36, following)]))

    # Requests

    def _request(self, message: Message) -> None:
        kept = self._kept
        assert kept is not None
        if message.kind == "H":
            self._say(kept.orders.status(message))
            return
        if message.kind not in _ORDERS:
            about = [(45, message.get(34)), (372, message.kind), (380, 3), (58, "not taken here")]
            self.send("j", [*about], keep=True)
            return
        request = kept.orders.read(message)
        fault = request.fault or ("" if self._server.allowances.take(self.account, 1)[0] else "TOO_FAST")
        if fault:
            self._say(kept.orders.refused(request, fault))
            return
        kept.tag = kept.tag % 0xFFFF + 1
        kept.orders.ask(request, kept.tag)
        self._waiting.append((kept.tag, request))
        self._awake.set()
        self._gate()

    def _gate(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if len(self._waiting) + len(self._early) >= self._server.rules.unacknowledged:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    async def hand_in(self) -> None:
        """Have what has come done; see `Session`."""
        await self._awake.wait()
        self._awake.clear()
        if self._is_closed or not self._waiting:
            return
        asked: list[tuple[int, Request]] = self._waiting
        self._waiting = []
        rows = rows_of(request.command for _, request in asked)
        rows["book"] = [request.listed.book for _, request in asked]
        rows["spare"] = [tag for tag, _ in asked]
        rows["account"] = self.account
        rows["id"][rows["kind"] != Kind.MASS_CANCEL] |= np.uint64(order_id(self.account, 0))
        wait_s = await self.done(rows)
        if wait_s is not None and self._kept is not None:
            for _, request in asked:
                self._say(self._kept.orders.refused(request, f"AWAY: try again in {wait_s:.3f} s"))
        self._gate()
