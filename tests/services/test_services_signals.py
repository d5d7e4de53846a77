"""A command of a service sends a signal to one of its sagas, in its transaction."""

from pathlib import Path

import pytest
from contract_cases import ANN

from archstone.data import Database
from archstone.errors import DomainError
from archstone.sagas import saga
from archstone.services import Contract, Dispatcher, Service, command


class Bounced(DomainError, code="desk.bounced", status=409):
    """The cheque is worth nothing."""


class Desk(Contract, version="1.0"):
    """Sales that are paid later."""

    @command("/sales")
    async def sell(self, sale: str) -> None: ...

    @command("/payments", raises=(Bounced,))
    async def pay(self, sale: str, amount: int) -> bool: ...


class DeskService(Service, Desk):
    async def sell(self, sale: str) -> None:
        await self.tx.start(self.sale, id=sale)

    async def pay(self, sale: str, amount: int) -> bool:
        new = await self.tx.signal(sale, "paid", amount, key="only")
        if amount < 0:
            raise Bounced
        return new

    @saga()
    async def sale(self) -> int:
        return await self.step.receive("paid", int)


async def test_a_signal_is_sent_with_the_transaction_of_a_command(tmp_path: Path) -> None:
    async with Database(f"sqlite:///{tmp_path}/desk.db") as db, Dispatcher(DeskService(db=db)) as desk:
        client = desk.client(Desk, as_=ANN)
        await client.sell("s1")
        with pytest.raises(Bounced):
            await client.pay("s1", -5)
        assert await client.pay("s1", 5) is True
        assert await client.pay("s1", 5) is False
        assert desk.sagas is not None
        assert await desk.sagas.result("s1") == 5
