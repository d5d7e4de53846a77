"""The embedded bank: what each token does, once per key, and books that always balance."""

import asyncio
from pathlib import Path

import pytest

from archstone import world
from archstone.systems.shop.payments.bank import Bank
from archstone.systems.shop.payments.provider import PaymentDeclinedError, ProviderUnreachableError
from archstone.systems.shop.values import Money

PRICE = Money(amount=1999)


def bank_in(folder: Path) -> Bank:
    return Bank(f"sqlite:///{folder / 'bank.db'}")


async def ledger(bank: Bank) -> int:
    return await bank.db.one(int, "SELECT coalesce(sum(amount), 0) FROM ledger")


async def test_a_charge_moves_money_from_the_card_to_the_shop(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        receipt = await bank.charge("order", PRICE, "tok_ok")
        assert (receipt.state, receipt.amount) == ("captured", PRICE)
        assert await bank.balance("shop") == 1999
        assert await bank.balance("card:tok_ok") == -1999
        assert await ledger(bank) == 0


async def test_the_same_key_charges_once_from_many_callers(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        receipts = await asyncio.gather(*(bank.charge("order", PRICE, "tok_ok") for _ in range(20)))
        assert {receipt.state for receipt in receipts} == {"captured"}
        assert await bank.balance("shop") == 1999


async def test_a_refund_gives_all_back_once(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        await bank.charge("order", PRICE, "tok_ok")
        for _ in range(3):
            receipt = await bank.refund("order")
            assert (receipt.state, receipt.amount) == ("refunded", PRICE)
        assert await bank.balance("shop") == 0
        assert await ledger(bank) == 0


async def test_after_a_refund_a_late_charge_finds_the_key_closed(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        assert (await bank.refund("order")).state == "void"
        with pytest.raises(PaymentDeclinedError, match="called off"):
            await bank.charge("order", PRICE, "tok_ok")
        await bank.charge("other", PRICE, "tok_ok")
        await bank.refund("other")
        with pytest.raises(PaymentDeclinedError, match="called off"):
            await bank.charge("other", PRICE, "tok_ok")
        assert await bank.balance("shop") == 0


@pytest.mark.parametrize(
    ("token", "reason"), [("tok_declined", "insufficient funds"), ("tok_of_nobody", "unknown card")]
)
async def test_a_declined_card_is_declined_each_time_and_nothing_moves(tmp_path: Path, token: str, reason: str) -> None:
    async with bank_in(tmp_path) as bank:
        for _ in range(2):
            with pytest.raises(PaymentDeclinedError, match=reason):
                await bank.charge("order", PRICE, token)
        assert (await bank.refund("order")).state == "void"
        assert await bank.balance("shop") == 0


async def test_a_flaky_card_fails_twice_and_then_pays_once_also_over_a_restart(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        with pytest.raises(ProviderUnreachableError):
            await bank.charge("order", PRICE, "tok_flaky")
    async with bank_in(tmp_path) as bank:
        with pytest.raises(ProviderUnreachableError):
            await bank.charge("order", PRICE, "tok_flaky")
        for _ in range(2):
            assert (await bank.charge("order", PRICE, "tok_flaky")).state == "captured"
        assert await bank.balance("shop") == 1999


async def test_a_flaky_card_that_was_given_up_never_pays(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        with pytest.raises(ProviderUnreachableError):
            await bank.charge("order", PRICE, "tok_flaky")
        assert (await bank.refund("order")).state == "void"
        with pytest.raises(PaymentDeclinedError, match="called off"):
            await bank.charge("order", PRICE, "tok_flaky")


async def test_the_slow_card_pays_first_and_answers_late_only_once(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        began_s = world.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await bank.charge("order", PRICE, "tok_timeout")
        assert await bank.balance("shop") == 1999
        assert (await bank.charge("order", PRICE, "tok_timeout")).state == "captured"
        assert world.monotonic() - began_s < 2


async def test_a_key_is_good_for_one_payment(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        await bank.charge("order", PRICE, "tok_ok")
        with pytest.raises(PaymentDeclinedError, match="another payment"):
            await bank.charge("order", Money(amount=1), "tok_ok")


async def test_nothing_to_pay_is_declined(tmp_path: Path) -> None:
    async with bank_in(tmp_path) as bank:
        with pytest.raises(PaymentDeclinedError, match="nothing to pay"):
            await bank.charge("order", Money(amount=0), "tok_ok")
