"""FIX 4.4 over TCP."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ssl import SSLContext
from typing import Self

from archstone.systems.exchange.entry.fix.kept import Kept
from archstone.systems.exchange.entry.fix.orders import Listed, Orders
from archstone.systems.exchange.entry.fix.session import FixSession
from archstone.systems.exchange.entry.fix.wire import Wire
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.entry.sessions import SessionServer
from archstone.systems.exchange.entry.who import Identify
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["FixRules", "FixServer"]


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
    accounts: int = 1_000
    """Accounts whose sessions are remembered when they are over, at least so many. Of those the one that logged on the
    longest ago makes room: for it the next logon is as one after a restart."""


class FixServer(SessionServer[FixSession]):
    """Takes orders by FIX 4.4."""

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
        """Name what is served; see `SessionServer`.

        `identify` says whose a password (554) is, `listed` are the books as FIX calls them, `rules` what clients are
        held to.
        """
        self.rules = rules or FixRules()
        super().__init__(
            sequencer, reports, identify,
            host=host, port=port, ssl=ssl, connections=self.rules.connections, per_s=self.rules.per_s,
        )  # fmt: skip
        self._listed = {each.symbol: each for each in listed}
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._told = 0
        """Reports up to this command may have been told by who is not remembered."""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._told = self.reports.sequence
        return await super().__aenter__()

    def connection(self) -> Wire:
        """Return a protocol for a connection; see `SessionServer.connection`."""
        session = FixSession(self)
        if self.is_full:
            session.end("too many connections")
        return self.begin(session).wire

    def kept(self, account: int) -> Kept:
        """Return what is remembered of an account that logs on."""
        kept = self._kept.pop(account, None) or Kept(Orders(self._listed), keep=self.rules.resend, told=self._told)
        self._kept[account] = kept
        if len(self._kept) > self.rules.accounts + len(self._tasks):
            del self._kept[next(each for each in self._kept if not self.sessions(each))]
            self._told = self.reports.sequence
        return kept
