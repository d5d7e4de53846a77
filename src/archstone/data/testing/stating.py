"""Single statements: what they tell, what they refuse, and that those of one moment do not meet."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio

from archstone.data.database import Database
from archstone.data.errors import ConstraintError, MisuseError, NoRowError, StatementError
from archstone.data.testing.suite import Item, Suite, expect, ids, table
from archstone.errors import ArchstoneError

__all__ = ["StatementConformance"]

_INSERT = "INSERT INTO t (id, n, word, data, part) VALUES (:id, :n, :word, :data, :part)"


class StatementConformance(Suite):
    """`execute`, `one`, `first`, `all`, `many`."""

    async def test_a_statement_tells_how_many_rows_it_changed(self, db: Database) -> None:
        await table(db, 1, 2, 3)
        expect(await db.execute("UPDATE t SET n = 1 WHERE id > :id", id=1) == 2, "two rows were changed")
        expect(await db.execute("DELETE FROM t WHERE id = 9") == 0, "no row was deleted")
        expect(await db.execute("INSERT INTO t (id) VALUES (4), (5)") == 2, "two rows were inserted")
        expect(await db.execute("DELETE FROM t WHERE id > 3 RETURNING id") == 2, "RETURNING changes no count")

    async def test_what_a_statement_returns_is_given_once_it_is_durable(self, db: Database) -> None:
        await table(db, 1, 2, 3)
        delete = "DELETE FROM t WHERE id > :id RETURNING id"
        expect(sorted(await db.returning(int, delete, id=1)) == [2, 3], "RETURNING gives the rows")
        expect(await db.returning(int, delete, id=1) == [], "nothing was deleted, so nothing is returned")
        expect(await ids(db) == [1], "the rows are gone")
        async with db.transaction() as tx:
            await tx.execute("DELETE FROM t")
            await _refused(MisuseError, db.returning(int, delete, id=0))

    async def test_values_come_back_as_they_went(self, db: Database) -> None:
        await table(db)
        rows = [
            Item(1, 2**63 - 1, "ünïcode 🛒 'quoted'", b"\x00\xff", 0.1),
            Item(2, -(2**63), "", b"", -1e300),
            Item(3, 1),
            Item(4, 1, "a\nb\\c%_:x", bytes(range(256)), 3.0),
        ]
        for row in rows:
            await db.execute(_INSERT, **row._asdict())
        expect(await db.all(Item, "SELECT * FROM t ORDER BY id") == rows, "a value changed on its way")

    async def test_reads_give_rows_of_the_type_asked_for(self, db: Database) -> None:
        await table(db, 1, 2)
        expect(await db.one(int, "SELECT count(*) FROM t") == 2, "one() gives the first row")
        expect(await db.one(int, "SELECT sum(id) FROM t") == 3, "a sum of integers is an integer")
        expect(await db.first(int, "SELECT id FROM t WHERE id = 9") is None, "first() gives None for no row")
        expect(await db.all(tuple[int, int], "SELECT id, n FROM t ORDER BY id") == [(1, 0), (2, 0)], "tuples")
        try:
            await db.one(int, "SELECT id FROM t WHERE id = 9")
        except NoRowError:
            return
        raise AssertionError("one() without a row raises NoRowError")

    async def test_many_is_all_or_none(self, db: Database) -> None:
        await table(db)
        insert = "INSERT INTO t (id) VALUES (:id)"
        expect(await db.many(insert, [{"id": number} for number in range(5)]) == 5, "five rows were inserted")
        await _refused(ConstraintError, db.many(insert, [{"id": 10}, {"id": 1}]))
        expect(await ids(db) == [0, 1, 2, 3, 4], "part of a failed many() stayed")
        expect(await db.many(insert, []) == 0, "nothing to do changes nothing")
        update = "UPDATE t SET n = :n WHERE id >= :id"
        expect(await db.many(update, [{"n": 1, "id": 3}, {"n": 2, "id": 0}]) == 7, "rows are counted for each")

    async def test_a_wrong_statement_is_told_and_does_nothing(self, db: Database) -> None:
        await table(db, 1)
        for text in ("SELEC 1", "SELECT nothing FROM t", "INSERT INTO absent VALUES (1)", "UPDATE t SET id = :x"):
            await _refused(StatementError, db.execute(text))
        await _refused(StatementError, db.execute("UPDATE t SET n = :n", m=1))
        expect(await ids(db) == [1], "a refused statement had an effect")

    async def test_a_broken_constraint_is_told_and_does_nothing(self, db: Database) -> None:
        await table(db, 1)
        await _refused(ConstraintError, db.execute("INSERT INTO t (id) VALUES (2), (1)"))
        expect(await ids(db) == [1], "part of a refused statement stayed")

    async def test_statements_of_one_moment_are_each_told_their_own_rows(self, db: Database) -> None:
        await table(db, *range(20))
        update = "UPDATE t SET n = n + 1 WHERE id < :below"
        told = await asyncio.gather(*[db.execute(update, below=number) for number in range(20)])
        expect(told == list(range(20)), f"told {told}")
        sums = await db.all(int, "SELECT n FROM t ORDER BY id")
        expect(sums == [19 - number for number in range(20)], f"an update was lost: {sums}")

    async def test_one_that_fails_costs_its_neighbours_nothing(self, db: Database) -> None:
        await table(db, 7)
        insert = "INSERT INTO t (id) VALUES (:id)"
        told = await asyncio.gather(*[db.execute(insert, id=number) for number in range(10)], return_exceptions=True)
        failed = [number for number, answer in enumerate(told) if answer != 1]
        expect(failed == [7], f"failed: {failed}")
        expect(isinstance(told[7], ConstraintError), "the one at fault is told")
        expect(await ids(db) == list(range(10)), "a neighbour's row is missing")

    async def test_of_the_same_row_one_wins(self, db: Database) -> None:
        await table(db)
        insert = "INSERT INTO t (id) VALUES (:id)"
        told = await asyncio.gather(*[db.execute(insert, id=1) for _ in range(10)], return_exceptions=True)
        expect(told.count(1) == 1, f"{told.count(1)} were told that they inserted the row")
        expect(sum(isinstance(answer, ConstraintError) for answer in told) == 9, "the others are told why not")

    async def test_what_was_cancelled_costs_its_neighbours_nothing(self, db: Database) -> None:
        await table(db)
        insert = "INSERT INTO t (id) VALUES (:id)"
        tasks = [asyncio.create_task(db.execute(insert, id=number)) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        expect([answer for number, answer in enumerate(told) if number != 3] == [1] * 9, f"told {told}")
        found = await ids(db)
        expect(found in (list(range(10)), [0, 1, 2, 4, 5, 6, 7, 8, 9]), f"found {found}")

    async def test_reading_does_not_write(self, db: Database) -> None:
        await table(db, 1)
        await _refused(ArchstoneError, db.all(int, "DELETE FROM t RETURNING id"))
        expect(await ids(db) == [1], "a read deleted a row")


async def _refused(kind: type[Exception], call: object) -> None:
    try:
        await call  # type: ignore[misc] # pyright: ignore[reportGeneralTypeIssues]
    except kind:
        return
    raise AssertionError(f"it must raise {kind.__name__}")
