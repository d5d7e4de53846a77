"""How many sagas are awake in memory at once; the rest wait in the table, or here for the place they gave up."""

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import Callable

from archstone.sagas.pace import Pace

__all__ = ["Places"]


class Places:
    """A bounded number of places, given first come, first served.

    Args:
        limit: Places in all. At least 1.
        on_free: Called when a place became free and nobody waits here for it.
        pace: How many there are for what can wait. None: all.
    """

    __slots__ = ("_limit", "_on_free", "_pace", "_waiting", "taken")

    def __init__(
        self,
        limit: int,
        *,
        on_free: Callable[[], None],
        pace: Pace | None = None,
    ) -> None:
        self._limit = limit
        self._on_free = on_free
        self._pace = pace
        self._waiting: deque[Future[None]] = deque()
        self.taken = 0

    @property
    def free(self) -> int:
        """Places that nobody has or waits for, and that what can wait may take now."""
        return max(0, self.room - self._claimed)

    @property
    def unclaimed(self) -> int:
        """Places that nobody has or waits for, whatever the pace."""
        return max(0, self._limit - self._claimed)

    @property
    def paced(self) -> bool:
        """Whether the number of places changes with time."""
        return self._pace is not None

    @property
    def room(self) -> int:
        """Places in all, for what can wait."""
        return self._limit if self._pace is None else self._pace.room(self._claimed)

    @property
    def _claimed(self) -> int:
        return self.taken + len(self._waiting)

    def take(self, *, pressing: bool = False) -> bool:
        """Take a place if one is free and nobody waits for it; one that is pressing has any of them."""
        if self._claimed >= (self._limit if pressing else self.room):
            return False
        self.taken += 1
        return True

    def give(self) -> None:
        """Give a place back."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)  # it has the place now: `taken` stays
                return
        self.taken -= 1
        self._on_free()

    def clear(self) -> None:
        """Forget who has a place: everybody is gone."""
        self.taken = 0
        self._waiting.clear()

    async def wait(self) -> None:
        """Take a place, waiting for it. Cancelled while waiting, it leaves none taken."""
        if self.take(pressing=True):  # it has begun long ago
            return
        waiter: Future[None] = get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.done() and not waiter.cancelled():
                self.give()  # the place came together with the cancellation
            raise
