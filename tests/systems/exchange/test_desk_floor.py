"""The floor: what is submitted is read when it returns, and listeners hear of it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from archstone.systems.exchange.desk.board import News
from archstone.systems.exchange.desk.floor import Floor, FloorClosedError, rows
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Kind, Phase
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
            if batch.last > 11:
                raise LookupError("not kept")
            yield batch


async def test_books_are_opened_once_and_what_was_there_is_read_first() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    async with Floor(sequencer, INSTRUMENTS) as first:
        assert {*first.board.books} == {each.book for each in INSTRUMENTS.all}
        await first.submit(HALT)
    async with Floor(sequencer, INSTRUMENTS) as second:
        assert second.board.books[1].phase == Phase.HALTED
        assert second.board.sequence == first.board.sequence + 1


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
