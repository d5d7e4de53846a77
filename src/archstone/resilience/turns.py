"""Bound what one turn of the event loop takes on, so that whoever comes next waits for a short turn.

A loop runs all that is ready, then looks for what has arrived. Under a flood a turn holds hundreds of requests, and
everybody, a health check too, waits for all of them. A bound on requests in flight does not help: each is over before
the next begins. So the requests of a turn may take a certain time, and those behind them in the queue are refused, the
ordinary ones first.

What they may take follows the turns: it shrinks by a third after one that was too long (for those with priority by a
tenth, so that the others make room first) and grows by a twentieth after one that was not (AIMD, as TCP finds its
rate). Turns are long for other reasons, too: commits, sagas, a processor that others use. Refusing everybody would not
make them short, so the first six requests of a turn, and the first six with priority, are let in however long it is: so
few are no flood, they are what the page of one visitor needs. Unless turns are six times too long and six requests are
inside: then what was accepted is not being finished, and accepting more would end in time-outs alone.
One long turn is no overload, it may be a checkpoint or a collection of garbage: nothing is refused before three without
a fifth of a second of peace in between.
Source: Nichols and Jacobson, "Controlling Queue Delay" (2012), for looking at the wait and not at the length of the
queue. We look at turns, since a loop has no queue of its own to look at.
"""

import asyncio
from typing import Final

from archstone import world

__all__ = ["Turns"]

PRIORITY_FACTOR: Final = 2.0
"""How much longer a turn may be before those with priority are refused."""
_SHRINK: Final = (2 / 3, 9 / 10)
_GROW: Final = 1 / 20
_OVERLOADED_FROM: Final = 3
_CALM_S: Final = 0.2
"""Time without a long turn and without a refusal after which the long ones before are forgotten."""
_CROWD_FACTOR: Final = 2
_FEW: Final = 6
"""Requests that are never too much: what one browser asks at once of one host over HTTP/1.1."""
_EMERGENCY_FACTOR: Final = 6.0
"""Turns this many times too long mean that what was accepted is not being finished: nothing more is taken on."""


class Turns:
    """Watches the turns of one loop while requests come. Costs two callbacks for a request that comes alone."""

    __slots__ = (
        "_allowed_s", "_asked", "_began_s", "_entered", "_first_s", "_last_s", "_long", "_queued", "_refused",
        "_target_s", "_ticking", "_trouble_s",
    )  # fmt: skip

    def __init__(self, target_s: float) -> None:
        """Begin with nothing known.

        Args:
            target_s: How long a turn may be. Above 0.
        """
        self._target_s = (target_s, target_s * PRIORITY_FACTOR)
        self._allowed_s = [*self._target_s]
        self._began_s = self._first_s = self._last_s = self._trouble_s = 0.0
        self._ticking = self._refused = False
        self._asked = [0, 0]
        self._long = self._entered = self._queued = 0

    @property
    def overloaded(self) -> bool:
        """Whether turns have been too long for a while."""
        return self._long >= _OVERLOADED_FROM

    def crowded(self) -> bool:
        """Count one more that will want to enter the next turn; say whether that turn cannot take it anyway.

        Ask where requests are read, which is between two turns, and only while `overloaded`.
        """
        self._queued += 1
        if self._queued <= _CROWD_FACTOR * self._entered + _FEW:
            return False
        self._refused = True
        return True

    def over(self, *, priority: bool, inside: int) -> tuple[float, float] | None:
        """Return by what one more request would be too much, None if it is not.

        The first of a turn is never too much.

        Args:
            priority: Whether it has priority.
            inside: Requests that have entered and not left.

        Returns:
            Seconds that the requests of this turn have taken and those that they may take; those of the turn before
            and their bound where that was far too long.
        """
        now_s = world.monotonic()
        if not self._ticking:
            self._ticking = True
            self._began_s = now_s
            self._calm(now_s)
            asyncio.get_running_loop().call_soon(self._tick)
        first = not any(self._asked)
        self._asked[priority] += 1
        if first:
            self._first_s = now_s
        elif self.overloaded and (over := self._behind(now_s, priority=priority, inside=inside)) is not None:
            self._refused = True
            return over
        self._entered += not priority
        return None

    def _behind(self, now_s: float, *, priority: bool, inside: int) -> tuple[float, float] | None:
        """Return what is too long and what it may be, for one that is not the first of its turn."""
        emergency_s = _EMERGENCY_FACTOR * self._target_s[0]
        if self._last_s > emergency_s and inside >= _FEW:
            return self._last_s, emergency_s
        if self._asked[priority] <= _FEW:
            return None
        used_s = now_s - self._first_s
        allowed_s = self._allowed_s[priority]
        return (used_s, allowed_s) if used_s > allowed_s else None

    def _calm(self, now_s: float) -> None:
        if now_s - self._trouble_s > _CALM_S:
            self._long = 0

    def _tick(self) -> None:
        """End a turn; begin the next one if requests came in this one."""
        now_s = world.monotonic()
        spent_s = now_s - self._began_s
        self._last_s = max(spent_s, self._last_s / 2)  # long turns are followed by short ones that only clear up
        self._began_s = now_s
        was_overloaded = self.overloaded  # nobody could be refused in the turns that showed the overload
        if spent_s > self._target_s[0]:
            self._long += 1
            self._trouble_s = now_s
        elif self._refused:  # a turn that was short because others were refused is no sign of peace
            self._trouble_s = now_s
        self._calm(now_s)
        if was_overloaded:
            self._adapt(spent_s)
        self._refused = False
        self._ticking = any(self._asked)
        self._asked[:] = 0, 0
        self._entered = self._queued = 0
        if self._ticking:
            asyncio.get_running_loop().call_soon(self._tick)

    def _adapt(self, spent_s: float) -> None:
        for level, target_s in enumerate(self._target_s):
            allowed_s = self._allowed_s[level]
            if spent_s > target_s:
                self._allowed_s[level] = allowed_s * _SHRINK[level]
            else:
                self._allowed_s[level] = min(target_s, allowed_s + target_s * _GROW)
