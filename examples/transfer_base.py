"""Money moves between two services, each with its database: `python transfer_base.py`. For a while it is in flight."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from archstone import world
from archstone.data import Database, Envelope, Event, Transaction
from archstone.errors import DomainError
from archstone.messaging import Bus, Inbox, Relay


class Sent(Event, name="giro.sent", key="transfer"):
    transfer: str
    account: str
    cents: int


class Arrived(Event, name="savings.arrived", key="transfer"):
    transfer: str


class Refused(Event, name="savings.refused", key="transfer"):
    transfer: str


class NotEnough(DomainError, code="transfer.not-enough", status=409):
    """The account has less than that."""


class Giro:
    """Sends money. It takes it at once, whether the other service is there or not, and takes it back if refused."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def open(self, cents: int) -> None:
        await self.db.execute("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
        await self.db.execute(
            "CREATE TABLE IF NOT EXISTS transfers (id TEXT PRIMARY KEY, cents INTEGER NOT NULL, state TEXT NOT NULL)"
        )
        await self.db.execute("INSERT INTO accounts VALUES ('ann', :cents) ON CONFLICT DO NOTHING", cents=cents)

    async def send(self, account: str, cents: int) -> str:
        transfer = world.new_id()

        async def take(tx: Transaction) -> None:
            taken = "UPDATE accounts SET cents = cents - :cents WHERE name = 'ann' AND cents >= :cents"
            if not await tx.execute(taken, cents=cents):
                raise NotEnough
            await tx.execute("INSERT INTO transfers VALUES (:id, :cents, 'sent')", id=transfer, cents=cents)
            tx.publish(Sent(transfer=transfer, account=account, cents=cents))

        await self.db.run(take)
        return transfer

    async def hear(self, tx: Transaction, message: Envelope) -> None:
        if message.name == Arrived.event_name:
            await tx.execute("UPDATE transfers SET state = 'arrived' WHERE id = :id", id=message.key)
        elif await tx.execute("UPDATE transfers SET state = 'returned' WHERE id = :id", id=message.key):
            give_back = "UPDATE accounts SET cents = cents + (SELECT cents FROM transfers WHERE id = :id)"
            await tx.execute(give_back + " WHERE name = 'ann'", id=message.key)

    async def state(self, transfer: str) -> str:
        return await self.db.one(str, "SELECT state FROM transfers WHERE id = :id", id=transfer)


class Savings:
    """Receives money, when it hears of it; refuses it where there is no account."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def open(self) -> None:
        await self.db.execute("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
        await self.db.execute("CREATE TABLE IF NOT EXISTS received (transfer TEXT PRIMARY KEY, cents INTEGER NOT NULL)")
        await self.db.execute("INSERT INTO accounts VALUES ('bob', 0) ON CONFLICT DO NOTHING")

    async def hear(self, tx: Transaction, message: Envelope) -> None:
        sent = Sent.model_validate_json(message.payload)
        given = "UPDATE accounts SET cents = cents + :cents WHERE name = :name"
        if not await tx.execute(given, name=sent.account, cents=sent.cents):
            tx.publish(Refused(transfer=sent.transfer))
            return
        await tx.execute("INSERT INTO received VALUES (:id, :cents)", id=sent.transfer, cents=sent.cents)
        tx.publish(Arrived(transfer=sent.transfer))


class Books(NamedTuple):
    """Cents at one moment. Their sum never changes, and none is negative."""

    giro: int
    savings: int
    in_flight: int


async def books(giro: Giro, savings: Savings) -> Books:
    # The receiver first: what it has received has been sent before, so the later look at the sender knows of it.
    has, received = await savings.db.one(
        tuple[int, int], "SELECT (SELECT sum(cents) FROM accounts), (SELECT coalesce(sum(cents), 0) FROM received)"
    )
    left, sent = await giro.db.one(
        tuple[int, int],
        "SELECT (SELECT sum(cents) FROM accounts),"
        " (SELECT coalesce(sum(cents), 0) FROM transfers WHERE state <> 'returned')",
    )
    return Books(left, has, sent - received)


@asynccontextmanager
async def opened(folder: Path, *, cents: int = 1000) -> AsyncIterator[tuple[Giro, Savings, Bus]]:
    """Open both services and the bus between them; nothing arrives before `bus.start()`."""
    giro = Giro(Database(f"sqlite:///{folder}/giro.db"))
    savings = Savings(Database(f"sqlite:///{folder}/savings.db"))
    bus = Bus(f"sqlite:///{folder}/bus.db")
    heard, told = Inbox(savings.db), Inbox(giro.db)
    bus.subscribe("giro", "savings", heard.handler("savings", savings.hear))
    bus.subscribe("savings", "giro", told.handler("giro", giro.hear))
    async with giro.db, savings.db, bus:
        await heard.open()
        await told.open()
        await giro.open(cents)
        await savings.open()
        async with Relay(giro.db, bus), Relay(savings.db, bus):
            yield giro, savings, bus


async def main() -> None:
    async with opened(Path()) as (giro, savings, bus):
        print("before ", await books(giro, savings))
        transfers = [await giro.send("bob", 100), await giro.send("nobody", 50)]
        print("sent   ", await books(giro, savings))
        await bus.start()
        while "sent" in [await giro.state(transfer) for transfer in transfers]:
            await asyncio.sleep(0.01)
        print("settled", await books(giro, savings))


if __name__ == "__main__":
    asyncio.run(main())
