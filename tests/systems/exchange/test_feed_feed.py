"""Depth, trades and candles in one process, on virtual time."""

import asyncio
from contextlib import aclosing

import pytest
from orders import buy, sell
from plain import PlainVenue, opened, rows

from archstone.systems.exchange.feed import BookImage, Candle, Changes, Feed
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.sequencer import MemorySequencer


async def test_the_first_update_is_the_book_and_later_ones_what_has_changed() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    await sequencer.submit(rows(1, sell(1, 5, 100)))
    async with Feed(sequencer) as feed, aclosing(feed.follow(1, interval_s=0.5)) as updates:
        first = await anext(updates)
        assert (first.depth.sells, first.trades, first.depth.sequence) == (((100, 5, 1),), (), 2)
        await sequencer.submit(rows(1, buy(2, 2, 100)))
        second = await anext(updates)
        assert second.depth.sells == ((100, 3, 1),)
        assert [(each.price, each.quantity, each.side) for each in second.trades] == [(100, 2, Side.BUY)]
        assert [each.volume for each in second.candles] == [2]
        assert feed.depth(1) == second.depth


async def test_what_happens_between_two_updates_is_one() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    loop = asyncio.get_running_loop()
    async with Feed(sequencer) as feed, aclosing(feed.follow(1, interval_s=0.5)) as updates:
        await anext(updates)
        begun = loop.time()
        for number in range(10):
            await sequencer.submit(rows(1, sell(10 + number, 1, 100)))
        update = await anext(updates)
        assert update.depth.sells == ((100, 10, 10),)
        assert loop.time() - begun == pytest.approx(0.5)


async def test_a_slow_reader_misses_trades_and_is_told_how_many() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    async with Feed(sequencer) as feed, aclosing(feed.follow(1, interval_s=0.1)) as updates:
        await anext(updates)
        for number in range(1_005):
            await sequencer.submit(rows(1, sell(2 * number + 1, 1, 100), buy(2 * number + 2, 1, 100)))
        await asyncio.sleep(0.1)
        update = await anext(updates)
        assert (len(update.trades), update.missed) == (1_000, 5)


async def test_a_reader_may_come_before_the_book() -> None:
    sequencer = MemorySequencer(PlainVenue())
    async with Feed(sequencer) as feed, aclosing(feed.follow(7)) as updates:
        waiting = asyncio.create_task(anext(updates))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        assert not waiting.done()
        await sequencer.submit(opened(7))
        assert (await waiting).depth.book == 7


async def test_candles_open_by_the_clock_and_are_bounded() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    async with Feed(sequencer, widths_s=(60, 3_600), candles=2) as feed:
        for minute, price in enumerate((100, 104, 98, 99)):
            await sequencer.submit(rows(1, sell(minute * 4 + 1, 2, price), buy(minute * 4 + 2, 2, price)))
            await sequencer.submit(rows(1, sell(minute * 4 + 3, 1, price + 1), buy(minute * 4 + 4, 1, price + 1)))
            await asyncio.sleep(60)
        kept = feed.candles(1)
        assert [each.opened_at_s % 60 for each in kept] == [0, 0]
        assert kept[0]._replace(opened_at_s=0) == Candle(1, 60, 0, 98, 99, 98, 99, 3, 2)
        assert sum(each.volume for each in feed.candles(1, 3_600)) == 12


async def test_reading_goes_on_from_a_kept_image() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    await sequencer.submit(rows(1, sell(1, 5, 100)))
    async with Feed(sequencer) as feed:
        await asyncio.sleep(0)
        kept = feed.image.dump()
    await sequencer.submit(rows(1, buy(2, 2, 100)))
    told: list[Changes] = []
    async with Feed(sequencer, image=BookImage.load(kept)) as feed:
        feed.listen(told.append)
        assert feed.depth(1).sells == ((100, 3, 1),)
        await sequencer.submit(rows(1, buy(3, 2, 100)))
        await asyncio.sleep(0.1)
        assert feed.depth(1).sells == ((100, 1, 1),)
    assert [each.sequence for each in told] == [4]


async def test_what_is_no_longer_kept_ends_the_feed_and_says_so() -> None:
    sequencer = MemorySequencer(PlainVenue(), keep=1)
    await sequencer.submit(opened(1))
    with pytest.raises(LookupError, match="commands after 1: kept from 3 on"):
        async with Feed(sequencer) as feed:
            for number in (1, 2):
                await sequencer.submit(rows(1, sell(number, 5, 100)))
            await feed.stopped.wait()
            assert [update.depth.sells async for update in feed.follow(1)] == [()]


async def test_what_is_there_has_been_read_when_it_is_entered() -> None:
    sequencer = MemorySequencer(PlainVenue())
    await sequencer.submit(opened(1))
    await sequencer.submit(rows(1, sell(1, 5, 100)))
    async with Feed(sequencer) as feed:
        assert feed.depth(1).sells == ((100, 5, 1),)


async def test_a_feed_whose_beginning_is_gone_says_so_when_it_is_entered() -> None:
    sequencer = MemorySequencer(PlainVenue(), keep=1)
    for book in (1, 2):
        await sequencer.submit(opened(book))
    with pytest.raises(LookupError, match="kept from 2 on"):
        await Feed(sequencer).__aenter__()
