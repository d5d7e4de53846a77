"""How many sagas may run while they share a loop with others: as many as leave its turns short.

Sagas that wait for somebody cost nothing, so a thousand may run; sagas that all have something to do make one turn of
the loop as long as there are of them, and everybody else waits for it. Which of the two it is, the lag of the loop
tells: their number shrinks by a third when it is late and grows by an eighth when it is not (as TCP finds its rate),
but only while all of it is used, so that a thousand do not begin at once after a quiet hour.
"""

from collections.abc import Callable
from typing import Final

from archstone import world

__all__ = ["Pace"]

_EVERY_S: Final = 0.05
"""Time between two changes: what the lag is measured in, and about the turn in which a change is felt."""
_LATE_S: Final = 0.005
_SHRINK: Final = 2 / 3
_GROW: Final = 9 / 8
_PERIODS: Final = 4
"""For how much time since it was last asked it grows at most."""


class Pace:
    """The number of sagas that may run now.

    Args:
        lag: Gives the loop lag in seconds.
        least: The number below which it does not fall, and with which it begins. At least 1.
        most: The number above which it does not rise.
    """

    __slots__ = ("_lag", "_least", "_looked_s", "_most", "_room")

    def __init__(self, lag: Callable[[], float], *, least: int, most: int) -> None:
        self._lag = lag
        self._least = min(least, most)
        self._most = most
        self._room = float(self._least)
        self._looked_s = 0.0

    def room(self, used: int) -> int:
        """Return how many may run.

        Args:
            used: How many run, or wait to.
        """
        now_s = world.monotonic()
        periods = (now_s - self._looked_s) / _EVERY_S
        if periods >= 1:
            self._looked_s = now_s
            if self._lag() > _LATE_S:
                self._room = max(self._least, self._room * _SHRINK)
            elif used >= self._room * _SHRINK:
                self._room = min(self._most, self._room * _GROW ** min(periods, _PERIODS))
        return int(self._room)
