"""A shop with a past: an order, and two events that analytics could not handle, whose cause has been mended since."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from devices import PASSWORD, aside
from shop_process import ADDRESS

from archstone import context, simulation
from archstone.context import Principal
from archstone.runtime import running
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.system import shop as system
from archstone.systems.shop.users.contract import UserWrite
from archstone.systems.shop.values import Address, Line

ADMIN: Final = "chief@example.org"


@contextmanager
def _analytics(data: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(data / "analytics.db")) as db, db:
        yield db


async def _lived(data: Path) -> None:
    async with running(system, data=data) as run:
        user = await run.client(UserWrite).register(ADMIN, PASSWORD, "Chief Clerk")
    with _analytics(data) as db:
        db.execute("ALTER TABLE minutes RENAME TO mislaid")
    async with running(system, data=data) as run:
        customer = Principal(user.id, frozenset({"customer"}))
        with context.enter(context.current()._replace(key="k")):
            lines = (Line(sku="KIT-001", quantity=1),)
            await run.client(Orders, as_=customer).place(lines, Address(**ADDRESS), "tok_ok")
        while len(await run.bus.dead()) < 2:
            await asyncio.sleep(1)


def troubled(data: Path) -> None:
    """Make the data folder of such a shop, in virtual time: eight attempts take minutes."""
    # Today, or the letters would be older than dead letters are kept.
    aside(lambda: simulation.run(_lived(data), starts_at=datetime.now(UTC)))
    with _analytics(data) as db:
        db.execute("ALTER TABLE mislaid RENAME TO minutes")
