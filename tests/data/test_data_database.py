"""A database as its users see it: opening, transactions, snapshots, pauses, copies, life and misuse."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from archstone import context, simulation, world
from archstone.data import (
    ConstraintError,
    CorruptDatabaseError,
    Database,
    DatabaseClosedError,
    MisuseError,
    NewerSchemaError,
    Schema,
    StatementError,
    TransactionHeldError,
    TransactionLostError,
    UnknownEngineError,
    register_engine,
)
from archstone.data.engines.sqlite import SqliteEngine, engine_of
from archstone.errors import ConfigError


@pytest.fixture
async def db(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/x.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0)")
        yield db


async def ids(db: Database) -> list[int]:
    return await db.all(int, "SELECT id FROM t ORDER BY id")


async def test_execute_returns_the_rows_changed(db: Database):
    assert await db.execute("INSERT INTO t (id) VALUES (1), (2), (3)") == 3
    assert await db.execute("UPDATE t SET n = 1 WHERE id > :id", id=1) == 2
    assert await db.execute("DELETE FROM t WHERE id = 9") == 0
    assert await db.execute("CREATE TABLE u (a)") == 0
    assert await db.execute("DELETE FROM t WHERE id < 3 RETURNING id") == 2


async def test_many_is_one_transaction(db: Database):
    assert await db.many("INSERT INTO t (id) VALUES (:id)", ({"id": n} for n in range(5))) == 5
    with pytest.raises(ConstraintError):
        await db.many("INSERT INTO t (id) VALUES (:id)", [{"id": 10}, {"id": 1}])
    assert await ids(db) == [0, 1, 2, 3, 4]
    assert await db.many("INSERT INTO t (id) VALUES (:id)", []) == 0


async def test_a_transaction_that_runs_no_statement_commits_nothing(db: Database):
    called: list[int] = []
    before = db.statistics()
    async with db.transaction() as tx:
        tx.after_commit(lambda: called.append(1))
    assert db.statistics() == before
    assert called == [1]


async def test_a_transaction_sees_its_own_changes_and_others_do_not(db: Database):
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
        assert await tx.one(int, "SELECT count(*) FROM t") == 1
        assert await tx.first(int, "SELECT id FROM t WHERE id = 2") is None
        assert await db.one(int, "SELECT count(*) FROM t") == 0
    assert await db.one(int, "SELECT count(*) FROM t") == 1


async def test_the_open_transaction_is_in_the_context_only_inside_its_block(db: Database):
    async with db.transaction() as tx:
        assert context.current().tx is tx
        assert tx.db is db
    assert context.current().tx is None


@pytest.mark.parametrize("method", ["execute", "transaction", "many"])
async def test_writing_beside_an_open_transaction_is_refused_instead_of_waiting_forever(db: Database, method: str):
    async def write():
        if method == "transaction":
            async with db.transaction():
                pass
        elif method == "many":
            await db.many("INSERT INTO t (id) VALUES (:id)", [{"id": 1}])
        else:
            await db.execute("INSERT INTO t (id) VALUES (1)")

    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (2)")
        with pytest.raises(MisuseError, match="a transaction is open in this task; use tx inside its block"):
            await write()


async def test_transactions_of_two_databases_can_be_open_together(db: Database, tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/y.db") as other, db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
        assert await other.execute("CREATE TABLE u (a)") == 0


async def test_not_waiting_keeps_the_order_and_durable_waits_later(db: Database):
    order: list[str] = []
    async with db.transaction(wait=False) as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
        tx.after_commit(lambda: order.append("committed"))
    order.append("left")
    await tx.durable()
    await tx.durable()
    order.append("durable")
    assert order == ["left", "committed", "durable"]


async def test_durable_tells_of_a_lost_group(db: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(db._engine._writer, "_run_commit", lambda: sqlite3.OperationalError("no"))
    async with db.transaction(wait=False) as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
    with pytest.raises(TransactionLostError):
        await tx.durable()
    with pytest.raises(TransactionLostError):
        await tx.durable()


async def test_what_was_not_waited_for_is_there_after_closing(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/y.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER)")
        async with db.transaction(wait=False) as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
    async with db:
        assert await db.one(int, "SELECT id FROM t") == 1


async def test_a_failing_callback_does_not_keep_others_from_their_answers(db: Database):
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, facts: told.append(facts["exception"]))

    def broken():
        raise ZeroDivisionError

    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
        tx.after_commit(broken)
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert await ids(db) == [1]


async def test_a_snapshot_sees_one_instant(db: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    async with db.snapshot() as snapshot:
        await db.execute("INSERT INTO t (id) VALUES (2)")
        assert await snapshot.all(int, "SELECT id FROM t") == [1]
        assert await snapshot.one(int, "SELECT count(*) FROM t") == 1
        assert await snapshot.first(int, "SELECT id FROM t WHERE id = 2") is None
    assert await ids(db) == [1, 2]
    with pytest.raises(MisuseError, match="used outside its block"):
        await snapshot.all(int, "SELECT id FROM t")


async def test_reads_never_wait_for_the_writer(db: Database):
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
        read = db.all(int, "SELECT id FROM t")
        with pytest.raises(StopIteration) as answer:
            read.send(None)
        assert answer.value.value == []


async def test_nothing_is_written_during_a_pause(db: Database):
    async with db.transaction(wait=False) as tx:
        await tx.execute("INSERT INTO t (id) VALUES (1)")
    async with db.paused():
        assert await ids(db) == [1]
        writing = asyncio.create_task(db.execute("INSERT INTO t (id) VALUES (2)"))
        await asyncio.sleep(1)
        assert await ids(db) == [1]
    await writing
    assert await ids(db) == [1, 2]


async def test_a_pause_in_thread_mode_waits_for_the_commit(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/y.db", commit_in_thread=True) as db:
        await db.execute("CREATE TABLE t (id INTEGER)")
        async with db.transaction(wait=False) as tx:
            await tx.execute("INSERT INTO t VALUES (1)")
        async with db.paused():
            assert await ids(db) == [1]


async def test_a_pause_that_is_too_long_lets_the_others_go_on_and_says_so(db: Database):
    with pytest.raises(TransactionHeldError):
        async with db.paused():
            await db.execute("INSERT INTO t (id) VALUES (1)")
    assert await ids(db) == [1]


@pytest.mark.real_time
async def test_a_copy_holds_the_instant_of_its_pin_while_others_write(db: Database, tmp_path: Path):
    await db.many("INSERT INTO t (id, n) VALUES (:id, 1)", ({"id": n} for n in range(20_000)))
    stop = False

    async def write():
        while not stop:
            async with db.transaction() as tx:
                await tx.execute("UPDATE t SET n = n - 1 WHERE id = abs(random()) % 20000")
                await asyncio.sleep(0)
                await tx.execute("UPDATE t SET n = n + 1 WHERE id = abs(random()) % 20000")

    writers = [asyncio.create_task(write()) for _ in range(10)]
    await asyncio.sleep(0.05)
    async with db.paused():
        pin = await db.pin()
        expected = await db.all(tuple[int, int], "SELECT id, n FROM t ORDER BY id")
    await pin.copy_to(tmp_path / "first.db")
    await asyncio.sleep(0.05)
    await pin.copy_to(tmp_path / "second.db")
    await pin.release()
    await pin.release()
    stop = True
    await asyncio.gather(*writers)
    assert await db.all(tuple[int, int], "SELECT id, n FROM t ORDER BY id") != expected
    for name in ("first.db", "second.db"):
        async with Database(f"sqlite:///{tmp_path}/{name}") as copy:
            assert await copy.all(tuple[int, int], "SELECT id, n FROM t ORDER BY id") == expected
            assert await copy.one(str, "SELECT integrity_check FROM pragma_integrity_check") == "ok"


async def test_a_copy_that_fails_leaves_nothing(db: Database, tmp_path: Path):
    with pytest.raises(Exception, match=r"x\.db: .*; statement: backup to .*missing/copy\.db"):
        await db.backup_to(tmp_path / "missing" / "copy.db")
    await db.backup_to(tmp_path / "copy.db")
    await db.execute("INSERT INTO t (id) VALUES (1)")
    await db.backup_to(tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]


async def test_framework_tables_are_made_once_and_upgraded(db: Database):
    first = Schema("thing", (("CREATE TABLE _archstone_thing (a)",),))
    second = Schema("thing", (*first.versions, ("ALTER TABLE _archstone_thing ADD COLUMN b",)))
    await db.ensure(first)
    await db.ensure(first)
    await db.ensure(second)
    await db.execute("INSERT INTO _archstone_thing VALUES (1, 2)")
    with pytest.raises(NewerSchemaError) as caught:
        await db.ensure(Schema("data", ()))
    assert str(caught.value) == (
        f"database {db.label}: tables of 'data' have version 1, this release knows 0; run the later release"
    )


async def test_a_schema_that_fails_leaves_nothing(db: Database):
    with pytest.raises(StatementError):
        await db.ensure(Schema("thing", (("CREATE TABLE _archstone_thing (a)", "CREATE TABLE nonsense"),)))
    assert await db.first(str, "SELECT name FROM sqlite_schema WHERE name = '_archstone_thing'") is None


async def test_a_database_can_be_opened_again_and_is_refused_when_closed(tmp_path: Path):
    db = Database(f"sqlite:///{tmp_path}/y.db")
    for _ in range(2):
        async with db:
            await db.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER)")
    for use in (db.execute("DELETE FROM t"), db.all(int, "SELECT 1"), db.pin(), db.snapshot().__aenter__()):
        with pytest.raises(DatabaseClosedError, match=r"y\.db is not open"):
            await use
    with pytest.raises(DatabaseClosedError):
        db.transaction()


async def test_opening_twice_is_refused(db: Database):
    with pytest.raises(MisuseError, match="is already open"):
        await db.__aenter__()
    assert await ids(db) == []


async def test_closing_lets_those_in_line_finish(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/y.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER)")

        async def slow(n: int):
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (:n)", n=n)
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(slow(n)) for n in range(3)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    async with db:
        assert await ids(db) == [0, 1, 2]


async def test_a_file_that_is_no_database_is_told(tmp_path: Path):
    (tmp_path / "y.db").write_text("this is no database, " * 100)
    with pytest.raises(CorruptDatabaseError) as caught:
        await Database(f"sqlite:///{tmp_path}/y.db").__aenter__()
    assert str(caught.value) == (
        f"database {tmp_path}/y.db: file is not a database; statement: opening the file; restore a backup"
    )


async def test_wrong_sql_and_values_name_file_and_statement(db: Database):
    with pytest.raises(StatementError) as caught:
        await db.execute("UPDATE missing SET a = 1")
    assert str(caught.value) == f"database {db.label}: no such table: missing; statement: UPDATE missing SET a = 1"
    for value in (object(), 2**70, {}):
        with pytest.raises(StatementError, match="INSERT INTO t"):
            await db.execute("INSERT INTO t (id) VALUES (:id)", id=value)
    with pytest.raises(StatementError, match="no such column: missing; statement: SELECT missing"):
        await db.all(int, "SELECT missing")
    for value in (2**70, "\ud800"):
        with pytest.raises(StatementError, match="SELECT :n"):
            await db.all(int, "SELECT :n", n=value)
        with pytest.raises(StatementError, match="SELECT :n"):
            await db.execute("SELECT :n", n=value)


async def test_a_constraint_names_table_and_column(db: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    with pytest.raises(ConstraintError) as caught:
        await db.execute("INSERT INTO t (id) VALUES (1)")
    assert str(caught.value) == (
        f"database {db.label}: UNIQUE constraint failed: t.id; statement: INSERT INTO t (id) VALUES (1)"
    )


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("x.db", "database URL 'x.db': has no scheme; a file is sqlite:///name.db or sqlite:////absolute/name.db"),
        ("sqlite://", "a file is sqlite:///name.db (relative) or sqlite:////folder/name.db (absolute)"),
        ("sqlite://host/x.db", "a file is sqlite:///name.db (relative) or sqlite:////folder/name.db (absolute)"),
        ("sqlite:///x.db?mode=ro", "takes no query; settings are arguments of Database"),
        ("oracle://u:secret@h/x", "database URL 'oracle:': no engine for this scheme; known: "),
    ],
)
def test_a_url_that_leads_nowhere_says_what_would(url: str, text: str):
    with pytest.raises(UnknownEngineError) as caught:
        Database(url)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_out_of_range_are_told_all_at_once(value: float):
    with pytest.raises(ConfigError) as caught:
        Database("sqlite:///x.db", hold_limit_s=value, snapshot_limit_s=value)
    assert str(caught.value) == (
        f"Database: hold_limit_s={value} must be above 0; snapshot_limit_s={value} must be above 0"
    )


def test_nothing_is_created_by_describing_a_database(tmp_path: Path):
    db = Database(f"sqlite:///{tmp_path}/deep/y.db", name="y")
    assert (db.name, db.label) == ("y", f"{tmp_path}/deep/y.db")
    assert list(tmp_path.iterdir()) == []


async def test_another_engine_can_answer_for_a_scheme_or_be_handed_over(tmp_path: Path):
    register_engine(
        "mine", lambda url, options: engine_of(f"sqlite:///{tmp_path}/{url.removeprefix('mine:')}", options)
    )
    async with Database("mine:y.db") as db:
        assert await db.one(int, "SELECT 1") == 1
    engine = db._engine
    assert isinstance(engine, SqliteEngine)
    async with Database(engine) as db:
        assert await db.one(int, "SELECT 1") == 1


async def test_a_simulation_sees_every_statement(tmp_path: Path):
    seen: list[str] = []
    traced = simulation.SimulatedWorld(asyncio.get_running_loop(), seed=1)
    traced.trace_sql = seen.append
    with world.use(traced):
        async with Database(f"sqlite:///{tmp_path}/y.db") as db:
            await db.execute("CREATE TABLE t (id INTEGER)")
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (:n)", n=7)
            async with db.snapshot() as snapshot:
                await snapshot.all(int, "SELECT id FROM t")
            await db.all(int, "SELECT max(id) FROM t")
    written = seen[seen.index("CREATE TABLE t (id INTEGER)") :]
    assert [text for text in written if "sqlite_schema" not in text and "PRAGMA" not in text] == [
        "CREATE TABLE t (id INTEGER)",
        "COMMIT",
        "BEGIN IMMEDIATE",
        "INSERT INTO t VALUES (7)",
        "COMMIT",
        "BEGIN",
        "SELECT id FROM t",
        "ROLLBACK",
        "SELECT max(id) FROM t",
    ]


async def test_the_first_of_a_group_rolls_back_without_a_savepoint_and_without_its_neighbours(tmp_path: Path):
    async def write(db: Database, number: int, *, fail: bool) -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t VALUES (:n)", n=number)
            if fail:
                raise ValueError(number)

    async with Database(f"sqlite:///{tmp_path}/y.db") as db:
        await db.execute("CREATE TABLE t (id INTEGER)")
        for failing in ({1}, {2}, {1, 2}, {3}, {1, 2, 3}):
            await db.execute("DELETE FROM t")
            ended = await asyncio.gather(
                *(write(db, number, fail=number in failing) for number in (1, 2, 3)), return_exceptions=True
            )
            assert [isinstance(each, ValueError) for each in ended] == [number in failing for number in (1, 2, 3)]
            assert set(await db.all(int, "SELECT id FROM t")) == {1, 2, 3} - failing
