"""The exchange as far as an order goes: binary protocol, sequencer with its log, venue. A process of its own.

    python -m benchmarks.exchange_server --data FOLDER [--venue python]
    python -m benchmarks.exchange_server --data FOLDER --listen A --peer B --witness C      # leads one of two nodes

What reads its stream is what the gates of `archstone up exchange --set binary=` have: reports and market data. The
board, clearing and surveillance of the whole system are not here. Prints `ready PORT` once orders are taken; of two
nodes, once the other one keeps commands too. Ends on SIGTERM.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from archstone.errors import ArchstoneError
from archstone.runtime.serve import _settle_memory, run_loop
from archstone.systems.exchange.entry.binary import BinaryServer
from archstone.systems.exchange.entry.readers import Readers
from archstone.systems.exchange.sequencer import DurableSequencer, Node, Place, TcpNetwork
from archstone.systems.exchange.venue import NativeVenue, ReferenceVenue
from archstone.systems.exchange.venue.flows import VenueFlow, opening

ACCOUNTS = 20


async def identify(credential: str) -> int:
    """Return the account that a credential names; what an API key costs is paid once, at the logon."""
    return int(credential)


def accounts_and_book() -> Any:
    """Return what makes one book and the accounts, every limit set and none of them met."""
    limits = {"money": 10**14, "position": 10**9, "rate": 10**9, "orders": 10**9, "collar": 2_000, "halt": 9_000}
    return opening(VenueFlow(books=1, accounts=ACCOUNTS, **limits))


@asynccontextmanager
async def alone(chosen: argparse.Namespace, venue: Any) -> AsyncIterator[Any]:
    async with DurableSequencer(chosen.data, venue) as sequencer:
        await sequencer.submit(accounts_and_book())
        yield sequencer, sequencer.venue


class Leader:
    """A node as a sequencer whose end is known."""

    def __init__(self, node: Node) -> None:
        self.node, self.submit, self.follow = node, node.submit, node.follow

    @property
    def last(self) -> int:
        return self.node.replica.done.sequence


@asynccontextmanager
async def in_two(chosen: argparse.Namespace, venue: Any) -> AsyncIterator[Any]:
    place = Place(name="a", listen=chosen.listen, peer=chosen.peer, witness=chosen.witness)
    async with Node(place, chosen.data, venue, network=TcpNetwork(), eager=True) as node:
        leader = Leader(node)
        while not leader.last or node.leading is None or not node.leading.standby:
            with suppress(ArchstoneError):  # the two lose each other on a busy machine
                await leader.submit(accounts_and_book())
            await asyncio.sleep(0.05)
        yield leader, node.replica.venue


async def serve(chosen: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    venue = ReferenceVenue if chosen.venue == "python" else NativeVenue
    async with AsyncExitStack() as life:
        made = in_two if chosen.peer else alone
        sequencer, acts = await life.enter_async_context(made(chosen, venue))
        readers = await life.enter_async_context(Readers(sequencer, chosen.data / "readers", dump=acts.dump))
        server = await life.enter_async_context(BinaryServer(sequencer, readers.reports, identify, port=0))
        _settle_memory()
        print("ready", server.port, flush=True)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exchange_server")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--venue", choices=("native", "python"), default="native")
    for name in ("--listen", "--peer", "--witness"):
        parser.add_argument(name, default="")
    run_loop(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
