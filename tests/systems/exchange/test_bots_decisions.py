"""What each bot decides, by what it sees alone."""

import itertools
import statistics
from random import Random

from archstone.systems.exchange.bots import Maker, Market, Momentum, Noise, Open, Slow, View, Walk
from archstone.systems.exchange.bots.seat import Seat
from archstone.systems.exchange.matching import Command, Kind, Reason, Side, TimeInForce, Told
from archstone.systems.exchange.venue import order_id, order_of

MARKET = Market(book=1, price=10_000, hourly_ratio=0.01)
STILL = Market(book=1, price=10_000, hourly_ratio=0)


def seen(at_s: float = 0.0, *, bid: int = 9_995, ask: int = 10_005, position: int = 0, orders: tuple = ()) -> View:
    return View(at_s=at_s, bids=[(bid, 10, 1)], asks=[(ask, 10, 1)], position=position, open=orders)


def maker(**more) -> Maker:
    return Maker(walk=Walk(STILL, seed=1), **{"levels": 2, "spread_ratio": 0.001} | more)


def quotes(commands: list[Command]) -> list[tuple[int, int, int]]:
    return [(each.side, each.price, each.quantity) for each in commands]


def test_the_walk_is_the_same_for_a_seed_whenever_it_is_asked() -> None:
    one, other = Walk(MARKET, seed=7), Walk(MARKET, seed=7)
    forward = [one.at(at) for at in range(0, 5_000, 7)]
    assert [other.at(at) for at in reversed(range(0, 5_000, 7))] == forward[::-1]
    assert [Walk(MARKET, seed=8).at(at) for at in range(0, 5_000, 7)] != forward


def test_the_walk_moves_in_an_hour_by_what_the_market_says_and_stays_near_its_price() -> None:
    walk = Walk(MARKET, seed=1)
    hours = [walk.at(3_600.0 * hour) for hour in range(1_000)]
    moves = [after / before - 1 for before, after in itertools.pairwise(hours)]
    assert 0.6 * MARKET.hourly_ratio < statistics.pstdev(moves) < 1.5 * MARKET.hourly_ratio
    assert max(abs(each / MARKET.price - 1) for each in hours) < 6 * MARKET.hourly_ratio
    seconds = [walk.at(1e6 + each) for each in range(3_600)]
    assert max(abs(b - a) for a, b in itertools.pairwise(seconds)) < 0.002 * MARKET.price


def test_a_maker_quotes_both_sides_around_the_fair_value() -> None:
    assert quotes(maker().decide(seen())) == [
        (Side.BUY, 9_995, 20), (Side.BUY, 9_990, 20), (Side.SELL, 10_005, 20), (Side.SELL, 10_010, 20),
    ]  # fmt: skip


def test_a_maker_that_holds_much_asks_less_and_bids_less_and_no_more_than_it_may_hold() -> None:
    made = quotes(maker(most_held=100).decide(seen(position=90)))
    assert made == [(Side.BUY, 9_986, 10), (Side.SELL, 9_996, 20), (Side.SELL, 10_001, 20)]
    assert quotes(maker(most_held=100).decide(seen(position=100))) == [(Side.SELL, 9_995, 20), (Side.SELL, 10_000, 20)]


def test_a_maker_moves_its_quotes_by_replace_and_leaves_those_alone_that_are_right() -> None:
    right = (Open(1, Side.BUY, 9_995, 20), Open(2, Side.BUY, 9_990, 20), Open(3, Side.SELL, 10_005, 20))
    assert maker().decide(seen(orders=(*right, Open(4, Side.SELL, 10_010, 11)))) == []
    used_up = maker().decide(seen(orders=(*right, Open(4, Side.SELL, 10_010, 9))))
    assert used_up == [Command(Kind.REPLACE, 4, price=10_010, quantity=20)]
    more = maker().decide(seen(orders=(*right, Open(4, Side.SELL, 10_010, 20), Open(5, Side.SELL, 10_015, 20))))
    assert more == [Command(Kind.CANCEL, 5)]


def test_a_maker_that_moves_up_moves_its_sells_first_so_that_it_never_meets_itself() -> None:
    low = (Open(1, Side.BUY, 9_900, 20), Open(2, Side.SELL, 9_910, 20))
    sides = [each.id for each in maker(levels=1).decide(seen(orders=low))]
    assert sides == [2, 1]
    high = (Open(1, Side.BUY, 10_100, 20), Open(2, Side.SELL, 10_110, 20))
    assert [each.id for each in maker(levels=1).decide(seen(orders=high))] == [1, 2]


def test_momentum_follows_a_move_and_gives_it_up_when_it_is_over() -> None:
    bot = Momentum(window=5, threshold_ratio=0.001, most_held=8)
    for _ in range(5):
        assert bot.decide(seen()) == []
    [bought] = bot.decide(seen(bid=10_045, ask=10_055))
    assert (bought.side, bought.price, bought.quantity, bought.tif) == (Side.BUY, 10_055, 5, TimeInForce.IOC)
    [less] = bot.decide(seen(bid=10_095, ask=10_105, position=5))
    assert less.quantity == 3
    assert bot.decide(seen(bid=10_195, ask=10_205, position=8)) == []
    for _ in range(5):
        last = bot.decide(seen(bid=10_195, ask=10_205, position=8))
    assert quotes(last) == [(Side.SELL, 10_195, 5)]


def test_noise_never_goes_beyond_what_it_may_hold_and_clears_up_its_oldest_order() -> None:
    bot = Noise(random=Random(1), most_held=20, lots=8)
    for _ in range(200):
        assert all(each.side == Side.SELL for each in bot.decide(seen(position=15)) if each.kind == Kind.NEW)
    orders = tuple(Open(each, Side.BUY, 9_990, 3) for each in (1, 2, 3))
    gone = [each for _ in range(50) for each in bot.decide(seen(orders=orders)) if each.kind == Kind.CANCEL]
    assert {each.id for each in gone} == {1}


def test_a_bot_that_sees_an_empty_book_does_nothing_but_the_maker() -> None:
    empty = View(at_s=0.0)
    for bot in (Momentum(), Noise(random=Random(1)), Slow(random=Random(1), pause_ratio=0)):
        assert [command for _ in range(50) for command in bot.decide(empty)] == []
    assert len(maker().decide(empty)) == 4


def test_the_slow_trader_shows_little_follows_the_market_and_sells_what_it_bought() -> None:
    bot = Slow(random=Random(1), lots=200, shown=10, pause_ratio=0)
    [begun] = bot.decide(seen())
    assert (begun.quantity, begun.display) == (200, 10)
    [back] = bot.decide(seen(position=120))
    assert (back.side, back.price, back.quantity) == (Side.SELL, 10_005, 120)
    [moved] = bot.decide(seen(bid=9_999, orders=(Open(1, Side.BUY, 9_990, 70),)))
    assert moved == Command(Kind.REPLACE, 1, price=9_999, quantity=70)
    assert bot.decide(seen(bid=9_990, orders=(Open(1, Side.BUY, 9_990, 70),))) == []


class Eager:
    every_s = 1.0
    most_held = 10

    def decide(self, view: View) -> list[Command]:
        return [Command(Kind.NEW, side=Side.BUY, price=1, quantity=1)] * 50


def seat(**more) -> Seat:
    return Seat(bot=Eager(), market=MARKET, account=7, random=Random(1), **{"most_per_s": 5.0} | more)


def test_a_seat_sends_no_more_than_its_rate_and_numbers_its_orders_upwards() -> None:
    one = seat(number=40)
    sent = [command for turn in range(20) for command in one.decided(View(at_s=0.0), float(turn))]
    assert len(sent) <= 5 * 20 + 5
    assert [order_of(each.id) for each in sent] == [(7, 41 + index) for index in range(len(sent))]
    assert {each.account for each in sent} == {7}
    assert 19.5 < one.due_s < 20.5


def test_a_seat_knows_its_orders_and_position_by_events_alone() -> None:
    one, mine, theirs = seat(), order_id(7, 1), order_id(9, 1)
    names = ("id", "other", "side", "price", "quantity", "left", "other_left", "reason")

    def tell(kind: Told, **fields: int) -> None:
        one.note(dict.fromkeys(names, 0) | {"kind": kind} | fields)

    tell(Told.ACCEPTED, id=mine, side=Side.SELL, price=100, quantity=9)
    assert [*one.open.values()] == [Open(mine, Side.SELL, 100, 9)]
    tell(Told.TRADED, id=theirs, other=mine, side=Side.BUY, price=100, quantity=4, left=0, other_left=5)
    assert (one.position, one.traded, one.open[mine].left) == (-4, 4, 5)
    tell(Told.REPLACED, id=mine, side=Side.SELL, price=99, quantity=3)
    assert one.open[mine] == Open(mine, Side.SELL, 99, 3)
    tell(Told.CANCELED, id=mine, side=Side.SELL, left=3)
    assert one.open == {}
    tell(Told.REJECTED, id=order_id(7, 2), reason=Reason.NUMBER)
    assert one.refused == 1
    assert one.number > 100_000
