"""Tells whoever waits for an order that it has ended, so that nobody needs to ask again and again.

In this process only, and only as a hint: whoever is told looks at what is on disk. An order that ends in another
process, or while nobody listens, is seen when the wait is over.
"""

import asyncio
from typing import Final, Self

__all__ = ["Ending", "Endings"]

LIMIT: Final = 10_000
"""Waiters at once; beyond it nobody is made to wait, and the answer tells how the order stands now."""


class Ending:
    """One waiter. It listens from the moment of `with`, so that nothing between reading and waiting is missed."""

    __slots__ = ("_endings", "_order_id", "_told")

    def __init__(self, endings: "Endings", order_id: str) -> None:
        self._endings = endings
        self._order_id = order_id
        self._told = asyncio.Event()

    def __enter__(self) -> Self:
        self._endings.listen(self._order_id, self._told)
        return self

    def __exit__(self, *error: object) -> None:
        self._endings.leave(self._order_id, self._told)

    async def within(self, seconds: float) -> None:
        """Return when the order has ended, or after `seconds`."""
        if not self._endings.crowded:
            try:
                async with asyncio.timeout(seconds):
                    await self._told.wait()
            except TimeoutError:
                return


class Endings:
    """Who waits for which order."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._count = 0

    @property
    def crowded(self) -> bool:
        """Whether more wait than should."""
        return self._count > LIMIT

    def of(self, order_id: str) -> Ending:
        """Return a waiter for an order."""
        return Ending(self, order_id)

    def tell(self, order_id: str) -> None:
        """Wake everybody who waits for the order."""
        for told in self._waiting.get(order_id, ()):
            told.set()

    def listen(self, order_id: str, told: asyncio.Event) -> None:
        """Begin to listen."""
        self._waiting.setdefault(order_id, set()).add(told)
        self._count += 1

    def leave(self, order_id: str, told: asyncio.Event) -> None:
        """Stop listening."""
        self._count -= 1
        found = self._waiting[order_id]
        found.discard(told)
        if not found:
            del self._waiting[order_id]
