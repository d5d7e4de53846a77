"""What is refused while a transaction is open: also around another one, and not for ever."""

import asyncio
from pathlib import Path

import pytest

from archstone import context
from archstone.data import Database, MisuseError, TransactionHeldError
from archstone.data.transaction import Transaction
from archstone.messaging import Bus, SendInTransactionError
from archstone.services import ANYONE, Contract, client, command
from archstone.services.errors import CallInTransactionError
from archstone.services.operation import Operation

INSERT = "INSERT INTO t (id) VALUES (:id)"


class Bell(Contract, version="1.0"):
    @command("/ring", requires=ANYONE)
    async def ring(self) -> str: ...


class Ringing:
    """A transport that rings at once."""

    async def call(self, operation: Operation, arguments: dict[str, object]) -> object:
        return "ding"


@pytest.fixture
def bell() -> Bell:
    return client(Bell, Ringing())


@pytest.fixture
async def left(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/left.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        yield db


@pytest.fixture
async def right(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/right.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        yield db


async def ids(db: Database) -> list[int]:
    return await db.all(int, "SELECT id FROM t ORDER BY id")


async def test_a_database_is_refused_inside_its_own_transaction_also_through_another_database(left, right):
    async with left.transaction() as outer:
        await outer.execute(INSERT, id=1)
        async with right.transaction() as inner:
            await inner.execute(INSERT, id=1)
            with pytest.raises(MisuseError, match="use tx inside its block"):
                await left.execute(INSERT, id=2)
            with pytest.raises(MisuseError, match="use tx inside its block"):
                async with left.transaction():
                    pass
        await outer.execute(INSERT, id=3)
    assert (await ids(left), await ids(right)) == ([1, 3], [1])


async def test_a_client_is_refused_inside_a_begun_transaction_also_through_another_database(left, right, bell):
    async with left.transaction() as outer:
        async with right.transaction():
            assert await bell.ring() == "ding"
        await outer.execute(INSERT, id=1)
        async with right.transaction():
            with pytest.raises(CallInTransactionError, match=r"Bell\.ring"):
                await bell.ring()


async def test_a_task_started_in_a_transaction_is_free_once_that_has_ended(left, right, bell):
    ended = asyncio.Event()

    async def outlive() -> str:
        with pytest.raises(MisuseError):
            await left.execute(INSERT, id=9)
        with pytest.raises(CallInTransactionError):
            await bell.ring()
        await ended.wait()
        await left.execute(INSERT, id=2)
        async with left.transaction() as tx:
            await tx.execute(INSERT, id=3)
            assert tx.outer is None
        async with Bus() as bus:
            await bus.send()
        return await bell.ring()

    async with left.transaction() as outer:
        await outer.execute(INSERT, id=1)
        async with right.transaction() as inner:
            await inner.execute(INSERT, id=1)
            task = asyncio.create_task(outlive())
            await asyncio.sleep(0)
    ended.set()
    assert await task == "ding"
    assert await ids(left) == [1, 2, 3]


async def test_the_outer_transaction_still_counts_for_a_task_when_the_inner_has_ended(left, right, bell):
    ended = asyncio.Event()

    async def outlive() -> None:
        await ended.wait()
        await right.execute(INSERT, id=2)
        with pytest.raises(MisuseError):
            await left.execute(INSERT, id=9)
        with pytest.raises(CallInTransactionError):
            await bell.ring()
        async with Bus() as bus:
            with pytest.raises(SendInTransactionError):
                await bus.send()

    async with left.transaction() as outer:
        await outer.execute(INSERT, id=1)
        async with right.transaction():
            task = asyncio.create_task(outlive())
        ended.set()
        await task
    assert (await ids(left), await ids(right)) == ([1], [2])


async def test_a_task_is_free_after_a_transaction_that_was_rolled_back_because_it_was_held(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/x.db", hold_limit_s=1) as db:
        await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        started: list[asyncio.Task[int]] = []

        async def later() -> int:
            await asyncio.sleep(5)
            assert isinstance(context.current().tx, Transaction)
            return await db.execute(INSERT, id=2)

        with pytest.raises(TransactionHeldError):
            async with db.transaction() as tx:
                await tx.execute(INSERT, id=1)
                started.append(asyncio.create_task(later()))
                await asyncio.sleep(3)
        assert await started[0] == 1
        assert await ids(db) == [2]
