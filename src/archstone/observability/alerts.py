"""Conditions that somebody must hear of: looked at every second, told once when they begin and once when they end.

    alerts = Alerts()
    alerts.watch("relay of orders", lambda: f"it is {relay.lag_s:.0f} s behind" if relay.lag_s > 10 else None, for_s=3)
    async with alerts:
        ...

A backlog that nobody sees grows for days. An alert that begins is a log line of level error, a metric
(`archstone_alert`, 1 while it lasts) that Prometheus can page for, and a call of every hook. It begins when its
condition has held for `for_s`, and ends when it has not held for as long, so that what comes and goes is told once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self, runtime_checkable

from archstone import context, world
from archstone.context import Call
from archstone.observability.logs import get_logger
from archstone.observability.registry import gauge

__all__ = ["Alert", "Alerts", "Watched"]

_EVERY_S: Final = 1.0

_log = get_logger("archstone.observability")
_firing = gauge("archstone_alert", "1 while a condition lasts that somebody must hear of.", ("alert",))


class Alert(NamedTuple):
    """A condition that holds, or has just ceased to."""

    name: str
    why: str
    """What is wrong, in one sentence, with the figure; the last that was seen."""
    since_us: int
    """Microseconds since the epoch at which it was first seen."""
    firing: bool
    """False where it tells that the condition has ended."""
    todo: str = ""
    """What somebody can do about it, in one sentence."""


@dataclass(slots=True)
class _Watched:
    look: Callable[[], str | None]
    for_s: float
    todo: str
    unready: bool = False
    turned_s: float | None = None
    """When the condition last came to differ from what was told. None: it does not differ."""
    since_us: int = 0
    alert: Alert | None = None


class Alerts:
    """What is watched, and what is firing."""

    def __init__(self, *, every_s: float = _EVERY_S) -> None:
        """Watch nothing yet.

        Args:
            every_s: Seconds between two looks. Above 0.
        """
        self._every_s = every_s
        self._watched: dict[str, _Watched] = {}
        self._runner: asyncio.Task[None] | None = None
        self.hooks: list[Callable[[Alert], None]] = []
        """Called on the loop when an alert begins and when it ends. What one raises is logged."""

    def watch(
        self, name: str, look: Callable[[], str | None], *, for_s: float = 3.0, todo: str = "", unready: bool = False
    ) -> None:
        """Look at a condition from now on; one of the same name is replaced.

        Args:
            name: Says of what, such as `relay of orders`.
            look: Returns what is wrong, or None. It must not block.
            for_s: Seconds for which it must hold, or not hold, before that is told. At least 0.
            todo: What somebody can do about it, in one sentence.
            unready: Whether requests should not come while the alert is on.
        """
        self._watched[name] = _Watched(look, for_s, todo, unready)

    def firing(self) -> list[Alert]:
        """Return the alerts that are on, oldest first."""
        found = [each.alert for each in self._watched.values() if each.alert is not None]
        return sorted(found, key=lambda alert: alert.since_us)

    def unready(self) -> list[str]:
        """Return the names of those that are on and say that requests should not come, sorted."""
        return sorted(name for name, each in self._watched.items() if each.unready and each.alert is not None)

    async def __aenter__(self) -> Self:
        self._runner = asyncio.create_task(self._run(), name="alerts")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        for name in self._watched:
            _firing.labels(name).set(0)

    async def _run(self) -> None:
        context.set_current(Call())
        while True:
            self.look()
            await asyncio.sleep(self._every_s)

    def look(self) -> None:
        """Look at everything once, now."""
        for name, watched in list(self._watched.items()):
            try:
                why = watched.look()
            except Exception as error:  # noqa: BLE001 - the others are still looked at
                why = f"it cannot be looked at: {type(error).__name__}: {error}"
            self._judge(name, watched, why)

    def _judge(self, name: str, watched: _Watched, why: str | None) -> None:
        if (why is not None) == (watched.alert is not None):
            watched.turned_s = None
            if why is not None and watched.alert is not None:
                watched.alert = watched.alert._replace(why=why)
            return
        now_s = world.monotonic()
        if watched.turned_s is None:
            watched.turned_s = now_s
            watched.since_us = world.now_us()
        if now_s - watched.turned_s < watched.for_s:
            return
        watched.turned_s = None
        if why is not None:
            told = watched.alert = Alert(name, why, watched.since_us, firing=True, todo=watched.todo)
            _log.error("alert", alert=name, why=why, todo=watched.todo)
        else:
            before, watched.alert = watched.alert, None
            told = (before or Alert(name, "", watched.since_us, firing=False))._replace(firing=False)
            _log.info("alert ended", alert=name, was=told.why)
        _firing.labels(name).set(float(told.firing))
        self._tell(told)

    def _tell(self, alert: Alert) -> None:
        for hook in self.hooks:
            try:
                hook(alert)
            except Exception as error:  # noqa: BLE001 - the others are still told
                _log.error("a hook of alerts failed", alert=alert.name, exc_info=error)


@runtime_checkable
class Watched(Protocol):
    """What has conditions of its own that somebody must hear of: a running system asks what it provides."""

    def watched_by(self, alerts: Alerts) -> None:
        """Have `alerts` watch them."""
        ...
