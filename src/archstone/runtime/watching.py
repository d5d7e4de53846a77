"""What of a running system somebody must hear of, within seconds: what is behind, what waits for a person."""

from collections.abc import Callable
from typing import Final

from archstone.observability import Alerts
from archstone.runtime.wiring import Part, Parts

__all__ = ["watch"]

_BEHIND_S: Final = 10.0
"""Seconds for which an event lies in an outbox before that is worth an alert: it takes milliseconds."""


def watch(alerts: Alerts, parts: Parts) -> None:
    """Have `alerts` look at every service."""
    for name, part in parts.services.items():
        alerts.watch(f"relay of {name}", _relay(part))
        if part.dispatcher.sagas is not None:
            alerts.watch(f"sagas of {name}", _sagas(part))


def _relay(part: Part) -> Callable[[], str | None]:
    def look() -> str | None:
        told = part.relay.statistics()
        if told.lag_s < _BEHIND_S:
            return None
        why = f" ({told.error})" if told.error else ""
        return f"an event has been in the outbox for {told.lag_s:.0f} s{why}"

    return look


def _sagas(part: Part) -> Callable[[], str | None]:
    sagas = part.dispatcher.sagas

    def look() -> str | None:
        stuck = 0 if sagas is None else sagas.statistics().stuck
        return f"{stuck} saga(s) wait for a person; archstone sagas shows why" if stuck else None

    return look
