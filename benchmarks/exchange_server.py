"""The exchange as far as an order goes: binary protocol, sequencer with its log, venue. A process of its own.

    python -m benchmarks.exchange_server --data FOLDER [--venue python]
    python -m benchmarks.exchange_server --data FOLDER --nodes A,B      # whose commands two nodes keep

What reads its stream is what the gates of `archstone up exchange --set binary=` have: reports and market data. The
board, clearing and surveillance of the whole system are not here. Prints `ready PORT` once orders are taken; with two
nodes, once both keep them. Ends on SIGTERM.
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
from archstone.systems.exchange.nodes import Nodes
from archstone.systems.exchange.sequencer import DurableSequencer, Sequencer, TcpNetwork
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
async def alone(chosen: argparse.Namespace) -> AsyncIterator[Sequencer]:
    venue = ReferenceVenue if chosen.venue == "python" else NativeVenue
    async with DurableSequencer(chosen.data, venue) as sequencer:
        await sequencer.submit(accounts_and_book())
        yield sequencer


@asynccontextmanager
async def in_two(chosen: argparse.Namespace) -> AsyncIterator[Sequencer]:
    async with Nodes(chosen.nodes.split(","), network=TcpNetwork()) as nodes:
        while {each.state for each in await nodes.look()} != {"leads", "follows"} or not nodes.last:
            with suppress(ArchstoneError):  # the two lose each other on a busy machine
                await nodes.submit(accounts_and_book())
            await asyncio.sleep(0.05)
        yield nodes


async def serve(chosen: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with AsyncExitStack() as life:
        sequencer = await life.enter_async_context(in_two(chosen) if chosen.nodes else alone(chosen))
        readers = await life.enter_async_context(Readers(sequencer, chosen.data / "readers"))
        server = await life.enter_async_context(BinaryServer(sequencer, readers.reports, identify, port=0))
        _settle_memory()
        print("ready", server.port, flush=True)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exchange_server")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--venue", choices=("native", "python"), default="native")
    parser.add_argument("--nodes", default="", help="HOST:PORT,HOST:PORT; empty: it keeps commands itself")
    run_loop(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
