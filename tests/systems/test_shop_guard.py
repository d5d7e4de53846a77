"""Between the shop and its bank: who tries again, when nobody is asked, and how the embedded bank behaves badly."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from archstone.errors import ConfigError
from archstone.observability import Alerts
from archstone.resilience import BulkheadFullError, CircuitOpenError, OutOfTimeError
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.conduct import Mode
from archstone.systems.shop.payments.guard import AGAIN, BREAKER, BULKHEAD, GuardedProvider
from archstone.systems.shop.payments.provider import PaymentDeclinedError, ProviderUnreachableError
from archstone.systems.shop.values import Money

PRICE = Money(amount=1999)


def bank_in(folder: Path) -> Bank:
    return Bank(f"sqlite:///{folder / 'bank.db'}")


async def test_a_charge_is_asked_for_until_the_circuit_opens_and_what_gives_back_once(tmp_path: Path) -> None:
    assert isinstance(BREAKER.failures, int)
    assert BREAKER.failures < AGAIN.attempts
    async with GuardedProvider(bank_in(tmp_path)) as guard:
        bank: Any = guard.provider
        await bank.turn("dead")
        with pytest.raises(ProviderUnreachableError):
            await guard.refund("order")
        assert (bank.conduct.calls["refund"], guard.state().retried) == (1, 0)
        with pytest.raises(CircuitOpenError):
            await guard.charge("order", PRICE, "tok_ok")
        assert bank.conduct.calls["charge"] == guard.state().retried == BREAKER.failures - 1


async def test_five_failures_in_a_row_open_and_one_answer_closes(tmp_path: Path) -> None:
    async with GuardedProvider(bank_in(tmp_path)) as guard:
        bank: Any = guard.provider
        await bank.turn("dead")
        for _ in range(5):
            with pytest.raises(ProviderUnreachableError):
                await guard.look_up("order")
        asked = bank.conduct.calls.total()
        for call in (guard.charge("order", PRICE, "tok_ok"), guard.refund("order"), guard.look_up("order")):
            with pytest.raises(CircuitOpenError):
                await call
        assert bank.conduct.calls.total() == asked
        assert (guard.state().circuit, guard.state().refused) == ("open", 3)
        await bank.turn("well")
        await asyncio.sleep(BREAKER.open_s)
        assert (await guard.charge("order", PRICE, "tok_ok")).state == "captured"
        assert guard.state().circuit == "closed"


async def test_a_card_that_is_refused_is_an_answer(tmp_path: Path) -> None:
    async with GuardedProvider(bank_in(tmp_path)) as guard:
        bank: Any = guard.provider
        for number in range(10):
            with pytest.raises(PaymentDeclinedError):
                await guard.charge(f"order-{number}", PRICE, "tok_declined")
        assert (guard.state().circuit, bank.conduct.calls["charge"]) == ("closed", 10)


async def test_a_bank_that_answers_late_has_failed_and_charged_once(tmp_path: Path) -> None:
    async with GuardedProvider(bank_in(tmp_path)) as guard:
        bank: Any = guard.provider
        await bank.turn("slow")
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(CircuitOpenError):
            await guard.charge("order", PRICE, "tok_ok")
        assert 10 <= asyncio.get_running_loop().time() - began_s < 12
        assert await bank.balance("shop") == 1999
        await bank.turn("well")
        await asyncio.sleep(BREAKER.open_s)
        assert (await guard.charge("order", PRICE, "tok_ok")).state == "captured"
        assert await bank.balance("shop") == 1999


async def test_who_finds_no_place_in_time_has_asked_nobody_and_counts_as_nothing(tmp_path: Path) -> None:
    async with GuardedProvider(bank_in(tmp_path)) as guard:
        bank: Any = guard.provider
        await bank.turn("slow")
        calls = [guard.look_up(f"order-{number}") for number in range(BULKHEAD.max_calls + 3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in outcomes].count(BulkheadFullError) == 3
        assert [type(each) for each in outcomes].count(OutOfTimeError) == BULKHEAD.max_calls
        assert bank.conduct.calls.total() == BULKHEAD.max_calls


async def test_the_budget_of_all_charges_together_is_a_tenth_of_them_and_what_it_began_with(tmp_path: Path) -> None:
    assert AGAIN.budget_ratio is not None
    async with GuardedProvider(bank_in(tmp_path)) as guard:
        bank: Any = guard.provider
        await bank.turn("failing")
        failed = 0
        for number in range(100):
            try:
                await guard.charge(f"order-{number}", PRICE, "tok_ok")
            except ProviderUnreachableError:
                failed += 1
        state = guard.state()
        assert state.retried <= 100 * AGAIN.budget_ratio + AGAIN.budget_burst
        assert bank.conduct.calls["charge"] == 100 + state.retried
        assert (state.opened, failed) == (0, state.over_budget)
        assert failed > 0


async def test_an_open_circuit_is_an_alert_until_it_is_closed(tmp_path: Path) -> None:
    alerts = Alerts()
    async with GuardedProvider(bank_in(tmp_path)) as guard, alerts:
        bank: Any = guard.provider
        guard.watched_by(alerts)
        await bank.turn("dead")
        for _ in range(5):
            with pytest.raises(ProviderUnreachableError):
                await guard.refund("order")
        await asyncio.sleep(5)
        [alert] = alerts.firing()
        assert alert.name == "breaker of bank"
        assert alert.why.startswith("the circuit is open, 0 calls were refused; the next trial is in ")
        assert "/admin/bank" in alert.todo
        await asyncio.sleep(10)
        [alert] = alerts.firing()
        assert alert.why.endswith("the next call is a trial")
        await bank.turn("well")
        await guard.refund("order")
        await asyncio.sleep(5)
        assert alerts.firing() == []


async def test_a_guard_that_is_not_open_says_so_and_one_that_is_brings_the_bank_into_backups(tmp_path: Path) -> None:
    guard = GuardedProvider(bank_in(tmp_path))
    with pytest.raises(ConfigError, match="not open"):
        await guard.refund("order")
    assert guard.db is None
    async with guard:
        bank: Any = guard.provider
        assert guard.db is bank.db


async def asked(bank: Bank, number: int) -> str:
    try:
        await bank.charge(f"order-{number}", PRICE, "tok_ok")
    except ProviderUnreachableError:
        return "failed"
    return "paid"


async def test_a_failing_bank_fails_every_other_call_and_has_taken_the_money_of_some(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        await bank.turn("failing")
        assert [await asked(bank, number) for number in range(8)] == ["failed", "paid"] * 4
        assert await bank.db.all(str, "SELECT key FROM captures ORDER BY key") == [
            f"order-{number}" for number in range(8) if number % 4
        ]


@pytest.mark.parametrize("mode", ["slow", "failing", "dead"])
async def test_a_bank_stays_as_it_was_turned_over_a_restart(tmp_path: Path, mode: Mode) -> None:
    async with bank_in(tmp_path) as bank:
        await bank.turn(mode)
    async with bank_in(tmp_path) as bank:
        assert bank.conduct.mode == mode
        await bank.turn("well")
        assert await asked(bank, 1) == "paid"


async def test_a_dead_bank_does_nothing_and_a_slow_one_refuses_slowly(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        await bank.turn("dead")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: bank.charge("order", PRICE, "tok_ok"),
            lambda: bank.refund("order"),
            lambda: bank.refund_part("order", "part", PRICE),
            lambda: bank.look_up("order"),
        ]
        for call in calls:
            with pytest.raises(ProviderUnreachableError, match="nobody picks up"):
                await call()
        assert await bank.db.one(int, "SELECT count(*) FROM authorisations") == 0
        await bank.turn("slow")
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(PaymentDeclinedError):
            await bank.charge("order", PRICE, "tok_declined")
        assert asyncio.get_running_loop().time() - began_s >= 5
