"""Who sees the metrics: whoever asks from certain networks, and comes straight from there."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from archstone.services.http import Scope

__all__ = ["EVERYBODY", "HERE", "Watchers", "networks_of"]

HERE: Final = ("127.0.0.0/8", "::1")
"""This machine."""
EVERYBODY: Final = ("*",)
_PASSED_ON: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})


def networks_of(texts: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return networks. ValueError: one is neither an address nor a network."""
    return tuple(ip_network(each, strict=False) for each in texts)


class Watchers:
    """Lets requests in that come from some networks, and were passed on by no proxy.

    A proxy beside the system has an address of this machine, whoever asks it: what bears the mark of one is refused,
    even where the server believes the proxy's word for the address.
    """

    __slots__ = ("_address", "_everybody")

    def __init__(self, networks: tuple[str, ...]) -> None:
        """Take addresses and networks; `("*",)` lets everybody in, `()` nobody. ValueError: one is neither."""
        self._everybody = networks == EVERYBODY
        within = () if self._everybody else networks_of(networks)

        @lru_cache(maxsize=1024)
        def address(text: str) -> bool:
            try:
                found = ip_address(text.partition("%")[0])
            except ValueError:
                return False
            if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
                found = found.ipv4_mapped
            return any(found in each for each in within)

        self._address = address

    def let_in(self, scope: Scope) -> bool:
        """Return whether whoever sent this request may see."""
        if self._everybody:
            return True
        client: tuple[str, int] | None = scope.get("client")
        passed_on = any(name in _PASSED_ON for name, _ in scope["headers"])
        return client is not None and not passed_on and self._address(client[0])
