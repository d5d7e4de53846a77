"""Where a process of a sequencer listens: `HOST:PORT`, or `SERVICE@HOST:PORT` where who is there must prove it."""

import asyncio
import ipaddress
import socket
import struct
from typing import Final, NamedTuple, Self

from archstone.errors import ConfigError

__all__ = ["Address", "check_other", "service_at"]

_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Address(NamedTuple):
    """The parts of an address."""

    service: str
    """Whose certificate it must be, as the authority has named it. Empty: the address does not say."""
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text says.

        Raises:
            ConfigError: It is no address.
        """
        host, _, port = text.rpartition("@")[2].rpartition(":")
        if not host or not port.isascii() or not port.isdigit():
            raise ConfigError(f"address {text!r}: write HOST:PORT, or SERVICE@HOST:PORT")
        return cls(service_at(text), host.strip("[]"), int(port))

    @property
    def of_this_machine(self) -> bool:
        """Whether nobody on another machine can be there."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def service_at(address: str) -> str:
    """Return who must be at an address. Empty: it does not say."""
    return address.rpartition("@")[0]


def check_other(made: asyncio.BaseTransport) -> None:
    """Refuse a connection that has itself at its other end.

    Where nobody listens on a port that the system also gives to clients, TCP can connect a socket to itself; and who is
    to listen there would find it taken, for a minute if it were closed in the usual way.

    Raises:
        ConnectionRefusedError: It is one, and is gone.
    """
    mine, other = made.get_extra_info("sockname"), made.get_extra_info("peername")
    if mine is None or mine != other:
        return
    made.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    made.close()
    raise ConnectionRefusedError(f"nobody listens on {other[0]}:{other[1]}")
