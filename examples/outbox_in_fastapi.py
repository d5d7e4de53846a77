"""An order and its announcement commit together, and the mailer hears of it: `uvicorn outbox_in_fastapi:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from archstone.data import Database, Envelope, Event
from archstone.messaging import Bus, Relay


class OrderPlaced(Event, name="cafe.order-placed", key="order_id"):
    order_id: str


async def mail(message: Envelope) -> None:
    print("mailing about", OrderPlaced.decode(message.payload))


db, bus = Database("sqlite:///orders.db"), Bus("sqlite:///bus.db")
bus.subscribe("cafe", "mailer", mail)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with db, bus, Relay(db, bus):
        await db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY)")
        await bus.start()
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order_id}", status_code=201)
async def place(order_id: str) -> None:
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO orders (id) VALUES (:id)", id=order_id)
        tx.publish(OrderPlaced(order_id=order_id))
