"""Connections of accounts, whatever protocol they speak: how they begin, are taken over, end, and are counted.

A session ends before the next one of its account begins: what it had handed in is done and reported by then, or never
will be.
"""

import asyncio
from abc import ABC, abstractmethod
from enum import Enum, auto
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from archstone.errors import RejectedError
from archstone.observability import get_logger
from archstone.systems.exchange.entry.allowance import Allowances
from archstone.systems.exchange.entry.cancelling import cancel_all
from archstone.systems.exchange.entry.reports import Reports
from archstone.systems.exchange.entry.who import Identify, until_denied
from archstone.systems.exchange.matching import Commands
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["End", "Session", "SessionServer"]

S = TypeVar("S", bound="Session")

_log: Final = get_logger("archstone.systems.exchange")
_END_S: Final = 5.0
_HANDSHAKE_S: Final = 5.0


class End(Enum):
    """Why a session ends."""

    LEFT = auto()
    """Its client wanted that."""
    TAKEN_OVER = auto()
    """Its account has logged on elsewhere."""
    DENIED = auto()
    """Its credential stands for its account no more."""
    CLOSING = auto()
    """The server stops."""
    UNKNOWN = auto()
    """Whether what it handed in was done is not known here."""
    FAILED = auto()
    """It could not be served."""
    OVER = auto()
    """Nobody is at the other side any more."""


class Session(ABC):
    """One connection: it logs on, and then hands requests in until it is over."""

    def __init__(self, server: "SessionServer[Any]") -> None:
        self.account = 0
        """0: it has not logged on."""
        self.ended = asyncio.Event()
        """Nothing that it has handed in is under way any more."""
        self._sessions = server
        self._awake = asyncio.Event()
        self._leaves = False
        self._waiting: list[Any] = []
        """Requests that are not handed in yet."""
        self._unlisten = lambda: None
        self._watching: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether nothing can be read or said any more."""

    @property
    @abstractmethod
    def cancels(self) -> bool:
        """Whether the orders of its account are cancelled when it ends."""

    @abstractmethod
    def end_by(self, why: End) -> None:
        """Say that it ends, and why, and close; nothing if it is over."""

    @abstractmethod
    async def log_on(self) -> None:
        """Wait for the logon, and begin; or end it."""

    @abstractmethod
    async def hand_in(self) -> None:
        """Wait until requests are there, and have all of them done at once. Those that come meanwhile are next."""

    async def run(self) -> None:
        """Serve it until it ends."""
        server = self._sessions
        try:
            await self.log_on()
            while not self.is_over and not (self._leaves and not self._waiting):
                await self.hand_in()
        except Exception as error:  # noqa: BLE001 - one connection must not take others with it
            _log.exception("a session failed", session=type(self).__name__, account=self.account, error=error)
            self.end_by(End.FAILED)
        finally:
            self._unlisten()
            if self._watching is not None:
                self._watching.cancel()
            self.end_by(End.LEFT if self._leaves else End.OVER)
            if self.cancels:
                await cancel_all(server.sequencer, server.reports, self.account, given_up=lambda: server.is_over)
            self.ended.set()

    async def take_over(self, account: int, credential: str) -> bool:
        """Be the session of an account from now on, when those before have ended. False: it is over itself by then."""
        server, before = self._sessions, self._sessions.sessions(account)
        self.account = account
        for each in before:
            each.end_by(End.TAKEN_OVER)
        for each in before:  # all of them: the newest may give up before those that it waits for have ended
            await each.ended.wait()
        await server.reports.reached(server.sequencer.last)
        if not self.is_over:
            self._watching = asyncio.create_task(self._watch(credential), name="order entry, still allowed")
        return not self.is_over

    async def _watch(self, credential: str) -> None:
        await until_denied(self._sessions.identify, credential, self.account)
        self.end_by(End.DENIED)

    async def done(self, rows: Commands) -> float | None:
        """Have requests done and told. Return None, or seconds after which they can be tried again: none was taken."""
        server = self._sessions
        try:
            batch = await server.sequencer.submit(rows)
            await server.reports.reached(batch.last)
        except RejectedError as error:
            return error.retry_after_s
        except Exception as error:  # noqa: BLE001 - whatever it is: whether they are done is not known here
            _log.warning("whether requests were done is not known", account=self.account, error=error)
            self.end_by(End.UNKNOWN)
        return None


class SessionServer(ABC, Generic[S]):
    """Takes orders over TCP. One connection of an account at a time: a new one takes over."""

    def __init__(
        self,
        sequencer: Sequencer,
        reports: Reports,
        identify: Identify,
        *,
        host: str | None,
        port: int,
        ssl: SSLContext | None,
        connections: int,
        per_s: int,
    ) -> None:
        """Name what is served; nothing is before it is entered, and reports must be read before.

        Args:
            sequencer: What does requests.
            reports: What accounts are told.
            identify: Says whose a credential is.
            host: Where to listen. None: nowhere; connections are made by `connection` alone.
            port: The same; 0: any that is free (see `port`).
            ssl: Makes connections private. Without it credentials cross the network as they are.
            connections: At once.
            per_s: Requests of one account in a second.
        """
        self.sequencer, self.reports, self.identify = sequencer, reports, identify
        self.host, self.port = host, port
        self.is_over = False
        self.allowances = Allowances(per_s)
        """What accounts may still ask for, however often they connect."""
        self._ssl, self._connections = ssl, connections
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], S] = {}

    @abstractmethod
    def connection(self) -> asyncio.BaseProtocol:
        """Return a protocol for a connection that has been made, here or elsewhere."""

    async def __aenter__(self) -> Self:
        """Listen."""
        if self.host is not None:
            loop = asyncio.get_running_loop()
            handshake_s = None if self._ssl is None else _HANDSHAKE_S
            self._server = await loop.create_server(
                self.connection, self.host, self.port, ssl=self._ssl, ssl_handshake_timeout=handshake_s
            )
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take leave of all, and cancel the orders of those that wanted it; what is under way is done first.

        It takes five seconds at most: then what is under way is left to itself.
        """
        if self._server is not None:
            self._server.close()
        for session in self._tasks.values():
            session.end_by(End.CLOSING)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_END_S)
            self.is_over = True
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self._tasks) >= self._connections

    def begin(self, session: S) -> S:
        """Serve a session, and return it."""
        task = asyncio.create_task(session.run(), name="order entry")
        self._tasks[task] = session
        task.add_done_callback(self._forget)
        return session

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task).ended.set()

    def sessions(self, account: int) -> list[S]:
        """Return those of an account that have not ended: one that is open, and those that end or wait for that."""
        return [each for each in self._tasks.values() if each.account == account]
