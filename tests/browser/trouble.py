"""Shops with a past: events that could not be handled, sagas that are stuck, the cause of both mended since."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from devices import PASSWORD, aside
from shop_process import ADDRESS

from archstone import context, simulation
from archstone.context import Principal
from archstone.runtime import Embedded, running
from archstone.systems.shop.orders import service as orders
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
        await _ordered(run, user.id, "k")
        while len(await run.bus.dead()) < 2:
            await asyncio.sleep(1)


async def _got_stuck(data: Path) -> tuple[str, ...]:
    async with running(system, data=data) as run:
        user = await run.client(UserWrite).register(ADMIN, PASSWORD, "Chief Clerk")
        asked = [await _ordered(run, user.id, key) for key in ("first", "second")]
        console = Principal("operator", frozenset({"admin"}))
        while len((await run.console.sagas(console, status="stuck", limit=10, before=None)).items) < len(asked):
            await asyncio.sleep(10)
    return tuple(asked)


async def _ordered(run: Embedded, customer_id: str, key: str) -> str:
    customer = Principal(customer_id, frozenset({"customer"}))
    with context.enter(context.current()._replace(key=key)):
        lines = (Line(sku="KIT-001", quantity=1),)
        return (await run.client(Orders, as_=customer).place(lines, Address(**ADDRESS), "tok_ok")).id


def got_stuck(data: Path) -> tuple[str, ...]:
    """Make a data folder with two orders whose checkouts a bug has stopped after the goods were held; return them."""
    with pytest.MonkeyPatch.context() as bug:
        bug.delattr(orders, "PAYMENT_TIMEOUT_S")
        starts_at = datetime.now(UTC) - timedelta(hours=1)
        return aside(lambda: simulation.run(_got_stuck(data), starts_at=starts_at))


def troubled(data: Path) -> None:
    """Make the data folder of such a shop, in virtual time: eight attempts take minutes."""
    # Today, or the letters would be older than dead letters are kept.
    aside(lambda: simulation.run(_lived(data), starts_at=datetime.now(UTC)))
    with _analytics(data) as db:
        db.execute("ALTER TABLE mislaid RENAME TO minutes")
