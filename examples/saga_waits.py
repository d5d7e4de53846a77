"""An order that is packed, waits to be paid, and queues behind its customer's others: `python saga_waits.py`."""

import asyncio
from dataclasses import dataclass

from archstone.data import Database
from archstone.sagas import Queue, Sagas, SignalLateError, current_step, saga


@dataclass(frozen=True)
class Payment:
    cents: int


ORDERS = Queue("orders", per_key=1)  # one order of a customer at a time


class Shop:
    @saga(version=2, queue=ORDERS)
    async def order(self, number: str) -> str:
        step = current_step()
        await step.child(self.pack, number)
        try:
            payment = await step.receive("paid", Payment, timeout_s=3600)
        except SignalLateError:
            await step(remind, number)
            payment = await step.receive("paid", Payment, timeout_s=3600)  # let pass: the parcel is unpacked
        return f"{number} for {payment.cents} cents"

    @saga(name="order", version=1)  # for orders that began before there were reminders
    async def order_without_reminder(self, number: str) -> str:
        step = current_step()
        await step.child(self.pack, number)
        return f"{number} for {(await step.receive('paid', Payment)).cents} cents"

    @saga()
    async def pack(self, number: str) -> None:
        await current_step()(fetch, number, undo=(put_back, number))


async def fetch(number: str) -> None:
    print("fetched", number)


async def put_back(number: str) -> None:
    print("put back", number)


async def remind(number: str) -> None:
    print("reminded", number)


async def main() -> None:
    shop = Shop()
    async with Database("sqlite:///shop.db") as db, Sagas(db, owner=shop) as sagas:
        async with db.transaction() as tx:
            for number in ("o1", "o2"):
                await sagas.start(tx, shop.order, number, id=number, key="ann")
        for number, cents in (("o1", 500), ("o2", 700)):
            await sagas.signal(number, "paid", Payment(cents), key=f"payment of {number}")
            print(await sagas.result(number))


if __name__ == "__main__":
    asyncio.run(main())
