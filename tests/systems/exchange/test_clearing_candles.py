"""Candles and averages by the time of the trades: late ones mend theirs, and where nothing was traded there is one."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from clearing_stream import NOON_NS, SECOND_NS, Kept, eventually, following, made, opening, serving, traded
from hypothesis import given
from hypothesis import strategies as st

from archstone import world
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.surveillance import (
    Candle,
    Interval,
    Market,
    Rules,
    SurveillanceService,
    UnknownSymbolError,
    candles_of,
    filled,
)
from archstone.systems.exchange.surveillance import service as service_module
from archstone.systems.exchange.surveillance.reading import Looking
from archstone.systems.exchange.tape import Symbols, Trade, trades_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_S = NOON_NS // SECOND_NS


def trade(sequence: int, price: int, lots: int = 1, *, at_s: float = 0, number: int = 0, book: int = 1) -> Trade:
    return Trade(sequence, number, NOON_NS + int(at_s * SECOND_NS), book, price, lots, 2, 1, 3, 1, Side.BUY)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path}/{name}.db"
    found = request.getfixturevalue("postgres_url")
    return lambda name: f"{found}?schema={name}"


def test_a_candle_has_the_first_the_highest_the_lowest_and_the_last_price():
    trades = [trade(1, 100, 5), trade(2, 103, 1, at_s=10), trade(3, 98, 2, at_s=20), trade(4, 101, 1, at_s=59.999)]
    (minute,) = candles_of([*trades, trade(5, 200, at_s=60)], [Interval.MINUTE])[:1]
    assert minute == Candle(1, 60, NOON_S, 100, 103, 98, 101, 9, 500 + 103 + 196 + 101, 4, 1, 4)


def test_trades_of_one_command_count_in_their_order():
    (found,) = candles_of([trade(1, 100), trade(1, 105, number=1), trade(1, 102, number=2)], [Interval.HOUR])
    assert (found.open, found.high, found.low, found.close) == (100, 105, 100, 102)


def test_an_interval_begins_at_a_multiple_of_its_length():
    starts = {each.seconds: each.start for each in candles_of([trade(1, 1, at_s=3_599.5)])}
    assert starts == {1: NOON_S + 3_599, 60: NOON_S + 3_540, 300: NOON_S + 3_300, 3_600: NOON_S}


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), min_size=2, max_size=12), st.randoms())
def test_parts_of_a_candle_come_together_in_any_order(found, chance):
    trades = [trade(sequence, price, lots) for sequence, (price, lots) in enumerate(found, 1)]
    (whole,) = candles_of(trades, [Interval.MINUTE])
    parts = [candles_of([each], [Interval.MINUTE])[0] for each in trades]
    chance.shuffle(parts)
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.joined(part)
    assert joined == whole


def test_where_nothing_was_traded_there_is_a_candle_at_the_last_price():
    one, other = candles_of([trade(1, 100, at_s=1), trade(2, 90, at_s=4)], [Interval.SECOND])
    found = [*filled([one, other], book=1, seconds=1, first=NOON_S, last=NOON_S + 5, before=None)]
    assert [(each.start - NOON_S, each.close, each.trades) for each in found] == [
        (1, 100, 1), (2, 100, 0), (3, 100, 0), (4, 90, 1), (5, 90, 0),
    ]  # fmt: skip
    before = [*filled([], book=1, seconds=1, first=NOON_S, last=NOON_S + 1, before=7)]
    assert [(each.open, each.high, each.low, each.close, each.lots) for each in before] == [(7, 7, 7, 7, 0)] * 2
    assert [*filled([], book=1, seconds=1, first=NOON_S, last=NOON_S + 5, before=None)] == []


def stream(*found: tuple[float, int, int], at_s: float) -> list:
    """Trades, each so many seconds after a moment, at a price, so many lots; one batch each."""
    batches = [opening((1, 1))]
    for after_s, price, lots in found:
        at_ns = int((at_s + after_s) * SECOND_NS)
        batches.append(made(batches[-1].last + 1, traded(2, len(batches), Side.BUY, (3, 1, lots, price)), at_ns=at_ns))
    return batches


def parts(batches, **more):
    return (SurveillanceService, {"sequencer": Kept(batches), "symbols": Symbols({1: "ACME"}), **more})


async def test_candles_are_asked_for_by_pages_without_gaps(url):
    now = world.now().timestamp() // 60 * 60 - 600
    batches = stream((0, 100, 1), (5, 110, 2), (130, 90, 1), (600, 95, 4), at_s=now)
    async with serving(parts(batches), url=url) as run:
        await following(run["surveillance"]).reached(batches[-1].last, timeout_s=5)
        market = run["surveillance"].client(Market)
        page = await market.candles("ACME", Interval.MINUTE)
        told = [(each.open, each.high, each.low, each.close, each.lots, each.trades) for each in page.candles]
        assert told == [
            (100, 110, 100, 110, 3, 2), (110, 110, 110, 110, 0, 0), (90, 90, 90, 90, 1, 1),
            *[(90, 90, 90, 90, 0, 0)] * 7, (95, 95, 95, 95, 4, 1),
        ]  # fmt: skip
        assert [each.closed for each in page.candles] == [True] * 10 + [False]
        assert page.candles[0].average == (100 + 220) / 3
        assert page.next_after is None
        found, after = [], datetime.fromtimestamp(now - 1, UTC)
        while after is not None:
            part = await market.candles("ACME", Interval.MINUTE, after, 4)
            found += part.candles
            after = part.next_after
        assert tuple(found) == page.candles
        old = await market.candles("ACME", Interval.MINUTE, datetime.fromtimestamp(now, UTC) - timedelta(days=30), 2)
        assert old.candles == page.candles[:2]
        assert (await market.candles("9", Interval.HOUR)).candles == ()
        with pytest.raises(UnknownSymbolError, match="no book is called 'NONE'"):
            await market.candles("NONE")


async def test_trades_and_the_average_are_told_to_everybody(url):
    now = world.now().timestamp() // 60 * 60 - 600
    batches = stream((0, 100, 1), (5, 110, 2), (130, 90, 1), at_s=now)
    async with serving(parts(batches), url=url) as run:
        await following(run["surveillance"]).reached(batches[-1].last, timeout_s=5)
        market = run["surveillance"].client(Market)
        trades = await market.trades("ACME", 2)
        assert [(each.sequence, each.price, each.lots, each.aggressor) for each in trades] == [
            (4, 90, 1, "buyer"), (3, 110, 2, "buyer"),
        ]  # fmt: skip
        begin = datetime.fromtimestamp(now, UTC)
        whole = await market.average("ACME", begin)
        assert (whole.average, whole.lots, whole.trades) == ((100 + 220 + 90) / 4, 4, 3)
        assert (await market.average("ACME", begin, begin + timedelta(minutes=2))).average == 320 / 3
        assert (await market.average("ACME", begin - timedelta(hours=2), begin)).average is None


async def test_a_trade_that_comes_late_mends_its_candle(url):
    """The stream's own time never goes back; this is what would be made of a trade that was kept somewhere."""
    batches = stream((0, 100, 1), (61, 105, 1), (30, 120, 2), at_s=NOON_S)
    async with serving(parts(batches), url=url) as run:
        await following(run["surveillance"]).reached(batches[-1].last, timeout_s=5)
        minutes = await run["surveillance"].service.db.all(
            tuple[int, int, int, int],
            "SELECT start, open, close, lots FROM candles WHERE seconds = 60 ORDER BY start",
        )
    assert minutes == [(NOON_S, 100, 120, 3), (NOON_S + 60, 105, 105, 1)]


async def test_what_is_read_twice_is_counted_once_wherever_the_reader_stops(url):
    chance = random.Random(3)
    batches = stream(*((n * 0.7, chance.randint(90, 110), chance.randint(1, 9)) for n in range(60)), at_s=NOON_S)
    for stop in (1, 2, 7, 20, 41, 61):
        async with serving(parts(batches[:stop]), url=url) as run:
            await following(run["surveillance"]).reached(batches[stop - 1].last, timeout_s=5)
            found = await run["surveillance"].service.db.all(Candle, "SELECT * FROM candles")
    trades = [one for batch in batches for one in trades_of(batch)]
    assert sorted(found) == sorted(candles_of(trades))


async def test_old_trades_and_candles_are_dropped(url, monkeypatch):
    monkeypatch.setattr(service_module, "KEEP_TRADES", 3)
    now = world.now().timestamp()
    batches = stream(*((n * 86_400.0, 100 + n, 1) for n in range(6)), at_s=now - 5 * 86_400)
    async with serving(parts(batches), url=url) as run:
        db = run["surveillance"].service.db
        await following(run["surveillance"]).reached(batches[-1].last, timeout_s=5)

        async def swept() -> bool:
            return await db.one(int, "SELECT count(*) FROM trades") == 3

        await eventually(swept)
        assert await db.all(int, "SELECT price FROM trades ORDER BY sequence") == [103, 104, 105]
        counts = await db.all(
            tuple[int, int], "SELECT seconds, count(*) FROM candles GROUP BY seconds ORDER BY seconds"
        )
        assert counts == [(1, 2), (60, 6), (300, 6), (3_600, 6)]


async def test_a_reader_of_a_database_that_another_has_moved_takes_nothing(tmp_path):
    batches = stream((0, 100, 1), (1, 101, 1), at_s=NOON_S)
    async with serving(parts([]), url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        db = run["surveillance"].service.db
        one, other = Looking(db, Rules()), Looking(db, Rules())
        for each in (one, other):
            assert await each.last() == 0
        await one.take(batches)
        with pytest.raises(Exception, match="command 4 should come next, and 1 came"):
            await other.take(batches)
        assert await db.one(int, "SELECT sum(trades) FROM candles WHERE seconds = 60") == 2
