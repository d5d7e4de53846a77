"""The transfer of money in both forms: the interim state of the one, its absence in the other, books that balance."""

import asyncio
import importlib.util
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from archstone.data import Database

ROOT = Path(__file__).parents[2]


def load(name: str) -> ModuleType:
    if name in sys.modules:  # its events are registered once
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


acid, base = load("transfer_acid"), load("transfer_base")


LOOKS = 500
seeds = pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.simulated(seed=n)) for n in range(5)])


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[acid.Bank]:
    async with Database(f"sqlite:///{tmp_path}/bank.db") as db:
        bank = acid.Bank(db)
        await bank.open(ann=1000, bob=0)
        yield bank


# One database, one transaction


@seeds
async def test_acid_nobody_sees_the_money_in_between(bank: acid.Bank, number: int):
    seen: list[dict[str, int]] = []

    async def look() -> None:
        for _ in range(LOOKS):
            seen.append(await bank.accounts())
            await asyncio.sleep(0)

    async def pay() -> None:
        for _ in range(number + 5):
            await bank.transfer("ann", "bob", 10)
            await asyncio.sleep(0)

    looker = asyncio.create_task(look())
    await asyncio.gather(*[pay() for _ in range(5)])
    looker.cancel()
    await asyncio.wait([looker])
    assert len({accounts["ann"] for accounts in seen}) > 2  # it looked while they paid
    assert {accounts["ann"] + accounts["bob"] for accounts in seen} == {1000}


async def test_acid_what_is_refused_has_never_happened(bank: acid.Bank):
    with pytest.raises(acid.NoAccount):
        await bank.transfer("ann", "nobody", 100)
    with pytest.raises(acid.NotEnough):
        await bank.transfer("ann", "bob", 1001)
    assert await bank.accounts() == {"ann": 1000, "bob": 0}


async def test_acid_no_account_is_overdrawn_however_many_pay_at_once(bank: acid.Bank):
    ends = await asyncio.gather(*[bank.transfer("ann", "bob", 300) for _ in range(5)], return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NoneType"] * 3 + ["NotEnough"] * 2
    assert await bank.accounts() == {"ann": 100, "bob": 900}


# Two services, a database each


async def settled(giro: base.Giro, *transfers: str) -> None:
    async with asyncio.timeout(60):
        while "sent" in [await giro.state(transfer) for transfer in transfers]:
            await asyncio.sleep(0.01)


async def test_base_the_money_is_in_flight_as_long_as_the_other_side_is_away(tmp_path: Path):
    async with base.opened(tmp_path) as (giro, savings, bus):
        transfer = await giro.send("bob", 100)
        await asyncio.sleep(60.0)
        assert await base.books(giro, savings) == base.Books(giro=900, savings=0, in_flight=100)
        assert await giro.state(transfer) == "sent"
        await giro.send("bob", 50)  # the sender goes on
        assert await base.books(giro, savings) == base.Books(giro=850, savings=0, in_flight=150)
        await bus.start()
        await settled(giro, transfer)
        assert await giro.state(transfer) == "arrived"
        assert await base.books(giro, savings) == base.Books(giro=850, savings=150, in_flight=0)


async def test_base_what_is_refused_has_happened_and_comes_back(tmp_path: Path):
    async with base.opened(tmp_path) as (giro, savings, bus):
        transfer = await giro.send("nobody", 100)
        assert await base.books(giro, savings) == base.Books(giro=900, savings=0, in_flight=100)
        await bus.start()
        await settled(giro, transfer)
        assert await giro.state(transfer) == "returned"
        assert await base.books(giro, savings) == base.Books(giro=1000, savings=0, in_flight=0)


async def test_base_what_is_in_flight_outlives_both_services(tmp_path: Path):
    async with base.opened(tmp_path) as (giro, _, _):
        transfer = await giro.send("bob", 100)
    async with base.opened(tmp_path) as (giro, savings, bus):
        assert await base.books(giro, savings) == base.Books(giro=900, savings=0, in_flight=100)
        await bus.start()
        await settled(giro, transfer)
        assert await base.books(giro, savings) == base.Books(giro=900, savings=100, in_flight=0)


@seeds
async def test_base_accounts_and_what_is_in_flight_are_constant_at_any_moment(tmp_path: Path, number: int):
    seen: list[base.Books] = []
    async with base.opened(tmp_path) as (giro, savings, bus):

        async def look() -> None:
            for _ in range(LOOKS):
                seen.append(await base.books(giro, savings))
                await asyncio.sleep(0)

        async def pay(account: str) -> list[str]:
            transfers: list[str] = []
            for _ in range(number + 3):
                transfers.append(await giro.send(account, 10))
                await asyncio.sleep(0)
            return transfers

        looker = asyncio.create_task(look())
        await bus.start()
        paid = await asyncio.gather(pay("bob"), pay("nobody"), pay("bob"), pay("bob"))
        await settled(giro, *[transfer for transfers in paid for transfer in transfers])
        looker.cancel()
        await asyncio.wait([looker])
        last = await base.books(giro, savings)
    assert {sum(books) for books in seen} == {1000}
    assert min(books.in_flight for books in seen) >= 0
    assert {books.giro + books.savings for books in seen} != {1000}  # the accounts alone are not
    assert last == base.Books(giro=1000 - 30 * (number + 3), savings=30 * (number + 3), in_flight=0)


class Meanwhile:
    """A database after whose first answer something happens, before anybody reads on."""

    def __init__(self, db: Database, happen: Callable[[], Awaitable[None]]) -> None:
        self.db = db
        self.happen = happen

    async def one(self, row: type[Any], sql: str) -> Any:
        answer = await self.db.one(row, sql)
        await self.happen()
        return answer


async def test_base_the_books_are_right_though_money_moves_between_the_two_looks(tmp_path: Path):
    async with base.opened(tmp_path) as (giro, savings, bus):
        await bus.start()

        async def pay() -> None:
            await settled(giro, await giro.send("bob", 100))

        slowly = base.Giro(Meanwhile(giro.db, pay)), base.Savings(Meanwhile(savings.db, pay))
        assert await base.books(*slowly) == base.Books(giro=900, savings=0, in_flight=100)
        # Not so where the sender is asked first: what moved in between has arrived, and seems never to have been sent.
        left = await slowly[0].db.one(int, "SELECT sum(cents) FROM accounts")
        has = await slowly[1].db.one(int, "SELECT sum(cents) FROM accounts")
        assert left + has == 1100


async def test_base_nobody_sends_what_is_not_there(tmp_path: Path):
    async with base.opened(tmp_path) as (giro, savings, _):
        with pytest.raises(base.NotEnough):
            await giro.send("bob", 1001)
        assert await base.books(giro, savings) == base.Books(giro=1000, savings=0, in_flight=0)


# The page


@pytest.mark.real_time
async def test_the_programs_print_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    await acid.main()
    first = capsys.readouterr().out
    await base.main()
    second = capsys.readouterr().out
    (shown,) = re.findall(r"```text\n(.*?)```", (ROOT / "docs" / "acid-and-base.md").read_text(), re.DOTALL)
    assert shown == f"$ python transfer_acid.py\n{first}$ python transfer_base.py\n{second}"
