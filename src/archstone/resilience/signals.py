"""What policies tell while they work: a record per event, to whoever listens.

    add_listener(lambda signal: log.warning(signal.kind, layer=signal.layer, name=signal.name))

The same events are counted as metrics, which nobody has to ask for. Listeners run where the event happens, before the
call goes on, so they must be quick; one that fails is logged, and the call does not notice. Calls that simply work tell
nothing.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from archstone.observability import get_logger

__all__ = ["Kind", "Listener", "Signal", "add_listener", "remove_listener", "tell"]

Kind = Literal[
    "opened", "half-opened", "closed", "rejected", "retried", "gave-up", "limited", "hedged", "fell-back", "store-lost"
]


class Signal(NamedTuple):
    """One thing that a policy did."""

    kind: Kind
    layer: str
    """`breaker`, `bulkhead`, `retry`, `ratelimit`, `adaptive`, `hedge`, `fallback`."""
    name: str
    """Of the bound policy, or of the function."""
    error: BaseException | None = None
    """What led to it, or what the caller gets. None: nothing failed."""
    wait_s: float | None = None
    """Seconds until the next attempt or trial. None: that is not known."""


Listener = Callable[[Signal], object]
"""Is told each signal, on the thread and in the task where it happens."""

_listeners: list[Listener] = []
_log = get_logger("resilience")


def add_listener(listener: Listener) -> None:
    """Tell `listener` every signal of this process from now on."""
    _listeners.append(listener)


def remove_listener(listener: Listener) -> None:
    """Tell it no more; ValueError if it was not told."""
    _listeners.remove(listener)


def tell(signal: Signal) -> None:
    """Tell all listeners. For the layers; nobody else calls it."""
    for listener in tuple(_listeners):
        try:
            listener(signal)
        except Exception as error:  # noqa: BLE001 - a listener's fault is not the call's
            _log.error("listener failed", signal=signal.kind, name=signal.name, error=repr(error))
