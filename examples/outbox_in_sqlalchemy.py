"""Your models, your session, and an event that commits with them: `uvicorn outbox_in_sqlalchemy:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from archstone.data import Envelope, Event
from archstone.data.sqlalchemy import SqlAlchemyOutbox, create_outbox, publish
from archstone.messaging import Bus, Relay


class Model(DeclarativeBase): ...


class Order(Model):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


class OrderPlaced(Event, name="bistro.order-placed", key="order_id"):
    order_id: str


async def mail(message: Envelope) -> None:
    print("mailing about", OrderPlaced.decode(message.payload))


engine, bus = create_async_engine("sqlite+aiosqlite:///orders.db"), Bus("sqlite:///bus.db")
bus.subscribe("bistro", "mailer", mail)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Model.metadata.create_all)
    await create_outbox(engine)
    async with bus, Relay(SqlAlchemyOutbox(engine), bus):
        await bus.start()
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order_id}", status_code=201)
async def place(order_id: str) -> None:
    async with AsyncSession(engine) as session, session.begin():
        session.add(Order(id=order_id))
        await publish(session, OrderPlaced(order_id=order_id))
