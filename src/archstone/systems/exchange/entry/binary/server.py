"""The server of the binary protocol: a request is done once or never, and its client comes to know which."""

import asyncio
from ssl import SSLContext
from types import TracebackType
from typing import Final, Self

from archstone.systems.exchange.entry.allowance import Allowance
from archstone.systems.exchange.entry.binary.bounds import Bounds
from archstone.systems.exchange.entry.binary.messages import Fault
from archstone.systems.exchange.entry.binary.session import Session
from archstone.systems.exchange.entry.binary.wire import Wire
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.entry.who import Identify
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["BinaryServer"]

_END_S: Final = 5.0


class BinaryServer:
    """Takes orders over TCP. One connection of an account at a time: a new one takes over."""

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
        """Name what is served; nothing is before it is entered, and reports must be entered before.

        Args:
            sequencer: What does requests.
            reports: What accounts are told.
            identify: Says whose a credential is.
            host: Where to listen. None: nowhere; connections are made by `connection` alone.
            port: The same; 0: any that is free (see `port`).
            ssl: Makes connections private. Without it credentials cross the network as they are.
            bounds: What may be asked for.
        """
        self.sequencer, self.reports, self.identify = sequencer, reports, identify
        self.host, self.port = host, port
        self.bounds = bounds or Bounds()
        self.is_over = False
        self._ssl = ssl
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], Session] = {}
        self._allowances: dict[int, Allowance] = {}

    async def __aenter__(self) -> Self:
        """Listen."""
        if self.host is not None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self.connection, self.host, self.port, ssl=self._ssl)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say BYE to all, and cancel the orders of those that wanted it; what is under way is done first.

        It takes five seconds at most: then what is under way is left to itself.
        """
        if self._server is not None:
            self._server.close()
        for session in self._tasks.values():
            session.wire.close(Fault.CLOSING)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_END_S)
            self.is_over = True
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def connection(self) -> Wire:
        """Return a protocol for a connection that has been made, here or elsewhere."""
        if len(self._tasks) >= self.bounds.connections:
            return _Full(unsent_bytes=self.bounds.unsent_bytes)
        session = Session(self)
        task = asyncio.create_task(session.run(), name="binary order entry")
        self._tasks[task] = session
        task.add_done_callback(self._forget)
        return session.wire

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task).ended.set()

    def sessions(self, account: int) -> list[Session]:
        """Return those of an account that have not ended: one that is open, and those that end or wait for that."""
        return [each for each in self._tasks.values() if each.account == account]

    def allowance(self, account: int) -> Allowance:
        """Return what an account may still ask for, however often it connects."""
        return self._allowances.setdefault(account, Allowance(self.bounds.per_s))


class _Full(Wire):
    """A connection too many."""

    def __init__(self, *, unsent_bytes: int) -> None:
        super().__init__(len, lambda: None, unsent_bytes=unsent_bytes)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close."""
        super().connection_made(transport)
        self.close(Fault.FULL)
