"""What of a running system somebody must hear of, within seconds: what is behind, what waits for a person."""

from collections.abc import Callable
from typing import Final

from archstone.eventsourcing import LiveProjection, Projector, live_projections
from archstone.observability import Alerts, Watched, gauge
from archstone.runtime.wiring import Part, Parts
from archstone.sagas import Sagas

__all__ = ["watch"]

_BEHIND_S: Final = 10.0
"""Seconds for which an event lies in an outbox before that is worth an alert: it takes milliseconds."""
_IN_VAIN_S: Final = 20.0
"""Seconds for which a step fails and is tried again before that is worth an alert: by itself it gives up sooner."""
_not_run = gauge(
    "archstone_projection_not_run", "1 for a version that readers use and nobody runs.", ("projection", "version")
)


async def watch(alerts: Alerts, parts: Parts) -> None:
    """Have `alerts` look at every service, and at what is provided or runs beside one and asks for it."""
    companions = [each for part in parts.services.values() for each in part.dispatcher.companions]
    for asking in (*parts.provided.values(), *companions):
        if isinstance(asking, Watched):
            asking.watched_by(alerts)
    for name, part in parts.services.items():
        alerts.watch(
            f"relay of {name}", _relay(part),
            todo="See that the bus can be reached and has room. Nothing is lost: it is sent as soon as that works.",
        )  # fmt: skip
        if part.dispatcher.sagas is not None:
            alerts.watch(
                f"sagas of {name}", _sagas(part.dispatcher.sagas),
                todo="Resume what is stuck, or undo it, on the page of sagas or with `archstone sagas`; see that what "
                "is called answers.",
            )  # fmt: skip
        for projector in part.dispatcher.projectors:
            alerts.watch(
                f"projection {projector.projection.label} of {name}", _projection(projector),
                todo="Mend the handler that the error names, or what it writes to. It goes on by itself where it was.",
            )  # fmt: skip
        for live in await _not_run_here(part):
            _not_run.labels(live.name, str(live.version)).set(1)
            alerts.watch(
                f"projection {live.name} v{live.version} of {name}", _nobody,
                todo="Return it from `projectors` of the service until a later version is live, then retire it.",
            )  # fmt: skip


def _relay(part: Part) -> Callable[[], str | None]:
    def look() -> str | None:
        told = part.relay.statistics()
        if told.lag_s < _BEHIND_S:
            return None
        why = f" ({told.error})" if told.error else ""
        return f"an event has been in the outbox for {told.lag_s:.0f} s{why}"

    return look


def _sagas(sagas: Sagas) -> Callable[[], str | None]:
    def look() -> str | None:
        told = sagas.statistics()
        if told.stuck:
            return f"{told.stuck} saga(s) wait for a person; archstone sagas shows why"
        if told.in_vain_s >= _IN_VAIN_S:
            return f"{told.in_vain} has failed for {told.in_vain_s:.0f} s and is tried on"
        return None

    return look


def _projection(projector: Projector) -> Callable[[], str | None]:
    def look() -> str | None:
        told = projector.statistics()
        if not told.stalled and not told.failures:
            return None
        why = f" ({told.error})" if told.error else ""
        return f"it does not move, {told.lag_s:.0f} s behind{why}"

    return look


async def _not_run_here(part: Part) -> list[LiveProjection]:
    """Return what readers of a database use and its service does not run. Another process may: then nothing."""
    if part.database.shared:
        return []
    run = {(each.projection.projection_name, each.projection.projection_version) for each in part.dispatcher.projectors}
    return [live for live in await live_projections(part.database) if live not in run]


def _nobody() -> str:
    return "readers use it and nobody runs it: what they see is as old as the last run"
