"""Steps that are methods of the saga's own service: effect and journal are one transaction."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from contract_cases import ANN
from services_cast import BANK, TILL, Bank, BankService, Declined, Till, TillService

from archstone.data import Database
from archstone.errors import BackendError
from archstone.sagas import saga
from archstone.services import Dispatcher, InProcess, client
from archstone.services.commands import Commands


class CountingTill(TillService, name="till"):
    opened = 0

    async def open_sale(self, sale: str, amount: int) -> None:
        CountingTill.opened += 1
        await super().open_sale(sale, amount)
        if sale == "refused":
            raise Declined(sale)

    @saga(version=1)
    async def only(self, sale: str) -> str:
        return await self.step(self.named, sale)

    async def named(self, sale: str) -> str:
        await self.tx.execute("INSERT INTO sales VALUES (:id, 0, 'née')", id=sale)
        return await self.tx.one(str, "SELECT state FROM sales WHERE id = :id", id=sale)


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Dispatcher]:
    CountingTill.opened = 0
    async with Database(f"sqlite:///{tmp_path}/bank.db") as bank_db, Database(f"sqlite:///{tmp_path}/till.db") as db:
        await bank_db.execute(BANK)
        await db.execute(TILL)
        async with (
            Dispatcher(BankService(db=bank_db)) as bank,
            Dispatcher(CountingTill(db=db, bank=client(Bank, InProcess(bank)))) as till,
        ):
            yield till


def fail_once_after_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Commands.unrecorded
    failed: list[bool] = []

    async def unrecorded(self: Commands, run: Callable[[], Coroutine[Any, Any, object]]) -> object:
        answer = await real(self, run)
        if not failed:
            failed.append(True)
            raise BackendError("the answer is lost")
        return answer

    monkeypatch.setattr(Commands, "unrecorded", unrecorded)


async def test_an_own_step_keeps_no_record_beside_its_journal(till: Dispatcher) -> None:
    await till.client(Till, as_=ANN).sell("s1", "ann", 5)
    db = till.service.db
    assert await db.one(int, "SELECT count(*) FROM _archstone_keys") == 0
    entries = await db.first(bytes, "SELECT entries FROM _archstone_saga_journal WHERE position = 0")
    (*begun, begun_us), (*answered, answered_us, attempts) = json.loads(entries or b"")
    assert begun == ["begin", "main/open_sale#1", 1, "open_sale", ["s1", 5], ["drop_sale", ["s1"]]]
    assert answered == ["answer", "main/open_sale#1", None]
    assert begun_us <= answered_us
    assert attempts == 1


async def test_an_attempt_that_took_effect_unseen_is_not_made_again(
    till: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once_after_commit(monkeypatch)
    await till.client(Till, as_=ANN).sell("s1", "ann", 5)
    assert CountingTill.opened == 1


async def test_the_answer_of_such_an_attempt_is_found(till: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_once_after_commit(monkeypatch)
    assert till.sagas is not None
    service = till.service
    assert isinstance(service, CountingTill)
    assert await till.sagas.run(service.only, "s1", id="one") == "née"


async def test_a_failed_own_step_is_rolled_back_and_undone(till: Dispatcher) -> None:
    with pytest.raises(Declined):
        await till.client(Till, as_=ANN).sell("refused", "ann", 5)
    assert await till.service.db.all(str, "SELECT state FROM sales") == []
    assert till.sagas is not None
    (info,) = await till.sagas.list()
    found = await till.sagas.inspect(info.id)
    assert [(step.id, step.state) for step in found.steps] == [("main/open_sale#1", "undone")]
