"""Board, feed and reports show what the venue has, read from batches alone."""

from itertools import islice

import pytest

from archstone.systems.exchange.clearing import FeeSchedule
from archstone.systems.exchange.desk.board import Board
from archstone.systems.exchange.desk.ledger import Position
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

    def __init__(self, fees: FeeSchedule | None = None) -> None:
        self.engine = ReferenceEngine()
        self.board = Board(fees=fees)
        self.next = 1
        opened = rows(Command(Kind.OPEN, type=Phase.CONTINUOUS, price=VALUE))
        events = applied(lambda _: [], opened)
        events.resize(1)
        events["kind"] = 16
        self.board.take(self.batch(opened, events))

    def batch(self, commands: Commands, events: object) -> Batch:
        made = Batch(self.next, self.next * 1_000_000_000, commands, events)
        self.next += len(commands)
        return made

    def do(self, *commands: Command) -> Batch:
        given = rows(*commands)
        batch = self.batch(given, self.engine.apply_batch(given))
        self.board.take(batch)
        return batch


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
def test_live_orders_are_those_of_the_engine_after_every_batch(name: str) -> None:
    stand = Stand()
    commands = flowing(name, seed=5)
    for first in range(0, len(commands), BATCH):
        stand.do(*commands[first : first + BATCH])
        assert len(stand.board.orders) == len(stand.engine)
        found = {each.id: (each.left, each.price) for queue in stand.engine.queues() for each in queue}
        assert {key: (each.left, each.price) for key, each in stand.board.orders.items()} == found
        assert sum(len(owner.live) for owner in stand.board.accounts.values()) == len(found)


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
    before = (stand.board.accounts[8].cash, stand.board.accounts[7].live[1].left)
    stand.board.take(batch)
    assert (stand.board.accounts[8].cash, stand.board.accounts[7].live[1].left) == before == (-3 * 101 * VALUE, 2)


def test_both_sides_of_a_trade_have_a_fill() -> None:
    stand = Stand()
    stand.do(order(7, 1, Side.SELL, 5, 101))
    stand.do(order(8, 4, Side.BUY, 3, 102))
    assert [(each.role, each.price, each.lots) for each in stand.board.accounts[7].fills] == [("maker", 101, 3)]
    assert [(each.role, each.price, each.lots) for each in stand.board.accounts[8].fills] == [("taker", 101, 3)]
    assert stand.board.accounts[8].cash == -3 * 101 * VALUE


def test_fees_are_those_that_clearing_books() -> None:
    fees = FeeSchedule(maker_ppm=-1_000, taker_ppm=3_000, auction_ppm=2_000)
    stand = Stand(fees)
    stand.do(order(7, 1, Side.SELL, 5, 101), order(8, 1, Side.BUY, 3, 102))
    worth = 3 * 101 * VALUE
    assert stand.board.accounts[7].fees == fees.fee(worth, -1_000) == -1
    assert stand.board.accounts[8].fees == fees.fee(worth, 3_000) == 5
    stand.do(Command(Kind.PHASE, type=Phase.AUCTION), order(8, 2, Side.BUY, 2, 101))
    stand.do(Command(Kind.PHASE, type=Phase.CONTINUOUS))
    both = fees.fee(2 * 101 * VALUE, 2_000)
    assert (stand.board.accounts[7].fees, stand.board.accounts[8].fees) == (-1 + both, 5 + both)


def test_an_iceberg_shows_a_part_and_its_order_all_of_it() -> None:
    stand = Stand()
    stand.do(order(7, 1, Side.SELL, 50, 101, display=10), order(8, 1, Side.BUY, 13, 101))
    assert stand.engine.depth(Side.SELL, 1) == [(101, 7, 1)]
    assert stand.board.accounts[7].live[1].left == 37


def test_orders_that_have_ended_can_still_be_asked_for() -> None:
    stand = Stand()
    stand.do(order(7, 1, Side.SELL, 5, 101), Command(Kind.CANCEL, order_id(7, 1), 7))
    found = stand.board.accounts[7].order(1)
    assert found is not None
    assert found.status == "canceled"


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
