"""How many sagas are awake in memory at once; the rest wait in the table, or here for the place they gave up."""

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import Callable

__all__ = ["Places"]


class Places:
    """A bounded number of places, given first come, first served.

    Args:
        limit: Places in all. At least 1.
        on_free: Called when a place became free and nobody waits here for it.
    """

    __slots__ = ("_limit", "_on_free", "_waiting", "taken")

    def __init__(self, limit: int, *, on_free: Callable[[], None]) -> None:
        self._limit = limit
        self._on_free = on_free
        self._waiting: deque[Future[None]] = deque()
        self.taken = 0

    @property
    def free(self) -> int:
        """Places that nobody has or waits for."""
        return max(0, self._limit - self.taken - len(self._waiting))

    def take(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self.taken + len(self._waiting) >= self._limit:
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
        if self.take():
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
