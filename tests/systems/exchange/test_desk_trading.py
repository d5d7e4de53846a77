"""What an account does at the desk, and what who watches over risk does to it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from desk_stage import ADMIN, Stage, exchange_running

from archstone.context import Principal
from archstone.errors import ForbiddenError, NotSignedInError
from archstone.security import Audits
from archstone.services import check_contracts
from archstone.systems.exchange.accounts import service
from archstone.systems.exchange.accounts.contract import (
    AccountAdmin,
    Accounts,
    EmailTakenError,
    SignInError,
    TooManyTriesError,
    WeakPasswordError,
)
from archstone.systems.exchange.clearing import Clearing
from archstone.systems.exchange.desk.contract import (
    NewOrder,
    OrderRefusedError,
    Quotes,
    Trading,
    UnknownInstrumentError,
    UnknownOrderError,
)
from archstone.systems.exchange.desk.latency import ENGINE, HANDED_IN
from archstone.systems.exchange.desk.risk import PhaseRefusedError, Risk, UnknownAccountError
from archstone.systems.exchange.desk.words import LimitWord
from archstone.systems.exchange.system import exchange

PASSWORD = "seven quiet herons"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with exchange_running(tmp_path / "exchange") as stage:
        yield stage


def test_the_contracts_are_those_of_the_committed_snapshot() -> None:
    check_contracts(exchange)


async def test_a_trial_account_trades_with_another_at_once(stage: Stage) -> None:
    ann, bob = await stage.trader(), await stage.trader()
    resting = await ann.place("sell", 10, 10_050)
    assert (resting.status, resting.number, resting.left) == ("working", 1, 10)
    taken = await bob.place("buy", 4, 10_060)
    assert (taken.status, taken.filled) == ("filled", 4)
    assert [(each.lots, each.price, each.role) for each in (await ann.trading.fills()).items] == [(4, 10_050, "maker")]
    assert (await ann.trading.order(1)).left == 6
    mine = await bob.trading.portfolio()
    assert mine.cash == mine.paid_in - 4 * 10_050
    assert [(each.symbol, each.lots, each.open_profit) for each in mine.positions] == [("ACME", 4, 0)]
    depth = await stage.client(Quotes).depth("ACME")
    assert [(each.price, each.lots, each.orders) for each in depth.asks] == [(10_050, 6, 1)]


async def test_an_order_with_a_number_is_placed_once_however_often_it_is_sent(stage: Stage) -> None:
    ann = await stage.trader()
    first = await ann.place("sell", 10, 10_050, number=5)
    again = await ann.place("sell", 10, 10_050, number=5)
    assert first == again
    assert len((await ann.trading.orders()).items) == 1
    with pytest.raises(OrderRefusedError) as refused:
        await ann.place("buy", 10, 9_000, number=5)
    assert refused.value.reason == "number"


async def test_an_order_without_a_number_gets_the_next(stage: Stage) -> None:
    ann = await stage.trader()
    await ann.place("sell", 1, 10_050, number=5)
    found = await asyncio.gather(*(ann.place("sell", 1, 10_051) for _ in range(4)))
    assert sorted(each.number for each in found) == [6, 7, 8, 9]


async def test_cancel_and_replace_answer_how_the_order_stands(stage: Stage) -> None:
    ann = await stage.trader()
    await ann.place("sell", 10, 10_050)
    changed = (await ann.trading.replace(1, 7, 10_040)).order
    assert (changed.price, changed.left, changed.status) == (10_040, 7, "working")
    gone = (await ann.trading.cancel(1)).order
    assert (gone.status, gone.reason) == ("canceled", "user")
    assert (await ann.trading.cancel(1)).order == gone
    with pytest.raises(OrderRefusedError):
        await ann.trading.replace(1, 5)
    with pytest.raises(UnknownOrderError):
        await ann.trading.cancel(2)


async def test_all_orders_are_canceled_or_those_of_one_instrument(stage: Stage) -> None:
    ann = await stage.trader()
    for symbol, price in (("ACME", 9_900), ("ACME", 9_901), ("BORE", 4_200)):
        await ann.trading.place(NewOrder(symbol=symbol, side="buy", quantity=1, price=price))
    assert [each.number for each in (await ann.trading.cancel_all("ACME")).items] == [2, 1]
    assert [each.symbol for each in (await ann.trading.orders()).items] == ["BORE"]
    assert [each.symbol for each in (await ann.trading.cancel_all()).items] == ["BORE"]
    assert (await ann.trading.orders(ended=True)).items[0].status == "canceled"


async def test_a_market_order_takes_what_is_there_and_the_rest_is_canceled(stage: Stage) -> None:
    ann, bob = await stage.trader(), await stage.trader()
    await ann.place("sell", 3, 10_010)
    taken = await bob.place("buy", 5)
    assert (taken.status, taken.filled, taken.reason) == ("canceled", 3, "unfilled")


async def test_nobody_sees_or_touches_the_orders_of_others(stage: Stage) -> None:
    ann, bob = await stage.trader(), await stage.trader()
    await ann.place("sell", 3, 10_010)
    assert (await bob.trading.orders()).items == ()
    with pytest.raises(UnknownOrderError):
        await bob.trading.cancel(1)


async def test_what_is_not_traded_is_refused(stage: Stage) -> None:
    ann = await stage.trader()
    with pytest.raises(UnknownInstrumentError):
        await ann.trading.place(NewOrder(symbol="NOPE", side="buy", quantity=1, price=1))


async def test_strangers_see_the_market_and_nothing_else(stage: Stage) -> None:
    assert len((await stage.client(Quotes).instruments()).items) == 5
    with pytest.raises(NotSignedInError):
        await stage.client(Trading).orders()
    with pytest.raises(NotSignedInError):
        await stage.client(Risk).accounts()


async def test_a_trader_may_not_touch_risk(stage: Stage) -> None:
    ann = await stage.trader()
    risk = stage.client(Risk, Principal(str(ann.account), frozenset({"trader"})))
    with pytest.raises(ForbiddenError):
        await risk.kill_all()
    watching = stage.client(Risk, Principal(str(ann.account), frozenset({"watcher"})))
    assert (await watching.accounts()).total >= 0
    with pytest.raises(ForbiddenError):
        await watching.kill(ann.account)


async def test_a_halt_refuses_orders_and_an_auction_opens_again(stage: Stage) -> None:
    ann, risk = await stage.trader(), stage.client(Risk, ADMIN)
    assert (await risk.enter("ACME", "halted", "news")).phase == "halted"
    with pytest.raises(OrderRefusedError) as refused:
        await ann.place("sell", 1, 10_050)
    assert refused.value.reason == "phase"
    with pytest.raises(PhaseRefusedError):
        await risk.enter("ACME", "continuous")
    await risk.enter("ACME", "auction")
    assert (await risk.enter("ACME", "continuous")).phase == "continuous"
    audits = stage.run.parts.provided[Audits]
    told = await audits.system.entries(action="risk.phase", limit=10)
    assert [each.subject for each in told] == ["ACME"] * 4
    assert told[-1].who == "1"


async def test_limits_and_kill_switches_hold_and_are_on_record(stage: Stage) -> None:
    ann, risk = await stage.trader(), stage.client(Risk, ADMIN)
    await ann.place("sell", 10, 10_050)
    changed = await risk.set_limit(ann.account, "quantity", 5, "too large")
    assert changed.limits.quantity == 5
    with pytest.raises(OrderRefusedError) as refused:
        await ann.place("sell", 6, 10_050)
    assert refused.value.reason == "quantity"
    stopped = await risk.kill(ann.account, reason="odd orders")
    assert (stopped.portfolio.killed, stopped.orders) == (True, 0)
    with pytest.raises(OrderRefusedError) as refused:
        await ann.place("sell", 1, 10_050)
    assert refused.value.reason == "kill"
    await risk.kill(ann.account, on=False)
    assert (await ann.place("sell", 1, 10_050)).status == "working"
    audits = stage.run.parts.provided[Audits]
    assert [each.action for each in await audits.system.entries(action="risk", limit=10)] == [
        "risk.kill", "risk.kill", "risk.limit",
    ]  # fmt: skip


async def test_everybody_is_stopped_at_once(stage: Stage) -> None:
    ann, bob, risk = await stage.trader(), await stage.trader(), stage.client(Risk, ADMIN)
    await ann.place("sell", 10, 10_050)
    await bob.place("buy", 10, 9_950)
    assert (await risk.kill_all()).killed
    assert (await stage.client(Quotes).depth("ACME")).bids == ()
    with pytest.raises(OrderRefusedError):
        await ann.place("sell", 1, 10_050)
    assert not (await risk.kill_all(on=False)).killed
    assert (await bob.place("buy", 1, 9_950)).status == "working"


async def test_what_is_traded_is_in_the_ledger_and_everybody_sees_their_own(stage: Stage) -> None:
    ann, bob = await stage.trader(), await stage.trader()
    await ann.place("sell", 10, 10_050)
    await bob.place("buy", 4, 10_060)
    await asyncio.sleep(5)  # the tape, the bus, and the inbox of clearing
    ledger = stage.client(Clearing, Principal(str(bob.account), frozenset({"trader"})))
    mine = (await ledger.balances(bob.account)).balances
    assert mine
    assert (await ledger.balances(ann.account)).balances == ()
    everybody = stage.client(Clearing, ADMIN)
    assert (await everybody.balances(bob.account)).balances == mine
    with pytest.raises(ForbiddenError):
        await ledger.trial_balance()


async def test_profit_is_what_is_left_after_the_fees_that_clearing_books(stage: Stage) -> None:
    ann, bob = await stage.trader(), await stage.trader()
    await ann.place("sell", 500, 10_050)
    await bob.place("buy", 400, 10_050)
    await asyncio.sleep(5)
    paid: list[int] = []
    for each in (ann, bob):
        mine = await each.trading.portfolio()
        ledger = stage.client(Clearing, Principal(str(each.account), frozenset({"trader"})))
        (cash,) = [found for found in (await ledger.balances(each.account)).balances if found.asset == "cash"]
        assert (mine.worth - mine.paid_in, mine.profit, mine.fees) == (0, -mine.fees, -cash.fees)
        paid.append(mine.fees)
    assert paid == [402, 1_206]  # a hundred and three hundred of a million


async def test_an_account_that_never_came_is_not_known(stage: Stage) -> None:
    with pytest.raises(UnknownAccountError):
        await stage.client(Risk, ADMIN).kill(99_999)


async def test_an_account_by_e_mail_can_be_come_back_to(stage: Stage) -> None:
    accounts = stage.client(Accounts)
    made = await accounts.register("Ann@Example.org", PASSWORD, "Ann")
    back = await accounts.login("ann@example.org", PASSWORD)
    assert back.visitor == made.visitor
    with pytest.raises(SignInError):
        await accounts.login("ann@example.org", "another one")
    with pytest.raises(EmailTakenError):
        await accounts.register("ann@example.org", PASSWORD, "Ann")
    with pytest.raises(WeakPasswordError):
        await accounts.register("bob@example.org", "password", "Bob")
    granted = await stage.client(AccountAdmin, ADMIN).grant("ann@example.org", "admin")
    assert granted.role == "admin"


async def test_there_are_no_more_accounts_than_fit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LAST_NUMBER", 1001)
    await stage.trader()
    with pytest.raises(TooManyTriesError):
        await stage.trader()


async def test_money_comes_once_however_many_ask_at_the_same_time(stage: Stage) -> None:
    ann = await stage.trader()
    found = await asyncio.gather(*(ann.trading.portfolio() for _ in range(20)))
    assert {each.paid_in for each in found} == {100_000_000}


async def test_the_engine_is_measured(stage: Stage) -> None:
    ann = await stage.trader()
    await ann.place("sell", 10, 10_050)
    engine, handed_in = (await stage.client(Quotes).latency()).items
    assert (engine.what, handed_in.what) == (ENGINE, HANDED_IN)
    assert engine.count == sum(each.count for each in engine.buckets)
    assert engine.count > 10
    assert handed_in.count == 7  # five openings of books, one account, one order


@pytest.mark.parametrize(
    ("limits", "order", "reason", "told"),
    [
        ({}, {"quantity": 5_001}, "quantity", "at most 5,000 of ACME"),
        ({}, {"quantity": 5_000, "price": 10_900}, "value", "at most 500,000.00, which is 4,587 lots here"),
        ({}, {"price": 8_999}, "collar", "90.00 to 110.00 are taken now"),
        ({}, {"price": 9_000, "trigger": 10_500}, "collar", "94.50 to 115.50 are taken now"),
        ({"position": 4}, {"quantity": 5}, "position", "at most 4 lots, held or owed"),
        ({"orders": 0}, {}, "orders", "0 work; cancel some first"),
        ({"rate": 0}, {}, "rate", "at most 0; send it again in a second"),
        ({}, {"price": 10_050, "post_only": True}, "post_only", "choose a price that nobody meets"),
    ],
)
async def test_a_refusal_says_what_would_be_taken(
    stage: Stage, limits: dict[LimitWord, int], order: dict[str, int], reason: str, told: str
) -> None:
    ann, bob = await stage.trader(), await stage.trader()
    await ann.place("sell", 1, 10_050)
    await bob.trading.portfolio()
    for limit, to in limits.items():
        await stage.client(Risk, ADMIN).set_limit(bob.account, limit, to)
    with pytest.raises(OrderRefusedError) as refused:
        await bob.place("buy", **{"quantity": 1, "price": 9_950, **order})
    assert (refused.value.reason, told in refused.value.text) == (reason, True), refused.value.text


async def test_who_lacks_money_is_told_how_many_lots_it_is_good_for(stage: Stage) -> None:
    ann = await stage.trader()
    for _ in range(2):
        await ann.place("buy", 4_900, 10_000)
    assert (await ann.trading.portfolio()).available == 2_000_000
    with pytest.raises(OrderRefusedError, match=r"20,000\.00 is left .*, good for 202 lots"):
        await ann.place("buy", 300, 9_900)
    found = await ann.trading.most("ACME", "buy", 9_900)
    assert (found.lots, found.price) == (202, 9_900)
    assert (await ann.trading.most("ACME", "buy")).price == 11_000
    assert (await ann.place("buy", 202, 9_900)).status == "working"


async def test_whoever_is_stopped_or_halted_is_told_until_when(stage: Stage) -> None:
    ann, risk = await stage.trader(), stage.client(Risk, ADMIN)
    await ann.trading.portfolio()
    await risk.enter("ACME", "halted")
    with pytest.raises(OrderRefusedError, match="halted: orders are taken again when an auction begins"):
        await ann.place("buy", 1, 9_950)
    await risk.enter("ACME", "auction")
    with pytest.raises(OrderRefusedError, match="must trade at once are not taken, send a limit order"):
        await ann.place("buy", 1)
    await risk.enter("ACME", "continuous")
    await risk.kill(ann.account)
    with pytest.raises(OrderRefusedError, match="that of your account"):
        await ann.place("buy", 1, 9_950)
    await risk.kill(ann.account, on=False)
    await risk.kill_all()
    with pytest.raises(OrderRefusedError, match="that of the whole exchange"):
        await ann.place("buy", 1, 9_950)
