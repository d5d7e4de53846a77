"""The newest batches, in memory, for who follows closely."""

import asyncio
from collections import deque

from archstone.systems.exchange.sequencer.port import Batch

__all__ = ["Recent", "part_of"]


class Recent:
    """A window over the end of the stream."""

    def __init__(self, keep: int) -> None:
        """Keep batches of about `keep` commands."""
        self._keep = keep
        self._batches: deque[Batch] = deque()
        self._commands = 0
        self._last = 0
        self._more = asyncio.Event()

    @property
    def first(self) -> int:
        """Number of the first command that is here, or would be."""
        return self._batches[0].first if self._batches else self._last + 1

    def begin(self, last: int) -> None:
        """Forget all; what comes next follows command `last`."""
        self._batches.clear()
        self._commands, self._last = 0, last
        self._wake()

    def add(self, batch: Batch) -> None:
        """Put the next batch at the end, and let go of the oldest."""
        self._batches.append(batch)
        self._commands += len(batch.commands)
        self._last = batch.last
        while self._commands > self._keep and len(self._batches) > 1:
            self._commands -= len(self._batches.popleft().commands)
        self._wake()

    def since(self, after: int) -> list[Batch]:
        """Return what comes after command `after`, oldest first."""
        found: list[Batch] = []
        for batch in reversed(self._batches):
            if batch.last <= after:
                break
            found.append(batch)
        found.reverse()
        return found

    async def more(self, after: int) -> None:
        """Wait until something comes after command `after`, or all begins anew."""
        if self._last <= after:
            await self._more.wait()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


def part_of(batch: Batch, first: int, last: int) -> Batch:
    """Return commands `first` to `last` of a batch, with what came of them."""
    begin, end = first - batch.first, last - batch.first + 1
    if begin <= 0 and end >= len(batch.commands):
        return batch
    begin = max(begin, 0)
    low, high = batch.events["command"].searchsorted([begin, end])
    events = batch.events[low:high].copy()
    events["command"] -= begin
    return Batch(batch.first + begin, batch.at_ns, batch.commands[begin:end], events)
