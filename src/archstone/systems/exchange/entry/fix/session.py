"""The session of FIX 4.4: numbers in both directions, heartbeats, what is sent again, and what is refused.

    NEW ──Logon──> CHECKED ──Logon──> OPEN ──Logout──> over

Numbers, and the messages of the exchange itself (not heartbeats and the like), are remembered across connections while
the server lives. A client that comes back is told the execution reports that it missed as new messages, and gets with a
ResendRequest what was lost on the way. After a restart of the server numbers begin at 1: log on with ResetSeqNumFlag;
what is kept of reports from before is then told again, as PossResend: an ExecID that is known is the same report.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from archstone import world
from archstone.errors import DeniedError
from archstone.observability import get_logger
from archstone.systems.exchange.entry.fix.codec import FieldError, Message, encoded, instant
from archstone.systems.exchange.entry.fix.kept import Kept, Sent
from archstone.systems.exchange.entry.fix.orders import Outgoing, Request
from archstone.systems.exchange.entry.fix.wire import Come, Wire
from archstone.systems.exchange.entry.reports import ForgottenError, Rows, reports_of
from archstone.systems.exchange.entry.sessions import End, Session
from archstone.systems.exchange.matching import Kind, rows_of
from archstone.systems.exchange.venue import order_id

if TYPE_CHECKING:
    from archstone.systems.exchange.entry.fix.server import FixServer

__all__ = ["FixSession"]

_log: Final = get_logger("archstone.systems.exchange")
_ORDERS: Final = frozenset("DFGq")
_AHEAD: Final = frozenset("25")
"""What is done even if messages before it are missing: else both sides could wait for each other."""
_TOGETHER: Final = 64
"""Messages in a row, where many wait: then others have their turn, and what was sent is taken first."""
_NUMBER: Final = 34
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


class _Again(NamedTuple):
    """A request to send messages again."""

    first: int
    last: int


class _EndError(Exception):
    """The session is to end, with a Logout that says why."""


class FixSession(Session):
    """One connection."""

    def __init__(self, server: "FixServer") -> None:
        super().__init__(server)
        rules = server.rules
        self.wire = Wire(self._take, self._lost, message_bytes=rules.message_bytes, unsent_bytes=rules.unsent_bytes)
        self._server = server
        self._logon: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._early: list[Message] = []
        self._is_open = False
        self._client = ""
        self._kept: Kept | None = None
        self._asked_up_to = 0
        self._interval_s = 0.0
        self._tested_s: float | None = None
        """When that was heard after which a TestRequest was sent."""
        self._timer: asyncio.TimerHandle | None = None

    # The life of it

    @property
    def is_over(self) -> bool:
        """Whether it is closed; see `Session`."""
        return self.wire.is_closed

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
        if self._is_open and self._kept is not None:
            await self._tell_missed(self._kept)

    async def _begin(self, message: Message) -> None:
        _check(message)
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
        number = message.number(_NUMBER, least=1)
        if number < kept.incoming and not message.is_repeated:
            raise _EndError(f"MsgSeqNum too low, expecting {kept.incoming} but received {number}")
        self.send("A", [(98, 0), (108, int(self._interval_s)), (141, "Y" if resets else None)])
        self._is_open = True
        self._beat()
        if number > kept.incoming:
            self._ask_again(number)
        else:
            kept.incoming = number + 1
        for each in self._early:
            self._come(each)
        self._early.clear()
        self._gate()

    async def _tell_missed(self, kept: Kept) -> None:
        """Tell what had happened meanwhile, as fast as it is taken; from then on what happens, when it does."""
        while len(rows := self._missed(kept)):
            self._tell(rows[:_TOGETHER])
            await self.wire.taken()
            if self.is_over:
                return
        self._unlisten = self._server.reports.listen(self.account, self._tell)

    def _missed(self, kept: Kept) -> Rows:
        try:
            return self._server.reports.after(self.account, kept.position)
        except ForgottenError as error:
            _log.warning("a FIX session has missed more than is kept", account=self.account, error=error)
            return self._server.reports.kept(self.account)

    def end(self, text: str) -> None:
        """Say Logout and why, and close; who has not logged on is closed without."""
        if self.is_over:
            return
        self._give_up()
        if self._kept is not None:
            self.send("5", [(58, text)])
        elif self._client:
            self.wire.write(encoded("5", [*self._head(1), (58, text)]))
        self.wire.close()

    def _lost(self) -> None:
        self._give_up()
        if self._timer is not None:
            self._timer.cancel()
        self._awake.set()
        if not self._logon.done():
            self._logon.set_result(None)

    def _give_up(self) -> None:
        """Refuse what has come and was not handed in: its number is used, so that nobody would ask for it again."""
        waiting, self._waiting = self._waiting, []
        self._refuse(waiting, "ENDED: the session was over before this could be done")

    # Messages out

    def _head(self, number: int, at: str | None = None) -> list[tuple[int, object]]:
        us, name = at or instant(world.now_us()), self._server.rules.name
        return [(34, number), (49, name), (52, us), (56, self._client)]

    def send(self, kind: str, fields: list[tuple[int, object]], *, keep: bool = False) -> None:
        """Send a message with the next number; `keep`: it can be sent again, and is if this connection is over."""
        if self._kept is None or (self.is_over and not keep):
            return
        at = instant(world.now_us())
        if keep:
            self._kept.remember(Sent(kind, fields, at))
        data = encoded(kind, [*self._head(self._kept.outgoing, at), *fields])
        self._kept.outgoing += 1
        self.wire.write(data)

    def _say(self, outgoing: Outgoing) -> None:
        self.send(*outgoing, keep=True)

    def _tell(self, rows: Rows) -> None:
        if self._kept is None:
            return
        for report in reports_of(rows):
            if self.is_over:
                return  # the next connection begins after `position`
            self._kept.position = report.position
            if (outgoing := self._kept.orders.told(report)) is not None:
                kind, fields = outgoing
                self._say((kind, [(97, "Y"), *fields] if report.sequence <= self._kept.told else fields))

    def _beat(self) -> None:
        wire, interval_s = self.wire, self._interval_s
        silent_s = wire.silent_s
        if silent_s > 2.4 * interval_s:
            self.end("nothing came, not even an answer to a TestRequest")
            return
        if silent_s > 1.2 * interval_s and self._tested_s != wire.heard_s:
            self._tested_s = wire.heard_s
            self.send("1", [(112, instant(world.now_us()))])
        now_s = world.monotonic()
        if now_s - wire.sent_s >= interval_s:
            self.send("0", [])
        is_tested = self._tested_s == wire.heard_s
        rest_s = min(wire.sent_s + interval_s, wire.heard_s + (2.41 if is_tested else 1.21) * interval_s)
        self._timer = asyncio.get_running_loop().call_later(max(0.001, rest_s - now_s), self._beat)

    # Messages in

    def _take(self, come: Come) -> None:
        try:
            if isinstance(come, Message):
                self._come(come)
            else:
                self.end(str(come))
        except _EndError as error:
            self.end(str(error))

    def _come(self, message: Message) -> None:
        if not self._is_open:
            if self._logon.done():
                self._early.append(message)
            elif message.kind == "A":
                self._logon.set_result(message)
                self._gate()
            else:
                raise _EndError("the first message is a Logon")
            return
        try:
            if self._is_next(message):
                _check(message)
                self._do(message)
        except FieldError as error:
            if error.tag == _NUMBER:
                raise _EndError(str(error)) from error  # without its number it cannot even be refused
            about = [(45, message.get(34)), (371, error.tag or None), (372, message.kind), (373, error.reason)]
            self.send("3", [*about, (58, error.text)])

    def _is_next(self, message: Message) -> bool:
        """Look at the number of a message, and return whether it is to be done now."""
        kept = self._kept
        assert kept is not None
        if (message.get(49), message.get(56)) != (self._client, self._server.rules.name):
            raise _EndError("SenderCompID (49) or TargetCompID (56) have changed")
        number = message.number(_NUMBER, least=1)
        if message.kind == "4" and message.get(123) != "Y":
            self._skip(message.number(36, least=1))
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
                self._waiting.append(_Again(message.number(7, least=1), message.number(16)))
                self._awake.set()
                self._gate()
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

    async def _send_again(self, wanted: _Again) -> None:
        assert self._kept is not None
        for at, (number, sent) in enumerate(self._kept.again(*wanted), 1):
            if self.is_over:
                return
            again: list[tuple[int, object]] = [*self._head(number), (43, "Y"), (122, sent.at)]
            self.wire.write(encoded(sent.kind, [*again, *sent.fields]))
            if not at % _TOGETHER:
                await self.wire.taken()

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
        """Read on, if it has logged on, or not begun to, and not too much waits to be done."""
        logs_on = self._logon.done() and not self._is_open
        self.wire.hold(back=logs_on or len(self._waiting) >= self._server.rules.unacknowledged)

    async def hand_in(self) -> None:
        """Have what has come done; see `Session`."""
        await self._awake.wait()
        self._awake.clear()
        if self.is_over or not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        if asked := [each for each in waiting if not isinstance(each, _Again)]:
            await self._ask(asked)
        for each in waiting:
            if isinstance(each, _Again):
                await self._send_again(each)
        self._gate()

    async def _ask(self, asked: list[tuple[int, Request]]) -> None:
        rows = rows_of(request.command for _, request in asked)
        rows["book"] = [request.listed.book for _, request in asked]
        rows["spare"] = [tag for tag, _ in asked]
        rows["account"] = self.account
        rows["id"][rows["kind"] != Kind.MASS_CANCEL] |= np.uint64(order_id(self.account, 0))
        wait_s = await self.done(rows)
        if wait_s is not None:
            self._refuse(asked, f"AWAY: try again in {wait_s:.3f} s")

    def _refuse(self, asked: Sequence[tuple[int, Request] | _Again], why: str) -> None:
        """Say of what was asked for that it was not done; who has left is told when they come back."""
        if self._kept is None:
            return
        for each in asked:
            if not isinstance(each, _Again):
                self._say(self._kept.orders.refused(each[1], why))


def _check(message: Message) -> None:
    if message.fault is not None:
        raise message.fault
