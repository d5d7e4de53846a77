"""Risk before matching, case by case: what is refused, what is reserved, and what gives it back."""

from collections.abc import Callable

import pytest
from venues import SECOND, Desk, named, rows

from archstone.systems.exchange.matching import Command, Kind, Phase, SelfTrade, Side, TimeInForce
from archstone.systems.exchange.venue import NativeVenue, ReferenceVenue, Venue, order_id

IOC, FOK, DAY = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY
VENUES: list[Callable[[], Venue]] = [ReferenceVenue, NativeVenue]


@pytest.fixture(params=VENUES)
def desk(request: pytest.FixtureRequest) -> Desk:
    try:
        return Desk(request.param())
    except ImportError:
        pytest.skip("archstone-matching is not built here: make native")


class TestWhoMayOrder:
    def test_an_account_must_be_there_and_the_order_its_own(self, desk: Desk) -> None:
        desk.open()
        assert desk.buy(101, 1, 10) == ["!101 NO_ACCOUNT"]
        desk.accounts(1)
        other = desk.order(Side.BUY, 201, 1, 10)._replace(account=1)
        assert desk.tell(other) == ["!201 FIELD"]
        assert desk.tell(desk.order(Side.BUY, 100, 1, 10)) == ["!100 FIELD"]
        assert desk.tell(Command(Kind.CANCEL, order_id(7, 1), 7)) == ["!701 NO_ACCOUNT"]
        assert desk.buy(101, 1, 10) == ["+101 1@10"]

    def test_a_number_is_used_once_whatever_came_of_it(self, desk: Desk) -> None:
        desk.open(most=5)
        desk.accounts(1)
        assert desk.buy(102, 1, 10) == ["+102 1@10"]
        assert desk.buy(102, 1, 10) == ["!102 NUMBER"]
        assert desk.buy(101, 1, 10) == ["!101 NUMBER"]
        assert desk.buy(103, 9, 10) == ["!103 QUANTITY"]
        assert desk.buy(103, 1, 10) == ["!103 NUMBER"]
        desk.cancel(102)
        assert desk.buy(102, 1, 10) == ["!102 NUMBER"]
        assert desk.buy(104, 1, 10) == ["+104 1@10"]

    def test_the_highest_number_sent_by_mistake_does_not_end_an_account(self, desk: Desk) -> None:
        desk.open()
        desk.accounts(1)
        order = desk.order(Side.BUY, 101, 1, 10)
        for number, done in ((2**32 - 1, False), (2**31 + 1, False), (2**31, True), (2**32 - 1, True), (1, False)):
            named = 100 + number
            told = [f"+{named} 1@10"] if done else [f"!{named} NUMBER"]
            assert desk.tell(order._replace(id=order_id(1, number))) == told

    def test_there_must_be_such_a_book(self, desk: Desk) -> None:
        desk.accounts(1)
        assert desk.buy(101, 1, 10) == ["!101 NO_BOOK"]
        assert desk.cancel(101) == ["!101 NO_BOOK"]
        assert desk.phase(Phase.HALTED) == ["!0 NO_BOOK"]

    def test_so_many_orders_and_replaces_within_a_second_and_cancelling_is_free(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 1000, rate=3)
        assert desk.buy(101, 1, 10) + desk.replace(101, 2, 10) + desk.buy(103, 1, 10)[:1] == [
            "+101 1@10",
            "=101 2@10",
            "+101 2@10",
            "+103 1@10",
        ]
        assert desk.buy(104, 1, 10) == ["!104 RATE"]
        assert desk.replace(101, 1, 10) == ["!101 RATE"]
        assert desk.cancel(101) == ["-101 2 USER"]
        desk.wait(0.999)
        assert desk.buy(105, 1, 10) == ["!105 RATE"]
        desk.wait(0.001)
        assert desk.buy(106, 1, 10) == ["+106 1@10"]

    def test_a_mass_cancel_takes_what_there_is_on_the_sides_it_names(self, desk: Desk) -> None:
        desk.open()
        desk.accounts(1, 2)
        desk.sell(201, 1, 30), desk.buy(101, 1, 10), desk.buy(102, 1, 50, trigger=40)
        for side, account, canceled in ((Side.SELL, 1, []), (Side.BUY, 2, []), (0, 1, [101, 102]), (0, 1, [])):
            events = desk.venue.apply(rows([(1, Command(Kind.MASS_CANCEL, account=account, side=side))]), desk.at_ns)
            assert [named(order) for order in events["id"].tolist()] == [*canceled, 0]
            assert (events["account"][-1], events["quantity"][-1]) == (account, len(canceled))
        assert desk.tell(Command(Kind.MASS_CANCEL, account=1, side=3)) == ["!0 FIELD"]
        assert len(desk.venue) == 1

    def test_the_kill_switch_cancels_all_and_refuses_until_it_is_off(self, desk: Desk) -> None:
        desk.open()
        desk.tell(Command(Kind.OPEN, type=1, price=1), book=2)
        desk.accounts(1, 2)
        desk.tell(desk.order(Side.BUY, 101, 1, 10), book=2)
        desk.buy(102, 1, 11), desk.sell(103, 1, 20, trigger=5), desk.buy(201, 1, 9)
        assert desk.money(1) == (100_000, 21)
        assert desk.kill(1) == ["kill 1 1", "-102 1 KILL", "-103 1 KILL", "-101 1 KILL"]
        assert desk.money(1) == (100_000, 0)
        assert desk.venue.standing(1).killed
        assert desk.buy(104, 1, 10) == ["!104 KILL"]
        assert desk.cancel(102) == ["!102 UNKNOWN"]
        assert desk.buy(202, 1, 9) == ["+202 1@9"]
        assert desk.kill(1, 0) == ["kill 1 0"]
        assert desk.buy(105, 1, 10) == ["+105 1@10"]

    def test_the_events_of_a_kill_say_their_books(self, desk: Desk) -> None:
        desk.open()
        desk.tell(Command(Kind.OPEN, type=1, price=1), book=2)
        desk.accounts(1)
        desk.buy(101, 1, 10)
        desk.tell(desk.order(Side.BUY, 102, 1, 10), book=2)
        from venues import rows

        events = desk.venue.apply(rows([(0, Command(Kind.KILL, account=1, type=1))]), desk.at_ns)
        assert events["other"].tolist() == [0, 1, 2]

    def test_everybodys_kill_switch_is_one_of_its_own(self, desk: Desk) -> None:
        desk.open()
        desk.accounts(1, 2)
        desk.buy(101, 1, 10), desk.buy(201, 1, 9)
        desk.kill(2)
        assert desk.kill(0) == ["kill 0 1", "-101 1 KILL"]
        assert desk.buy(102, 1, 10) == ["!102 KILL"]
        desk.kill(0, 0)
        assert desk.buy(103, 1, 10) == ["+103 1@10"]
        assert desk.buy(202, 1, 10) == ["!202 KILL"]


class TestLimits:
    def test_lots_of_one_order(self, desk: Desk) -> None:
        desk.open(most=50)
        desk.account(1, 10_000, quantity=60)
        desk.account(2, 10_000, quantity=40)
        assert desk.buy(101, 51, 10) == ["!101 QUANTITY"]
        assert desk.buy(102, 50, 10) == ["+102 50@10"]
        assert desk.buy(201, 41, 9) == ["!201 QUANTITY"]
        assert desk.buy(202, 40, 9) == ["+202 40@9"]
        assert desk.replace(202, 41, 9) == ["!202 QUANTITY"]

    def test_what_one_order_is_worth(self, desk: Desk) -> None:
        desk.open(value=10)
        desk.account(1, 100_000, value=1_000)
        assert desk.buy(101, 11, 10) == ["!101 VALUE"]
        assert desk.buy(102, 10, 10) == ["+102 10@10"]
        assert desk.replace(102, 10, 11) == ["!102 VALUE"]
        assert desk.sell(103, 5, 21) == ["!103 VALUE"]

    def test_a_sale_is_worth_what_it_may_get_however_low_its_price(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 100_000, value=1_000)
        desk.accounts(2)
        desk.trade(100)
        assert desk.sell(101, 11, 1) == ["!101 VALUE"]
        assert desk.sell(102, 10, 1) == ["+102 10@1"]
        assert desk.replace(102, 11, 1) == ["!102 VALUE"]
        desk.cancel(102)
        desk.buy(201, 50, 200)
        assert desk.sell(103, 6, 1) == ["!103 VALUE"]
        assert desk.sell(104, 5, 1) == ["104x201 5@200"]
        desk.cancel(201)
        desk.tell(Command(Kind.REFERENCE, price=10))
        assert desk.sell(105, 4, 1, trigger=300) == ["!105 VALUE"]
        assert desk.sell(106, 4, 1, trigger=250) == ["*106", "+106 4@1"]

    def test_the_collar_holds_prices_near_the_last_one(self, desk: Desk) -> None:
        desk.open(collar=1_000)
        desk.accounts(1)
        assert desk.buy(101, 1, 1) == ["+101 1@1"]
        desk.trade(200)
        assert desk.buy(102, 1, 179) == ["!102 COLLAR"]
        assert desk.buy(103, 1, 180) == ["+103 1@180"]
        assert desk.sell(104, 1, 221) == ["!104 COLLAR"]
        assert desk.sell(105, 1, 220) == ["+105 1@220"]
        assert desk.replace(103, 1, 179) == ["!103 COLLAR"]
        desk.cancel(103)
        desk.tell(Command(Kind.REFERENCE, price=100))
        assert desk.sell(106, 1, 110) == ["+106 1@110"]

    def test_the_collar_of_a_stop_is_around_its_trigger(self, desk: Desk) -> None:
        desk.open(collar=1_000)
        desk.accounts(1)
        desk.trade(200)
        assert desk.buy(101, 1, 330, trigger=300) == []
        assert desk.buy(102, 1, 331, trigger=300) == ["!102 COLLAR"]
        assert desk.replace(101, 1, 331) == ["!101 COLLAR"]
        assert desk.money(1) == (100_000, 330)

    def test_so_many_live_orders_in_all_books_together(self, desk: Desk) -> None:
        desk.open()
        desk.tell(Command(Kind.OPEN, type=1, price=1), book=2)
        desk.account(1, 10_000, orders=2)
        desk.accounts(2)
        desk.buy(101, 5, 10)
        assert desk.tell(desk.order(Side.BUY, 102, 1, 20, trigger=15), book=2) == []
        assert desk.buy(103, 1, 10) == ["!103 ORDERS"]
        assert desk.replace(101, 6, 10) == ["=101 6@10", "+101 6@10"]
        desk.sell(201, 5, 10)
        assert desk.buy(104, 1, 10) == ["!104 ORDERS"]
        desk.sell(202, 1, 10)
        assert desk.buy(105, 1, 10) == ["+105 1@10"]
        desk.cancel(105)
        assert desk.buy(106, 1, 10, tif=IOC) == ["-106 1 UNFILLED"]
        desk.venue = type(desk.venue).load(desk.venue.dump())  # type: ignore[attr-defined]
        assert desk.buy(107, 1, 10) == ["+107 1@10"]
        assert desk.buy(108, 1, 10) == ["!108 ORDERS"]

    def test_lots_held_or_owed_once_all_that_is_open_were_done(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 100_000, position=10)
        desk.accounts(2)
        assert desk.buy(101, 6, 10) == ["+101 6@10"]
        assert desk.buy(102, 5, 10) == ["!102 POSITION"]
        assert desk.buy(103, 4, 9) == ["+103 4@9"]
        assert desk.replace(103, 5, 9) == ["!103 POSITION"]
        assert desk.replace(103, 4, 8) == ["=103 4@8", "+103 4@8"]
        assert desk.sell(104, 10, 20) == ["+104 10@20"]
        assert desk.sell(105, 1, 20) == ["!105 POSITION"]
        desk.sell(201, 6, 10)
        assert desk.sell(106, 6, 20) == ["+106 6@20"]
        assert desk.sell(107, 1, 20) == ["!107 POSITION"]
        assert desk.buy(108, 1, 9) == ["!108 POSITION"]


class TestMoney:
    def test_a_buy_reserves_what_it_costs_at_worst_and_a_fill_gives_the_rest_back(self, desk: Desk) -> None:
        desk.open(value=5)
        desk.account(1, 1_000)
        desk.accounts(2)
        assert desk.buy(101, 11, 20) == ["!101 CREDIT"]
        assert desk.buy(102, 10, 20) == ["+102 10@20"]
        assert desk.money(1) == (1_000, 1_000)
        assert desk.buy(103, 1, 1) == ["!103 CREDIT"]
        desk.sell(201, 4, 20)
        assert desk.money(1) == (600, 600)
        desk.cancel(102)
        desk.sell(202, 3, 15)
        assert desk.buy(104, 4, 20)[0] == "104x202 3@15"
        assert desk.money(1) == (375, 100)
        assert desk.venue.standing(1).positions == {1: 7}
        assert desk.money(2) == (100_625, 0)
        assert desk.venue.standing(2).positions == {1: -7}

    def test_credit_is_money_that_may_be_missing(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 100, credit=50)
        desk.accounts(2)
        assert desk.buy(101, 16, 10) == ["!101 CREDIT"]
        assert desk.buy(102, 15, 10) == ["+102 15@10"]
        desk.sell(201, 15, 10)
        assert desk.money(1) == (-50, 0)
        assert desk.buy(103, 1, 1) == ["!103 CREDIT"]
        assert desk.sell(104, 15, 10) == ["+104 15@10"]

    @pytest.mark.parametrize(
        ("reserved", "act"),
        [
            (0, lambda desk: desk.cancel(101)),
            (0, lambda desk: desk.tell(Command(Kind.MASS_CANCEL, account=1))),
            (0, lambda desk: desk.kill(1)),
            (0, lambda desk: desk.kill(0)),
            (0, lambda desk: desk.phase(Phase.CLOSED)),
            (0, lambda desk: desk.tell(Command(Kind.BAND, price=1, trigger=9))),
            (100, lambda desk: desk.replace(101, 5)),
            (50, lambda desk: desk.replace(101, 5, 10)),
            (30, lambda desk: desk.replace(101, 10, 3)),
            (240, lambda desk: desk.replace(101, 20, 12)),
            (100, lambda desk: desk.sell(102, 5, 10, stp=SelfTrade.CANCEL_TAKER)),
            (0, lambda desk: desk.sell(102, 5, 10, stp=SelfTrade.CANCEL_MAKER)),
            (0, lambda desk: desk.sell(102, 5, 10, stp=SelfTrade.CANCEL_BOTH)),
            (50, lambda desk: desk.sell(102, 5, 10)),
            (70, lambda desk: desk.sell(201, 3, 10)),
            (100, lambda desk: desk.phase(Phase.HALTED)),
        ],
    )
    def test_what_ends_an_order_or_changes_it_gives_back(
        self, desk: Desk, reserved: int, act: Callable[[Desk], list[str]]
    ) -> None:
        desk.open()
        desk.account(1, 240)
        desk.accounts(2)
        desk.buy(101, 10, 10, tif=DAY)
        assert desk.money(1) == (240, 100)
        act(desk)
        assert desk.money(1)[1] == reserved

    def test_what_never_waits_leaves_nothing_reserved(self, desk: Desk) -> None:
        desk.open(collar=1_000)
        desk.account(1, 10_000)
        desk.trade(100)
        desk.sell(802, 2, 100)
        assert desk.buy(101, 3, 101, tif=FOK) == ["-101 3 NOT_IN_FULL"]
        assert desk.buy(102, 3, 101, tif=IOC) == ["102x802 2@100", "-102 1 UNFILLED"]
        desk.sell(803, 2, 100)
        assert desk.buy(103, 3) == ["103x803 2@100", "-103 1 UNFILLED"]
        assert desk.money(1) == (9_600, 0)

    def test_a_replace_needs_only_what_it_costs_more(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 100)
        desk.buy(101, 10, 8)
        assert desk.replace(101, 10, 11) == ["!101 CREDIT"]
        assert desk.replace(101, 10, 10) == ["=101 10@10", "+101 10@10"]
        assert desk.replace(101, 5, 20) == ["=101 5@20", "+101 5@20"]
        assert desk.money(1) == (100, 100)

    def test_a_replace_that_crosses_trades_and_settles(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 100)
        desk.accounts(2)
        desk.buy(101, 10, 8)
        desk.sell(201, 4, 9)
        assert desk.replace(101, 10, 10) == ["=101 10@10", "101x201 4@9", "+101 6@10"]
        assert desk.money(1) == (64, 60)

    def test_what_was_filled_on_the_way_is_taken_off_a_replace_that_says_what_it_believed(self, desk: Desk) -> None:
        desk.open()
        desk.accounts(1, 2)
        desk.buy(101, 10, 10)
        desk.sell(201, 4, 10)
        assert desk.replace(101, 12, 10, believed=10) == ["=101 8@10", "+101 8@10"]
        assert desk.replace(101, 6, 10, believed=8) == ["=101 6@10 kept"]
        assert desk.money(1) == (99_960, 60)
        for quantity, believed in ((4, 10), (0, 1), (4, -1), (4, 2**31), (2**31, 2**31 - 1)):
            assert desk.replace(101, quantity, 10, believed=believed) == ["!101 FIELD"]
        assert desk.replace(101, 4, 10, believed=9) == ["=101 1@10 kept"]
        assert desk.replace(101, 2, 10, believed=1) == ["=101 2@10", "+101 2@10"]
        assert desk.replace(101, 3, 10, believed=1) == ["=101 3@10", "+101 3@10"]

    def test_who_has_no_money_left_may_still_ask_for_less(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 0, credit=100)
        desk.buy(101, 10, 10)
        desk.account(1, 0, credit=10)
        assert desk.replace(101, 9, 11) == ["=101 9@11", "+101 9@11"]
        assert desk.replace(101, 9, 12) == ["!101 CREDIT"]
        assert desk.replace(101, 10, 8) == ["!101 CREDIT"]

    def test_making_an_order_smaller_is_refused_by_nothing(self, desk: Desk) -> None:
        desk.open(collar=100)
        desk.account(1, 1_000, credit=1_000)
        desk.trade(100)
        desk.buy(101, 15, 100)
        desk.account(1, 0, credit=0, position=1, value=1, quantity=1)
        desk.tell(Command(Kind.REFERENCE, price=900))
        assert desk.replace(101, 14, 100) == ["=101 14@100 kept"]
        assert desk.replace(101, 13, 101) == ["!101 COLLAR"]

    def test_what_a_short_sale_brings_buys_nothing_else_but_what_is_owed(self, desk: Desk) -> None:
        desk.open()
        desk.tell(Command(Kind.OPEN, type=1, price=1), book=2)
        desk.account(1, 100)
        desk.accounts(2)
        desk.buy(201, 50, 10)
        desk.sell(101, 50, 10)
        assert desk.money(1) == (600, 0)
        assert desk.tell(desk.order(Side.BUY, 102, 11, 10), book=2) == ["!102 CREDIT"]
        assert desk.tell(desk.order(Side.BUY, 103, 10, 10), book=2) == ["+103 10@10"]
        assert desk.buy(104, 51, 1) == ["!104 CREDIT"]
        assert desk.buy(105, 50, 11) == ["!105 CREDIT"]
        assert desk.buy(106, 50, 10) == ["+106 50@10"]

    def test_a_short_sale_needs_margin_and_closing_a_position_does_not(self, desk: Desk) -> None:
        desk.open(margin=2_000)
        desk.tell(Command(Kind.OPEN, type=1, price=1), book=2)
        desk.account(1, 100)
        desk.accounts(2)
        assert desk.sell(101, 51, 10) == ["!101 CREDIT"]
        assert desk.sell(102, 50, 10) == ["+102 50@10"]
        assert desk.sell(103, 1, 10) == ["!103 CREDIT"]
        assert desk.replace(102, 51, 10) == ["!102 CREDIT"]
        assert desk.buy(201, 50, 10) == ["201x102 50@10"]
        assert desk.money(1) == (600, 0)
        assert desk.tell(desk.order(Side.BUY, 104, 1, 1), book=2) == ["!104 CREDIT"]
        assert desk.tell(Command(Kind.DEPOSIT, account=1, quantity=-1)) == ["!0 CREDIT"]
        assert desk.buy(105, 50, 10) == ["+105 50@10"]
        assert desk.sell(202, 50, 10) == ["202x105 50@10"]
        assert desk.tell(Command(Kind.DEPOSIT, account=1, quantity=-100)) == ["money -100"]
        desk.account(3)
        desk.tell(Command(Kind.DEPOSIT, account=3, quantity=20))
        desk.buy(301, 2, 10), desk.sell(203, 2, 10)
        assert desk.money(3) == (0, 0)
        assert desk.sell(302, 3, 10) == ["!302 CREDIT"]
        assert desk.sell(303, 2, 10) == ["+303 2@10"]

    def test_margin_is_of_what_a_sale_may_get_and_of_what_is_open(self, desk: Desk) -> None:
        desk.open(margin=10_000)
        desk.account(1, 250)
        desk.trade(100)
        assert desk.sell(101, 3, 1) == ["!101 CREDIT"]
        assert desk.sell(102, 2, 101) == ["+102 2@101"]
        assert desk.tell(Command(Kind.DEPOSIT, account=1, quantity=-51)) == ["!0 CREDIT"]
        assert desk.tell(Command(Kind.DEPOSIT, account=1, quantity=-50)) == ["money -50"]
        assert desk.sell(103, 1, 101) == ["!103 CREDIT"]
        desk.cancel(102)
        assert desk.tell(Command(Kind.DEPOSIT, account=1, quantity=-200)) == ["money -200"]

    def test_who_owes_more_than_they_have_does_not_owe_more(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 100)
        desk.accounts(2)
        desk.buy(201, 50, 10)
        desk.sell(101, 50, 10)
        desk.trade(12)
        assert desk.sell(102, 1, 13) == ["+102 1@13"]
        desk.trade(13)
        assert desk.sell(103, 1, 13) == ["!103 CREDIT"]
        desk.account(1, 0, credit=1_000)
        assert desk.sell(104, 1, 13) == ["+104 1@13"]

    def test_money_goes_out_if_it_is_neither_reserved_nor_lent_nor_owed(self, desk: Desk) -> None:
        desk.open()
        desk.account(1, 100, credit=1_000)
        desk.accounts(2)
        out = Command(Kind.DEPOSIT, account=1)
        assert desk.tell(out._replace(quantity=-101)) == ["!0 CREDIT"]
        desk.buy(101, 2, 10)
        assert desk.tell(out._replace(quantity=-81)) == ["!0 CREDIT"]
        desk.buy(201, 5, 20)
        desk.sell(102, 5, 20)
        assert desk.tell(out._replace(quantity=-81)) == ["!0 CREDIT"]
        assert desk.tell(out._replace(quantity=-80)) == ["money -80"]
        assert desk.tell(out, Command(Kind.DEPOSIT, account=5, quantity=1)) == ["!0 FIELD", "!0 NO_ACCOUNT"]

    def test_money_that_is_sent_twice_under_its_number_comes_once(self, desk: Desk) -> None:
        desk.account(1)
        money = Command(Kind.DEPOSIT, 5, 1, quantity=10)
        assert desk.tell(money, money) == ["money 10", "!0 NUMBER"]
        assert desk.tell(money._replace(id=6, quantity=-11), money._replace(id=2**32)) == ["!0 CREDIT", "!0 NUMBER"]
        desk.venue = type(desk.venue).load(desk.venue.dump())  # type: ignore[attr-defined]
        assert desk.tell(money, money._replace(id=6), money._replace(id=0)) == ["!0 NUMBER", "money 10", "money 10"]
        assert desk.money(1) == (30, 0)

    def test_an_account_is_worth_what_it_has_at_the_last_prices(self, desk: Desk) -> None:
        desk.open(value=5)
        desk.accounts(1, 2)
        desk.sell(201, 10, 20)
        desk.buy(101, 10, 20)
        desk.trade(24)
        one, two = (desk.venue.standing(account) for account in (1, 2))
        assert (one.cash, one.profit, one.exposure) == (99_000, 200, 1_200)
        assert (two.cash, two.profit, two.exposure) == (101_000, -200, 1_200)
        with pytest.raises(KeyError):
            desk.venue.standing(3)


class TestMarketOrders:
    def test_it_takes_no_worse_price_than_the_collars(self, desk: Desk) -> None:
        desk.open(collar=1_000)
        desk.account(1, 10_000)
        desk.trade(100)
        desk.sell(802, 5, 105), desk.sell(803, 5, 110)
        desk.tell(Command(Kind.REFERENCE, price=99))
        assert desk.buy(101, 10) == ["101x802 5@105", "-101 5 UNFILLED"]

    def test_it_must_be_paid_at_the_worst(self, desk: Desk) -> None:
        desk.open(collar=1_000)
        desk.account(1, 1_099)
        desk.trade(100)
        desk.sell(802, 10, 100)
        assert desk.buy(101, 10) == ["!101 CREDIT"]
        assert desk.buy(102, 9) == ["102x802 9@100"]

    def test_where_no_price_is_known_the_best_of_the_other_side_is_what_it_goes_by(self, desk: Desk) -> None:
        desk.open(collar=1_000)
        desk.accounts(1, 2)
        assert desk.buy(101, 1) == ["!101 COLLAR"]
        desk.sell(201, 1, 100), desk.sell(202, 1, 110), desk.sell(203, 1, 111)
        assert desk.buy(102, 3) == ["102x201 1@100", "102x202 1@110", "-102 1 UNFILLED"]

    def test_a_stop_goes_by_its_trigger(self, desk: Desk) -> None:
        desk.open(collar=1_000)
        desk.accounts(1)
        desk.trade(100)
        assert desk.buy(101, 1, trigger=200) == []
        assert desk.money(1) == (100_000, 220)
        assert desk.replace(101, 2) == ["=101 2@220 kept"]
        assert desk.replace(101, 1, 150) == ["!101 FIELD"]
        assert desk.money(1) == (100_000, 440)
        desk.tell(Command(Kind.REFERENCE, price=200))
        desk.sell(803, 1, 200), desk.sell(804, 1, 220)
        assert desk.buy(903, 1, 200) == ["903x803 1@200", "*101", "101x804 1@220", "-101 1 UNFILLED"]
        assert desk.money(1) == (99_780, 0)

    def test_in_an_auction_it_waits_does_not_pull_the_price_and_does_not_outlast_it(self, desk: Desk) -> None:
        desk.open(collar=1_000, phase=Phase.AUCTION)
        desk.accounts(1, 2)
        desk.tell(Command(Kind.REFERENCE, price=100))
        desk.sell(201, 5, 95)
        assert desk.buy(101, 7) == ["+101 7@110"]
        assert desk.replace(101, 8) == ["=101 8@110", "+101 8@110"]
        assert desk.money(1) == (100_000, 880)
        assert desk.phase(Phase.CONTINUOUS) == ["auction 5@95 over 3", "101x201 5@95", "-101 3 UNFILLED", "CONTINUOUS"]
        assert desk.money(1) == (99_525, 0)

    def test_in_an_auction_it_takes_no_worse_price_either(self, desk: Desk) -> None:
        desk.open(collar=1_000, phase=Phase.AUCTION)
        desk.accounts(1, 2, 3)
        desk.sell(201, 5, 120)
        desk.tell(Command(Kind.REFERENCE, price=100))
        desk.buy(101, 5)
        assert desk.phase(Phase.CONTINUOUS) == ["-101 5 UNFILLED", "CONTINUOUS"]

    def test_bands_do_not_touch_it(self, desk: Desk) -> None:
        desk.open(collar=1_000, phase=Phase.AUCTION)
        desk.accounts(1, 2)
        desk.tell(Command(Kind.REFERENCE, price=100), Command(Kind.BAND, price=98, trigger=102))
        desk.sell(201, 5, 101)
        assert desk.buy(101, 5) == ["+101 5@110"]
        assert desk.tell(Command(Kind.BAND, price=97, trigger=102)) == []
        assert desk.phase(Phase.CONTINUOUS) == ["auction 5@101 over 0", "101x201 5@101", "CONTINUOUS"]


class TestBreaker:
    def test_a_move_within_the_window_halts_and_an_auction_reopens(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2)
        desk.trade(100)
        desk.wait(30)
        desk.sell(201, 1, 110), desk.sell(202, 1, 111)
        assert desk.buy(101, 2, 111) == ["101x201 1@110", "101x202 1@111", "HALTED BREAKER"]
        assert desk.buy(102, 1, 100) == ["!102 PHASE"]
        desk.wait(19.9)
        assert desk.tick() == []
        desk.wait(0.1)
        assert desk.tick() == ["AUCTION BREAKER"]
        desk.wait(5)
        assert desk.buy(103, 1, 130) + desk.sell(203, 1, 120) == ["+103 1@130", "+203 1@120"]
        desk.wait(5)
        assert desk.buy(104, 1, 100) == ["auction 1@120 over 0", "103x203 1@120", "CONTINUOUS BREAKER", "+104 1@100"]
        desk.wait(1)
        desk.sell(204, 1, 131)
        assert desk.buy(105, 1, 131) == ["105x204 1@131"]
        desk.sell(205, 1, 132)
        assert desk.buy(106, 1, 132) == ["106x205 1@132", "HALTED BREAKER"]

    def test_stops_do_not_wake_any_more_when_the_book_is_to_halt(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2, 3)
        desk.trade(100)
        desk.buy(201, 1, 95), desk.buy(202, 1, 89), desk.buy(203, 1, 80)
        for name in (101, 102, 103):
            assert desk.sell(name, 1, 50, trigger=95) == []
        assert desk.sell(301, 1, 95) == ["301x201 1@95", "*101", "101x202 1@89", "HALTED BREAKER"]
        assert len(desk.venue) == 3
        desk.venue = type(desk.venue).load(desk.venue.dump())  # type: ignore[attr-defined]
        desk.wait(20)
        assert desk.tick() == ["AUCTION BREAKER"]
        desk.wait(10)
        assert desk.tick() == ["CONTINUOUS BREAKER", "*102", "102x203 1@80", "*103", "+103 1@50"]

    def test_an_operator_can_hold_what_the_breaker_would_reopen(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2)
        desk.trade(100)
        desk.sell(201, 1, 120)
        assert desk.buy(101, 1, 120)[-1] == "HALTED BREAKER"
        assert desk.phase(Phase.HALTED) == ["HALTED"]
        assert desk.phase(Phase.HALTED) == ["!0 PHASE"]
        desk.wait(1_000)
        assert desk.tick() == []
        assert desk.phase(Phase.AUCTION) + desk.phase(Phase.CONTINUOUS) == ["AUCTION", "CONTINUOUS"]
        desk.sell(202, 1, 130)
        assert desk.buy(102, 1, 130) == ["102x202 1@130"]
        desk.sell(203, 1, 150)
        assert desk.buy(103, 1, 150)[-1] == "HALTED BREAKER"
        desk.wait(20)
        assert desk.phase(Phase.AUCTION) == ["AUCTION BREAKER", "AUCTION"]
        desk.wait(1_000)
        assert desk.tick() == []

    def test_a_kill_switch_does_not_wait_for_what_is_due(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2)
        desk.trade(100)
        desk.sell(201, 1, 120)
        assert desk.buy(101, 1, 120)[-1] == "HALTED BREAKER"
        desk.wait(20)
        assert desk.tick() == ["AUCTION BREAKER"]
        desk.buy(102, 1, 130), desk.sell(202, 1, 125)
        desk.wait(10)
        assert desk.kill(1) == ["kill 1 1", "-102 1 KILL"]
        assert desk.tick() == ["CONTINUOUS BREAKER"]
        assert desk.money(1) == (100_000 - 120, 0)

    def test_a_fall_halts_too_and_less_does_not(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2)
        desk.trade(100)
        desk.trade(91)
        assert desk.buy(101, 1, 90) == ["+101 1@90"]
        assert desk.sell(201, 1, 90) == ["201x101 1@90", "HALTED BREAKER"]

    def test_the_window_forgets(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.trade(100)
        desk.wait(40)
        desk.trade(105)
        desk.wait(10)
        desk.trade(114)
        desk.accounts(1)
        assert desk.buy(101, 1, 50) == ["+101 1@50"]

    def test_the_window_looks_back_as_far_as_it_says(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2)
        desk.wait(4.99)
        desk.trade(100)
        desk.wait(40)
        desk.sell(201, 1, 110)
        assert desk.buy(101, 1, 110)[-1] == "HALTED BREAKER"

    def test_what_an_operator_says_since_then_holds(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2)
        desk.trade(100)
        desk.sell(201, 1, 120)
        assert desk.buy(101, 1, 120)[-1] == "HALTED BREAKER"
        assert desk.phase(Phase.AUCTION) == ["AUCTION"]
        desk.wait(1_000)
        assert desk.tick() == []
        assert desk.phase(Phase.CONTINUOUS) == ["CONTINUOUS"]

    def test_the_window_begins_anew_with_an_auction(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.accounts(1, 2)
        desk.trade(100)
        desk.phase(Phase.AUCTION)
        desk.buy(101, 1, 120), desk.sell(201, 1, 120)
        assert desk.phase(Phase.CONTINUOUS) == ["auction 1@120 over 0", "101x201 1@120", "CONTINUOUS"]
        desk.trade(121)
        assert desk.buy(102, 1, 50) == ["+102 1@50"]
        desk.sell(202, 1, 132)
        assert desk.buy(103, 1, 132) == ["103x202 1@132", "HALTED BREAKER"]

    def test_books_halt_each_for_itself(self, desk: Desk) -> None:
        desk.open(halt=1_000)
        desk.book = 2
        desk.open()
        desk.book = 1
        desk.accounts(1, 2)
        desk.trade(100)
        desk.sell(201, 1, 120)
        desk.buy(101, 1, 120)
        desk.book = 2
        assert desk.buy(102, 1, 10) == ["+102 1@10"]
        desk.wait(100)
        assert desk.tick() == []
        desk.book = 1
        assert desk.tick() == ["AUCTION BREAKER"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Command(Kind.OPEN, type=1, price=1), "DUPLICATE"),
        (Command(Kind.LIMIT, account=1, type=9), "FIELD"),
        (Command(Kind.LIMIT, account=0, type=1), "FIELD"),
        (Command(Kind.LIMIT, account=1, type=1, quantity=-1), "FIELD"),
        (Command(Kind.KILL, account=1, type=2), "FIELD"),
        (Command(Kind.KILL, account=9, type=1), "NO_ACCOUNT"),
        (Command(Kind.MASS_CANCEL, account=9), "NO_ACCOUNT"),
        (Command(99), "FIELD"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(desk: Desk, command: Command, reason: str) -> None:
    desk.open()
    desk.accounts(1)
    before = desk.venue.digest()
    assert desk.tell(command) == [f"!0 {reason}"]
    assert desk.venue.digest() == before


@pytest.mark.parametrize(
    "fields", [{"type": 0}, {"type": 5}, {"price": 0}, {"price": 2**31}, {"quantity": -1}, {"id": 10_001}]
)
def test_a_book_needs_terms_that_make_sense(desk: Desk, fields: dict[str, int]) -> None:
    assert desk.tell(Command(Kind.OPEN, **({"type": 1, "price": 1} | fields))) == [f"!{fields.get('id', 0)} FIELD"]
    assert desk.tell(Command(Kind.OPEN, type=1, price=1), book=0) == ["!0 FIELD"]
    with pytest.raises(KeyError):
        desk.venue.depth(1, Side.BUY, 1)


def test_time_that_goes_back_stands_still(desk: Desk) -> None:
    desk.open()
    desk.account(1, 1_000, rate=1)
    desk.buy(101, 1, 10)
    desk.at_ns -= SECOND
    assert desk.buy(102, 1, 10) == ["!102 RATE"]


def test_time_ends_somewhere(desk: Desk) -> None:
    desk.open(halt=1_000)
    desk.accounts(1, 2)
    desk.at_ns = 2**63 - 1
    desk.trade(100)
    desk.sell(201, 1, 120)
    assert desk.buy(101, 1, 120)[-1] == "HALTED BREAKER"
    other = type(desk.venue).load(desk.venue.dump())  # type: ignore[attr-defined]
    assert other.digest() == desk.venue.digest()
    assert desk.tick() == []


def test_who_has_nothing_in_a_book_makes_it_look_at_nobody() -> None:
    """The one in C++ is asked in `test_venue_native`, by what it takes."""
    venue = ReferenceVenue()
    desk = Desk(venue)
    desk.open()
    desk.accounts(1, 2)
    desk.sell(201, 1, 30)
    looks = list[int]()
    engine = venue.state.markets[1].engine
    every = engine._all
    engine._all = lambda: looks.append(len(engine)) or every()  # type: ignore[method-assign]
    desk.tell(Command(Kind.MASS_CANCEL, account=1))
    assert looks == []
    desk.tell(Command(Kind.MASS_CANCEL, account=2))
    assert looks == [1]
