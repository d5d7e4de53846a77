"""Transactions at once are as transactions one after another; a snapshot is one instant; readers wait for nobody."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio
from functools import partial

from archstone.data.database import Database
from archstone.data.testing.suite import Suite, expect, ids, table
from archstone.data.transaction import Transaction

__all__ = ["IsolationConformance"]

_SET = "UPDATE t SET n = :n WHERE id = :id"


class IsolationConformance(Suite):
    """Serializable transactions, and snapshots."""

    async def test_no_update_is_lost_between_a_read_and_a_write(self, db: Database) -> None:
        await table(db, 1)

        async def increment(tx: Transaction) -> None:
            n = await tx.one(int, "SELECT n FROM t WHERE id = 1")
            await asyncio.sleep(0)
            await tx.execute(_SET, n=n + 1, id=1)

        await asyncio.gather(*[db.run(increment, attempts=50) for _ in range(12)])
        n = await db.one(int, "SELECT n FROM t WHERE id = 1")
        expect(n == 12, f"12 increments came to {n}")

    async def test_two_who_read_what_the_other_writes_do_not_both_succeed(self, db: Database) -> None:
        # Two doctors on call; each goes home only if the other stays (write skew).
        await table(db, 1, 2)
        await db.execute("UPDATE t SET n = 1")
        both = asyncio.Barrier(2)

        async def go_home(tx: Transaction, doctor: int) -> None:
            on_call = await tx.one(int, "SELECT count(*) FROM t WHERE n = 1")
            await _meet(both)
            if on_call == 2:
                await tx.execute(_SET, n=0, id=doctor)

        await asyncio.gather(*[db.run(partial(go_home, doctor=doctor)) for doctor in (1, 2)])
        left = await db.one(int, "SELECT count(*) FROM t WHERE n = 1")
        expect(left == 1, f"{left} doctors are on call")

    async def test_a_snapshot_shows_one_instant(self, db: Database) -> None:
        await table(db, 1)
        async with db.snapshot() as snapshot:
            first = await snapshot.one(int, "SELECT count(*) FROM t")
            await db.execute("INSERT INTO t (id) VALUES (2)")
            expect(await snapshot.one(int, "SELECT count(*) FROM t") == first == 1, "it saw a later commit")
            expect(await ids(db) == [1, 2], "a read outside sees the present")

    async def test_a_snapshot_is_of_the_instant_at_which_it_was_entered(self, db: Database) -> None:
        await table(db, 1)
        async with db.snapshot() as snapshot:
            await db.execute("INSERT INTO t (id) VALUES (2)")
            expect(await snapshot.one(int, "SELECT count(*) FROM t") == 1, "it saw what came after it was entered")

    async def test_a_read_waits_for_no_writer_and_a_writer_for_no_read(self, db: Database) -> None:
        await table(db, 1)
        async with db.snapshot() as snapshot:
            await snapshot.one(int, "SELECT n FROM t WHERE id = 1")
            async with db.transaction() as tx:
                await tx.execute(_SET, n=1, id=1)
                expect(await db.one(int, "SELECT n FROM t WHERE id = 1") == 0, "a read sees what is committed")
        expect(await db.one(int, "SELECT n FROM t WHERE id = 1") == 1, "the writer went on")


async def _meet(both: asyncio.Barrier) -> None:
    # Where transactions run one after another the second comes only when the first has left: nobody waits for ever.
    try:
        async with asyncio.timeout(0.1):
            await both.wait()
    except (TimeoutError, asyncio.BrokenBarrierError):
        await both.reset()
