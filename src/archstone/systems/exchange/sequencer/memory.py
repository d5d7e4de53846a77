"""A sequencer that keeps nothing: what it was told is gone with its process."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from itertools import takewhile
from typing import Final

from archstone import world
from archstone.systems.exchange.matching import Commands
from archstone.systems.exchange.sequencer.port import Batch, Dump
from archstone.systems.exchange.sequencer.recent import part_of
from archstone.systems.exchange.venue import Venue

__all__ = ["MemorySequencer"]

_KEEP: Final = 10_000


class MemorySequencer:
    """Acts at once, within the call. See `Sequencer`."""

    def __init__(self, venue: Venue, *, keep: int = _KEEP) -> None:
        """Take the venue, which nobody else may tell anything from now on.

        Args:
            venue: What acts.
            keep: Batches that can still be followed, at least 1.
        """
        self.venue = venue
        self._batches: deque[Batch] = deque(maxlen=keep)
        self._next = 1
        self._more = asyncio.Event()

    @property
    def last(self) -> int:
        """Number of the last command; see `Sequencer.last`."""
        return self._next - 1

    async def submit(self, commands: Commands) -> Batch:
        """Have commands done; see `Sequencer.submit`."""
        kept = commands.copy()
        kept["sequence"] = range(self._next, self._next + len(kept))
        at_ns = world.now_us() * 1_000
        batch = Batch(self._next, at_ns, kept, self.venue.apply(kept, at_ns))
        self._next += len(kept)
        self._batches.append(batch)
        self._more.set()
        self._more = asyncio.Event()
        return batch

    async def dump(self) -> Dump:
        """Return the venue as it is; see `Sequencer.dump`."""
        return Dump(self.last, self.venue.dump())

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        """Give all that is kept after command number `after`, then all that comes; see `Sequencer.follow`."""
        while True:
            if self._batches and after + 1 < self._batches[0].first:
                raise LookupError(f"commands after {after}: kept from {self._batches[0].first} on")
            for batch in self._since(after):
                yield part_of(batch, after + 1, batch.last)
                after = batch.last
            if after >= self._next - 1:
                await self._more.wait()

    def _since(self, after: int) -> list[Batch]:
        """Return what comes after a command, oldest first; looked for from the end, where most who follow are."""
        found = [*takewhile(lambda each: each.last > after, reversed(self._batches))]
        return found[::-1]
