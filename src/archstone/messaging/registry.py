"""Which broker answers to a URL scheme. Built-in and plugged-in brokers are found the same way, when asked."""

from collections.abc import Callable
from typing import Final

from archstone.messaging.broker import Broker
from archstone.messaging.errors import UnknownBrokerError
from archstone.plugins import Implementations

__all__ = ["ENTRY_POINTS", "find_broker"]

ENTRY_POINTS: Final = "archstone.brokers"
"""Entry-point group: name is the URL scheme, value a callable that takes the URL and returns a `Broker`."""

_BROKERS: Final = Implementations[Callable[[str], Broker]](
    ENTRY_POINTS,
    {
        "memory": "archstone.messaging.brokers.memory:MemoryBroker",
        "sqlite": "archstone.messaging.brokers.sqlite:SqliteBroker",
    },
)


def find_broker(url: str) -> Broker:
    """Return the broker that `url` names, not yet open.

    Raises:
        UnknownBrokerError: No broker answers to the scheme.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    make = _BROKERS.find(scheme)
    if make is None:
        raise UnknownBrokerError(scheme, _BROKERS.names())
    return make(url)
