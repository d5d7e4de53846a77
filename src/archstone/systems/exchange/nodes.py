"""The nodes that keep an exchange's commands, as the exchange sees them: waited for, and watched.

    async with Nodes(("127.0.0.1:7101", "127.0.0.1:7102"), network=TcpNetwork()) as sequencer:
        ...

Promise: it is open once a node leads and takes commands from this process alone, or says what is in the way. While one
of them is away an alert says so, since the other is alone then; while none leads, or another exchange has got hold of
them, this one is not ready. See docs/exchange/two-nodes.md.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from archstone import context, world
from archstone.context import Call
from archstone.errors import BackendError, ConfigError
from archstone.observability import Alerts, get_logger
from archstone.systems.exchange.matching import Commands
from archstone.systems.exchange.sequencer import (
    Batch,
    Looked,
    NotLeadingError,
    OtherHolderError,
    RemoteSequencer,
    TcpNetwork,
    UnavailableError,
)
from archstone.systems.exchange.sequencer.network import Network, Say

__all__ = ["PRIVATE_NETWORK", "NoLeaderError", "Nodes", "network_of"]

WAIT_S: Final = 10.0
"""Seconds for which a start waits for somebody to lead: a take-over lasts one, a start of both nodes a few."""
LOOK_S: Final = 2.0
"""Seconds between two looks at whether each node can be reached, and who leads still takes commands from here."""
ANSWER_S: Final = 1.0
"""Seconds that a node may take to give a sign of life."""
PRIVATE_NETWORK: Final = "private-network"
"""In place of the folder of a certificate: nobody else is on the network, so nothing need be encrypted."""
_AGAIN_S: Final = 0.2
_NONE_LEADS: Final = "no node leads: no order is taken"
_AWAY: Final = "it cannot be reached: the other keeps commands alone, on one disk"
_log = get_logger("archstone.exchange")


def network_of(tls: str, *, domain: str, addresses: Iterable[str]) -> TcpNetwork:
    """Return what reaches nodes at these addresses.

    Args:
        tls: The folder of this process's certificate, `private-network`, or empty: nodes of this machine alone.
        domain: With a certificate: of the authority.
        addresses: Of the nodes: `HOST:PORT`, with a certificate `NODE@HOST:PORT`.

    Raises:
        ConfigError: They could not be reached so, or should not; the text says what to do.
    """
    if tls in {"", PRIVATE_NETWORK}:
        network = TcpNetwork(private_network=tls == PRIVATE_NETWORK)
    else:
        from archstone.security import Identity  # noqa: PLC0415  only with TLS: it needs archstone[security]

        if not domain:
            raise ConfigError("option sequencer_tls: with a certificate say option sequencer_domain, too")
        network = TcpNetwork(Identity(Path(tls), domain=domain))
    for address in addresses:
        network.checked(address)
    return network


class NoLeaderError(BackendError, code="exchange.no-leader", status=503):
    """No node of the sequencer leads, so the exchange cannot start. Nothing was changed."""

    def __init__(self, states: str, waited_s: float) -> None:
        super().__init__(states, waited_s)
        self.states = states
        """Of each node, how it stands."""
        self.waited_s = waited_s

    def __str__(self) -> str:
        return (
            f"no node of the sequencer leads after {self.waited_s:g} s: {self.states}: start the witness and both "
            "nodes, python -m archstone.systems.exchange.node, or look into their logs"
        )


class Nodes(RemoteSequencer):
    """See `RemoteSequencer`."""

    def __init__(self, addresses: Sequence[str], *, network: Network, wait_s: float = WAIT_S) -> None:
        """Name the nodes; nothing is connected yet.

        Args:
            addresses: Of the nodes that keep commands, without the witness.
            network: What carries messages.
            wait_s: Seconds for which entering waits for somebody to lead. At least 0.
        """
        super().__init__(network, addresses, holder=f"process {os.getpid()} on {socket.gethostname()}")
        self._nodes = tuple(addresses)
        self._wait_s = wait_s
        self._hindered: str | None = None
        """Why no order is taken, as far as is known."""
        self._away: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Wait until a node leads, and takes commands from here alone.

        Raises:
            NoLeaderError: None did in time.
            OtherHolderError: Another exchange trades on these nodes.
        """
        try:
            await self._wait()
        except BaseException:
            await super().__aexit__(None, None, None)
            raise
        with context.enter(Call()):
            self._looking = asyncio.create_task(self._look_on(), name="exchange nodes")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Look no more, and end the connection."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        await super().__aexit__(kind, error, traceback)

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done by who leads; see `Sequencer.submit`."""
        try:
            batch = await super().submit(commands)
        except (NotLeadingError, UnavailableError):
            self._hindered = _NONE_LEADS  # until somebody does, which is looked at soon
            raise
        except OtherHolderError as error:
            self._hindered = str(error)
            raise
        self._hindered = None
        return batch

    def watched_by(self, alerts: Alerts) -> None:
        """Have `alerts` tell of nodes that are away, and of a time in which none leads."""
        alerts.watch(
            "sequencer of the exchange", lambda: self._hindered,
            todo="See that both nodes and the witness run and reach each other; their logs say what they wait for.",
            unready=True,
        )  # fmt: skip
        for address in self._nodes:
            alerts.watch(
                f"node {address}", self._looking_at(address),
                todo="Start it again, with its folder as it is or empty: it follows by itself.",
            )  # fmt: skip

    def _looking_at(self, address: str) -> Callable[[], str | None]:
        return lambda: _AWAY if address in self._away else None

    async def _wait(self) -> None:
        until_s = world.monotonic() + self._wait_s
        told = ("", "")
        while (hindered := await self._hinders(found := await self.look())) is not None:
            if world.monotonic() >= until_s:
                raise hindered
            if told != (told := (_said(found), getattr(hindered, "holder", ""))):
                _log.warning("waits for a node that leads", nodes=told[0], held_by=told[1])
            await asyncio.sleep(_AGAIN_S)
        _log.info("commands are kept by nodes", nodes=_said(found), last=self.last)

    async def _hinders(self, found: list[Looked]) -> NoLeaderError | OtherHolderError | None:
        """Hold who leads; return why that cannot be: an exchange whose machine has vanished holds some seconds more."""
        if any(each.state == "leads" for each in found):
            try:
                await self.hold()
            except OtherHolderError as error:
                return error
            except (NotLeadingError, UnavailableError):
                pass  # it has just stopped
            else:
                return None
        return NoLeaderError(_said(found), self._wait_s)

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self._away = {each for each in self._nodes if not await self._is_there(each)}
            try:
                await self.hold()
            except (NotLeadingError, UnavailableError):
                self._hindered = _NONE_LEADS
            except OtherHolderError as error:
                self._hindered = str(error)
            else:
                self._hindered = None

    async def _is_there(self, address: str) -> bool:
        try:
            await self._asked(address, Say.BEAT, ANSWER_S)
        except (OSError, TimeoutError):
            return False
        return True


def _said(found: list[Looked]) -> str:
    return ", ".join(f"{each.address} {'is away' if each.state == 'away' else each.state}" for each in found)
