"""The sequencer that keeps nothing, as who reads it sees it."""

from contextlib import aclosing

import pytest
from orders import sell
from plain import PlainVenue, opened, rows

from archstone.systems.exchange.sequencer import MemorySequencer


@pytest.mark.parametrize("after", range(7))
async def test_who_follows_is_given_all_that_comes_after_a_command_whatever_it_was_done_with(after: int) -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(3))
    for first in (1, 4):
        await sequencer.submit(rows(3, *(sell(number, 5, 100) for number in range(first, first + 3))))
    told: list[int] = []
    async with aclosing(sequencer.follow(after)) as batches:
        while after + len(told) < 7:
            batch = await anext(batches)
            told += batch.commands["sequence"].tolist()
            assert batch.events["id"].tolist() == batch.commands["id"][batch.events["command"]].tolist()
    assert told == [*range(after + 1, 8)]
