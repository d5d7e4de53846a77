"""Timers for limits that are nearly never reached: starting and stopping one costs two dict operations.

A loop timer per call costs a microsecond and a place in the loop's heap, for a callback that nearly never runs. Here
limits that end in the same eighth of a second share one loop timer. When it fires, shortly before they end, those
still there get a loop timer each and end exactly at their time; most have left long before.
"""

import asyncio
import weakref
from typing import Final, Protocol

from archstone import world

__all__ = ["Limit", "Timers", "timers_of"]

_SLOTS_PER_S: Final = 8
_SHORTEST_S: Final = 0.25
_LONGEST_S: Final = 60.0
# Outside of these a limit takes a loop timer of its own: a short one ends before it could share, and the longest
# bounds how many shared timers there can be.


class Limit(Protocol):
    """What ends at a time unless it is stopped before. Timers write `slot` or `timer`, which are None before."""

    at_s: float
    """When it ends, on `world.monotonic()`."""
    slot: "dict[Limit, None] | None"
    timer: asyncio.TimerHandle | None

    def expire(self) -> None:
        """End it."""
        ...


class Timers:
    """The limits of one loop."""

    __slots__ = ("_loop", "_slots", "from_s", "slot", "until_s")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        # A slot is a dict, not a set: what is ready at one instant runs in the order in which it was started.
        self._slots: dict[int, dict[Limit, None]] = {}
        self.slot: dict[Limit, None] = {}
        """The slot of limits that end from `from_s` on and before `until_s`: most go where the last one went."""
        self.from_s = self.until_s = 0.0

    def start(self, limit: Limit, left_s: float) -> None:
        """Call `limit.expire` at `limit.at_s`, in `left_s` from now."""
        if not _SHORTEST_S <= left_s <= _LONGEST_S:
            limit.timer = asyncio.get_running_loop().call_later(left_s, limit.expire)
            return
        number = int(limit.at_s * _SLOTS_PER_S)
        slot = self._slots.get(number)
        opens_at_s = number / _SLOTS_PER_S
        if slot is None:
            slot = self._slots[number] = {}
            asyncio.get_running_loop().call_later(opens_at_s - limit.at_s + left_s, self._open, number)
        slot[limit] = None
        limit.slot = self.slot = slot
        self.from_s, self.until_s = opens_at_s, (number + 1) / _SLOTS_PER_S

    def _open(self, number: int) -> None:
        """Give each limit that is still in the slot a loop timer, since its end is near."""
        loop = self._loop()
        if loop is None:
            return
        slot, now_s = self._slots.pop(number), world.monotonic()
        if slot is self.slot:
            self.from_s = self.until_s = 0.0
        for limit in slot:
            limit.slot = None
            limit.timer = loop.call_later(max(0.0, limit.at_s - now_s), limit.expire)


_all: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Timers]] = weakref.WeakKeyDictionary()
_last: tuple[weakref.ref[asyncio.AbstractEventLoop] | None, Timers | None] = (None, None)


def timers_of(loop: asyncio.AbstractEventLoop) -> Timers:
    """Return the timers of `loop`, made when first asked for."""
    global _last  # noqa: PLW0603 - nearly every program has one loop; looking it up weakly costs four times as much
    reference, timers = _last
    if timers is not None and reference is not None and reference() is loop:
        return timers
    timers = _all.get(loop)
    if timers is None:
        timers = _all[loop] = Timers(loop)
    _last = (weakref.ref(loop), timers)
    return timers
