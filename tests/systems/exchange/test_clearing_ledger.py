"""What moves by a trade, what it costs, when it is settled; and a ledger whose tables refuse to be out of balance."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from clearing_stream import NOON_NS
from hypothesis import given
from hypothesis import strategies as st

from archstone.data import ConstraintError, Database
from archstone.errors import ConfigError
from archstone.systems.exchange.clearing import (
    HOUSE,
    ClearingService,
    Entry,
    FeeSchedule,
    Ledger,
    Purse,
    Settlement,
    Transfer,
    entry_of_payment,
    entry_of_trade,
    faults,
    reversal_of,
)
from archstone.systems.exchange.clearing.settlement import date_of, number_of
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.tape import Payment, Trade

FREE = FeeSchedule(maker_ppm=0, taker_ppm=0, auction_ppm=0)
COSTLY = FeeSchedule(maker_ppm=-100, taker_ppm=300, auction_ppm=200)
TRADE = Trade(17, 0, NOON_NS, 5, 101, 7, buyer=2, buy_order=1, seller=3, sell_order=1, aggressor=Side.BUY)
SUNDAY = number_of(date(2026, 3, 1))


def moved(entry: Entry) -> dict[tuple[int, str, str], int]:
    """Return what an entry adds to each account, purse and asset."""
    found: Counter[tuple[int, str, str]] = Counter()
    for each in entry.transfers:
        found[each.from_account, each.from_purse, each.asset] -= each.amount
        found[each.to_account, each.to_purse, each.asset] += each.amount
    return {key: amount for key, amount in found.items() if amount}


def booked(trade: Trade, *, fees: FeeSchedule = COSTLY, value: int = 10) -> Entry:
    return entry_of_trade(trade, value, fees=fees, settlement=Settlement())


def test_a_trade_moves_money_one_way_lots_the_other_and_a_fee_of_each_side():
    worth = 101 * 10 * 7
    entry = booked(TRADE)
    assert moved(entry) == {
        (2, "pending", "cash"): -worth,
        (3, "pending", "cash"): worth,
        (2, "pending", "5"): 7,
        (3, "pending", "5"): -7,
        (2, "fees", "cash"): -3,  # 300 millionths of 7070 are 2.121
        (HOUSE, "fees", "cash"): 3,  # the rebate of 0.707 is none
    }
    assert (entry.ref, entry.sequence, entry.day, entry.due) == ("trade/17/0", 17, SUNDAY, SUNDAY + 1)


def test_the_maker_is_who_was_there_first_and_an_auction_has_none():
    dear = TRADE._replace(price=1_000_000, lots=1)
    assert moved(booked(dear))[3, "fees", "cash"] == 1_000
    assert moved(booked(dear._replace(aggressor=Side.SELL)))[2, "fees", "cash"] == 1_000
    auction = moved(booked(dear._replace(aggressor=0)))
    assert (auction[2, "fees", "cash"], auction[3, "fees", "cash"]) == (-2_000, -2_000)


def test_who_trades_with_himself_pays_both_fees_and_nothing_moves_else():
    assert moved(booked(TRADE._replace(seller=2), fees=FeeSchedule())) == {
        (2, "fees", "cash"): -(3 + 1), (HOUSE, "fees", "cash"): 4,
    }  # fmt: skip
    assert booked(TRADE._replace(seller=2), fees=FREE).transfers == ()


def test_payments_come_from_outside_and_go_there():
    assert moved(entry_of_payment(Payment(3, NOON_NS, 2, 50))) == {
        (0, "settled", "cash"): -50,
        (2, "settled", "cash"): 50,
    }
    assert moved(entry_of_payment(Payment(3, NOON_NS, 2, -50))) == {
        (0, "settled", "cash"): 50,
        (2, "settled", "cash"): -50,
    }
    assert entry_of_payment(Payment(3, NOON_NS, 2, 0)).transfers == ()


def test_a_reversal_takes_back_everything_in_purses_of_its_own():
    entry = booked(TRADE)
    back = reversal_of(9, entry.transfers, at_us=NOON_NS // 1_000, reason="fat finger", by="ann")
    both = Counter(moved(entry))
    for (account, purse, asset), amount in moved(back).items():
        assert purse in {"fees", "corrections"}
        both[account, "pending" if purse == "corrections" else purse, asset] += amount
    assert {amount for amount in both.values() if amount} == set()
    assert (back.ref, back.reverses, back.reason, back.by) == ("reversal/9", 9, "fat finger", "ann")


@given(st.integers(1, 2**40), st.integers(-1_000_000, 1_000_000), st.integers(-1_000_000, 1_000_000))
def test_what_is_broken_of_a_fee_is_never_the_houses_loss(worth: int, rate: int, other: int):
    fee = FeeSchedule(maker_ppm=rate, taker_ppm=other).fee(worth, rate)
    assert 0 <= fee * 1_000_000 - worth * rate < 1_000_000


@given(st.builds(
    Trade, st.integers(1, 2**40), st.integers(0, 9), st.integers(0, 2**60), st.integers(0, 9), st.integers(1, 2**20),
    st.integers(1, 2**20), st.integers(1, 4), st.just(1), st.integers(1, 4), st.just(1), st.sampled_from([0, 1, 2]),
))  # fmt: skip
def test_every_entry_sums_to_zero_for_each_asset(trade: Trade):
    sums: Counter[str] = Counter()
    for (_, _, asset), amount in moved(booked(trade)).items():
        sums[asset] += amount
    assert set(sums.values()) <= {0}


def test_settings_that_cannot_be_meant_are_refused_all_at_once():
    with pytest.raises(ConfigError, match=r"maker_ppm=1000001 must be in \[-1000000, 1000000\]; taker_ppm"):
        FeeSchedule(maker_ppm=1_000_001, taker_ppm=-1_000_001)
    FeeSchedule(maker_ppm=1_000_000, taker_ppm=-1_000_000)
    for days in (-1, 31):
        with pytest.raises(ConfigError, match=r"days=-?\d+ must be in \[0, 30\]"):
            Settlement(days=days)
    assert (Settlement(days=0).days, Settlement(days=30).days) == (0, 30)


@pytest.mark.parametrize(
    ("traded", "days", "due"),
    [
        ("2026-03-02", 1, "2026-03-03"),  # a Monday
        ("2026-03-06", 1, "2026-03-09"),  # a Friday
        ("2026-03-07", 1, "2026-03-09"),  # a Saturday
        ("2026-03-06", 2, "2026-03-10"),
        ("2026-03-02", 0, "2026-03-02"),
        ("2026-03-01", 0, "2026-03-02"),  # a Sunday
        ("2026-04-02", 1, "2026-04-07"),  # before Easter
    ],
)
def test_trades_are_settled_on_the_next_day_that_is_open(traded: str, days: int, due: str):
    calendar = Settlement(days=days, holidays=frozenset({date(2026, 4, 3), date(2026, 4, 6)}))
    assert str(date_of(calendar.due(number_of(date.fromisoformat(traded))))) == due


def test_today_is_the_day_of_utc():
    late = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    assert Settlement.today(late) == SUNDAY
    assert Settlement.today(late.astimezone(tz=None) + timedelta(hours=1)) == SUNDAY + 1


@pytest.fixture(params=["sqlite", "postgresql"])
async def db(request, tmp_path):
    url = f"sqlite:///{tmp_path}/clearing.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    async with Database(url, migrations=ClearingService.service_info.migrations, name="clearing") as db:
        yield db


async def book(db: Database, *entries: Entry) -> int:
    return await db.run(lambda tx: Ledger(tx).book(entries))


async def balances(db: Database) -> dict[tuple[int, str, str], int]:
    rows = await db.all(tuple[int, str, str, int], "SELECT account, purse, asset, amount FROM balances")
    return {row[:3]: row[3] for row in rows if row[3]}


async def test_an_entry_is_booked_once_whatever_brings_it(db):
    other = booked(TRADE._replace(number=1, lots=1))
    assert await book(db, booked(TRADE)) == 1
    assert await book(db, booked(TRADE), other, other) == 1
    assert await book(db, other, booked(TRADE)) == 0
    assert await book(db) == 0
    assert (await balances(db))[2, "pending", "5"] == 8
    assert await faults(db) == []
    with pytest.raises(ConstraintError):
        await db.run(lambda tx: Ledger(tx).add([booked(TRADE)]))


async def test_nothing_in_the_ledger_is_changed_or_deleted(db):
    await book(db, booked(TRADE))
    for statement in (
        "UPDATE entries SET price = 1",
        "DELETE FROM entries",
        "UPDATE transfers SET amount = 1",
        "DELETE FROM transfers",
    ):
        with pytest.raises(ConstraintError, match=r"never (changed|deleted)"):
            await db.execute(statement)
    assert await faults(db) == []


@pytest.mark.parametrize(
    "transfer",
    [
        Transfer(2, Purse.PENDING, 3, Purse.PENDING, "cash", 0),
        Transfer(2, Purse.PENDING, 3, Purse.PENDING, "cash", -5),
        Transfer(2, Purse.PENDING, 2, Purse.PENDING, "cash", 5),
        Transfer(2, "elsewhere", 3, Purse.PENDING, "cash", 5),  # type: ignore[arg-type]
        Transfer(2, Purse.PENDING, None, Purse.PENDING, "cash", 5),  # type: ignore[arg-type]
    ],
)
async def test_the_tables_refuse_what_would_be_out_of_balance(db, transfer):
    row = {"entry": 1, "line": 1, **transfer._asdict()}
    await db.run(lambda tx: Ledger(tx).add([booked(TRADE)._replace(transfers=())]))
    with pytest.raises(ConstraintError):
        await db.execute(
            "INSERT INTO transfers (entry, line, from_account, from_purse, to_account, to_purse, asset, amount)"
            " VALUES (:entry, :line, :from_account, :from_purse, :to_account, :to_purse, :asset, :amount)",
            **row,
        )
    assert await db.one(int, "SELECT count(*) FROM legs") == 0


async def test_a_fault_in_the_balances_is_found(db):
    await book(db, booked(TRADE))
    await db.execute("UPDATE balances SET amount = amount + 1 WHERE account = 2 AND purse = 'pending' AND asset = '5'")
    assert await faults(db) == [
        f"balance of account 2, pending 5, due {SUNDAY + 1}: 1 more than its transfers say",
    ]


async def test_what_is_due_is_settled_net_and_no_sooner(db):
    back = TRADE._replace(number=1, buyer=3, seller=2, lots=2, price=50)
    await book(db, booked(TRADE, fees=FREE), booked(back, fees=FREE))

    async def settle(today: int, limit: int = 100) -> int:
        return await db.run(lambda tx: Ledger(tx).settle(today, at_us=1, limit=limit))

    assert await settle(SUNDAY) == 0
    assert {purse for _, purse, _ in await balances(db)} == {"pending"}
    assert [await settle(SUNDAY + 1, 3) for _ in range(3)] == [3, 1, 0]
    net = 101 * 10 * 7 - 50 * 10 * 2
    assert await balances(db) == {
        (2, "settled", "cash"): -net, (3, "settled", "cash"): net, (2, "settled", "5"): 5, (3, "settled", "5"): -5,
    }  # fmt: skip
    assert await db.one(int, "SELECT count(*) FROM balances WHERE purse = 'pending'") == 0
    assert await faults(db) == []
    await book(db, booked(TRADE._replace(number=2), fees=FREE))  # late: of a day that was settled
    assert await settle(SUNDAY + 2) == 4
    assert (await balances(db))[2, "settled", "5"] == 12
    assert await faults(db) == []
