"""Many rows at once inside a transaction: all of them or none."""

from pathlib import Path

import pytest

from archstone.data import ConstraintError, Database, StatementError, Transaction

INSERT = "INSERT INTO t (id) VALUES (:id)"


@pytest.fixture
async def db(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/x.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        yield db


async def ids(db: Database) -> list[int]:
    return await db.all(int, "SELECT id FROM t ORDER BY id")


async def fail_among_others(tx: Transaction, own: int) -> None:
    await tx.execute(INSERT, id=own)
    with pytest.raises(ConstraintError):
        await tx.many(INSERT, [{"id": 100}, {"id": 101}, {"id": 100}])
    await tx.execute(INSERT, id=own + 1)


async def test_many_that_fails_leaves_none_of_its_rows_and_the_transaction_goes_on(db: Database):
    async with db.transaction() as tx:
        await fail_among_others(tx, 1)
        assert await tx.all(int, "SELECT id FROM t ORDER BY id") == [1, 2]
    assert await ids(db) == [1, 2]


async def test_the_same_holds_for_a_transaction_that_joins_a_group(db: Database):
    async with db.transaction(wait=False) as first:
        await first.execute(INSERT, id=10)
    async with db.transaction() as tx:
        await fail_among_others(tx, 1)
    assert await ids(db) == [1, 2, 10]


async def test_a_value_that_cannot_be_bound_leaves_none_of_the_rows_either(db: Database):
    async with db.transaction() as tx:
        with pytest.raises(StatementError):
            await tx.many(INSERT, [{"id": 1}, {"id": 2**70}])
    assert await ids(db) == []


async def test_many_counts_the_rows_it_changed(db: Database):
    async with db.transaction() as tx:
        assert await tx.many(INSERT, []) == 0
        assert await tx.many(INSERT, [{"id": 1}]) == 1
        assert await tx.many(INSERT, [{"id": 2}, {"id": 3}]) == 2
        assert await tx.many("DELETE FROM t WHERE id = :id", [{"id": 2}, {"id": 9}]) == 1
