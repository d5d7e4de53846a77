"""Sagas on disk that wait for a place in memory: who comes next, and when the table is read for more of them.

Some are known by name, in the order in which they came. Where there may be more, the table is looked through from its
beginning, a part at a time, whenever enough places are free; what it gives comes after those that are known. Where
several processes share the sagas, each takes over what nobody has, and leaves to the others what finds no place here.
"""

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from archstone.observability import get_logger
from archstone.sagas.failures import describe
from archstone.sagas.run import Awake
from archstone.sagas.shared import Shared

if TYPE_CHECKING:
    from archstone.sagas.runner import Runner

__all__ = ["Backlog"]

_log = get_logger("archstone.sagas")
_MARGIN: Final = 50
_RETRY_S: Final = 1.0
_PART: Final = 8
_SURPLUS: Final = 500
"""Sagas that are left to others in one look."""
_AGAIN_S: Final = 0.1
_NEXT: Final = 1000
"""Sagas that are known by name; more wait in the table."""


class Backlog:
    """Those of one engine. What it takes, the runner runs."""

    def __init__(self, shared: Shared, runner: "Runner") -> None:
        self._shared = shared
        self._runner = runner
        self._next: OrderedDict[str, Awake] = OrderedDict()
        """Those that come first when there is a place: on disk, but not read from it again."""
        self._more = False
        """Whether there may be more of them in the table."""
        self._after = 0
        """Number up to which the table was looked through, as long as there may be more."""
        self._refill: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._favour = False
        """Whether one that has waited in a queue comes before those in the table."""

    def __contains__(self, saga: str) -> bool:
        return saga in self._next

    def __len__(self) -> int:
        """How many are known by name."""
        return len(self._next)

    @property
    def room(self) -> bool:
        """Whether a new saga would soon have a place."""
        return not self._more and self._shared.places.unclaimed > len(self._next)

    def add(self, saga: Awake) -> None:
        """Have one more wait its turn, which is now if there is a place and nobody waits."""
        if self._more or len(self._next) >= _NEXT:
            self._more = True
        else:
            self._next[saga.id] = saga
        self.place_freed()

    def forget(self, saga: str) -> None:
        """Do not run one of them, if it is known by name."""
        self._next.pop(saga, None)

    def left_queue(self, count: int) -> None:
        """Note that so many sagas have left a queue: the next place is again for those in the table."""
        self._favour = self._favour and not count
        self.place_freed()

    def look(self) -> None:
        """Look through the table from its beginning for sagas that run nowhere."""
        self._more = True
        self._after = 0
        self.place_freed()

    def place_freed(self) -> None:
        """Give free places to sagas that wait, in the table an eighth of all at a time: each look reads it."""
        places, lines = self._shared.places, self._runner.lines
        if not self._runner.open:
            return
        while self._next and self._take_place():
            self._runner.launch(self._next.popitem(last=False)[1])
        lines.place_freed()
        if self._more and not self._next and self._refill is None and places.free >= max(1, places.room // _PART):
            self._refill = self._runner.task(self._fill())
        if (self._next or self._more or lines.wanting) and self._again is None and places.paced:
            # There may be more places soon, though those that run all wait and none ends.
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._look_again)

    async def share(self) -> None:
        """Leave to the others what finds no place here."""
        table, team = self._shared.table, self._runner.team
        if self._shared.places.free or not self._more or team.size == 1:
            return
        rows = await table.running(after=0, limit=self._runner.here + _SURPLUS)
        surplus = [saga for _, saga in rows if not self._runner.has_here(saga)]
        if surplus:
            for saga in surplus:
                self.forget(saga)
            await team.rows.release(surplus)
            team.call()

    def close(self) -> list[asyncio.Task[None]]:
        """Look for no more of them; return the tasks that are to be cancelled."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        reading, self._refill = self._refill, None
        return [] if reading is None else [reading]

    def clear(self) -> None:
        """Forget all that are known by name."""
        self._next.clear()

    def _take_place(self) -> bool:
        """Take a place for a saga that waits in the table; every other time one from a queue comes first, if any."""
        places = self._shared.places
        if self._favour and self._runner.lines.wanting and places.free <= 1:
            return False
        taken = places.take()
        self._favour = self._favour or taken
        return taken

    def _look_again(self) -> None:
        self._again = None
        self.place_freed()

    async def _fill(self) -> None:
        try:
            while self._more and self._runner.open and self._shared.places.free:
                await self._fill_once()
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            _log.error("the table of sagas cannot be read", error=describe(error))
            asyncio.get_running_loop().call_later(_RETRY_S, self.place_freed)
        finally:
            self._refill = None

    async def _fill_once(self) -> None:
        self._more = False  # set again by a saga that is committed while we read
        limit = self._shared.places.free + _MARGIN
        rows = await self._shared.table.running(after=self._after, limit=limit)
        for number, saga in rows:
            if not self._runner.has_here(saga) and saga not in self._next:
                if not self._runner.open or not self._take_place():
                    self._more = True
                    return
                self._runner.launch(Awake(self._shared, saga))
            self._after = number
        if len(rows) == limit:
            self._more = True
            return
        self._after = 0
        self._runner.all_seen()
        await self._claim()

    async def _claim(self) -> None:
        """Run sagas that no process has."""
        free = self._shared.places.free
        claimed = await self._runner.team.claim(free)
        for saga in claimed:
            if self._runner.awake(saga):
                continue
            if not self._runner.open or not self._take_place():
                self._more = True
                return
            self._runner.take_in(saga)
        self._more = self._more or (free > 0 and len(claimed) == free)
