"""Money moves within one database: `python transfer_acid.py`. Nobody ever sees it gone here and not yet there."""

import asyncio

from archstone.data import Database, Transaction
from archstone.errors import DomainError


class NotEnough(DomainError, code="transfer.not-enough", status=409):
    """The account has less than that."""


class NoAccount(DomainError, code="transfer.no-account", status=404):
    """There is no such account."""


class Bank:
    """Accounts in one database. What they hold in all never changes by a transfer, whoever looks, and whenever."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def open(self, **accounts: int) -> None:
        await self.db.execute("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
        rows = [{"name": name, "cents": cents} for name, cents in accounts.items()]
        await self.db.many("INSERT INTO accounts VALUES (:name, :cents) ON CONFLICT DO NOTHING", rows)

    async def transfer(self, source: str, target: str, cents: int) -> None:
        async def move(tx: Transaction) -> None:
            taken = "UPDATE accounts SET cents = cents - :cents WHERE name = :name AND cents >= :cents"
            if not await tx.execute(taken, name=source, cents=cents):
                raise NotEnough
            given = "UPDATE accounts SET cents = cents + :cents WHERE name = :name"
            if not await tx.execute(given, name=target, cents=cents):
                raise NoAccount  # and what was taken is back

        await self.db.run(move)

    async def accounts(self) -> dict[str, int]:
        return dict(await self.db.all(tuple[str, int], "SELECT name, cents FROM accounts ORDER BY name"))


async def main() -> None:
    async with Database("sqlite:///bank.db") as db:
        bank = Bank(db)
        await bank.open(ann=1000, bob=0)
        print("before ", await bank.accounts())
        await bank.transfer("ann", "bob", 100)
        print("after  ", await bank.accounts())
        try:
            await bank.transfer("ann", "nobody", 100)
        except NoAccount:
            print("refused", await bank.accounts())


if __name__ == "__main__":
    asyncio.run(main())
