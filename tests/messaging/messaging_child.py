"""A program that publishes, relays and handles; killed by the tests, and started again on the same files.

    python messaging_child.py FOLDER ORDERS [fail | poison]

It ends when the outbox and the bus are empty. Each call of the handler is appended to `calls.txt`.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from archstone import context
from archstone.data import Database, Envelope, Event, Transaction
from archstone.errors import RejectedError
from archstone.messaging import Bus, Inbox, Relay
from archstone.resilience import Exponential, Retry


class Placed(Event, name="shop.placed", key="customer"):
    customer: str
    order: int


class Always(RejectedError, code="child.always"):
    retry_after_s = 0.5
    """Not again before the failure is on disk: the process may have to die there."""


async def publish(db: Database, orders: int) -> None:
    if orders:
        async with db.transaction() as tx:
            for order in range(orders):
                tx.publish(Placed(customer=f"c{order % 3}", order=order))


async def main(folder: Path, orders: int, mode: str) -> None:
    calls = (folder / "calls.txt").open("a", buffering=1)

    async def effect(tx: Transaction, envelope: Envelope) -> None:
        event = Placed.decode(envelope.payload)
        assert isinstance(event, Placed)
        calls.write(f"{event.order} {context.current().causation_id}\n")
        if mode == "poison" and event.order == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        await tx.execute("INSERT INTO effects (number) VALUES (:number)", number=event.order)
        await asyncio.sleep(0)
        if mode == "fail":
            raise Always

    db = Database(f"sqlite:///{folder}/shop.db")
    bus = Bus(f"sqlite:///{folder}/bus.db")
    inbox = Inbox(db)
    retry = Retry(3, backoff=Exponential(0.01), on=(Exception,))
    bus.subscribe("shop", "effects", inbox.handler("effects", effect), retry=retry, concurrency=4)
    async with db, bus:
        await db.execute("CREATE TABLE IF NOT EXISTS effects (position INTEGER PRIMARY KEY, number INTEGER)")
        await inbox.open()
        await publish(db, orders)
        if mode == "fail":
            # Out of the outbox first: killed while it is still there, it would be sent again beside the failed one.
            await Relay(db, bus).relay_once()
        await bus.start()
        async with Relay(db, bus, batch=4):
            while await db.one(int, "SELECT COUNT(*) FROM _archstone_outbox") or await bus.depth("effects"):
                await asyncio.sleep(0.005)
            while mode == "fail" and not await bus.dead():
                await asyncio.sleep(0.005)
        print(sorted(int(Placed.decode(letter.envelope.payload).order) for letter in await bus.dead()))


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""))
