"""Which addresses are asked at all: public ones, and those that the operator allows. Nothing here connects.

Strangers name addresses that nobody has looked at, and whoever serves them chooses where a redirect goes. So none may
make the process talk to its own network: a name is resolved once, what it resolved to is looked at, and the connection
goes to that very address. A second resolution could give another one (DNS rebinding).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Self
from urllib.parse import quote, urlsplit

from archstone.errors import ConfigError
from archstone.security.outgoing.errors import OutgoingError

__all__ = ["Allowed", "Place", "is_public", "place_of"]

LONGEST: Final = 2_000
"""Characters of an address, redirects included."""
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?|[0-9a-f:.]+")
_REFUSED_4: Final = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4")))
_GLOBAL_6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is given out for hosts. Outside are loopback, mapped IPv4, NAT64, private, link-local and multicast."""
_REFUSED_6: Final = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Teredo and others for protocols, documentation, 6to4, documentation: some lead to any IPv4 address."""
_KEPT: Final = "%/:=&?~+!$,;'@()*[]"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Place(NamedTuple):
    """Where something is asked for."""

    secure: bool
    host: str
    """In lower case, an IPv6 address without its brackets."""
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be fetched though it is not public: the operator has named it."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    """Names or addresses; with a port only that one, with None the usual two."""
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str, *, called: str = "allowed") -> Self:
        """Return what a text such as `images.internal:8080, 10.1.0.0/16, [::1]:9000` allows.

        Args:
            text: Parts with commas between them.
            called: How a fault calls it: `option images_allow`.

        Raises:
            ConfigError: a part is neither HOST, HOST:PORT nor NETWORK/BITS; all faults at once.
        """
        hosts: set[tuple[str, int | None]] = set()
        networks: list[Network] = []
        faults: list[str] = []
        for part in filter(None, (each.strip() for each in text.split(","))):
            try:
                if "/" in part:
                    networks.append(ipaddress.ip_network(part))
                else:
                    hosts.add(_host_and_port(part))
            except ValueError:
                faults.append(repr(part))
        if faults:
            form = "write HOST, HOST:PORT or NETWORK/BITS, with commas between them"
            raise ConfigError(f"{called}: {', '.join(faults)} cannot be read; {form}")
        return cls(frozenset(hosts), tuple(networks))

    def takes(self, host: str, port: int) -> bool:
        """Return whether the operator trusts this host on this port, wherever its name leads."""
        return (host, port) in self.hosts or (port in _PORTS.values() and (host, None) in self.hosts)

    def addresses(self, place: Place, found: Iterable[str]) -> tuple[str, ...]:
        """Return those of the addresses of a host that may be connected to, in their order.

        Raises:
            OutgoingError: there are none.
        """
        trusted = self.takes(place.host, place.port)
        good = tuple(each for each in found if trusted or is_public(each) or self._inside(each))
        if not good:
            raise OutgoingError("refused", "it has no public address", place.host, dead=True)
        return good

    def _inside(self, text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(address in network for network in self.networks)


def is_public(text: str) -> bool:
    """Return whether an IP address is one of the public network, and leads nowhere else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not _in(address, _REFUSED_4)
    return address in _GLOBAL_6 and address.is_global and not _in(address, _REFUSED_6)


def place_of(url: str, allowed: Allowed) -> Place:
    """Return what an address asks for.

    Raises:
        OutgoingError: it is not fetched: not of the web, another port than 80 and 443, with a name or password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise OutgoingError("refused", "its address cannot be read") from error
    usual = _PORTS.get(parts.scheme)
    if usual is None or len(url) > LONGEST or not _HOST.fullmatch(host) or len(host) > 253:
        raise OutgoingError("refused", "its address is none of the web")
    if parts.username is not None or parts.password is not None:
        raise OutgoingError("refused", "its address holds a name or a password", host)
    port = usual if port is None else port
    if port not in _PORTS.values() and not allowed.takes(host, port):
        raise OutgoingError("refused", f"its address names port {port}", host)
    path = quote(parts.path or "/", safe=_KEPT)
    target = f"{path}?{quote(parts.query, safe=_KEPT)}" if parts.query else path
    return Place(parts.scheme == "https", host, port, target)


def _in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _host_and_port(text: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{text}")
    host, port = (parts.hostname or "").lower(), parts.port
    if not _HOST.fullmatch(host) or parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(text)
    return host, port
