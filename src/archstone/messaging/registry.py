"""Which broker answers to a URL scheme. Built-in and plugged-in brokers are found the same way, when asked."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final, cast

from archstone.messaging.broker import Broker
from archstone.messaging.errors import UnknownBrokerError

__all__ = ["ENTRY_POINTS", "find_broker"]

ENTRY_POINTS: Final = "archstone.brokers"
"""Entry-point group: name is the URL scheme, value a callable that takes the URL and returns a `Broker`."""

_BUILT_IN: Final = {
    "sqlite": "archstone.messaging.brokers.sqlite:SqliteBroker",
    "memory": "archstone.messaging.brokers.memory:MemoryBroker",
}


def find_broker(url: str) -> Broker:
    """Return the broker that `url` names, not yet open.

    Raises:
        UnknownBrokerError: No broker answers to the scheme.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    if (built_in := _BUILT_IN.get(scheme)) is not None:
        module, _, name = built_in.partition(":")
        make = cast("Callable[[str], Broker]", getattr(import_module(module), name))
        return make(url)
    plugged = entry_points(group=ENTRY_POINTS)
    for found in plugged.select(name=scheme):
        return cast("Callable[[str], Broker]", found.load())(url)
    raise UnknownBrokerError(scheme, sorted({*_BUILT_IN, *plugged.names}))
