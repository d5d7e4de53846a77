"""Transactions and statements on PostgreSQL when they are cancelled, late, outdated, or closed under."""

import asyncio
from contextlib import suppress

import pytest

from archstone import context
from archstone.data import (
    CommitUnknownError,
    ConstraintError,
    Database,
    DatabaseClosedError,
    SnapshotExpiredError,
    StatementError,
    Transaction,
    TransactionHeldError,
    TransactionLostError,
)
from archstone.data.engines.postgresql import PostgresEngine

pytestmark = pytest.mark.real_time

SMALL = "?pool_size=1&pool_overflow=0&pool_timeout_s=2"


@pytest.fixture
async def db(postgres_url: str):
    async with Database(postgres_url + SMALL, hold_limit_s=1.0) as db:
        await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0)")
        yield db


@pytest.fixture
async def other(postgres_url: str, db: Database):
    async with Database(postgres_url) as other:
        yield other


async def ids(db: Database) -> list[int]:
    return await db.all(int, "SELECT id FROM t ORDER BY id")


async def apart(call: object) -> None:
    context.set_current(context.Call())
    await call  # type: ignore[misc]


def lent(db: Database) -> int:
    engine = db._engine
    assert isinstance(engine, PostgresEngine)
    return len(engine.writers._lent)


SLOW = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(2); RETURN NULL; END$$"
AT_COMMIT = "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t INITIALLY %s FOR EACH ROW EXECUTE FUNCTION slow()"


async def slow_commits(other: Database) -> None:
    """Let each transaction that inserts into `t` take two seconds to commit."""
    import asyncpg

    await other.execute(SLOW)
    connection = await asyncpg.connect(other._engine._dsn)  # type: ignore[attr-defined]
    try:
        await connection.execute(AT_COMMIT % "DEFERRED")
    finally:
        await connection.close()


async def test_a_commit_that_outlasts_the_limit_is_told_and_cancels_nobody(db: Database, other: Database):
    await slow_commits(other)
    with pytest.raises((CommitUnknownError, TransactionHeldError)):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (1)")
    await asyncio.sleep(0)  # a cancellation that was asked for and not told would come here
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert lent(db) == 0


async def test_a_rollback_that_is_cancelled_leaves_no_running_connection_to_the_next(db: Database, other: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")

    async def fail() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (2)")
            asyncio.get_running_loop().call_soon(task.cancel)
            raise ZeroDivisionError

    task = asyncio.create_task(apart(fail()))
    await asyncio.wait([task])
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (3)")
    assert await ids(db) == [1, 3]


async def test_a_failed_transaction_that_was_to_be_prepared_lets_go_and_cancels_nobody(db: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    with pytest.raises(TransactionLostError, match="savepoint"):
        async with db.transaction() as tx:
            tx.prepare_as("x")
            with pytest.raises(ConstraintError):
                await tx.execute("INSERT INTO t (id) VALUES (1)")
    assert lent(db) == 0
    await asyncio.sleep(1.2)


async def test_a_savepoint_left_by_a_time_out_takes_back_what_was_done_in_it(db: Database):
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), tx.savepoint():
                await tx.execute("INSERT INTO t (id) VALUES (2)")
                await asyncio.sleep(10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), tx.savepoint():
                await tx.execute("INSERT INTO t (id) VALUES (3)")
                await tx.first(str, "SELECT pg_sleep(10)::text")
        await tx.execute("INSERT INTO t (id) VALUES (4)")
    assert await ids(db) == [1, 4]


async def test_a_savepoint_that_could_not_be_set_does_not_commit_silently(db: Database):
    committed = False
    with suppress(TransactionLostError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (1)")
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            try:
                async with tx.savepoint():
                    pass
            except asyncio.CancelledError:
                task.uncancel()
        committed = True
    assert await ids(db) == ([1] if committed else [])


async def test_a_commit_that_the_server_turns_into_a_rollback_is_told(db: Database):
    with pytest.raises(TransactionLostError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (1)")
            link = tx._member._link  # type: ignore[attr-defined]
            with pytest.raises(Exception, match="division by zero"):
                await link.say("SELECT 1 / 0")  # a failure that the member does not know of
    assert await ids(db) == []


async def test_closing_lets_transactions_in_flight_end(postgres_url: str):
    db = Database(postgres_url)
    await db.__aenter__()
    await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (1)")
            begun.set()
            await go_on.wait()
            await tx.execute("INSERT INTO t (id) VALUES (2)")

    task = asyncio.create_task(apart(work()))
    await begun.wait()
    closing = asyncio.create_task(db.__aexit__(None, None, None))
    await asyncio.sleep(0.05)
    assert not closing.done()
    with pytest.raises(DatabaseClosedError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (3)")
    go_on.set()
    await task
    await closing
    async with Database(postgres_url) as again:
        assert await ids(again) == [1, 2]


async def test_what_is_still_open_at_its_limit_when_closed_is_told_so(postgres_url: str):
    db = Database(postgres_url, hold_limit_s=0.3)
    await db.__aenter__()
    await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    begun = asyncio.Event()

    async def work() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (1)")
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(apart(work()))
    await begun.wait()
    async with asyncio.timeout(3):
        await db.__aexit__(None, None, None)
        await asyncio.wait([task])
    assert isinstance(task.exception(), TransactionHeldError)


async def test_closing_that_is_cancelled_still_closes_and_tells_who_was_open(postgres_url: str):
    db = Database(postgres_url)
    await db.__aenter__()
    await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(*, fail: bool) -> None:
        async with db.transaction() as tx:
            await tx.execute("SELECT 1")
            begun.set()
            await go_on.wait()
            if fail:
                raise ZeroDivisionError

    tasks = [asyncio.create_task(apart(work(fail=fail))) for fail in (False, True)]
    await begun.wait()
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(db.__aexit__(None, None, None))
    await asyncio.sleep(0.05)
    closing.cancel()
    await asyncio.wait([closing])
    go_on.set()
    await asyncio.wait(tasks)
    assert [type(task.exception()) for task in tasks] == [TransactionLostError, ZeroDivisionError]


async def test_a_table_changed_by_another_is_no_lasting_error(db: Database, other: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")

    async def read(tx: Transaction) -> list[dict[str, object]]:
        return await tx.all(dict, "SELECT * FROM t")

    assert await db.run(read) == [{"id": 1, "n": 0}]
    await other.execute("ALTER TABLE t ADD COLUMN word TEXT")
    assert await db.run(read) == [{"id": 1, "n": 0, "word": None}]
    async with db.snapshot() as snapshot:
        await snapshot.all(dict, "SELECT * FROM t")
    await other.execute("ALTER TABLE t ADD COLUMN more TEXT")
    with pytest.raises(SnapshotExpiredError, match="read again"):
        async with db.snapshot() as snapshot:
            await snapshot.all(dict, "SELECT * FROM t")
    async with db.snapshot() as snapshot:
        assert len((await snapshot.all(dict, "SELECT * FROM t"))[0]) == 4


async def test_a_statement_that_gives_rows_of_a_changed_table_is_done_once(db: Database, other: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    count = "UPDATE t SET n = n + 1 RETURNING *"
    assert await db.execute(count) == 1
    await other.execute("ALTER TABLE t ADD COLUMN word TEXT")
    assert await db.execute(count) == 1
    assert await db.one(int, "SELECT n FROM t") == 2


async def test_a_table_changed_in_a_transaction_is_read_as_it_is_now(db: Database):
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
        assert await tx.all(dict, "SELECT * FROM t") == [{"id": 1, "n": 0}]
        await tx.execute("ALTER TABLE t ADD COLUMN word TEXT")
        assert await tx.all(dict, "SELECT * FROM t") == [{"id": 1, "n": 0, "word": None}]


async def test_durable_means_on_disk(postgres_url: str, db: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    for number in range(5):
        tx = db.transaction(wait=False)
        async with tx:
            await tx.execute("INSERT INTO t (id) VALUES (:id)", id=10 + number)
        written = await db.one(str, "SELECT pg_current_wal_insert_lsn()::text")
        await tx.durable()
        assert await db.one(
            bool, "SELECT pg_current_wal_flush_lsn() >= CAST(CAST(:lsn AS TEXT) AS pg_lsn)", lsn=written
        )


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (id, n) VALUES (:id, :n);",
        "INSERT INTO t (id, n) VALUES (:id, :n) -- done",
        "INSERT INTO t (id, n) VALUES (:id, :n); -- done",
        "INSERT INTO t (id, n) VALUES (:id, :n) ; /* done */ ;\n",
        "/* :no */ INSERT INTO t (n, id) VALUES (:n, :id) ON CONFLICT (id) DO UPDATE SET n = :n + t.n * 0",
        "INSERT INTO t (id, n) SELECT CAST(:id AS BIGINT), CAST(:n AS BIGINT) WHERE :id > 0 AND ':x' <> '$1'",
        "WITH x AS (SELECT CAST(:id AS BIGINT) AS id) INSERT INTO t (id, n) SELECT id, CAST(:n AS BIGINT) FROM x",
        "INSERT INTO t (id, n) VALUES (:id, :n) RETURNING id",
    ],
)
async def test_statements_sent_together_are_told_their_rows_however_they_are_written(db: Database, text: str):
    assert await asyncio.gather(*[db.execute(text, id=number, n=-number) for number in range(1, 6)]) == [1] * 5
    async with db.transaction() as tx:
        assert await tx.many(text, [{"id": number, "n": -number} for number in range(6, 9)]) == 3
    assert await db.all(tuple[int, int], "SELECT id, n FROM t ORDER BY id") == [(n, -n) for n in range(1, 9)]


async def test_values_that_do_not_fit_cost_their_neighbours_nothing(db: Database):
    text = "INSERT INTO t (id, n) VALUES (:id, :n)"
    values: list[object] = [True, 2**62, None, "x", 2**63]
    done = await asyncio.gather(
        *[db.execute(text, id=number, n=value) for number, value in enumerate(values)], return_exceptions=True
    )
    assert done[:2] == [1, 1]
    assert [type(each) for each in done[2:]] == [ConstraintError, StatementError, StatementError]
    assert await ids(db) == [0, 1]


async def test_a_wrong_value_leaves_no_transaction_open_on_its_connection(db: Database, other: Database):
    for text in ("INSERT INTO t (id) VALUES (:id)", "SELECT n FROM t WHERE id = :id"):
        for call in (db.execute, lambda text, id: db.all(int, text, id=id)):  # noqa: A006
            with pytest.raises(StatementError, match="invalid input"):
                await call(text, id="x")  # type: ignore[operator]
            async with asyncio.timeout(2):
                await other.execute("ALTER TABLE t ALTER COLUMN n SET DEFAULT 0")
            async with db.transaction() as tx:
                await tx.one(int, "SELECT 1")
            async with db.snapshot() as snapshot:
                await snapshot.one(int, "SELECT 1")


async def test_a_type_that_cannot_be_written_is_the_fault_of_the_statement(db: Database):
    text = "SELECT 1 WHERE :value = ANY(ARRAY[ROW(1, 2)])"
    with pytest.raises(StatementError, match="not supported"):
        await db.execute(text, value=(1, 2))
    with pytest.raises(StatementError, match="not supported"):
        async with db.transaction() as tx:
            await tx.execute(text, value=(1, 2))


@pytest.mark.parametrize("text", ["START TRANSACTION", "PREPARE TRANSACTION 'x'"])
async def test_transactions_are_for_the_engine_to_begin(db: Database, text: str):
    with pytest.raises(StatementError, match="is for the engine to say"):
        await db.execute(text)
    await db.execute("INSERT INTO t (id) VALUES (1)")
    assert await ids(db) == [1]


async def test_savepoints_in_savepoints_go_back_each_to_its_own(db: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    async with db.transaction() as tx, tx.savepoint():
        await tx.execute("INSERT INTO t (id) VALUES (2)")
        with pytest.raises(ConstraintError):
            async with tx.savepoint():
                await tx.execute("INSERT INTO t (id) VALUES (3)")
                await tx.execute("INSERT INTO t (id) VALUES (1)")
        with pytest.raises(ZeroDivisionError):
            async with tx.savepoint():
                async with tx.savepoint():
                    await tx.execute("INSERT INTO t (id) VALUES (4)")
                raise ZeroDivisionError
    assert await ids(db) == [1, 2]


async def test_a_name_with_a_quote_is_settled_as_a_name(db: Database):
    assert await db.settle_prepared("it's not there", commit=True) is False
