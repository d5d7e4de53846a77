"""A saga that is held back: no step of it begins, until it is let go or stopped."""

import asyncio
from typing import Literal

__all__ = ["Hold", "Outcome"]

Outcome = Literal["quiet", "ended", "closed"]
"""`quiet`: nothing of it is in flight, and it would go on. `ended`: it came to its end, or goes back by itself.
`closed`: the engine closes."""


class Hold:
    """Holds one saga in memory back. Made on the loop on which it runs."""

    __slots__ = ("_outcome", "_released", "asking")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Outcome] = loop.create_future()
        self._released: asyncio.Future[None] = loop.create_future()
        self.asking = 0
        """Steps that wait here to begin, or to be tried again."""

    async def outcome(self, limit_s: float) -> Outcome | None:
        """Return what the saga came to; None if it came to nothing in time."""
        await asyncio.wait([self._outcome], timeout=limit_s)
        return self._outcome.result() if self._outcome.done() else None

    def decide(self, outcome: Outcome) -> None:
        """Say what it came to. The first word counts."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def release(self) -> None:
        """Let what waits here go on."""
        if not self._released.done():
            self._released.set_result(None)

    async def wait(self) -> None:
        """Wait here until released."""
        await asyncio.wait([self._released])
