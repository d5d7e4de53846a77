"""FIX 4.4 over TCP."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Final, Self

from archstone.systems.exchange.entry.allowance import Allowance
from archstone.systems.exchange.entry.fix.orders import Listed, Orders
from archstone.systems.exchange.entry.fix.session import FixSession, Kept
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.entry.who import Identify
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["FixRules", "FixServer"]

_END_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRules:
    """What a server holds its clients to."""

    name: str = "ARCHSTONE"
    """Its CompID."""
    cancel_on_disconnect: bool = False
    """Cancel all orders of an account when its session ends, however it ends."""
    connections: int = 64
    """At once; one more is closed."""
    logon_s: float = 5.0
    """From the connection to the Logon of the server; then it is closed."""
    message_bytes: int = 8_192
    """Of one message; a longer one ends the session."""
    unacknowledged: int = 1_000
    """Requests of one connection that are taken and not yet done; beyond it nothing is read."""
    per_s: int = 5_000
    """Requests of one account in a second; what is more is refused."""
    unsent_bytes: int = 4 * 1024 * 1024
    """What one connection has not taken yet; beyond it it is closed."""
    resend: int = 10_000
    """Messages of one account that can be sent again; for older ones a gap is filled."""


class FixServer:
    """Takes orders by FIX 4.4. One connection of an account at a time: a new one takes over."""

    def __init__(
        self,
        sequencer: Sequencer,
        reports: Reports,
        identify: Identify,
        listed: Iterable[Listed],
        *,
        host: str | None = "127.0.0.1",
        port: int = 7_103,
        ssl: SSLContext | None = None,
        rules: FixRules | None = None,
    ) -> None:
        """Name what is served; nothing is before it is entered, and reports must be entered before.

        Args:
            sequencer: What does requests.
            reports: What accounts are told.
            identify: Says whose a password (554) is.
            listed: The books, as FIX calls them.
            host: Where to listen. None: nowhere; connections are made by `connection` alone.
            port: The same; 0: any that is free (see `port`).
            ssl: Makes connections private. Without it passwords cross the network as they are.
            rules: What clients are held to.
        """
        self.sequencer, self.reports, self.identify = sequencer, reports, identify
        self.host, self.port = host, port
        self.rules = rules or FixRules()
        self.began_at = 0
        """Number of the last command when it was entered: reports up to it may have been told by one before."""
        self.is_over = False
        self._listed = {each.symbol: each for each in listed}
        self._ssl = ssl
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], FixSession] = {}
        self._kept: dict[int, Kept] = {}
        self._allowances: dict[int, Allowance] = {}

    async def __aenter__(self) -> Self:
        """Listen."""
        self.began_at = self.reports.sequence
        if self.host is not None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self.connection, self.host, self.port, ssl=self._ssl)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Log all out; what is under way is done first, within five seconds."""
        if self._server is not None:
            self._server.close()
        for session in self._tasks.values():
            session.end("the exchange stops")
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_END_S)
            self.is_over = True
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def connection(self) -> asyncio.Protocol:
        """Return a protocol for a connection that has been made, here or elsewhere."""
        session = FixSession(self)
        if len(self._tasks) >= self.rules.connections:
            session.end("too many connections")
        task = asyncio.create_task(session.run(), name="FIX order entry")
        self._tasks[task] = session
        task.add_done_callback(self._forget)
        return session

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task).ended.set()

    def sessions(self, account: int) -> list[FixSession]:
        """Return those of an account that have not ended: one that is open, and those that end or wait for that."""
        return [each for each in self._tasks.values() if each.account == account]

    def kept(self, account: int) -> Kept:
        """Return what is remembered of an account."""
        if account not in self._kept:
            self._kept[account] = Kept(Orders(self._listed), keep=self.rules.resend)
        return self._kept[account]

    def allowance(self, account: int) -> Allowance:
        """Return what an account may still ask for, however often it connects."""
        return self._allowances.setdefault(account, Allowance(self.rules.per_s))
