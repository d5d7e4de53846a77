"""Where a process of a sequencer listens: `HOST:PORT`, or `SERVICE@HOST:PORT` where who is there must prove it."""

import ipaddress
from typing import NamedTuple, Self

from archstone.errors import ConfigError

__all__ = ["Address", "service_at"]


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
