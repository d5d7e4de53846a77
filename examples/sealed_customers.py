"""Customers whose personal fields are sealed, found by e-mail, and one is erased: `python sealed_customers.py`.

A key for each customer: destroying it erases what is sealed, in the table and in every copy of it.
"""

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

from archstone.data import Database
from archstone.security.encryption import (
    BlindIndex,
    DataKeys,
    Encrypted,
    KeysDestroyedError,
    RootKeys,
    SealedColumn,
    folded,
)

EMAIL = SealedColumn(str, "customers", "email")
ADDRESS = SealedColumn(dict[str, str], "customers", "address")


class Customer(NamedTuple):
    id: str
    email: Encrypted[str]
    address: Encrypted[dict[str, str]]


class Customers:
    emails: BlindIndex

    def __init__(self, db: Database, roots: RootKeys) -> None:
        self.db = db
        self.tables = DataKeys(db, roots)  # one key, unwrapped by the root key
        self.people = DataKeys(db, self.tables.service("customers"))  # a key each, unwrapped by that one

    async def open(self) -> None:
        await self.tables.open()
        index = await self.tables.ring("index")  # of its own: a new key there means marking every row again
        self.emails = BlindIndex(index.derive("customers.email"), "customers.email", normalise=folded)
        await self.db.execute(
            "CREATE TABLE IF NOT EXISTS customers (id TEXT PRIMARY KEY, email BLOB, email_mark BLOB, address BLOB)"
        )

    async def add(self, id: str, email: str, address: dict[str, str]) -> None:
        ring = await self.people.ring(f"customer:{id}")
        await self.db.execute(
            "INSERT INTO customers VALUES (:id, :email, :mark, :address)",
            id=id,
            email=EMAIL.seal(email, row=id, ring=ring),
            mark=self.emails.mark(email),
            address=ADDRESS.seal(address, row=id, ring=ring),
        )

    async def address_of(self, email: str) -> dict[str, str] | None:
        (mark,) = self.emails.marks(email)
        found = await self.db.first(
            Customer, "SELECT id, email, address FROM customers WHERE email_mark = :mark", mark=mark
        )
        if found is None:
            return None
        ring = await self.people.ring(f"customer:{found.id}")
        return ADDRESS.open(found.address, row=found.id, ring=ring)

    async def erase(self, id: str) -> None:
        await self.people.destroy(f"customer:{id}")


async def main(folder: Path) -> None:
    async with Database(f"sqlite:///{(folder / 'customers.db').absolute()}") as db:
        customers = Customers(db, RootKeys.from_file(folder / "encryption.json"))
        await customers.open()
        await customers.add("1", "Ann@example.com", {"street": "1 High Street", "city": "Oxford"})
        print("in the file:", await db.one(Customer, "SELECT id, email, address FROM customers"))
        print("opened:     ", await customers.address_of("ann@EXAMPLE.com"))
        await customers.erase("1")
        try:
            await customers.address_of("ann@example.com")
        except KeysDestroyedError as error:
            print("erased:     ", error)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
