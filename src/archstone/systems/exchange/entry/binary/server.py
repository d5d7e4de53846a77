"""The server of the binary protocol: a request is done once or never, and its client comes to know which."""

import asyncio
from ssl import SSLContext

from archstone.systems.exchange.entry.binary.bounds import Bounds
from archstone.systems.exchange.entry.binary.messages import Fault
from archstone.systems.exchange.entry.binary.session import BinarySession
from archstone.systems.exchange.entry.binary.wire import Wire
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.entry.sessions import SessionServer
from archstone.systems.exchange.entry.who import Identify
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["BinaryServer"]


class BinaryServer(SessionServer[BinarySession]):
    """Takes orders by the binary protocol."""

    def __init__(
        self,
        sequencer: Sequencer,
        reports: Reports,
        identify: Identify,
        *,
        host: str | None = "127.0.0.1",
        port: int = 7_100,
        ssl: SSLContext | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """Name what is served; see `SessionServer`. `bounds`: what may be asked for."""
        self.bounds = bounds or Bounds()
        super().__init__(
            sequencer, reports, identify,
            host=host, port=port, ssl=ssl, connections=self.bounds.connections, per_s=self.bounds.per_s,
        )  # fmt: skip

    def connection(self) -> Wire:
        """Return a protocol for a connection; see `SessionServer.connection`."""
        return _Full(unsent_bytes=self.bounds.unsent_bytes) if self.is_full else self.begin(BinarySession(self)).wire


class _Full(Wire):
    """A connection too many."""

    def __init__(self, *, unsent_bytes: int) -> None:
        super().__init__(len, lambda: None, unsent_bytes=unsent_bytes)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close."""
        super().connection_made(transport)
        self.close(Fault.FULL)
