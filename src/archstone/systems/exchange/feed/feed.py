"""The market data of one process: depth, trades, candles, made of the sequencer's stream alone.

    async with Feed(sequencer) as feed:
        feed.depth(book)
        async for update in feed.follow(book, interval_s=0.1):
            ...

A reader that is slow gets the newest state and no backlog: what changed in between is one update. Whoever must see each
change, such as the publisher of packets, gives `feed.listen` a function.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

from archstone import world
from archstone.systems.exchange.feed.candles import Candles
from archstone.systems.exchange.feed.image import BookImage
from archstone.systems.exchange.feed.values import Candle, Changes, Depth, Trade, Update
from archstone.systems.exchange.sequencer import Sequencer

__all__ = ["Feed"]

_TRADES: Final = 1_000
_S: Final = 1_000_000_000


class _Tape:
    """The newest trades of one book, and how many there have been."""

    def __init__(self) -> None:
        self.trades: deque[Trade] = deque(maxlen=_TRADES)
        self.count = 0
        self.version = 0
        """Rises with all that changes in the book."""


class Feed:
    """What all may see of all books."""

    def __init__(
        self,
        sequencer: Sequencer,
        *,
        image: BookImage | None = None,
        widths_s: Sequence[int] = (60,),
        candles: int = 1_000,
    ) -> None:
        """Name what is read; nothing happens before it is entered.

        Args:
            sequencer: Where commands and events come from.
            image: All books as they were when reading stopped; it is read on from there, and the feed's from now on.
                None: begin at the first command. Trades and candles begin with what is read.
            widths_s: How long candles are.
            candles: Of one book and width that are kept.
        """
        self.image = image or BookImage()
        self.stopped = asyncio.Event()
        """Set when it reads no more: what it shows gets old."""
        self._sequencer = sequencer
        self._candles = Candles(widths_s, keep=candles)
        self._tapes: dict[int, _Tape] = {}
        self._listeners: list[Callable[[Changes], None]] = []
        self._more = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read all that is there, and go on reading.

        Raises:
            LookupError: What comes after the image is no longer kept.
        """
        last = self._sequencer.last
        self._reading = asyncio.create_task(self._read(), name="feed")
        try:
            while self.sequence < last:
                if self._reading.done():
                    self._reading.result()
                await self._more.wait()
        except BaseException:
            self._reading.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading. Raises what made reading stop before, such as LookupError: what comes next is not kept."""
        assert self._reading is not None
        if not self._reading.done():
            self._reading.cancel()
        await asyncio.wait({self._reading})
        if not self._reading.cancelled() and (cause := self._reading.exception()) is not None and error is None:
            raise cause

    async def _read(self) -> None:
        try:
            async with aclosing(self._sequencer.follow(self.image.sequence)) as batches:
                async for batch in batches:
                    self._take(self.image.apply(batch))
        finally:
            self.stopped.set()
            self._wake()

    def _take(self, changes: Changes) -> None:
        self._candles.add(changes.trades)
        for trade in changes.trades:
            tape = self._tape(trade.book)
            tape.trades.append(trade)
            tape.count += 1
        for book in {each.book for each in (*changes.levels, *changes.trades, *changes.phases)}:
            self._tape(book).version += 1
        for listener in self._listeners:
            listener(changes)
        self._wake()

    def _tape(self, book: int) -> _Tape:
        return self._tapes.setdefault(book, _Tape())

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    # What can be asked

    @property
    def sequence(self) -> int:
        """Of the last command that is in it."""
        return self.image.sequence

    @property
    def books(self) -> tuple[int, ...]:
        """The books that there are."""
        return self.image.books

    def depth(self, book: int, *, levels: int | None = 10) -> Depth:
        """Return the best prices of a book; None: all. KeyError: there is no such book."""
        return self.image.depth(book, levels)

    def trades(self, book: int) -> tuple[Trade, ...]:
        """Return the newest trades of a book, at most 1,000, oldest first."""
        return tuple(self._tape(book).trades) if book in self._tapes else ()

    def candles(self, book: int, width_s: int = 60) -> tuple[Candle, ...]:
        """Return the kept candles of a book, oldest first."""
        return self._candles.of(book, width_s)

    def listen(self, listener: Callable[[Changes], None]) -> Callable[[], None]:
        """Have a function called with the changes of each batch, at once; it must not raise. Return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def follow(self, book: int, *, interval_s: float = 0.1, levels: int = 10) -> AsyncGenerator[Update]:
        """Give the book now, then what has changed, at most once in `interval_s`, without end.

        It ends when the feed stops. The book need not be there yet: the first update comes when it is.
        """
        seen, version, at_s = 0, -1, 0
        while True:
            if book in self.image.books and (tape := self._tape(book)).version != version:
                fresh = min(tape.count - seen, len(tape.trades))
                trades = tuple(tape.trades)[len(tape.trades) - fresh :] if fresh else ()
                candles = self._candles.since(book, trades[0].at_ns // _S) if trades else ()
                update = Update(self.depth(book, levels=levels), trades, tape.count - seen - fresh, candles)
                seen, version, at_s = tape.count, tape.version, world.monotonic()
                yield update
            if self.stopped.is_set():
                return
            more = self._more
            if book not in self._tapes or self._tapes[book].version == version:
                await more.wait()
            await asyncio.sleep(max(0.0, at_s + interval_s - world.monotonic()))
