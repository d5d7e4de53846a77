"""The traps of the embedded engine, T1 to T5 in the design, each with tests that carry its number."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from archstone import context, world
from archstone.data import (
    ConstraintError,
    Database,
    DatabaseInUseError,
    DatabaseLockedError,
    DiskFullError,
    NetworkFileSystemError,
    SnapshotExpiredError,
    StatementError,
    TransactionHeldError,
    TransactionLostError,
)
from archstone.data.engines.sqlite import files, readers

COUNT_TO_TEN_MILLION = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000000) SELECT count(*) FROM n"
)
COUNT_TO_100_000 = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT count(*) FROM n"
)


async def opened(folder: Path, **settings) -> Database:
    db = Database(f"sqlite:///{folder}/test.db", **settings)
    await db.__aenter__()
    await db.execute("CREATE TABLE stock (sku TEXT PRIMARY KEY, free INTEGER NOT NULL CHECK (free >= 0))")
    return db


@pytest.fixture
async def db(tmp_path: Path):
    db = await opened(tmp_path)
    yield db
    await db.__aexit__(None, None, None)


async def add(db: Database, sku: str, *, pauses: int = 0) -> None:
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO stock VALUES (:sku, 1)", sku=sku)
        for _ in range(pauses):
            await asyncio.sleep(0)


async def skus(db: Database) -> list[str]:
    return await db.all(str, "SELECT sku FROM stock ORDER BY sku")


# T1: group commit


async def test_t1_transactions_of_one_turn_share_one_commit(db: Database):
    before = db.statistics()
    await asyncio.gather(*(add(db, f"{n:03}") for n in range(100)))
    after = db.statistics()
    assert after.members - before.members == 100
    assert after.commits - before.commits == 1


async def test_t1_transactions_that_wait_for_each_other_share_commits_too(db: Database):
    before = db.statistics()
    await asyncio.gather(*(add(db, f"{n:03}", pauses=1) for n in range(100)))
    after = db.statistics()
    assert after.members - before.members == 100
    assert after.commits - before.commits == 1


async def test_t1_a_group_that_always_finds_more_members_commits_when_full(db: Database):
    before = db.statistics()
    await asyncio.gather(*(add(db, f"{n:04}", pauses=1) for n in range(1200)))
    after = db.statistics()
    assert after.largest_group == 512
    assert after.commits - before.commits == 3


async def test_t1_an_uncontended_transaction_begins_and_runs_in_one_step_of_its_task(db: Database):
    async def body():
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('a', 1)")
            await tx.one(int, "SELECT free FROM stock")

    coroutine = body()
    waits_for = coroutine.send(None)
    assert asyncio.isfuture(waits_for)
    assert db.statistics().waiting == 0
    coroutine.close()


# T2: commits inline, or in a thread where syncs are slow


async def test_t2_a_fast_disk_commits_on_the_loop(db: Database, monkeypatch: pytest.MonkeyPatch):
    ran_in: list[int] = []
    monkeypatch.setattr(db._engine._writer, "_run_commit", recording(db, ran_in))
    await add(db, "a")
    assert ran_in == [threading.get_ident()]


@pytest.mark.real_time
async def test_t2_a_slow_disk_commits_in_a_thread_with_a_short_switch_interval(tmp_path: Path, monkeypatch):
    before = sys.getswitchinterval()
    monkeypatch.setattr("archstone.disk.measured_sync_s", lambda *_: 0.0011)
    db = await opened(tmp_path)
    ran_in: list[int] = []
    monkeypatch.setattr(db._engine._writer, "_run_commit", recording(db, ran_in))
    await asyncio.gather(*(add(db, f"{n:03}") for n in range(50)))
    assert threading.get_ident() not in ran_in
    assert sys.getswitchinterval() < before
    assert len(await skus(db)) == 50
    await db.__aexit__(None, None, None)
    assert sys.getswitchinterval() == before


@pytest.mark.real_time
async def test_t2_a_sync_of_exactly_the_limit_stays_on_the_loop(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("archstone.disk.measured_sync_s", lambda *_: 0.001)
    db = await opened(tmp_path)
    assert db._engine._writer._threads is None
    assert db.statistics().sync_s == 0.001
    await db.__aexit__(None, None, None)


def recording(db: Database, ran_in: list[int]):
    commit = db._engine._writer._run_commit

    def run():
        ran_in.append(threading.get_ident())
        return commit()

    return run


async def test_t2_the_order_of_commits_holds_in_a_thread_too(tmp_path: Path):
    db = await opened(tmp_path, commit_in_thread=True)
    order: list[int] = []

    async def member(n: int) -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES (:sku, 1)", sku=f"{n:03}")
            tx.after_commit(lambda: order.append(n))

    await asyncio.gather(*(member(n) for n in range(100)))
    assert order == list(range(100))
    await db.__aexit__(None, None, None)


# T3: members of a group do not harm each other


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE a (b INTEGER REFERENCES stock (sku) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE a (b INTEGER PRIMARY KEY ON CONFLICT ROLLBACK)",
        "CREATE TABLE a (b INTEGER UNIQUE ON CONFLICT FAIL)",
        "INSERT OR ROLLBACK INTO stock VALUES ('a', 1)",
        "UPDATE OR FAIL stock SET free = 1",
        "CREATE TRIGGER t AFTER INSERT ON stock BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
        "begin",
        "COMMIT",
        "/* hidden */ SAVEPOINT s",
        "RELEASE s",
        "ROLLBACK",
        "END",
        "ATTACH 'x.db' AS x",
        "PRAGMA foreign_keys = OFF",
        "VACUUM",
        "SELECT 1; SELECT 2",
        "",
        " -- nothing",
        ";",
    ],
)
async def test_t3_statements_that_would_reach_beyond_their_member_are_refused(db: Database, sql: str):
    with pytest.raises(StatementError):
        await db.execute(sql)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("c (d INTEGER REFERENCES a DEFERRABLE INITIALLY DEFERRED)", "INITIALLY DEFERRED constraints are refused"),
        ("c (d INTEGER PRIMARY KEY on conflict rollback)", "the conflict clause ROLLBACK is refused"),
        ("c (d INTEGER UNIQUE ON CONFLICT fail)", "the conflict clause FAIL is refused"),
    ],
)
async def test_t3_a_file_that_already_holds_what_is_refused_cannot_be_used(tmp_path: Path, table: str, why: str):
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute("CREATE TABLE a (b INTEGER PRIMARY KEY, failed TEXT)")
        connection.execute(f"CREATE TABLE {table}")
    connection.close()
    with pytest.raises(StatementError, match=rf"test\.db cannot be used: {why}"):
        await opened(tmp_path)
    (tmp_path / "test.db").unlink()
    await (await opened(tmp_path)).__aexit__(None, None, None)  # and the lock was given back


async def test_t3_a_failed_statement_leaves_the_neighbours_and_its_own_transaction_alone(db: Database):
    async def failing():
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('b', 1)")
            with pytest.raises(ConstraintError, match="CHECK constraint failed: free >= 0"):
                await tx.execute("UPDATE stock SET free = free - 2 WHERE sku = 'b'")
            await tx.execute("INSERT INTO stock VALUES ('c', 1)")

    await asyncio.gather(add(db, "a"), failing(), add(db, "d"))
    assert await skus(db) == ["a", "b", "c", "d"]


async def test_t3_a_transaction_that_raises_is_undone_alone(db: Database):
    async def failing():
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('b', 1)")
            raise ZeroDivisionError

    results = await asyncio.gather(add(db, "a"), failing(), add(db, "c"), return_exceptions=True)
    assert isinstance(results[1], ZeroDivisionError)
    assert await skus(db) == ["a", "c"]


async def test_t3_nothing_is_committed_while_a_member_is_open(db: Database):
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow():
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('b', 1)")
            entered.set()
            await leave.wait()
            raise ZeroDivisionError

    first = asyncio.create_task(add(db, "a"))
    second = asyncio.create_task(slow())
    await entered.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert await skus(db) == []
    assert not first.done()
    leave.set()
    with pytest.raises(ZeroDivisionError):
        await second
    await first
    assert await skus(db) == ["a"]


async def lose_group(db: Database) -> None:
    """Run a transaction whose statement makes SQLite drop the whole group: the database is full."""
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO stock VALUES ('full', 1)")
        await tx.execute("CREATE TABLE IF NOT EXISTS big (bytes BLOB)")
        db._engine._writer.connection.execute("PRAGMA max_page_count = 1")
        try:
            await tx.execute("INSERT INTO big VALUES (zeroblob(100000))")
        finally:
            db._engine._writer.connection.execute("PRAGMA max_page_count = 1000000")


async def test_t3_a_full_disk_tells_its_cause_and_its_neighbours_to_run_again(db: Database):
    results = await asyncio.gather(add(db, "a"), lose_group(db), add(db, "b"), return_exceptions=True)
    lost = isinstance(results[0], TransactionLostError)
    assert isinstance(results[1], DiskFullError)
    assert "test.db: database or disk is full; statement: INSERT INTO big" in str(results[1])
    assert results[2] is None
    # SQLite may keep the group when it could undo the statement alone; either all of a member is there or it was told.
    assert await skus(db) == (["b"] if lost else ["a", "b"])
    assert db.statistics().lost_groups == lost


async def test_t3_a_group_that_sqlite_drops_is_told_to_every_member(db: Database):
    async def dropping():
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('b', 1)")
            db._engine._writer.connection.execute("ROLLBACK")  # as SQLITE_FULL or an I/O error may do
            await tx.execute("INSERT INTO missing VALUES (1)")

    results = await asyncio.gather(add(db, "a"), dropping(), add(db, "c"), return_exceptions=True)
    assert isinstance(results[0], TransactionLostError)
    assert str(results[0]) == (
        f"database {db.label}: transaction rolled back with its group, because database {db.label}: no such table: "
        "missing; run it again"
    )
    assert isinstance(results[1], StatementError)
    assert results[2] is None
    assert await skus(db) == ["c"]
    assert db.statistics().lost_groups == 1


async def test_t3_a_member_that_swallows_the_error_of_a_dropped_group_cannot_go_on(db: Database):
    with pytest.raises(TransactionLostError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('b', 1)")
            db._engine._writer.connection.execute("ROLLBACK")
            with pytest.raises(StatementError):
                await tx.execute("INSERT INTO missing VALUES (1)")
            with pytest.raises(TransactionLostError):
                await tx.execute("INSERT INTO stock VALUES ('c', 1)")
    await add(db, "d")
    assert await skus(db) == ["d"]


async def test_t3_a_commit_that_fails_is_told_to_every_member(db: Database, monkeypatch: pytest.MonkeyPatch):
    def failing():
        return sqlite3.OperationalError("no")

    monkeypatch.setattr(db._engine._writer, "_run_commit", failing)
    results = await asyncio.gather(add(db, "a"), add(db, "b"), return_exceptions=True)
    assert [type(result) for result in results] == [TransactionLostError, TransactionLostError]
    monkeypatch.undo()
    await add(db, "c")
    assert await skus(db) == ["c"]


async def test_t3_a_failed_transaction_is_answered_after_the_group_it_read_from(db: Database):
    answered: list[str] = []

    async def reader():
        try:
            async with db.transaction() as tx:
                assert await tx.all(str, "SELECT sku FROM stock") == ["a"]
                raise LookupError
        except LookupError:
            answered.append("reader")

    async def writer():
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('a', 1)")
            tx.after_commit(lambda: answered.append("commit"))

    await asyncio.gather(writer(), reader())
    assert answered == ["commit", "reader"]


async def test_t3_cancellation_at_any_await_rolls_back_and_frees_the_writer(db: Database):
    async def body(sku: str):
        async with db.transaction() as tx:
            await asyncio.sleep(0)
            await tx.execute("INSERT INTO stock VALUES (:sku, 1)", sku=sku)
            await asyncio.sleep(0)
            await tx.execute("UPDATE stock SET free = 2 WHERE sku = :sku", sku=sku)
            await asyncio.sleep(0)

    for turns in range(12):
        tasks = [asyncio.create_task(body(f"{turns}-{n}")) for n in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done[0] is None
        assert done[2] is None
        async with asyncio.timeout(1):
            await add(db, f"{turns}-after")
    assert await db.one(int, "SELECT count(*) FROM stock WHERE free = 1 AND sku NOT LIKE '%after'") == 0


async def test_t3_a_transaction_knows_its_task(db: Database):
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO stock VALUES ('a', 1)")
        with pytest.raises(Exception, match="used by another task than the one that entered it"):
            await asyncio.create_task(tx.execute("INSERT INTO stock VALUES ('b', 1)"))
    with pytest.raises(Exception, match="used outside its block"):
        await tx.execute("INSERT INTO stock VALUES ('c', 1)")
    assert await skus(db) == ["a"]


async def test_t3_a_transaction_held_too_long_is_rolled_back_and_the_others_go_on(tmp_path: Path):
    db = await opened(tmp_path, hold_limit_s=5.0)

    async def holding():
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('held', 1)")
            await asyncio.sleep(3600)

    started = world.monotonic()
    results = await asyncio.gather(holding(), add(db, "a"), return_exceptions=True)
    assert str(results[0]) == (
        f"database {tmp_path}/test.db: transaction held open for more than 5 s and rolled back; last statement: "
        "INSERT INTO stock VALUES ('held', 1); await nothing slow inside a transaction"
    )
    assert results[1] is None
    assert world.monotonic() - started == 5.0
    assert await skus(db) == ["a"]
    assert asyncio.current_task().cancelling() == 0
    assert db.statistics().held_too_long == 1
    await db.__aexit__(None, None, None)


async def test_t3_a_transaction_that_ends_just_within_its_limit_is_kept(tmp_path: Path):
    db = await opened(tmp_path, hold_limit_s=5.0)
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO stock VALUES ('a', 1)")
        await asyncio.sleep(4.999)
    assert await skus(db) == ["a"]
    await db.__aexit__(None, None, None)


async def test_t3_a_held_transaction_that_swallows_its_cancellation_still_fails(tmp_path: Path):
    db = await opened(tmp_path, hold_limit_s=1.0)
    with pytest.raises(TransactionHeldError):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO stock VALUES ('held', 1)")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                with pytest.raises(TransactionHeldError):
                    await tx.execute("INSERT INTO stock VALUES ('b', 1)")
    assert asyncio.current_task().cancelling() == 0
    assert await skus(db) == []
    await db.__aexit__(None, None, None)


async def test_t3_callbacks_run_outside_every_transaction(db: Database):
    seen: list[object] = []
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO stock VALUES ('a', 1)")
        assert context.current().tx is tx
        tx.after_commit(lambda: seen.append(context.current().tx))
    assert seen == [None]


# T4: one writer process per file


def test_t4_another_process_is_refused_by_name_and_pid(tmp_path: Path):
    script = (
        "import asyncio, sys\n"
        "from archstone.data import Database\n"
        "async def main():\n"
        "    async with Database(sys.argv[1], name='shop inventory'):\n"
        "        print('open', flush=True)\n"
        "        sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    url = f"sqlite:///{tmp_path}/test.db"
    with subprocess.Popen([sys.executable, "-c", script, url], stdin=-1, stdout=-1) as other:
        assert other.stdout.readline() == b"open\n"

        async def refused() -> str:
            with pytest.raises(DatabaseInUseError) as caught:
                await Database(url).__aenter__()
            return str(caught.value)

        assert asyncio.run(refused()) == (
            f"database {tmp_path}/test.db is in use by process {other.pid} (shop inventory): one process writes a "
            "file; stop that one first"
        )
        other.kill()
    asyncio.run(open_and_close(url))  # the lock goes with its process


async def open_and_close(url: str) -> None:
    async with Database(url):
        pass


async def test_t4_a_second_database_of_this_process_is_refused(db: Database):
    with pytest.raises(DatabaseInUseError, match=f"in use by process {os.getpid()}"):
        await open_and_close(f"sqlite:///{db.label}")


async def test_t4_a_program_that_ignores_the_lock_file_is_waited_for_without_blocking_the_loop(db: Database):
    other = sqlite3.connect(db.label, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(add(db, "a"))
    await asyncio.sleep(0.5)
    assert not adding.done()
    other.execute("COMMIT")
    await adding
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseLockedError, match=r"test\.db: database is locked; statement: BEGIN IMMEDIATE"):
        await add(db, "b")
    other.execute("COMMIT")
    other.close()
    await add(db, "c")
    assert await skus(db) == ["a", "c"]


# T5: readers


@pytest.mark.real_time
async def test_t5_a_read_above_its_budget_is_repeated_in_a_thread_and_the_loop_goes_on(db: Database):
    turns = 0

    async def turning():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turning())
    assert await db.one(int, COUNT_TO_100_000) == 100_000
    task.cancel()
    assert turns > 5
    assert db.statistics().slow_reads == 1


async def test_t5_many_cheap_reads_of_one_statement_stay_on_the_loop(db: Database):
    await add(db, "a")
    for _ in range(2000):
        await db.one(int, "SELECT free FROM stock WHERE sku = 'a'")
    assert db.statistics().slow_reads == 0


@pytest.mark.real_time
async def test_t5_a_read_that_is_too_slow_even_for_a_thread_is_stopped(tmp_path: Path):
    db = await opened(tmp_path, snapshot_limit_s=0.05)
    with pytest.raises(SnapshotExpiredError, match=r"the read took more than 0\.05 s"):
        await db.one(int, COUNT_TO_TEN_MILLION)
    await db.__aexit__(None, None, None)


@pytest.mark.real_time
async def test_t5_a_cancelled_slow_read_stops_and_gives_its_connection_back(db: Database):
    tasks = [asyncio.create_task(db.one(int, COUNT_TO_TEN_MILLION)) for _ in range(40)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(*tasks, return_exceptions=True))
    assert await db.one(int, COUNT_TO_100_000) == 100_000


async def test_t5_a_snapshot_ends_at_its_age(tmp_path: Path):
    db = await opened(tmp_path, snapshot_limit_s=30.0)
    with pytest.raises(SnapshotExpiredError, match="it was open for more than 30 s; read again in smaller parts"):
        async with db.snapshot() as snapshot:
            await asyncio.sleep(29.9)
            assert await snapshot.all(str, "SELECT sku FROM stock") == []
            await asyncio.sleep(0.2)
            await snapshot.all(str, "SELECT sku FROM stock")
    assert db.statistics().expired_snapshots == 1
    await db.__aexit__(None, None, None)


async def test_t5_snapshots_above_the_limit_wait_for_their_turn(db: Database):
    async def reading():
        async with db.snapshot() as snapshot:
            await asyncio.sleep(1)
            return await snapshot.one(int, "SELECT count(*) FROM stock")

    started = world.monotonic()
    await asyncio.gather(*(reading() for _ in range(readers.READERS_LIMIT + 1)))
    assert world.monotonic() - started == 2


async def test_t5_only_the_writer_checkpoints(db: Database):
    writer = db._engine._writer.connection
    reader = db._engine._readers._inline._connection
    assert writer.execute("PRAGMA wal_autocheckpoint").fetchone() == (1000,)
    assert reader.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    assert reader.execute("PRAGMA query_only").fetchone() == (1,)
    assert writer.execute("PRAGMA fullfsync").fetchone() == (1,)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    with pytest.raises(Exception, match="readonly database"):
        await db.all(int, "INSERT INTO stock VALUES ('a', 1) RETURNING free")


async def test_t5_the_log_stays_bounded_and_is_empty_after_closing(tmp_path: Path):
    db = await opened(tmp_path)
    await db.execute("CREATE TABLE big (bytes BLOB)")
    for _ in range(100):
        await db.execute("INSERT INTO big VALUES (zeroblob(200000))")
    assert db.statistics().wal_bytes < 2 * 1000 * 4096 + 1_000_000
    await db.__aexit__(None, None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.db", "test.db.lock"]


async def test_t5_a_log_that_grows_too_far_ends_the_snapshots_that_keep_it(db: Database, monkeypatch):
    monkeypatch.setattr("archstone.data.engines.sqlite.engine.WAL_LIMIT_BYTES", 100_000)
    async with db.snapshot() as snapshot:
        for n in range(64):
            await add(db, f"{n}")
        with pytest.raises(SnapshotExpiredError, match="the log grew above 100000 bytes"):
            await snapshot.all(str, "SELECT sku FROM stock")


def test_t5_network_file_systems_are_refused(tmp_path: Path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n"
        "40 22 0:40 / /mnt/my\\040share rw - nfs4 server:/export rw\n"
        "41 40 0:41 / /mnt/my\\040share/local rw - tmpfs tmpfs rw\n"
        "broken line\n"
    )
    files.refuse_network_disk(Path("/mnt/other.db"), mounts)
    files.refuse_network_disk(Path("/mnt/my share/local/x.db"), mounts)
    with pytest.raises(NetworkFileSystemError) as caught:
        files.refuse_network_disk(Path("/mnt/my share/x.db"), mounts)
    assert str(caught.value) == (
        "database /mnt/my share/x.db lies on a network file system (nfs4); put it on a local disk"
    )
    files.refuse_network_disk(Path("/mnt/my share/x.db"), tmp_path / "absent")
