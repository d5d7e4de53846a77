"""A program that publishes with SQLAlchemy and is killed: `python sqlalchemy_child.py URL before_commit`.

Or after_commit; or relay, which dies at the crash point that the environment names. It prints what it sends.
"""

import asyncio
import os
import signal
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from archstone.data import Envelope, Event
from archstone.data.sqlalchemy import SqlAlchemyOutbox, publish
from archstone.messaging import Relay


class Placed(Event, name="sqlalchemytest.placed", key="order_id"):
    order_id: str


class Paper:
    """A bus whose messages outlive the process: on its standard output."""

    async def send(self, *envelopes: Envelope) -> None:
        for envelope in envelopes:
            os.write(1, envelope.key.encode() + b"\n")


async def main(url: str, where: str) -> None:
    engine = create_async_engine(url)
    session = AsyncSession(engine)
    await session.execute(text("INSERT INTO orders (id, state) VALUES ('a', 'new')"))
    await publish(session, Placed(order_id="a"))
    await publish(session, Placed(order_id="b"))
    if where != "before_commit":
        await session.commit()
    if where == "relay":
        await Relay(SqlAlchemyOutbox(engine), Paper()).relay_once()
    os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(main(sys.argv[1], sys.argv[2]))
