"""Every fill is in the ledger once, whatever the way there does to it; and what the ledger answers, to whom."""

import asyncio
import random
from datetime import UTC, date, datetime, timedelta

import pytest
from clearing_stream import (
    NOON_NS,
    STAFF,
    Kept,
    deposited,
    eventually,
    made,
    opening,
    serving,
    traded,
)

from archstone import world
from archstone.context import Principal, current, enter
from archstone.data import Envelope
from archstone.services import ForbiddenError, NotSignedInError
from archstone.systems.exchange.clearing import (
    AccountRule,
    Clearing,
    ClearingService,
    FeeSchedule,
    NotReversibleError,
    UnknownEntryError,
    differences,
    faults,
)
from archstone.systems.exchange.clearing.owners import STAFF_ONLY
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.tape import TapeService, trades_of
from archstone.systems.exchange.venue import Standing

FEES = FeeSchedule(maker_ppm=0, taker_ppm=1_000, auction_ppm=0)
ANN = Principal("ann", frozenset({"clearing:read"}))


class Own:
    """Ann's account is number 2."""

    name = "own account"
    unless = "clearing:read-any"

    def holds(self, principal, row):
        return principal.id == "ann" and row == 2


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return lambda name: f"sqlite:///{tmp_path}/{name}.db"
    found = request.getfixturevalue("postgres_url")
    return lambda name: f"{found}?schema={name}"


def parts(stream, **fields):
    return (TapeService, {"sequencer": stream}), (ClearingService, {"fees": FEES, **fields})


def now_ns() -> int:
    return world.now_us() * 1_000


def market(count: int, *, at_ns: int = NOON_NS) -> list:
    """Deposits, and then trades among three accounts in two books."""
    chance = random.Random(7)
    batches = [
        opening((1, 10), (2, 1)),
        made(3, *(deposited(account, 1_000_000) for account in (2, 3, 4)), at_ns=at_ns),
    ]
    for number in range(1, count + 1):
        taker, maker = chance.sample((2, 3, 4), 2)
        fills = [(maker, number, chance.randint(1, 9), chance.randint(90, 110)) for _ in range(chance.randint(1, 3))]
        order = traded(taker, number, chance.choice([*Side]), *fills, book=chance.randint(1, 2))
        batches.append(made(batches[-1].last + 1, order, at_ns=at_ns + number))
    return batches


def standings(batches) -> list[Standing]:
    """Return what a venue would say of its accounts."""
    values = {1: 10, 2: 1}
    cash = dict.fromkeys((2, 3, 4), 1_000_000)
    positions = {account: {1: 0, 2: 0} for account in cash}
    for trade in (one for batch in batches for one in trades_of(batch)):
        worth = trade.price * trade.lots * values[trade.book]
        for account, sign in ((trade.buyer, 1), (trade.seller, -1)):
            cash[account] -= sign * worth
            positions[account][trade.book] += sign * trade.lots
    return [Standing(account=each, cash=cash[each], positions=positions[each]) for each in cash]


async def right(run, batches) -> None:
    """The ledger holds every fill once, and says what the venue says."""
    db = run["clearing"].service.db
    clearing = run["clearing"].client(Clearing, as_=STAFF)

    async def booked() -> bool:
        found = await clearing.trial_balance()
        return found.through == batches[-1].last and found.waiting == 0

    await eventually(booked)
    assert await faults(db) == []
    assert await differences(db, standings(batches), sequence=batches[-1].last) == []
    trades = sorted(f"trade/{one.sequence}/{one.number}" for batch in batches for one in trades_of(batch))
    assert await db.all(str, "SELECT ref FROM entries WHERE kind = 'trade' ORDER BY ref") == trades
    assert {each.sum for each in (await clearing.trial_balance()).assets} == {0}


async def test_every_fill_is_booked_and_the_ledger_is_as_the_venue(url):
    batches = market(40)
    async with serving(*parts(Kept(batches)), url=url) as run:
        await right(run, batches)


async def test_a_ledger_that_differs_from_the_venue_is_found(tmp_path):
    batches = market(5)
    async with serving(*parts(Kept(batches)), url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        await right(run, batches)
        wrong = [Standing(account=2, cash=5, positions={9: 1})]
        told = await differences(run["clearing"].service.db, wrong, sequence=batches[-1].last)
        assert told[0].startswith("account 2, 1: the ledger has ")
        assert any(each.endswith("the ledger has 0, the venue 1") for each in told)
        assert await differences(run["clearing"].service.db, wrong, sequence=1) == [
            f"the ledger is at command {batches[-1].last}, the venue was asked at 1: ask it later"
        ]


@pytest.mark.parametrize("seed", range(2))
async def test_deliveries_may_come_twice_and_in_any_order(url, seed):
    batches, chance, held = market(30), random.Random(seed), []

    async def shuffled(handle, envelope: Envelope) -> None:
        held.append((handle, envelope))

    stream = Kept()
    async with serving(*parts(stream), url=url, told=shuffled) as run:
        for batch in batches:
            stream.add(batch)
            await asyncio.sleep(0.05)  # so that each is an event of its own
        await eventually(_are(held, 31))
        deliveries = [*held, *chance.choices(held, k=20)]
        deliveries += [(handle, each._replace(id=world.new_id())) for handle, each in chance.choices(held, k=20)]
        chance.shuffle(deliveries)
        for handle, envelope in deliveries:
            await handle(envelope)
        await right(run, batches)


def _are(held: list, count: int):
    async def enough() -> bool:
        return len(held) == count

    return enough


async def test_what_comes_before_its_turn_waits_to_be_counted(tmp_path):
    batches, held = market(3), []

    async def keep(handle, envelope):
        held.append((handle, envelope))

    stream = Kept()
    async with serving(*parts(stream), url=lambda name: f"sqlite:///{tmp_path}/{name}.db", told=keep) as run:
        for batch in batches:
            stream.add(batch)
            await asyncio.sleep(0.05)
        await eventually(_are(held, 4))
        clearing = run["clearing"].client(Clearing, as_=STAFF)
        for place in (0, 3, 2):
            await held[place][0](held[place][1])
        found = await clearing.trial_balance()
        assert (found.through, found.waiting) == (batches[1].last, 2)
        await held[1][0](held[1][1])
        found = await clearing.trial_balance()
        assert (found.through, found.waiting) == (batches[-1].last, 0)


async def test_a_restart_at_any_time_goes_on_where_the_tape_and_the_ledger_are(url, tmp_path):
    batches, stream = market(12), Kept()
    for stop in range(1, len(batches), 4):
        stream.add(*batches[len(stream.batches) : stop])
        async with serving(*parts(stream), url=url, bus=tmp_path / "bus.db"):
            await asyncio.sleep(0.01 * stop)
    stream.add(*batches[len(stream.batches) :])
    async with serving(*parts(stream), url=url, bus=tmp_path / "bus.db") as run:
        await right(run, batches)


@pytest.mark.simulated(starts_at=datetime(2026, 3, 5, 23, 58, tzinfo=UTC))
async def test_trades_are_settled_on_the_next_business_day(tmp_path):
    batches = market(10, at_ns=now_ns())
    async with serving(*parts(Kept(batches)), url=lambda name: f"sqlite:///{tmp_path}/{name}.db") as run:
        await right(run, batches)
        clearing = run["clearing"].client(Clearing, as_=STAFF)
        cash, *lots = (await clearing.balances(2)).balances
        assert (cash.settled, {each.settled for each in lots}) == (1_000_000, {0})
        assert 0 not in {each.pending for each in (cash, *lots)}
        await asyncio.sleep(100)
        assert (await clearing.balances(2)).balances == (cash, *lots)
        await asyncio.sleep(30)
        assert world.now().date() == date(2026, 3, 6)
        after = (await clearing.balances(2)).balances
        assert [each.settled for each in after] == [each.settled + each.pending for each in (cash, *lots)]
        assert {each.pending for each in after} == {0}
        await right(run, batches)


async def test_a_statement_tells_each_movement_of_a_day_and_adds_up(url):
    at_ns = now_ns()
    day = world.now().date()
    batches = [
        opening((1, 10)),
        made(2, deposited(2, 5_000), deposited(3, 100), at_ns=at_ns - 86_400 * 10**9),
        made(4, traded(2, 1, Side.BUY, (3, 1, 2, 50), (3, 2, 1, 60)), deposited(2, -500), at_ns=at_ns),
    ]
    async with serving(*parts(Kept(batches)), url=url) as run:
        clearing = run["clearing"].client(Clearing, as_=STAFF)
        await eventually(_through(clearing, 5))
        found = await clearing.statement(2)
        assert [(each.asset, each.amount) for each in found.opening] == [("cash", 5_000), ("1", 0)]
        assert [(each.asset, each.amount) for each in found.closing] == [("cash", 5_000 - 1_602 - 500), ("1", 3)]
        assert [(each.ref, each.purse, each.asset, each.amount, each.price) for each in found.lines] == [
            ("trade/4/0", "pending", "cash", -1_000, 50),
            ("trade/4/0", "pending", "1", 2, 50),
            ("trade/4/0", "fees", "cash", -1, 50),
            ("trade/4/1", "pending", "cash", -600, 60),
            ("trade/4/1", "pending", "1", 1, 60),
            ("trade/4/1", "fees", "cash", -1, 60),
            ("payment/5", "settled", "cash", -500, None),
        ]
        assert {each.trade_date for each in found.lines} == {day}
        assert found.next_after is None
        for limit in (1, 3, 4, 7, 8):
            lines, after = [], None
            while True:
                page = await clearing.statement(2, day, after, limit)
                lines += page.lines
                after = page.next_after
                if after is None:
                    break
            assert tuple(lines) == found.lines
        empty = await clearing.statement(2, day - timedelta(days=9))
        assert (empty.opening, empty.lines, empty.closing) == ((), (), ())


def _through(clearing, sequence: int):
    async def is_booked() -> bool:
        return (await clearing.trial_balance()).through >= sequence

    return is_booked


def as_(who: Principal, key: str):
    return enter(current()._replace(principal=who, key=key))


async def test_a_correction_reverses_an_entry_once_and_hides_nothing(url):
    batches = [opening((1, 10)), made(2, deposited(2, 5_000), traded(2, 1, Side.BUY, (3, 1, 2, 50)))]
    async with serving(*parts(Kept(batches)), url=url) as run:
        clearing, db = run["clearing"].client(Clearing), run["clearing"].service.db
        with as_(STAFF, "first"):
            await eventually(_through(clearing, 3))
            trade = await db.one(int, "SELECT position FROM entries WHERE kind = 'trade'")
            reversal = await clearing.reverse(trade, "fat finger")
            assert await clearing.reverse(trade, "fat finger") == reversal  # the same key
            cash, lots = (await clearing.balances(2)).balances
            assert (cash.pending, cash.corrections, cash.fees, cash.settled) == (-1_000, 1_000, 0, 5_000)
            assert (lots.pending, lots.corrections) == (2, -2)
            (line, *_) = [each for each in (await clearing.statement(2)).lines if each.kind == "reversal"]
            assert (line.reverses, line.reason) == (trade, "fat finger")
        done = f"entry {trade} cannot be reversed: entry {reversal} has done so"
        with as_(STAFF, "second"), pytest.raises(NotReversibleError, match=done):
            await clearing.reverse(trade, "again")
        with as_(STAFF, "third"), pytest.raises(NotReversibleError, match="it is a reversal"):
            await clearing.reverse(reversal, "no")
        with as_(STAFF, "fourth"), pytest.raises(UnknownEntryError, match="entry 99 is not in the ledger"):
            await clearing.reverse(99, "no")
        assert await faults(db) == []
        venue = [Standing(account=2, cash=4_000, positions={1: 2}), Standing(account=3, cash=1_000, positions={1: -2})]
        assert await differences(db, venue, sequence=3) == []  # it still has what the venue has


async def test_who_may_see_and_correct(tmp_path):
    batches = market(3)
    owners: AccountRule = Own()
    url = lambda name: f"sqlite:///{tmp_path}/{name}.db"  # noqa: E731
    async with serving(*parts(Kept(batches), owners=owners), url=url) as run:
        await right(run, batches)
        dispatcher = run["clearing"]
        ann, staff = dispatcher.client(Clearing, as_=ANN), dispatcher.client(Clearing, as_=STAFF)
        assert await ann.balances(2) == await staff.balances(2)
        assert (await staff.balances(3)).balances != ()
        assert (await ann.balances(3)).balances == ()
        day = date(2026, 3, 1)
        assert await ann.statement(2, day) == await staff.statement(2, day)
        assert (await ann.statement(3, day)).lines == ()
        assert not STAFF_ONLY.holds(ANN, 2), "unless somebody says whose accounts are"
        with pytest.raises(ForbiddenError):
            await ann.trial_balance()
        with pytest.raises(ForbiddenError), as_(ANN, "key"):
            await dispatcher.client(Clearing).reverse(1, "mine")
        with pytest.raises(NotSignedInError):
            await dispatcher.client(Clearing, as_=Principal()).balances(2)
