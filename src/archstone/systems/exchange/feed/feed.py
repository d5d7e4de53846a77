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
from itertools import chain, islice
from typing import Final

import numpy as np

from archstone import world
from archstone.systems.exchange.feed.candles import Candles
from archstone.systems.exchange.feed.image import BookImage
from archstone.systems.exchange.feed.values import Candle, Changes, Depth, Trade, Update
from archstone.systems.exchange.reading import Listeners, Reader, packed, unpacked
from archstone.systems.exchange.sequencer import Batch, Sequencer
from archstone.systems.exchange.venue.state import State

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

    def add(self, trade: Trade) -> None:
        self.trades.append(trade)
        self.count += 1


class Feed(Reader):
    """What all may see of all books."""

    def __init__(
        self,
        sequencer: Sequencer | None = None,
        *,
        image: BookImage | None = None,
        widths_s: Sequence[int] = (60,),
        candles: int = 1_000,
    ) -> None:
        """Name what is read; nothing happens before it is entered.

        Args:
            sequencer: What it reads alone. None: others have it read.
            image: All books as they were when reading stopped; it is read on from there, and the feed's from now on.
                None: begin at the first command. Trades and candles begin with what is read; see `load`.
            widths_s: How long candles are.
            candles: Of one book and width that are kept.
        """
        super().__init__(sequencer)
        self.image = image or BookImage()
        self.sequence = self.image.sequence
        self._candles = Candles(widths_s, keep=candles)
        self._tapes: dict[int, _Tape] = {}
        self._listeners = Listeners[Changes]()

    def begin(self, state: State, *, sequence: int) -> None:
        """Begin with the books of a venue; trades and candles of before are not there."""
        self.image, self.sequence = BookImage.begun(state, sequence=sequence), sequence

    def take(self, batch: Batch) -> None:
        """Take in a batch, and tell who listens. Commands that are in it already are skipped."""
        if batch.last <= self.sequence:
            return
        changes = self.image.apply(batch)
        self.sequence = self.image.sequence
        self._candles.add(changes.trades)
        for trade in changes.trades:
            self._tape(trade.book).add(trade)
        for book in {each.book for each in (*changes.levels, *changes.trades, *changes.phases)}:
            self._tape(book).version += 1
        self._listeners.tell(changes)

    def _tape(self, book: int) -> _Tape:
        return self._tapes.setdefault(book, _Tape())

    # Kept as bytes

    async def dump(self) -> bytes:
        """Return books, trades and candles as they are now; see `Reader.dump`. What takes long is done in a thread."""
        image, candles = self.image.kept(), self._candles.all()
        trades = [*chain.from_iterable(each.trades for each in self._tapes.values())]

        def work() -> bytes:
            return packed(
                {
                    "image": np.frombuffer(image(), np.uint8),
                    "trades": np.array(trades, np.int64).reshape(-1, len(Trade._fields)),
                    "candles": np.array(candles, np.int64).reshape(-1, len(Candle._fields)),
                }
            )

        return await asyncio.to_thread(work)

    def load(self, kept: bytes) -> None:
        """Take up what `dump` has made; see `Reader.load`. Candles of other widths than its own are left out."""
        found = unpacked(kept, ("image", "trades", "candles"), what="market data")
        self.image = BookImage.load(found["image"].tobytes())
        self.sequence = self.image.sequence
        for each in found["trades"].tolist():
            trade = Trade(*each)
            self._tape(trade.book).add(trade)
        self._candles.put(Candle(*each) for each in found["candles"].tolist())

    # What can be asked

    @property
    def books(self) -> tuple[int, ...]:
        """The books that there are."""
        return self.image.books

    def changes(self, book: int) -> tuple[int, int]:
        """Return how often a book has changed since reading began, and how many trades there have been: both rise."""
        tape = self._tapes.get(book)
        return (0, 0) if tape is None else (tape.version, tape.count)

    def depth(self, book: int, *, levels: int | None = 10) -> Depth:
        """Return the best prices of a book; None: all. KeyError: there is no such book."""
        return self.image.depth(book, levels)

    def trades(self, book: int) -> tuple[Trade, ...]:
        """Return the newest trades of a book, at most 1,000, oldest first."""
        return tuple(self._tape(book).trades) if book in self._tapes else ()

    def trades_after(self, book: int, count: int, *, most: int = _TRADES) -> tuple[tuple[Trade, ...], int, int]:
        """Return the trades of a book after the first `count` that there have been, oldest first; the newest `most`.

        And how many older ones are left out, and how many there have been by now, to be given the next time.
        """
        tape = self._tape(book)
        fresh = min(tape.count - count, len(tape.trades), most)
        found = tuple(islice(tape.trades, len(tape.trades) - fresh, None)) if fresh else ()
        return found, tape.count - count - fresh, tape.count

    def candles(self, book: int, width_s: int = 60) -> tuple[Candle, ...]:
        """Return the kept candles of a book, oldest first."""
        return self._candles.of(book, width_s)

    def listen(self, listener: Callable[[Changes], None]) -> Callable[[], None]:
        """Have a function called with the changes of each batch, at once. Return what ends that."""
        return self._listeners.add(listener)

    async def follow(self, book: int, *, interval_s: float = 0.1, levels: int = 10) -> AsyncGenerator[Update]:
        """Give the book now, then what has changed, at most once in `interval_s`, without end.

        It ends when the feed stops. The book need not be there yet: the first update comes when it is.
        """
        seen, version, at_s = 0, -1, 0
        while True:
            if book in self.image.books and (tape := self._tape(book)).version != version:
                trades, missed, seen = self.trades_after(book, seen)
                candles = self._candles.since(book, trades[0].at_ns // _S) if trades else ()
                update = Update(self.depth(book, levels=levels), trades, missed, candles)
                version, at_s = tape.version, world.monotonic()
                yield update
            if self.stopped.is_set():
                return
            more = self._moved
            if book not in self._tapes or self._tapes[book].version == version:
                await more.wait()
            await asyncio.sleep(max(0.0, at_s + interval_s - world.monotonic()))
