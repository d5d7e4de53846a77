"""The board shows what the venue has, read from batches alone."""

from itertools import islice

import pytest

from archstone.systems.exchange.desk.board import Board, Level
from archstone.systems.exchange.desk.candles import KEEP, Candle, Candles
from archstone.systems.exchange.desk.ledger import KEEP_REPORTS, Account, Position, Report
from archstone.systems.exchange.matching import Command, Commands, Kind, Phase, Side, rows_of
from archstone.systems.exchange.matching.arrays import applied
from archstone.systems.exchange.matching.flows import FLOWS, flow
from archstone.systems.exchange.matching.reference import ReferenceEngine
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.venue import order_id

BATCH = 100
BOOK = 3
VALUE = 5


class Stand:
    """One book and a board that reads what it says: no risk is in between."""

    def __init__(self) -> None:
        self.engine = ReferenceEngine()
        self.board = Board()
        self.next = 1
        opened = rows(Command(Kind.OPEN, type=Phase.CONTINUOUS, price=VALUE))
        events = applied(lambda _: [], opened)
        events.resize(1)
        events["kind"] = 16
        self.board.read(self.batch(opened, events))

    def batch(self, commands: Commands, events: object) -> Batch:
        made = Batch(self.next, self.next * 1_000_000_000, commands, events)
        self.next += len(commands)
        return made

    def do(self, *commands: Command) -> Batch:
        given = rows(*commands)
        batch = self.batch(given, self.engine.apply_batch(given))
        self.board.read(batch)
        return batch

    def depth(self, side: Side) -> list[Level]:
        return [Level(*each) for each in self.engine.depth(side, 10_000)]


def rows(*commands: Command) -> Commands:
    made = rows_of(commands)
    made["book"] = BOOK
    return made


def order(account: int, number: int, side: Side, quantity: int, price: int, **more: int) -> Command:
    return Command(
        Kind.NEW, order_id(account, number), account, side, type=int(not price), price=price, quantity=quantity, **more
    )


def flowing(name: str, *, seed: int, count: int = 2_000) -> list[Command]:
    """A stream whose ids say whose orders they are."""
    found = islice(flow(name, seed=seed), count)
    return [each._replace(id=order_id(each.account, each.id)) if each.id else each for each in found]


@pytest.mark.parametrize("name", FLOWS)
def test_depth_and_live_orders_are_those_of_the_engine_after_every_batch(name: str) -> None:
    stand = Stand()
    commands = flowing(name, seed=5)
    for first in range(0, len(commands), BATCH):
        stand.do(*commands[first : first + BATCH])
        book = stand.board.books[BOOK]
        assert book.depth(Side.BUY, 10_000) == stand.depth(Side.BUY)
        assert book.depth(Side.SELL, 10_000) == stand.depth(Side.SELL)
        assert len(stand.board.orders) == len(stand.engine)
        assert book.phase == stand.engine.phase


def test_money_and_lots_are_only_moved_between_accounts() -> None:
    stand = Stand()
    stand.do(*flowing("crash", seed=9))
    owners = stand.board.accounts.values()
    assert any(owner.fills for owner in owners)
    assert sum(owner.cash for owner in owners) == 0
    assert sum(held.lots for owner in owners for held in owner.positions.values()) == 0
    last = stand.board.books[BOOK].last * VALUE
    for owner in owners:
        made = sum(held.realised + held.open_profit(last) for held in owner.positions.values())
        assert made == owner.cash + sum(held.lots for held in owner.positions.values()) * last


def test_a_batch_that_was_read_changes_nothing_when_it_comes_again() -> None:
    stand = Stand()
    batch = stand.do(order(7, 1, Side.SELL, 5, 101), order(8, 1, Side.BUY, 3, 102))
    before = (stand.board.accounts[8].cash, stand.depth(Side.SELL))
    assert stand.board.read(batch).reports == {}
    assert (stand.board.accounts[8].cash, stand.board.books[BOOK].depth(Side.SELL, 5)) == before


def test_both_sides_of_a_trade_are_told_and_have_a_fill() -> None:
    stand = Stand()
    stand.do(order(7, 1, Side.SELL, 5, 101))
    news = stand.board.read(stand.batch(given := rows(order(8, 4, Side.BUY, 3, 102)), stand.engine.apply_batch(given)))
    assert [(each.kind, each.number, each.quantity, each.left) for each in news.reports[7]] == [("traded", 1, 3, 2)]
    assert [(each.kind, each.number) for each in news.reports[8]] == [("accepted", 4), ("traded", 4)]
    assert [(each.role, each.price, each.lots) for each in stand.board.accounts[7].fills] == [("maker", 101, 3)]
    assert [(each.role, each.price, each.lots) for each in stand.board.accounts[8].fills] == [("taker", 101, 3)]
    assert stand.board.accounts[8].cash == -3 * 101 * VALUE
    assert news.trades[BOOK][0].side == Side.BUY


def test_an_iceberg_shows_a_part_and_its_order_all_of_it() -> None:
    stand = Stand()
    stand.do(order(7, 1, Side.SELL, 50, 101, display=10), order(8, 1, Side.BUY, 13, 101))
    assert stand.board.books[BOOK].depth(Side.SELL, 1) == [Level(101, 7, 1)]
    assert stand.board.accounts[7].live[1].left == 37


def test_orders_that_have_ended_can_still_be_asked_for() -> None:
    stand = Stand()
    stand.do(order(7, 1, Side.SELL, 5, 101), Command(Kind.CANCEL, order_id(7, 1), 7))
    found = stand.board.accounts[7].order(1)
    assert found is not None
    assert found.status == "canceled"
    assert stand.board.accounts[7].last_number == 1


@pytest.mark.parametrize(
    ("trades", "realised", "cost"),
    [
        ([(10, 100), (-4, 120)], 80, 600),
        ([(10, 100), (-10, 90)], -100, 0),
        ([(-10, 100), (4, 90)], 40, -600),
        ([(10, 100), (-15, 110)], 100, -550),
        ([(-10, 100), (25, 120)], -200, 1_800),
    ],
)
def test_positions_are_kept_at_average_cost(trades: list[tuple[int, int]], realised: int, cost: int) -> None:
    held = Position()
    for lots, worth in trades:
        held.trade(lots, worth)
    assert (held.realised, held.cost) == (realised, cost)


def test_reports_after_a_sequence_are_all_or_none() -> None:
    owner = Account(7)
    for sequence in range(1, KEEP_REPORTS + 11):
        owner.tell(Report(sequence, 0, "accepted", BOOK, sequence, 1, 1, 1, 1, 0))
    assert owner.reports_after(9) is None
    assert [each.sequence for each in owner.reports_after(10) or []][:2] == [11, 12]
    assert owner.reports_after(KEEP_REPORTS + 10) == []


def test_a_candle_is_of_whole_stretches_and_grows_until_the_next_begins() -> None:
    candles = Candles()
    for at_s, price in ((60, 100), (61, 104), (119, 98), (120, 99)):
        candles.add(at_s * 1_000_000_000, price, 2)
    assert candles.of(60) == [Candle(60, 100, 104, 98, 98, 6), Candle(120, 99, 99, 99, 99, 2)]
    assert candles.last(60) == Candle(120, 99, 99, 99, 99, 2)


def test_no_more_candles_are_kept_than_is_said() -> None:
    candles = Candles()
    for at_s in range(KEEP + 5):
        candles.add(at_s * 1_000_000_000, 100, 1)
    assert len(candles.of(1)) == KEEP
