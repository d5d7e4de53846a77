"""A little system for tests: a till whose sales are sagas over a bank, with events, handlers and periodic work."""

from pydantic import BaseModel

from archstone.data import Event
from archstone.errors import BackendError, DomainError
from archstone.sagas import saga
from archstone.services import SIGNED_IN, Contract, Service, command, every, on, query

TILL = "CREATE TABLE IF NOT EXISTS sales (id TEXT PRIMARY KEY, amount INTEGER NOT NULL, state TEXT NOT NULL)"
BANK = "CREATE TABLE IF NOT EXISTS entries (position INTEGER PRIMARY KEY, what TEXT NOT NULL, amount INTEGER NOT NULL)"


class Declined(DomainError, code="tests.bank-declined", status=402):
    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.account = account


class Receipt(BaseModel, frozen=True):
    sale: str
    entries: tuple[int, ...]


class SaleMade(Event, name="till-tests.sale-made", version=1, key="sale"):
    sale: str
    amount: int


class Bank(Contract, version="1.0"):
    @command("/charges", raises=(Declined,))
    async def charge(self, account: str, amount: int) -> int: ...

    @command("/refunds")
    async def refund(self, account: str, amount: int) -> None: ...


class BankService(Service, Bank):
    failures = 0
    """How many charges fail after their effect, as a lost answer does."""

    async def charge(self, account: str, amount: int) -> int:
        if account == "poor":
            raise Declined(account)
        await self.tx.execute("INSERT INTO entries (what, amount) VALUES ('charge', :amount)", amount=amount)
        return await self.tx.one(int, "SELECT max(position) FROM entries")

    async def refund(self, account: str, amount: int) -> None:
        await self.tx.execute("INSERT INTO entries (what, amount) VALUES ('refund', :amount)", amount=-amount)


class Till(Contract, version="1.0"):
    @command("/sales", public=True, requires=SIGNED_IN, raises=(Declined,))
    async def sell(self, sale: str, account: str, amount: int) -> Receipt: ...

    @command("/later", status=202)
    async def sell_later(self, sale: str, account: str, amount: int) -> None: ...

    @query("/sales/{sale}")
    async def state(self, sale: str) -> str: ...


class TillService(Service, Till):
    bank: Bank

    @saga(version=1)
    async def sell(self, sale: str, account: str, amount: int) -> Receipt:
        await self.step(self.open_sale, sale, amount, undo=(self.drop_sale, sale))
        first = await self.step(self.bank.charge, account, amount, undo=(self.bank.refund, account, amount))
        second = await self.step(self.twice, account, undo=(self.bank.refund, account, 2))
        await self.step(self.close_sale, sale, amount)
        return Receipt(sale=sale, entries=(first, second))

    async def sell_later(self, sale: str, account: str, amount: int) -> None:
        await self.tx.start(self.sell, sale, account, amount, id=sale)

    async def state(self, sale: str) -> str:
        return await self.db.first(str, "SELECT state FROM sales WHERE id = :id", id=sale) or "unknown"

    async def open_sale(self, sale: str, amount: int) -> None:
        await self.tx.execute("INSERT INTO sales VALUES (:id, :amount, 'open')", id=sale, amount=amount)

    async def drop_sale(self, sale: str) -> None:
        await self.tx.execute("UPDATE sales SET state = 'dropped' WHERE id = :id", id=sale)

    async def close_sale(self, sale: str, amount: int) -> None:
        await self.tx.execute("UPDATE sales SET state = 'closed' WHERE id = :id", id=sale)
        self.tx.publish(SaleMade(sale=sale, amount=amount))

    @saga()
    async def twice(self, account: str) -> int:
        """Charge the same amount twice: two effects, however often an attempt is repeated."""
        await self.step(self.bank.charge, account, 1)
        return await self.step(self.bank.charge, account, 1)


class Books(Contract, version="1.0"):
    @query("/total")
    async def total(self) -> int: ...


class BooksService(Service, Books):
    bank: Bank

    async def total(self) -> int:
        return await self.db.one(int, "SELECT coalesce(sum(amount), 0) FROM entries")

    @on(SaleMade)
    async def note(self, event: SaleMade) -> None:
        if event.amount == 13:
            raise BackendError("the pen is broken")
        await self.tx.execute("INSERT INTO entries (what, amount) VALUES ('sale', :amount)", amount=event.amount)

    @on(SaleMade)
    @saga()
    async def give_back(self, event: SaleMade) -> None:
        await self.step(self.bank.refund, event.sale, 1)

    @every(60.0)
    async def close_day(self) -> None:
        await self.tx.execute("INSERT INTO entries (what, amount) VALUES ('day', 0)")

    @every(30.0)
    @saga()
    async def remind(self) -> None:
        await self.step(self.bank.refund, "reminder", 7)
