"""The facts of a batch, a reader that goes on where it was, and the tape that tells each fact once."""

import asyncio

import pytest
from clearing_stream import NOON_NS, Kept, deposited, following, made, opened, opening, placed, serving, traded

from archstone.data import Database, Lease
from archstone.errors import DeadlineError
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.tape import (
    FactsTold,
    Following,
    Payment,
    Symbols,
    TapeService,
    Trade,
    UnknownBookError,
    payments_of,
    rest_of,
    trades_of,
)
from archstone.systems.exchange.tape.service import Telling

BUY, SELL = Side.BUY, Side.SELL


class Noting:
    """A reader that notes what it is given."""

    def __init__(self, failing: int = 0) -> None:
        self.numbers: list[int] = []
        self.together: list[int] = []
        self.failing = failing

    async def last(self):
        return self.numbers[-1] if self.numbers else 0

    async def take(self, batches):
        if self.failing:
            self.failing -= 1
            raise RuntimeError("not now")
        self.together.append(len(batches))
        self.numbers += [number for batch in batches for number in range(batch.first, batch.last + 1)]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path}/{name}.db"
    found = request.getfixturevalue("postgres_url")
    return lambda name: f"{found}?schema={name}"


def test_a_trade_names_buyer_and_seller_whoever_came_second():
    batch = made(
        7,
        traded(2, 5, BUY, (3, 9, 4, 100), (3, 8, 1, 101)),
        placed(4, 1, SELL, 5, 102),
        traded(2, 6, SELL, (3, 7, 2, 99)),
        traded(5, 1, BUY, (6, 1, 3, 98), auction=True),
    )
    assert trades_of(batch) == [
        Trade(7, 0, NOON_NS, 1, 100, 4, 2, 5, 3, 9, BUY),
        Trade(7, 1, NOON_NS, 1, 101, 1, 2, 5, 3, 8, BUY),
        Trade(9, 0, NOON_NS, 1, 99, 2, 3, 7, 2, 6, SELL),
        Trade(10, 0, NOON_NS, 1, 98, 3, 5, 1, 6, 1, 0),
    ]


def test_accounts_and_orders_up_to_the_highest_are_told():
    top = 2**32 - 1
    (trade,) = trades_of(made(1, traded(top, top, SELL, (top - 1, top, 1, 1), book=top)))
    assert (trade.book, trade.buyer, trade.buy_order, trade.seller, trade.sell_order) == (top, top - 1, top, top, top)


def test_payments_are_told_with_their_sign():
    batch = made(3, deposited(1, 500), opened(4, 10), deposited(2, -20))
    assert payments_of(batch) == [Payment(3, NOON_NS, 1, 500), Payment(5, NOON_NS, 2, -20)]
    assert trades_of(batch) == []


def test_the_rest_of_a_batch_is_as_if_it_had_been_a_batch():
    batch = made(5, placed(1, 1, BUY, 1, 10), traded(2, 1, SELL, (1, 1, 1, 10)), deposited(3, 1))
    assert rest_of(batch, 4) is batch
    rest = rest_of(batch, 5)
    assert rest is not None
    assert (rest.first, rest.last) == (6, 7)
    assert trades_of(rest) == trades_of(batch)
    assert payments_of(rest) == payments_of(batch)
    assert rest_of(batch, 7) is None
    assert rest_of(batch, 8) is None


def test_books_without_a_name_are_called_by_their_number():
    symbols = Symbols({7: "ACME"})
    assert (symbols.symbol(7), symbols.symbol(8)) == ("ACME", "8")
    assert (symbols.book("ACME"), symbols.book("8"), symbols.book("7")) == (7, 8, None)
    assert [symbols.book(each) for each in ("", "x", "-1", "٣", "4294967296", "9" * 40)] == [None] * 6


def batches(count: int) -> list:
    found = [opening((1, 10))]
    for number in range(1, count):
        first = found[-1].last + 1
        found.append(made(first, deposited(1, number), traded(2, number, BUY, (3, number, 1, 5))))
    return found


async def test_a_reader_is_given_each_command_once_in_order_many_at_a_time():
    stream, reader = Kept(batches(500)), Noting()
    async with Following(stream, reader, name="test", most=100) as following:
        await following.reached(stream.batches[-1].last, timeout_s=5)
        assert reader.numbers == [*range(1, stream.batches[-1].last + 1)]
        assert max(reader.together) == 51  # a hundred commands, and the one that opens the book
        with pytest.raises(DeadlineError, match=r"reader test: it is at command 999, 1000 was not reached in 1 s"):
            await following.reached(1_000, timeout_s=1)
        stream.add(made(1_000, deposited(1, 1)))
        await following.reached(1_000, timeout_s=1)
    assert stream.followed == [0]


async def test_a_reader_that_fails_is_given_the_same_again_and_that_is_told():
    stream, reader = Kept(batches(3)), Noting(failing=2)
    async with Following(stream, reader, name="test") as following:
        await asyncio.sleep(0.15)
        told = following.statistics()
        assert (told.failures, told.error) == (2, "RuntimeError: not now")
        await following.reached(5, timeout_s=5)
        assert (following.statistics().failures, following.statistics().error) == (0, None)
    assert reader.numbers == [1, 2, 3, 4, 5]


async def test_a_gap_is_never_skipped():
    whole = batches(5)
    stream, reader = Kept([whole[0], whole[1], whole[3]]), Noting()
    async with Following(stream, reader, name="test") as following:
        await asyncio.sleep(1)
        assert "command 4 should come next, and 6 came" in str(following.statistics().error)
        assert reader.numbers == [1, 2, 3]
        stream.batches = whole
        await following.reached(9, timeout_s=30)
    assert reader.numbers == [*range(1, 10)]


async def test_another_stream_than_the_one_that_was_read_is_refused():
    reader = Noting()
    async with Following(Kept(batches(5)), reader, name="test") as following:
        await following.reached(9, timeout_s=1)
    async with Following(Kept(batches(2)), reader, name="test") as following:
        await asyncio.sleep(1)
        assert "it has kept commands up to 9, and the stream ends at 3" in str(following.statistics().error)
    assert reader.numbers == [*range(1, 10)]


async def test_batches_cut_otherwise_than_before_are_no_gap():
    whole, reader = batches(4), Noting()
    async with Following(Kept(whole[:2]), reader, name="test") as following:
        await following.reached(3, timeout_s=1)
    joined = made(1, opened(1, 10), deposited(1, 1), deposited(1, 2), deposited(1, 3), deposited(1, 4))
    async with Following(Kept([joined]), reader, name="test") as following:
        await following.reached(5, timeout_s=1)
    assert reader.numbers == [1, 2, 3, 4, 5]


async def test_a_reader_is_told_when_what_it_needs_is_gone():
    stream, reader = Kept(batches(5)), Noting()
    stream.gone = 3
    async with Following(stream, reader, name="test") as following:
        await asyncio.sleep(0.05)
        assert "LookupError" in str(following.statistics().error)
    assert reader.numbers == []


async def told(db: Database) -> list[FactsTold]:
    rows = await db.all(bytes, "SELECT payload FROM _archstone_outbox ORDER BY position")
    return [FactsTold.model_validate_json(row) for row in rows]


async def test_the_tape_tells_each_fact_once_wherever_it_stops(url):
    whole = batches(12)
    async with Database(url("tape"), migrations=TapeService.service_info.migrations) as db:
        for stop in range(1, len(whole), 3):  # a new one each time, as after a restart
            async with Following(Kept(whole[:stop]), Telling(db), name="tape", most=1) as following:
                await following.reached(whole[stop - 1].last, timeout_s=5)
        async with Following(Kept(whole), Telling(db), name="tape") as following:
            await following.reached(whole[-1].last, timeout_s=5)
        events = await told(db)
    assert [event.number for event in events] == [*range(1, len(events) + 1)]
    assert [trade for event in events for trade in event.trades] == [one for each in whole for one in trades_of(each)]
    assert [one for event in events for one in event.payments] == [one for each in whole for one in payments_of(each)]
    assert {value for event in events for value in event.values} == {(1, 10)}
    assert events[-1].through == whole[-1].last


async def test_of_two_processes_one_reads_and_the_other_goes_on_when_it_ends(url):
    stream = Kept(batches(3))
    async with Database(url("tape"), migrations=TapeService.service_info.migrations) as db:
        one, other = (Following(stream, Telling(db), name="tape", turn=Lease(db, "reader")) for _ in range(2))
        async with one:
            await one.reached(5, timeout_s=10)
            async with other:
                await asyncio.sleep(20)
                assert other.statistics().last == 0
                await one.__aexit__(None, None, None)
                stream.add(made(6, deposited(1, 9)))
                await other.reached(6, timeout_s=10)
                assert (other.statistics().failures, one.statistics().failures) == (0, 0)
        assert [event.number for event in await told(db)] == [1, 2]


async def test_many_facts_are_several_events_that_say_how_far_they_go(url):
    whole = [opening((1, 10)), made(2, *(deposited(1, number) for number in range(1, 1_201)))]
    async with Database(url("tape"), migrations=TapeService.service_info.migrations) as db:
        await Telling(db).take(whole)
        events = await told(db)
    assert [(event.number, len(event.payments), event.through) for event in events] == [
        (1, 500, 500), (2, 500, 1_000), (3, 200, 1_201),
    ]  # fmt: skip


async def test_nothing_is_told_of_a_book_whose_opening_was_not_read(tmp_path):
    async with Database(f"sqlite:///{tmp_path}/tape.db", migrations=TapeService.service_info.migrations) as db:
        with pytest.raises(UnknownBookError, match="command 1 traded in book 9"):
            await Telling(db).take([made(1, traded(2, 1, BUY, (3, 1, 1, 5), book=9))])
        assert await told(db) == []
        assert await Telling(db).last() == 0


async def test_the_service_reads_as_long_as_it_runs(tmp_path):
    stream = Kept(batches(4))
    async with serving((TapeService, {"sequencer": stream}), url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        await following(run["tape"]).reached(7, timeout_s=5)
