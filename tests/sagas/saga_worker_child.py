"""A worker of the tests that kill and stop processes: sagas of three steps, with effects in the database.

What a step does is noted under its key, so it takes effect once however often it is called: as a service of ours
behaves.
"""

import asyncio
import sys

from archstone import context
from archstone.data import Database
from archstone.errors import DomainError
from archstone.resilience import Exponential, Retry
from archstone.sagas import Sagas, SagaSettings, current_step, saga

EFFECTS = "CREATE TABLE effects (key TEXT PRIMARY KEY, account TEXT NOT NULL, amount BIGINT NOT NULL)"
PATIENT = Retry(50, backoff=Exponential(0.1, cap_s=1.0), on=(Exception,))
SETTINGS = SagaSettings(
    max_running=100, lease_s=1.0, timeout_s=10, step_retry=PATIENT, undo_retry=PATIENT, body_retry=PATIENT
)


class Closed(DomainError, code="child.closed"):
    """The account takes nothing."""


class Bank:
    """Moves money from account to account in three steps; one transfer in ten is refused at the last and undone."""

    def __init__(self, db: Database) -> None:
        self.db = db

    @saga()
    async def transfer(self, number: int) -> int:
        step = current_step()
        await step(self.move, "from", -1, undo=(self.move, "from", 1))
        await step(self.move, "fees", 0)
        await step(self.settle, number, undo=(self.move, "to", 0))
        return number

    async def move(self, account: str, amount: int) -> None:
        sql = "INSERT INTO effects (key, account, amount) VALUES (:key, :account, :amount) ON CONFLICT DO NOTHING"
        await self.db.execute(sql, key=context.current().key, account=account, amount=amount)

    async def settle(self, number: int) -> None:
        if number % 10 == 0:
            raise Closed
        await self.move("to", 1)


async def main(url: str) -> None:
    async with Database(url) as db, Sagas(db, owner=Bank(db), settings=SETTINGS):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
