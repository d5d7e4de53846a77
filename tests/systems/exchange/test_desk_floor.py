"""The floor: what is submitted is read when it returns, and listeners hear of it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from test_desk_board import order

from archstone.systems.exchange.desk.board import News
from archstone.systems.exchange.desk.floor import Floor, FloorClosedError, rows
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Kind, Phase, Side
from archstone.systems.exchange.sequencer import Batch, MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue

HALT = rows([Command(Kind.PHASE, type=Phase.HALTED)], book=1)


class Late(MemorySequencer):
    """Tells of what was done a second later, as one on another machine would."""

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        async for batch in super().follow(after):
            await asyncio.sleep(1.0)
            yield batch


class Broken(MemorySequencer):
    """Keeps nothing that was done a while ago."""

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        async for batch in super().follow(after):
            if batch.last > 10:
                raise LookupError("not kept")
            yield batch


async def test_books_are_opened_once_and_what_was_there_is_read_first() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    async with Floor(sequencer, INSTRUMENTS) as first:
        assert {*first.board.books} == {each.book for each in INSTRUMENTS.all}
        await first.submit(HALT)
    async with Floor(sequencer, INSTRUMENTS) as second:
        assert second.board.books[1].phase == Phase.HALTED
        assert second.board.sequence == first.board.sequence


async def test_what_was_submitted_has_been_read_when_it_returns() -> None:
    async with Floor(Late(ReferenceVenue()), INSTRUMENTS) as floor:
        batch = await floor.submit(HALT)
        assert floor.board.sequence == batch.last
        assert floor.board.books[1].phase == Phase.HALTED


async def test_a_listener_that_fails_keeps_nobody_from_hearing() -> None:
    heard: list[News] = []

    def fail(news: News) -> None:
        raise RuntimeError(news)

    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        floor.listen(fail)
        end = floor.listen(heard.append)
        await floor.submit(HALT)
        end()
        await floor.submit(HALT)
    assert [each.books for each in heard] == [{1}]


async def test_who_waits_is_told_when_nothing_is_read_any_more() -> None:
    async with Floor(Broken(ReferenceVenue()), INSTRUMENTS) as floor:
        with pytest.raises(FloorClosedError):
            await floor.submit(HALT)


async def test_numbers_are_given_once() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        assert [floor.next_number(7) for _ in range(3)] == [1, 2, 3]


async def test_a_halt_of_the_breaker_ends_by_an_auction_without_anybody_doing_anything() -> None:
    async with Floor(MemorySequencer(ReferenceVenue()), INSTRUMENTS) as floor:
        for account in (7, 8):
            await floor.open_account(account)
        for number, price in ((1, 10_000), (2, 10_750)):
            await floor.submit(
                rows([order(7, number, Side.SELL, 5, price), order(8, number, Side.BUY, 5, price)], book=1)
            )
        phases: list[int] = [floor.board.books[1].phase]
        floor.listen(lambda news: phases.append(floor.board.books[1].phase) if 1 in news.books else None)
        await asyncio.sleep(70)
        assert phases == [Phase.HALTED, Phase.AUCTION, Phase.CONTINUOUS]
