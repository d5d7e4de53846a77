"""The public image of the books, made of batches alone, is what the venue itself shows."""

from collections.abc import Callable
from itertools import islice
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import buy, cancel, enter, replace, sell
from plain import PlainVenue, opened, rows

from archstone.systems.exchange.feed import BookImage, Changes, ImageError, Level, Phased
from archstone.systems.exchange.matching import COMMAND, Commands, Kind, Phase, Side, rows_of
from archstone.systems.exchange.matching.flows import FLOWS, flow
from archstone.systems.exchange.sequencer import Batch

BOOKS = (3, 8)


def traffic(name: str, count: int, *, seed: int) -> Commands:
    """Commands of one flow in each of two books, mixed; ids and accounts of the books do not meet."""
    found = np.zeros(count, COMMAND)
    for place, book in enumerate(BOOKS):
        part = rows_of(islice(flow(name, seed=seed + place), len(found[place::2])))
        part["book"] = book
        part["id"][part["id"] > 0] += place << 32
        part["account"][part["account"] > 0] += place * 1_000
        found[place::2] = part
    return found


class Stream:
    """A venue, and the batches that it makes."""

    def __init__(self, *books: int, phase: Phase = Phase.CONTINUOUS) -> None:
        self.venue = PlainVenue()
        self.next = 1
        self.image = BookImage()
        self.do(opened(*(books or BOOKS), phase=phase))

    def batch(self, commands: Commands) -> Batch:
        kept = commands.copy()
        kept["sequence"] = np.arange(self.next, self.next + len(kept))
        at_ns = self.next * 1_000
        batch = Batch(self.next, at_ns, kept, self.venue.apply(kept, at_ns))
        self.next += len(kept)
        return batch

    def do(self, commands: Commands) -> Changes:
        return self.image.apply(self.batch(commands))

    def check(self) -> None:
        for book in self.venue.books:
            depth = self.image.depth(book)
            assert [*depth.buys] == self.venue.depth(book, Side.BUY, 10**9)
            assert [*depth.sells] == self.venue.depth(book, Side.SELL, 10**9)
            assert depth.phase == self.venue.books[book].phase
            assert depth.last == self.venue.books[book].last
        assert len(self.image) == len(self.venue)


@pytest.mark.parametrize("name", FLOWS)
def test_depth_is_that_of_the_venue_after_any_batch(name: str) -> None:
    stream, random = Stream(), Random(name)
    commands = traffic(name, 4_000, seed=1)
    while len(commands):
        count = random.choice((1, 2, 7, 60))
        stream.do(commands[:count])
        commands = commands[count:]
        if random.random() < 0.2:
            stream.check()
        if random.random() < 0.05:
            stream.image = BookImage.load(stream.image.dump())
    stream.check()


@pytest.mark.parametrize("name", FLOWS)
def test_levels_that_changed_are_all_that_a_reader_needs(name: str) -> None:
    stream, commands = Stream(), traffic(name, 3_000, seed=2)
    seen: dict[tuple[int, int, int], Level] = {}
    for start in range(0, len(commands), 25):
        changes = stream.do(commands[start : start + 25])
        seen |= {(each.book, each.side, each.price): each for each in changes.levels}
    for book in BOOKS:
        mine = {each for key, each in seen.items() if key[0] == book and each.quantity}
        assert mine == {*stream.image.levels(book)}


@pytest.mark.parametrize("name", FLOWS)
def test_what_is_kept_is_what_was_there_whatever_is_read_before_it_is_put_down(name: str) -> None:
    stream, commands = Stream(), traffic(name, 2_000, seed=3)
    waiting: list[tuple[Callable[[], bytes], bytes]] = []
    for start in range(0, len(commands), 20):
        stream.do(commands[start : start + 20])
        waiting.append((stream.image.kept(), stream.image.dump()))
    assert [later() for later, _ in waiting] == [then for _, then in waiting]


def test_a_trade_is_named_by_its_command_and_its_place_in_it() -> None:
    stream = Stream(3)
    stream.do(rows(3, sell(1, 5, 100), sell(2, 5, 101)))
    changes = stream.do(rows(3, buy(4, 1, 90), buy(3, 8, 101)))
    assert [each[:2] for each in changes.trades] == [(5, 1), (5, 2)]
    assert [each[4:] for each in changes.trades] == [(100, 5, Side.BUY), (101, 3, Side.BUY)]
    assert changes.levels == (
        Level(3, Side.BUY, 90, 1, 1),
        Level(3, Side.SELL, 100, 0, 0),
        Level(3, Side.SELL, 101, 2, 1),
    )


def test_icebergs_are_seen_as_they_show() -> None:
    stream = Stream(3)
    stream.do(rows(3, sell(1, 50, 100, display=10)))
    assert stream.image.depth(3).sells == ((100, 10, 1),)
    stream.do(rows(3, buy(2, 14, 100)))
    assert stream.image.depth(3).sells == ((100, 6, 1),)
    stream.do(rows(3, replace(1, 3, 100)))
    assert stream.image.depth(3).sells == ((100, 3, 1),)


def test_an_iceberg_that_trades_more_than_it_shows_in_an_auction() -> None:
    stream = Stream(3, phase=Phase.AUCTION)
    stream.do(rows(3, sell(1, 50, 100, display=10), sell(2, 5, 100), buy(3, 33, 100)))
    stream.do(rows(3, enter(Phase.CONTINUOUS)))
    stream.check()
    assert stream.image.depth(3).sells == ((100, 10, 1), *()) or stream.image.depth(3).sells == ((100, 15, 2),)


def test_stops_are_not_seen_before_they_wake() -> None:
    stream = Stream(3)
    stream.do(rows(3, buy(1, 5, 105, trigger=102)))
    assert stream.image.depth(3).buys == ()
    stream.do(rows(3, replace(1, 4, 104), sell(2, 1, 102), buy(3, 1, 102)))
    assert stream.image.depth(3).buys == ((104, 4, 1),)
    stream.do(rows(3, cancel(1)))
    assert stream.image.depth(3).buys == ()


def test_phases_are_told() -> None:
    stream = Stream(3, phase=Phase.AUCTION)
    assert stream.image.depth(3).phase == Phase.AUCTION
    assert stream.do(rows(3, enter(Phase.CONTINUOUS))).phases == (Phased(3, Phase.CONTINUOUS),)


def test_what_is_in_it_is_skipped_and_what_is_missing_refused() -> None:
    stream = Stream(3)
    first, second = stream.batch(rows(3, sell(1, 5, 100))), stream.batch(rows(3, sell(2, 5, 100)))
    with pytest.raises(ValueError, match="image at 1: the next batch begins with 3, some are missing"):
        stream.image.apply(second)
    for batch in (first, first, second, first):
        stream.image.apply(batch)
    assert stream.image.depth(3).sells == ((100, 10, 2),)


def test_orders_of_a_kill_switch_leave_every_book() -> None:
    """The command names no book; each order is known by its own."""
    stream = Stream(3, 8)
    stream.do(rows(3, sell(1, 5, 100)))
    stream.do(rows(8, sell(2, 5, 100)))
    batch = stream.batch(rows(3, cancel(1)))
    batch.commands["book"], batch.commands["kind"] = 0, Kind.KILL
    stream.image.apply(batch)
    assert (stream.image.depth(3).sells, len(stream.image.depth(8).sells)) == ((), 1)


@settings(deadline=None, max_examples=50)
@given(damage=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_image_is_refused(damage: int, flip: int, cut: bool) -> None:
    stream = Stream(3)
    stream.do(rows(3, sell(1, 5, 100), buy(2, 5, 99)))
    kept = bytearray(stream.image.dump())
    place = damage % len(kept)
    if cut:
        del kept[place:]
    else:
        kept[place] ^= flip
    with pytest.raises(ImageError):
        BookImage.load(bytes(kept))


def test_bytes_of_another_version_are_refused_by_name() -> None:
    import zlib

    body = bytearray(BookImage().dump()[:-4])
    body[4] = 9
    with pytest.raises(ImageError, match="image of version 9"):
        BookImage.load(bytes(body) + zlib.crc32(body).to_bytes(4, "little"))
