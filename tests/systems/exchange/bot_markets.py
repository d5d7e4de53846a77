"""A market for tests: a venue with an open book, bots that make it, and all that came of it."""

import asyncio
from collections.abc import Callable, Sequence

from archstone.systems.exchange.bots import Bots, Crew, Market, default_crew
from archstone.systems.exchange.matching import MAX_QUANTITY, Command, Commands, Kind, Phase, Side, rows_of
from archstone.systems.exchange.sequencer import Batch, MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue

__all__ = ["MARKET", "Made", "make_market", "open_book", "rows"]

MARKET = Market(book=1, price=10_000, hourly_ratio=0.02)


class Made:
    """What a market has come to."""

    def __init__(self, sequencer: MemorySequencer, bots: Bots) -> None:
        self.sequencer = sequencer
        self.venue = sequencer.venue
        self.bots = bots
        self.batches: list[Batch] = []

    def touch(self, side: Side) -> int | None:
        levels = self.venue.depth(MARKET.book, side, 1)
        return levels[0][0] if levels else None


def rows(*commands: Command, book: int = MARKET.book) -> Commands:
    """Commands of one book."""
    made = rows_of(commands)
    made["book"] = book
    return made


def open_book(book: int = MARKET.book, *, value: int = 1) -> Commands:
    """What opens a book, without collar and halt."""
    return rows(Command(Kind.OPEN, type=Phase.CONTINUOUS, price=value, quantity=MAX_QUANTITY), book=book)


async def make_market(
    duration_s: float,
    *,
    seed: int = 1,
    markets: Sequence[Market] = (MARKET,),
    crew: Crew = default_crew,
    look: Callable[[Made], None] = lambda _: None,
) -> Made:
    """Let bots trade for a while, and call `look` each second; the stream is kept whole."""
    made = Made(MemorySequencer(ReferenceVenue(), keep=100), Bots(markets, seed=seed, crew=crew))
    following = asyncio.create_task(follow(made))
    for market in markets:
        await made.sequencer.submit(open_book(market.book))
    async with made.bots.running(made.sequencer):
        for _ in range(round(duration_s)):
            await asyncio.sleep(1)
            look(made)
    await asyncio.sleep(0.001)
    following.cancel()
    await asyncio.wait([following])
    return made


async def follow(made: Made) -> None:
    async for batch in made.sequencer.follow(0):
        made.batches.append(batch)
