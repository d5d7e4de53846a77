"""Transactions: all together or not at all, and what follows from it."""

# ruff: noqa: D102 - the name of a test is its sentence

import asyncio

from archstone.data.database import Database
from archstone.data.errors import ConstraintError, TransactionHeldError
from archstone.data.testing.suite import Noted, Suite, expect, ids, table
from archstone.data.transaction import Transaction

__all__ = ["TransactionConformance"]

_INSERT = "INSERT INTO t (id) VALUES (:id)"
_OUTBOX = "SELECT key FROM _archstone_outbox ORDER BY position"


class _OwnError(Exception):
    """Raised by a test inside a transaction."""


def _fail() -> None:
    raise _OwnError


class TransactionConformance(Suite):
    """`transaction`, `run`, `savepoint`, `publish`, `after_commit`."""

    async def test_a_transaction_sees_its_own_changes_and_nobody_else_does(self, db: Database) -> None:
        await table(db)
        async with db.transaction() as tx:
            await tx.execute(_INSERT, id=1)
            expect(await tx.one(int, "SELECT count(*) FROM t") == 1, "it does not see what it did")
            expect(await ids(db) == [], "others see what is not committed")
        expect(await ids(db) == [1], "it was not committed")

    async def test_what_raises_leaves_nothing(self, db: Database) -> None:
        await table(db)
        called: list[str] = []
        try:
            async with db.transaction() as tx:
                await tx.execute(_INSERT, id=1)
                await tx.many(_INSERT, [{"id": 2}, {"id": 3}])
                tx.publish(Noted(id=1))
                tx.after_commit(lambda: called.append("committed"))
                _fail()
        except _OwnError:
            pass
        expect(await ids(db) == [], "a row stayed")
        expect(await db.all(str, _OUTBOX) == [], "an event stayed")
        expect(called == [], "after_commit was called")

    async def test_what_is_cancelled_leaves_nothing(self, db: Database) -> None:
        await table(db)
        inside = asyncio.Event()

        async def hang() -> None:
            async with db.transaction() as tx:
                await tx.execute(_INSERT, id=1)
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hang())
        await inside.wait()
        task.cancel()
        await asyncio.wait([task])
        await db.execute(_INSERT, id=2)
        expect(await ids(db) == [2], "a row of the cancelled one stayed")

    async def test_callbacks_come_after_the_commit_and_before_the_block_is_left(self, db: Database) -> None:
        await table(db)
        order: list[str] = []
        async with db.transaction() as tx:
            await tx.execute(_INSERT, id=1)
            tx.after_commit(lambda: order.append("committed"))
            order.append("inside")
        order.append("left")
        expect(order == ["inside", "committed", "left"], f"order: {order}")

    async def test_a_callback_that_raises_harms_nobody(self, db: Database) -> None:
        await table(db)
        loop, told = asyncio.get_running_loop(), list[object]()
        before = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, about: told.append(about.get("exception")))
        try:
            async with db.transaction() as tx:
                await tx.execute(_INSERT, id=1)
                tx.after_commit(_fail)
        finally:
            loop.set_exception_handler(before)
        expect(await ids(db) == [1], "the transaction was harmed")
        expect([type(error) for error in told] == [_OwnError], "the loop's exception handler is told")

    async def test_events_leave_with_the_transaction_in_the_order_published(self, db: Database) -> None:
        await table(db)
        woken: list[int] = []
        db.outbox_ready.append(lambda: woken.append(1))
        async with db.transaction() as tx:
            for number in (3, 1, 2):
                tx.publish(Noted(id=number))
        expect(await db.all(str, _OUTBOX) == ["3", "1", "2"], "events are missing or in another order")
        expect(woken == [1], "outbox_ready is called once per transaction")

    async def test_what_is_published_is_told_here_before_the_block_is_left(self, db: Database) -> None:
        await table(db)
        told: list[list[str]] = []
        db.published.append(lambda envelopes: told.append([each.key for each in envelopes]))
        async with db.transaction() as tx:
            tx.publish(Noted(id=1))
            async with tx.savepoint():
                tx.publish(Noted(id=2))
            expect(told == [], "it is told before the commit")
        expect(told == [["1", "2"]], "it is not told, or not once")
        try:
            async with db.transaction() as tx:
                tx.publish(Noted(id=3))
                _fail()
        except _OwnError:
            pass
        async with db.transaction() as tx:
            await tx.execute(_INSERT, id=1)
        expect(told == [["1", "2"]], "something is told that was not published")

    async def test_a_savepoint_takes_back_what_was_done_inside(self, db: Database) -> None:
        await table(db, 1)
        async with db.transaction() as tx:
            await tx.execute(_INSERT, id=2)
            try:
                async with tx.savepoint():
                    await tx.execute(_INSERT, id=3)
                    tx.publish(Noted(id=3))
                    await tx.execute(_INSERT, id=1)
            except ConstraintError:
                pass
            async with tx.savepoint():
                await tx.execute(_INSERT, id=4)
                tx.publish(Noted(id=4))
                try:
                    async with tx.savepoint():
                        await tx.execute(_INSERT, id=5)
                        _fail()
                except _OwnError:
                    pass
            expect(await tx.one(int, "SELECT count(*) FROM t") == 3, "it goes on after a failure inside")
        expect(await ids(db) == [1, 2, 4], f"found {await ids(db)}")
        expect(await db.all(str, _OUTBOX) == ["4"], "events are taken back with their savepoint")

    async def test_a_savepoint_left_by_a_time_out_takes_back_what_was_done_inside(self, db: Database) -> None:
        """The transaction goes on without it."""
        await table(db, 1)
        async with db.transaction() as tx:
            try:
                async with asyncio.timeout(0.01), tx.savepoint():
                    await tx.execute(_INSERT, id=2)
                    await asyncio.sleep(60)
            except TimeoutError:
                pass
            await tx.execute(_INSERT, id=3)
        expect(await ids(db) == [1, 3], f"found {await ids(db)}")

    async def test_one_held_too_long_is_rolled_back_and_told(self, db: Database) -> None:
        await table(db)
        try:
            async with db.transaction() as tx:
                await tx.execute(_INSERT, id=1)
                await asyncio.sleep(self.hold_limit_s * 4)
        except TransactionHeldError:
            pass
        else:
            raise AssertionError("it was held open for four times its limit, and nobody was told")
        await db.execute(_INSERT, id=2)
        expect(await ids(db) == [2], "what it had done stayed")

    async def test_not_waiting_keeps_the_order_and_durable_waits_later(self, db: Database) -> None:
        await table(db)
        async with db.transaction(wait=False) as tx:
            await tx.execute(_INSERT, id=1)
        async with db.transaction() as later:
            await later.execute(_INSERT, id=2)
        expect(await ids(db) == [1, 2], "a later answer implies the earlier transaction")
        await tx.durable()
        await tx.durable()

    async def test_many_transactions_at_once_all_end(self, db: Database) -> None:
        await table(db)

        async def one(number: int) -> None:
            async def work(tx: Transaction) -> None:
                await tx.execute(_INSERT, id=number)
                await asyncio.sleep(0)
                await tx.execute("UPDATE t SET n = :n WHERE id = :id", n=number, id=number)

            await db.run(work)

        await asyncio.gather(*[one(number) for number in range(60)])
        wrong = await db.all(int, "SELECT id FROM t WHERE n <> id")
        expect(wrong == [] and await ids(db) == list(range(60)), f"wrong: {wrong}")

    async def test_who_is_cancelled_while_waiting_leaves_room_for_others(self, db: Database) -> None:
        await table(db)

        async def one(number: int) -> None:
            async with db.transaction() as tx:
                await tx.execute(_INSERT, id=number)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(one(number)) for number in range(60)]
        await asyncio.sleep(0)
        for task in tasks[1::2]:
            task.cancel()
        await asyncio.wait(tasks)
        expect(await ids(db) == list(range(0, 60, 2)), "exactly those that were not cancelled")

    async def test_run_returns_what_the_work_returned_and_raises_what_it_raised(self, db: Database) -> None:
        await table(db)

        async def give(tx: Transaction) -> str:
            await tx.execute(_INSERT, id=1)
            return "done"

        async def fail(tx: Transaction) -> None:
            await tx.execute(_INSERT, id=2)
            raise _OwnError

        expect(await db.run(give) == "done", "run() returns what the work returned")
        try:
            await db.run(fail)
        except _OwnError:
            pass
        else:
            raise AssertionError("run() raises what the work raised")
        expect(await ids(db) == [1], "what raised left a row")
