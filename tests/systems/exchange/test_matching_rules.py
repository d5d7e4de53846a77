"""The rules of the matching engine, case by case, on both engines."""

from collections.abc import Callable

import pytest
from orders import buy, cancel, enter, mass_cancel, play, replace, sell

from archstone.systems.exchange.matching import (
    MAX_PRICE,
    MAX_QUANTITY,
    Command,
    Engine,
    Flag,
    Kind,
    Phase,
    ReferenceEngine,
    SelfTrade,
    Side,
    TimeInForce,
)
from archstone.systems.exchange.matching.native import NativeEngine

IOC, FOK, DAY, POST = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY, Flag.POST_ONLY


@pytest.fixture(params=[ReferenceEngine, NativeEngine])
def new(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """Return what makes books of an engine."""
    try:
        request.param()
    except ImportError:
        pytest.skip("archstone-matching is not built here: make native")
    return request.param


@pytest.fixture
def book(new: Callable[..., Engine]) -> Engine:
    return new()


def test_the_better_price_and_then_the_older_order_trades_first_at_the_makers_price(book: Engine) -> None:
    play(book, sell(1, 5, 102), sell(2, 5, 101), sell(3, 5, 101))
    assert play(book, buy(9, 12, 105)) == ["9x2 5@101", "9x3 5@101", "9x1 2@102"]
    assert book.depth(Side.SELL, 9) == [(102, 3, 1)]


def test_what_is_not_filled_waits(book: Engine) -> None:
    assert play(book, sell(1, 5, 101), buy(9, 8, 101)) == ["+1 5@101", "9x1 5@101", "+9 3@101"]
    assert book.depth(Side.BUY, 9) == [(101, 3, 1)]


def test_a_market_order_takes_any_price_and_does_not_wait(book: Engine) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 900))
    assert play(book, buy(9, 12)) == ["9x1 5@101", "9x2 5@900", "-9 2 UNFILLED"]
    assert len(book) == 0


def test_a_protected_market_order_takes_no_worse_price_than_its_own(book: Engine) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 103))
    order = buy(9, 8, flags=Flag.PROTECTED)._replace(price=102)
    assert play(book, order) == ["9x1 5@101", "-9 3 UNFILLED"]


def test_ioc_cancels_what_it_does_not_get(book: Engine) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 103))
    assert play(book, buy(9, 8, 102, tif=IOC)) == ["9x1 5@101", "-9 3 UNFILLED"]


def test_fok_changes_nothing_unless_it_gets_all(book: Engine) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 102))
    before = book.digest()
    assert play(book, buy(9, 11, 102, tif=FOK)) == ["-9 11 NOT_IN_FULL"]
    assert book.digest() == before
    assert play(book, buy(9, 10, 102, tif=FOK)) == ["9x1 5@101", "9x2 5@102"]


def test_fok_counts_what_an_iceberg_hides(book: Engine) -> None:
    play(book, sell(1, 50, 101, display=5))
    assert play(book, buy(9, 50, 101, tif=FOK))[-1] == "9x1 5@101"
    assert len(book) == 0


def test_post_only_never_takes(book: Engine) -> None:
    play(book, sell(1, 5, 101))
    assert play(book, buy(9, 5, 101, flags=POST)) == ["!9 POST_ONLY"]
    assert play(book, buy(9, 5, 100, flags=POST)) == ["+9 5@100"]
    assert play(book, replace(9, 5, 101)) == ["!9 POST_ONLY"]
    assert book.depth(Side.BUY, 9) == [(100, 5, 1)]


def test_an_iceberg_shows_its_next_part_behind_those_who_wait(book: Engine) -> None:
    play(book, sell(1, 12, 101, display=5), sell(2, 5, 101))
    assert book.depth(Side.SELL, 9) == [(101, 10, 2)]
    assert play(book, buy(9, 12, 101)) == ["9x1 5@101", "~1 5@101", "9x2 5@101", "9x1 2@101"]
    assert play(book, buy(8, 9, 101)) == ["8x1 3@101", "~1 2@101", "8x1 2@101", "+8 4@101"]


def test_a_cancel_in_the_middle_of_a_queue_leaves_the_others_in_place(book: Engine) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 101), sell(3, 5, 101))
    assert play(book, cancel(2)) == ["-2 5 USER"]
    assert play(book, buy(9, 11, 101)) == ["9x1 5@101", "9x3 5@101", "+9 1@101"]


def test_a_cancel_of_the_best_leaves_no_phantom(book: Engine) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 102), cancel(1))
    assert book.depth(Side.SELL, 1) == [(102, 5, 1)]
    assert play(book, buy(9, 5, 101)) == ["+9 5@101"]


def test_cancelling_what_is_done_or_another_accounts_is_refused(book: Engine) -> None:
    play(book, sell(1, 5, 101), buy(9, 5, 101))
    assert play(book, cancel(1), cancel(7)) == ["!1 UNKNOWN", "!7 UNKNOWN"]
    play(book, sell(2, 5, 101))
    assert play(book, cancel(2, account=3), replace(2, 1, 101, account=3)) == ["!2 UNKNOWN", "!2 UNKNOWN"]


def test_a_replaced_order_keeps_its_place_if_it_gets_smaller_at_its_price(book: Engine) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 101))
    assert play(book, replace(1, 3, 101)) == ["=1 3@101 kept"]
    assert play(book, buy(9, 4, 101)) == ["9x1 3@101", "9x2 1@101"]


@pytest.mark.parametrize(
    ("quantity", "price", "said"),
    [(6, 101, ["9x2 5@101", "9x1 6@101", "9x3 5@102"]), (5, 102, ["9x2 5@101", "9x3 5@102", "9x1 5@102"])],
)
def test_a_replaced_order_loses_its_place_if_it_grows_or_moves(
    book: Engine, quantity: int, price: int, said: list[str]
) -> None:
    play(book, sell(1, 5, 101), sell(2, 5, 101), sell(3, 5, 102))
    assert play(book, replace(1, quantity, price)) == [f"=1 {quantity}@{price}", f"+1 {quantity}@{price}"]
    assert play(book, buy(9, 20, 105))[:3] == said


def test_a_replaced_order_that_crosses_trades_at_the_makers_price(book: Engine) -> None:
    play(book, sell(1, 5, 101), buy(2, 8, 99))
    assert play(book, replace(2, 8, 103)) == ["=2 8@103", "2x1 5@101", "+2 3@103"]


def test_a_replace_that_comes_too_late_is_refused(book: Engine) -> None:
    play(book, sell(1, 5, 101), buy(9, 5, 101))
    assert play(book, replace(1, 5, 100)) == ["!1 UNKNOWN"]


def test_a_smaller_iceberg_gives_up_what_it_hides_first(book: Engine) -> None:
    play(book, sell(1, 12, 101, display=5), replace(1, 6, 101))
    assert book.depth(Side.SELL, 1) == [(101, 5, 1)]
    assert play(book, replace(1, 3, 101)) == ["=1 3@101 kept"]
    assert book.depth(Side.SELL, 1) == [(101, 3, 1)]


def test_an_id_is_free_again_when_its_order_is_done(book: Engine) -> None:
    play(book, sell(1, 5, 101))
    assert play(book, buy(1, 5, 90)) == ["!1 DUPLICATE"]
    play(book, cancel(1))
    assert play(book, buy(1, 5, 90)) == ["+1 5@90"]


def test_a_mass_cancel_takes_all_of_one_account_and_of_one_side_if_it_says_so(book: Engine) -> None:
    own = [buy(1, 1, 90, account=7), buy(2, 1, 91, account=7), sell(3, 1, 101, account=7)]
    play(book, *own, buy(4, 1, 89, account=7, trigger=120), buy(5, 1, 91, account=8))
    assert play(book, mass_cancel(7, Side.SELL)) == ["-3 1 MASS"]
    assert play(book, mass_cancel(7)) == ["-2 1 MASS", "-1 1 MASS", "-4 1 MASS"]
    assert play(book, mass_cancel(7)) == []
    assert len(book) == 1


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (SelfTrade.NONE, ["9x1 5@101", "9x2 3@101"]),
        (SelfTrade.CANCEL_TAKER, ["-9 8 SELF_TRADE"]),
        (SelfTrade.CANCEL_MAKER, ["-1 5 SELF_TRADE", "9x2 5@101", "+9 3@101"]),
        (SelfTrade.CANCEL_BOTH, ["-1 5 SELF_TRADE", "-9 8 SELF_TRADE"]),
    ],
)
def test_an_account_does_not_trade_with_itself_if_it_does_not_want_to(
    book: Engine, choice: SelfTrade, said: list[str]
) -> None:
    play(book, sell(1, 5, 101, account=7), sell(2, 5, 101))
    assert play(book, buy(9, 8, 101, account=7, stp=choice)) == said


def test_fok_and_self_trades(book: Engine) -> None:
    play(book, sell(1, 5, 100), sell(2, 5, 101, account=7), sell(3, 5, 101))
    for choice in (SelfTrade.CANCEL_TAKER, SelfTrade.CANCEL_BOTH):
        order = buy(9, 10, 101, account=7, stp=choice, tif=FOK)
        assert play(book, order) == ["-9 10 NOT_IN_FULL"]
    assert play(book, buy(9, 11, 101, account=7, stp=SelfTrade.CANCEL_MAKER, tif=FOK)) == ["-9 11 NOT_IN_FULL"]
    assert play(book, buy(9, 10, 101, account=7, stp=SelfTrade.CANCEL_MAKER, tif=FOK)) == [
        "9x1 5@100",
        "-2 5 SELF_TRADE",
        "9x3 5@101",
    ]
    play(book, sell(4, 5, 100), sell(5, 5, 101, account=7))
    assert play(book, buy(9, 5, 101, account=7, stp=SelfTrade.CANCEL_TAKER, tif=FOK)) == ["9x4 5@100"]


def test_stops_wake_by_a_trade_nearest_first_and_wake_others(book: Engine) -> None:
    play(book, sell(1, 1, 101), sell(2, 1, 103), sell(3, 5, 110))
    assert play(book, buy(11, 1, trigger=103), buy(12, 1, trigger=102), buy(13, 1, 106, trigger=102)) == []
    assert play(book, buy(20, 1, 101)) == ["20x1 1@101"]
    assert play(book, buy(21, 1, 103)) == [
        "21x2 1@103",
        "*12",
        "12x3 1@110",
        "*13",
        "+13 1@106",
        "*11",
        "11x3 1@110",
    ]


def test_a_stop_that_is_touched_already_wakes_at_once(book: Engine) -> None:
    play(book, sell(1, 1, 101), buy(2, 1, 101), sell(3, 1, 105))
    assert play(book, buy(4, 1, trigger=101)) == ["*4", "4x3 1@105"]
    assert play(book, sell(5, 1, trigger=104)) == []
    assert play(book, sell(6, 1, trigger=106)) == ["*6", "-6 1 UNFILLED"]


def test_each_trade_of_a_sweep_wakes_stops_not_only_the_last(book: Engine) -> None:
    play(book, sell(1, 1, 100), sell(2, 1, 109), buy(3, 5, 90))
    play(book, sell(4, 1, trigger=101))
    assert play(book, buy(9, 2)) == ["9x1 1@100", "9x2 1@109", "*4", "4x3 1@90"]


def test_stops_sleep_on_in_their_order_when_the_book_is_to_halt() -> None:
    """In C++ a venue is what halts a book: see `test_venue_rules`."""
    book = ReferenceEngine()
    play(book, buy(1, 1, 10), buy(2, 1, 9), buy(3, 1, 8))
    play(book, *(sell(order, 1, 1, trigger=trigger) for order, trigger in ((11, 9), (12, 10), (13, 10), (14, 8))))
    book.watch = lambda price, aggressor: price == 9
    assert play(book, sell(4, 1, 10)) == ["4x1 1@10", "*12", "12x2 1@9"]
    book.watch = lambda price, aggressor: False
    assert [order.id for order in book.queues()[3]] == [13, 11, 14]
    assert play(book, cancel(13), sell(5, 1, 8)) == ["-13 1 USER", "5x3 1@8", "*11", "+11 1@1", "*14", "+14 1@1"]


def test_a_sleeping_stop_can_be_changed_and_cancelled(book: Engine) -> None:
    play(book, buy(1, 5, 100, trigger=101), buy(2, 5, trigger=101))
    assert play(book, replace(1, 7, 102), replace(2, 3)) == ["=1 7@102 kept", "=2 3@0 kept"]
    assert play(book, replace(2, 3, 100), cancel(2)) == ["!2 FIELD", "-2 3 USER"]


@pytest.mark.parametrize(
    "command",
    [
        buy(0, 1, 1),
        buy(1, 0, 1),
        buy(1, MAX_QUANTITY + 1, 1),
        buy(1, 1, MAX_PRICE + 1),
        buy(1, 1, -1),
        Command(Kind.NEW, 1, 0, Side.BUY, price=1, quantity=1),
        Command(Kind.NEW, 1, 1, 0, price=1, quantity=1),
        Command(Kind.NEW, 1, 1, Side.BUY, price=0, quantity=1),
        buy(1, 1)._replace(price=1),
        buy(1, 2, 1, display=3),
        buy(1, 2, 1, display=1, tif=IOC),
        buy(1, 2, display=1),
        buy(1, 2, flags=POST),
        buy(1, 2, 1, flags=POST, tif=FOK),
        buy(1, 2, 1, flags=POST, trigger=3),
        buy(1, 2, 1, flags=2),
        buy(1, 2, flags=Flag.PROTECTED),
        buy(1, 2, flags=3)._replace(price=1),
        buy(1, 2, 1, tif=4),
        buy(1, 2, 1, stp=4),
        buy(1, 2, 1, trigger=-1),
        Command(99, 1),
        mass_cancel(0),
        mass_cancel(1, 3),
        Command(Kind.PHASE, type=9),
        Command(Kind.BAND, price=2, trigger=1),
        Command(Kind.BAND, price=0, trigger=1),
        Command(Kind.REFERENCE),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(book: Engine, command: Command) -> None:
    before = book.digest()
    [said] = play(book, command)
    assert said.endswith(" FIELD")
    assert book.digest() == before


def test_the_largest_and_the_smallest_are_taken(book: Engine) -> None:
    assert play(book, sell(1, MAX_QUANTITY, MAX_PRICE), buy(2, 1, 1)) == [f"+1 {MAX_QUANTITY}@{MAX_PRICE}", "+2 1@1"]


class TestPhases:
    def test_only_cancelling_is_left_to_a_halted_or_closed_book(self, book: Engine) -> None:
        play(book, buy(1, 5, 100), buy(2, 5, 100))
        for phase in (Phase.HALTED, Phase.CLOSED):
            play(book, enter(phase))
            assert play(book, buy(9, 5, 100), replace(1, 1, 100)) == ["!9 PHASE", "!1 PHASE"]
        assert play(book, cancel(1), mass_cancel(2)) == ["-1 5 USER", "-2 5 MASS"]

    def test_what_was_halted_opens_by_an_auction(self, book: Engine) -> None:
        play(book, enter(Phase.HALTED))
        assert play(book, enter(Phase.CONTINUOUS)) == ["!0 PHASE"]
        play(book, enter(Phase.AUCTION), enter(Phase.CONTINUOUS))
        assert play(book, sell(1, 1, 5), buy(2, 1, 5)) == ["+1 1@5", "2x1 1@5"]

    def test_orders_for_the_day_are_gone_when_it_closes(self, book: Engine) -> None:
        play(book, buy(1, 5, 100, tif=DAY), buy(2, 5, 100), buy(3, 5, trigger=120, tif=DAY))
        assert play(book, enter(Phase.CLOSED)) == ["-1 5 DAY", "-3 5 DAY"]

    def test_a_band_refuses_and_cancels_what_is_outside(self, book: Engine) -> None:
        play(book, buy(1, 5, 95), buy(2, 5, 89), sell(3, 5, 110), sell(4, 5, 111), buy(5, 5, 120, trigger=115))
        assert play(book, Command(Kind.BAND, price=90, trigger=110)) == ["-2 5 BAND", "-4 5 BAND", "-5 5 BAND"]
        assert play(book, buy(9, 1, 111), replace(1, 1, 89), buy(8, 1, 90)) == ["!9 BAND", "!1 BAND", "+8 1@90"]
        assert play(book, Command(Kind.BAND), buy(9, 1, 500)) == ["9x3 1@110"]


class TestAuctions:
    @pytest.fixture
    def book(self, new: Callable[..., Engine]) -> Engine:
        return new(phase=Phase.AUCTION)

    def test_orders_gather_and_trade_at_one_price_when_it_ends(self, book: Engine) -> None:
        assert play(book, buy(1, 5, 103), sell(2, 4, 99), buy(3, 5, 101), sell(4, 5, 100))[-1] == "+4 5@100"
        assert play(book, enter(Phase.CONTINUOUS)) == [
            "auction 9@101 over 1",
            "1x2 4@101",
            "1x4 1@101",
            "3x4 4@101",
        ]
        assert book.depth(Side.BUY, 9) == [(101, 1, 1)]

    def test_most_volume_decides_first(self, book: Engine) -> None:
        play(book, buy(1, 10, 100), buy(2, 1, 105), sell(3, 10, 100), sell(4, 1, 95))
        assert play(book, enter(Phase.CONTINUOUS))[0] == "auction 11@100 over 0"

    def test_then_the_smaller_surplus(self, book: Engine) -> None:
        play(book, buy(1, 5, 102), buy(2, 3, 101), sell(3, 5, 100))
        assert play(book, enter(Phase.CONTINUOUS))[0] == "auction 5@102 over 0"

    def test_a_surplus_pulls_the_price(self, new: Callable[..., Engine], book: Engine) -> None:
        play(book, buy(1, 7, 103), sell(2, 5, 100))
        assert play(book, enter(Phase.CONTINUOUS))[0] == "auction 5@103 over 2"
        book = new(phase=Phase.AUCTION)
        play(book, buy(1, 5, 103), sell(2, 7, 100))
        assert play(book, enter(Phase.CONTINUOUS))[0] == "auction 5@100 over -2"

    @pytest.mark.parametrize(("reference", "price"), [(0, 103), (90, 100), (101, 100), (102, 103), (200, 103)])
    def test_then_what_is_nearest_to_the_reference(self, book: Engine, reference: int, price: int) -> None:
        play(book, buy(1, 5, 103), sell(2, 5, 100))
        if reference:
            book.apply(Command(Kind.REFERENCE, price=reference))
        assert play(book, enter(Phase.CONTINUOUS))[0] == f"auction 5@{price} over 0"

    def test_market_orders_come_first_and_do_not_outlast_it(self, new: Callable[..., Engine], book: Engine) -> None:
        play(book, buy(1, 5, 103), buy(2, 5), sell(3, 6, 100))
        assert play(book, enter(Phase.CONTINUOUS)) == ["auction 6@103 over 4", "2x3 5@103", "1x3 1@103"]
        book = new(phase=Phase.AUCTION)
        play(book, buy(2, 5), sell(3, 2, 100))
        assert play(book, enter(Phase.CONTINUOUS)) == ["auction 2@100 over 3", "2x3 2@100", "-2 3 UNFILLED"]

    def test_without_any_price_the_reference_decides(self, book: Engine) -> None:
        play(book, buy(1, 5), sell(2, 5))
        assert play(book, enter(Phase.CONTINUOUS)) == ["-1 5 UNFILLED", "-2 5 UNFILLED"]
        play(book, enter(Phase.AUCTION), Command(Kind.REFERENCE, price=77), buy(1, 5), sell(2, 5))
        assert play(book, enter(Phase.CONTINUOUS)) == ["auction 5@77 over 0", "1x2 5@77"]

    def test_nothing_trades_at_once_and_what_must_is_refused(self, book: Engine) -> None:
        assert play(book, buy(1, 5, 103, tif=IOC), buy(2, 5, tif=FOK)) == ["!1 PHASE", "!2 PHASE"]
        assert play(book, buy(3, 5, 103, tif=IOC, trigger=99)) == []

    def test_an_iceberg_takes_part_with_all_of_it(self, book: Engine) -> None:
        play(book, buy(1, 12, 103, display=5), buy(2, 1, 103), sell(3, 9, 100))
        assert play(book, enter(Phase.CONTINUOUS)) == ["auction 9@103 over 4", "1x3 9@103", "~1 3@103"]
        assert play(book, sell(4, 2, 103)) == ["4x2 1@103", "4x1 1@103"]

    def test_stops_wake_when_it_has_traded_and_not_when_it_closes(
        self, new: Callable[..., Engine], book: Engine
    ) -> None:
        play(book, buy(1, 5, 100), sell(2, 4, 100), sell(3, 1, trigger=100))
        assert play(book, enter(Phase.CONTINUOUS)) == ["auction 4@100 over 1", "1x2 4@100", "*3", "3x1 1@100"]
        book = new(phase=Phase.AUCTION)
        play(book, buy(1, 5, 100), sell(2, 4, 100), sell(3, 1, trigger=100))
        assert play(book, enter(Phase.CLOSED)) == ["auction 4@100 over 1", "1x2 4@100"]
        assert play(book, enter(Phase.AUCTION), enter(Phase.CONTINUOUS)) == ["*3", "3x1 1@100"]

    def test_a_halt_ends_it_without_a_trade(self, book: Engine) -> None:
        play(book, buy(1, 5, 103), sell(2, 5, 100))
        assert play(book, enter(Phase.HALTED)) == []
        assert play(book, enter(Phase.AUCTION), enter(Phase.CLOSED))[0] == "auction 5@103 over 0"
