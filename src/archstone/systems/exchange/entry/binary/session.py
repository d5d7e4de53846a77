"""What one connection is to the exchange: a logon, what had happened meanwhile, and then requests.

    NEW ──logon──> CHECKED ──reports from before──> OPEN ──> over
      └───────────────┴───────────── BYE ─────────────┴───> over

A client that has logged on again and read RESUMED knows of each of its requests whether it was done: a session ends
before the next one of its account begins, see `sessions`.
"""

import asyncio
from math import ceil
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from archstone.errors import DeniedError
from archstone.systems.exchange.entry.binary.messages import (
    SIZE,
    Choice,
    Fault,
    Logon,
    Say,
    faulty,
    read_logon,
    said,
)
from archstone.systems.exchange.entry.binary.wire import Wire
from archstone.systems.exchange.entry.reports import ForgottenError, Position, Rows
from archstone.systems.exchange.entry.sessions import End, Session
from archstone.systems.exchange.matching import COMMAND, Commands, Kind, joined
from archstone.systems.exchange.venue import order_id

if TYPE_CHECKING:
    from archstone.systems.exchange.entry.binary.server import BinaryServer

__all__ = ["BinarySession"]

Numbers = npt.NDArray[np.uint64]
"""Of requests, shape (n,)."""

_TAG: Final = 0xFFFF
# As plain numbers: numpy takes four times as long to compare with the member of an enum.
_SAID: Final = int(Say.HEARTBEAT)
_MASS_CANCEL: Final = int(Kind.MASS_CANCEL)
_TOGETHER: Final = 4_096
"""Requests of one `submit` at most: a sequencer bounds its frames."""
_FAULTS: Final = {
    End.LEFT: Fault.LEFT,
    End.TAKEN_OVER: Fault.TAKEN_OVER,
    End.DENIED: Fault.DENIED,
    End.CLOSING: Fault.CLOSING,
    End.UNKNOWN: Fault.UNKNOWN,
    End.FAILED: Fault.UNKNOWN,
    End.OVER: Fault.CLOSING,
}


class _ByeError(Exception):
    """The connection is to be closed, and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class BinarySession(Session):
    """One connection."""

    def __init__(self, server: "BinaryServer") -> None:
        super().__init__(server)
        self.wire = Wire(self._take, self._wake, unsent_bytes=server.bounds.unsent_bytes)
        self._server = server
        self._logon: asyncio.Future[tuple[Logon, str] | None] = asyncio.get_running_loop().create_future()
        self._is_open = self._cancels = False
        self._request = 0
        self._unacknowledged = 0

    @property
    def is_over(self) -> bool:
        """Whether it is closed; see `Session`."""
        return self.wire.is_closed

    @property
    def cancels(self) -> bool:
        """Whether its client wanted that; see `Session`."""
        return self._cancels

    def end_by(self, why: End) -> None:
        """Say BYE and why; see `Session`."""
        self.wire.close(_FAULTS[why])

    def _wake(self) -> None:
        self._awake.set()
        if self.wire.is_closed and not self._logon.done():
            self._logon.set_result(None)

    # Logging on

    async def log_on(self) -> None:
        """Wait for the logon; see `Session`."""
        try:
            async with asyncio.timeout(self._server.bounds.logon_s):
                said = await self._logon
                if said is not None:
                    await self._begin(*said)
        except _ByeError as bye:
            self.wire.close(bye.fault)
        except TimeoutError:
            self.wire.close(Fault.SILENT if self._logon.cancelled() else Fault.AWAY)

    async def _begin(self, wanted: Logon, credential: str) -> None:
        if await self.take_over(await self._account_of(wanted, credential), credential):
            self._cancels = Choice.CANCEL_ON_DISCONNECT in wanted.choices
            self._request = wanted.request
            await self._resume(wanted, Position(wanted.sequence, wanted.part))

    async def _resume(self, wanted: Logon, position: Position) -> None:
        """Tell what had happened after a position, as fast as it is taken; from then on what happens, when it does."""
        reports = self._server.reports
        rows = self._after(position)
        self._welcome(wanted)
        while len(rows):
            self.wire.send(rows)
            position = Position(int(rows["sequence"][-1]), int(rows["part"][-1]))
            await self.wire.taken()
            rows = self._after(position)
        if not self.wire.is_closed:
            self._unlisten = reports.listen(self.account, self.wire.send)
            self.wire.say(Say.RESUMED, sequence=reports.sequence)
            self._is_open = True
            self.wire.read()

    def _after(self, position: Position) -> Rows:
        """Return the next reports after a position: what goes into half of what may wait to be taken."""
        try:
            rows = self._server.reports.after(self.account, position)
        except ForgottenError as error:
            raise _ByeError(Fault.FORGOTTEN) from error
        return rows[: max(1, self._server.bounds.unsent_bytes // SIZE // 2)]

    async def _account_of(self, wanted: Logon, credential: str) -> int:
        try:
            account = await self._server.identify(credential)
        except DeniedError as error:
            raise _ByeError(Fault.DENIED) from error
        if wanted.account not in {0, account}:
            raise _ByeError(Fault.DENIED)
        return account

    def _welcome(self, wanted: Logon) -> None:
        bounds, reports = self._server.bounds, self._server.reports
        least, most = bounds.heartbeat_ms
        heartbeat_ms = min(max(wanted.heartbeat_ms, least), most)
        self.wire.say(
            Say.WELCOME,
            order=self.account,
            sequence=reports.sequence,
            quantity=heartbeat_ms,
            price=bounds.unacknowledged,
            left=reports.highest(self.account),
            part=bounds.per_s,
        )
        self.wire.beat(heartbeat_ms / 1_000)

    # What comes

    def _take(self, view: memoryview) -> int:
        if self._is_open:
            whole = len(view) // SIZE * SIZE
            if whole:
                self._read(np.frombuffer(view, COMMAND, whole // SIZE).copy())
            return whole
        if self._logon.done() or len(view) < SIZE:
            return 0  # requests that come before the welcome wait for it
        logon, credential_bytes = read_logon(view[:SIZE].tobytes())
        if isinstance(logon, Fault) or credential_bytes > self._server.bounds.credential_bytes:
            self.wire.close(logon if isinstance(logon, Fault) else Fault.MALFORMED)
            return 0
        if len(view) < SIZE + credential_bytes:
            return 0
        credential = view[SIZE : SIZE + credential_bytes].tobytes().decode(errors="replace")
        self._logon.set_result((logon, credential))
        return SIZE + credential_bytes

    def _read(self, rows: Commands) -> None:
        if self._leaves:
            return  # what comes after a logout is not read
        leaves = False
        if (rows["kind"] >= _SAID).any():
            rows, leaves = _asked(rows)
        wrong = rows["sequence"] != np.uint64(self._request) + np.arange(1, len(rows) + 1, dtype=np.uint64)
        if wrong.any():
            self.wire.close(Fault.NUMBER)
            return
        if len(rows):
            self._request = int(rows["sequence"][-1])
            self._accept(rows)
        if leaves:
            self._leaves = True
            self._awake.set()

    def _accept(self, rows: Commands) -> None:
        bad = faulty(rows, self.account)
        if bad.any():
            self._refuse(rows["sequence"][bad], Fault.MALFORMED)
            rows = rows[~bad]
        if not len(rows):
            return
        taken, wait_s = self._server.allowances.take(self.account, len(rows))
        self._refuse(rows["sequence"][taken:], Fault.TOO_FAST, wait_s=wait_s)
        rows = rows[:taken]
        if not len(rows):
            return
        rows["account"] = self.account
        rows["id"] |= (rows["kind"] != _MASS_CANCEL) * np.uint64(order_id(self.account, 0))
        rows["spare"] = (rows["sequence"] & _TAG).astype(np.uint16)
        self._waiting.append(rows)
        self._unacknowledged += len(rows)
        if self._unacknowledged >= self._server.bounds.unacknowledged:
            self.wire.hold(back=True)
        self._awake.set()

    def _refuse(self, requests: Numbers, fault: Fault, *, wait_s: float = 0.0) -> None:
        if not len(requests):
            return
        rows = np.repeat(said(Say.REFUSED, reason=fault, quantity=ceil(wait_s * 1_000)), len(requests))
        rows["left"] = requests
        rows["tag"] = requests & _TAG
        self.wire.send(rows)

    # What goes on to the exchange

    async def hand_in(self) -> None:
        """Have what has come done; see `Session`."""
        await self._awake.wait()
        self._awake.clear()
        if self.wire.is_closed or not self._waiting:
            return
        rows = self._waiting[0] if len(self._waiting) == 1 else joined(self._waiting)
        self._waiting.clear()
        if len(rows) > _TOGETHER:
            self._waiting.append(rows[_TOGETHER:])
            self._awake.set()
            rows = rows[:_TOGETHER]
        requests = rows["sequence"].copy()
        if (wait_s := await self.done(rows)) is not None:
            self._refuse(requests, Fault.AWAY, wait_s=wait_s)
        self._unacknowledged -= len(rows)
        if self._unacknowledged < self._server.bounds.unacknowledged:
            self.wire.hold(back=False)


def _asked(rows: Commands) -> tuple[Commands, bool]:
    """Return what is neither a heartbeat nor after a logout, and whether there was one."""
    left = np.flatnonzero(rows["kind"] == Say.LOGOUT)
    rows = rows[: left[0]] if len(left) else rows
    return rows[rows["kind"] != Say.HEARTBEAT], bool(len(left))
