"""One process of a sequencer that outlives a machine: `python -m archstone.systems.exchange.node --role …`.

    … --role witness --data w --listen 127.0.0.1:7100
    … --role leader  --data a --name a --listen 127.0.0.1:7101 --peer 127.0.0.1:7102 --witness 127.0.0.1:7100
    … --role standby --data b --name b --listen 127.0.0.1:7102 --peer 127.0.0.1:7101 --witness 127.0.0.1:7100

`leader` and `standby` say who begins; later each of the two is what the witness lets it be. A process prints
`ready ADDRESS` once it listens, and ends on SIGTERM and SIGINT.

Over more than one machine, each with a certificate from `archstone.security.Authority`, named as the node is:

    … --role witness --data w --listen 10.0.0.1:7100 --tls tls/w --domain exchange.internal --caller a --caller b
    … --role leader  --data a --name a --listen 10.0.0.7:7101 --peer b@10.0.0.8:7102 --witness w@10.0.0.1:7100
        --tls tls/a --domain exchange.internal --caller desk

Without `--tls` other addresses than those of this machine are refused, unless `--private-network` says that nobody else
is on that network.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from archstone.errors import ArchstoneError, ConfigError
from archstone.observability import configure_logging
from archstone.systems.exchange.sequencer.address import service_at
from archstone.systems.exchange.sequencer.node import Node, Place
from archstone.systems.exchange.sequencer.replica import VenueClass
from archstone.systems.exchange.sequencer.settings import SequencerSettings
from archstone.systems.exchange.sequencer.tcp import TcpNetwork
from archstone.systems.exchange.sequencer.witness import Witness
from archstone.systems.exchange.venue import fastest

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one process until it is stopped; return its exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        network = _network(chosen)
        configure_logging(level="info")
        asyncio.run(_witness(chosen, network) if chosen.role == "witness" else _node(chosen, network))
    except ArchstoneError as error:
        return _refused(str(error))
    except OSError as error:
        return _refused(
            f"the {chosen.role} cannot start: {error}: see --data {chosen.data} and --listen {chosen.listen}"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m archstone.systems.exchange.node")
    parser.add_argument("--role", choices=("leader", "standby", "witness"), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of this process alone")
    parser.add_argument("--listen", required=True, help="HOST:PORT")
    parser.add_argument("--name", default="", help="of this node, the same after a restart")
    parser.add_argument("--peer", default="", help="HOST:PORT of the other node that keeps commands")
    parser.add_argument("--witness", default="", help="HOST:PORT")
    parser.add_argument("--venue", default="", help="module:class of what acts; by default the fastest venue")
    parser.add_argument("--lease", type=float, default=0.7, help="witness: seconds that a leader may lead after asking")
    parser.add_argument("--epoch", type=int, default=0, help="witness: begin after this epoch, of a log that ran alone")
    parser.add_argument("--acknowledge-before-fsync", action="store_true", help="answers do not wait for the disk")
    parser.add_argument("--tls", type=Path, help="folder of this process's certificate, as an Authority gives it")
    parser.add_argument("--domain", default="", help="with --tls: of the authority")
    parser.add_argument("--caller", action="append", default=[], help="with --tls: service that may connect; repeat it")
    parser.add_argument("--private-network", action="store_true", help="nobody else is on the network of the addresses")
    return parser


def _network(chosen: argparse.Namespace) -> TcpNetwork:
    """Return what carries messages. ConfigError: with these options it would carry none."""
    network = TcpNetwork(private_network=chosen.private_network) if chosen.tls is None else _secured(chosen)
    network.checked(chosen.listen, named=False)
    for address in filter(None, (chosen.peer, chosen.witness)):
        network.checked(address)
    if chosen.role != "witness" and not (chosen.name and chosen.peer and chosen.witness):
        raise ConfigError(f"a {chosen.role} needs --name, --peer and --witness")
    return network


def _secured(chosen: argparse.Namespace) -> TcpNetwork:
    from archstone.security import Identity  # noqa: PLC0415  only with TLS: it needs archstone[security]

    callers = {*chosen.caller, *filter(None, [service_at(chosen.peer)])}
    if not chosen.domain or not callers:
        raise ConfigError("--tls needs --domain, and --caller with the name of each process that may connect")
    return TcpNetwork(Identity(chosen.tls, domain=chosen.domain), callers=callers)


async def _witness(chosen: argparse.Namespace, network: TcpNetwork) -> None:
    async with Witness(chosen.data, network=network, listen=chosen.listen, lease_s=chosen.lease, epoch=chosen.epoch):
        print("ready", chosen.listen, flush=True)  # noqa: T201  whoever started it waits for this
        await _stopped().wait()


async def _node(chosen: argparse.Namespace, network: TcpNetwork) -> None:
    place = Place(name=chosen.name, listen=chosen.listen, peer=chosen.peer, witness=chosen.witness)
    node = Node(
        place,
        chosen.data,
        _venue(chosen.venue),
        network=network,
        eager=chosen.role == "leader",
        settings=SequencerSettings(acknowledge_before_fsync=chosen.acknowledge_before_fsync),
    )
    async with node:
        print("ready", chosen.listen, flush=True)  # noqa: T201  whoever started it waits for this
        stopped = asyncio.create_task(_stopped().wait())
        ended = asyncio.create_task(node.wait())
        await asyncio.wait([stopped, ended], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if ended.done():
            await ended
        ended.cancel()


def _stopped() -> asyncio.Event:
    stopped = asyncio.Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sent, stopped.set)
    return stopped


def _venue(name: str) -> VenueClass:
    if not name:
        return fastest()
    module, _, attribute = name.partition(":")
    try:
        return cast("VenueClass", getattr(import_module(module), attribute))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--venue {name}: {error}: write MODULE:CLASS of what can be imported") from error


def _refused(why: str) -> int:
    print(why, file=sys.stderr)  # noqa: T201  the last word of a process that does not start
    return 1


if __name__ == "__main__":
    sys.exit(main())
