"""Where programs come in besides HTTP: the binary protocol, FIX, and market data by multicast. All are shut by default.

They stand on this machine's own address unless another is named, and nothing that crosses them is encrypted: put them
behind a tunnel, or a proxy that ends TLS, before strangers can reach them.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from archstone.errors import ConfigError
from archstone.observability import get_logger
from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.entry import Identify
from archstone.systems.exchange.entry.binary import BinaryServer
from archstone.systems.exchange.entry.fix import FixServer, Listed
from archstone.systems.exchange.feed import Group, Publisher, Recovery, multicast
from archstone.systems.exchange.instruments import Instrument

__all__ = ["Address", "Gates", "open_gates"]

_log = get_logger("archstone.exchange")


class Address(NamedTuple):
    """Where something listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, called: str) -> "Address | None":
        """Return the address of `HOST:PORT`; None for `off`. ConfigError: it is neither."""
        if text == "off":
            return None
        host, _, port = text.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ConfigError(f"{called}={text!r}: write HOST:PORT, such as 127.0.0.1:7100, or off")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What is open. None: shut."""

    binary: Address | None = None
    fix: Address | None = None
    feed: Address | None = None
    """Where lost packets are asked for. The packets themselves go to a multicast group that stays on this machine."""
    kept: Path | None = None
    """The folder where the number of the feed's session is noted. None: nowhere."""


@asynccontextmanager
async def open_gates(gates: Gates, floor: Floor, identify: Identify) -> AsyncGenerator[None]:
    """Let programs in for the block."""
    async with AsyncExitStack() as life:
        reports = floor.reports
        if gates.binary is not None:
            server = BinaryServer(floor.sequencer, reports, identify, **gates.binary._asdict())
            await life.enter_async_context(server)
        if gates.fix is not None:
            listed = [_listed(each) for each in floor.instruments.all]
            fix = FixServer(floor.sequencer, reports, identify, listed, **gates.fix._asdict())
            await life.enter_async_context(fix)
        if gates.feed is not None:
            send, close = multicast.sender(Group(port=gates.feed.port))
            life.callback(close)
            noted = None if gates.kept is None else gates.kept / "session"
            publisher = await life.enter_async_context(Publisher(floor.feed, send, noted=noted))
            await life.enter_async_context(Recovery(publisher, **gates.feed._asdict()))
        for name, address in (("binary", gates.binary), ("fix", gates.fix), ("feed", gates.feed)):
            if address is not None:
                _log.info("programs come in", by=name, host=address.host, port=address.port)
        yield


def _listed(about: Instrument) -> Listed:
    """Return an instrument as FIX calls it: prices as people read them, quantities in lots."""
    return Listed(about.symbol, book=about.book, tick=Decimal(about.tick).scaleb(-about.decimals))
