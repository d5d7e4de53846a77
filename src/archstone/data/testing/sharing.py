"""Several openings of one database: all see one truth, or the second is refused by name."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio

from archstone.data.database import Database
from archstone.data.schema import Schema
from archstone.data.testing.suite import Noted, Suite, expect, ids, table
from archstone.data.transaction import Transaction

__all__ = ["SharingConformance"]

_NOTES = Schema("conformance", (("CREATE TABLE notes (id INTEGER PRIMARY KEY)",),))


class SharingConformance(Suite):
    """Where the database is not `shared`, `other` is `db`, and these hold all the same."""

    async def test_what_one_committed_the_other_sees(self, db: Database, other: Database) -> None:
        await table(db, 1)
        await other.execute("INSERT INTO t (id) VALUES (2)")
        expect(await ids(db) == [1, 2] == await ids(other), "they do not see the same")

    async def test_both_count_in_one_row(self, db: Database, other: Database) -> None:
        await table(db, 1)

        async def increment(tx: Transaction) -> None:
            n = await tx.one(int, "SELECT n FROM t WHERE id = 1")
            await tx.execute("UPDATE t SET n = :n WHERE id = 1", n=n + 1)

        await asyncio.gather(*[one.run(increment, attempts=100) for one in (db, other) * 8])
        n = await db.one(int, "SELECT n FROM t WHERE id = 1")
        expect(n == 16, f"16 increments came to {n}")

    async def test_both_may_create_the_tables_of_a_block(self, db: Database, other: Database) -> None:
        await asyncio.gather(*[one.ensure(_NOTES) for one in (db, other)])
        await other.execute("INSERT INTO notes (id) VALUES (1)")
        expect(await db.all(int, "SELECT id FROM notes") == [1], "they have different tables")

    async def test_positions_of_the_outbox_are_unique(self, db: Database, other: Database) -> None:
        async def publish(one: Database, number: int) -> None:
            async def work(tx: Transaction) -> None:
                tx.publish(Noted(id=number))

            await one.run(work)

        await asyncio.gather(*[publish(one, number) for number, one in enumerate((db, other) * 5)])
        positions = await db.all(int, "SELECT position FROM _archstone_outbox ORDER BY position")
        expect(len(positions) == len(set(positions)) == 10, f"positions: {positions}")

    async def test_a_signal_wakes_who_listens_for_its_word(self, db: Database, other: Database) -> None:
        heard: list[str] = []
        ends = [one.listen("x", lambda who=who: heard.append(who)) for who, one in (("db", db), ("other", other))]
        for _ in range(100):  # a signal is a hint: one that is lost is said again
            db.signal("y")
            db.signal("x")
            await asyncio.sleep(0.05)
            if {"db", "other"} <= set(heard):
                break
        expect({"db", "other"} <= set(heard), f"heard: {set(heard)}")
        for end in ends:
            end()
        heard.clear()
        db.signal("x")
        await asyncio.sleep(0.05)
        expect(heard == [], "who has stopped listening is still called")
