"""PostgreSQL as its users meet it: URLs, a server that goes and comes back, pools, locks, and a process that stops."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import PostgresServer, postgres_server
from shop_process import free_port

from archstone import context, world
from archstone.data import (
    ConnectionFailedError,
    ConstraintError,
    Database,
    MisuseError,
    SnapshotExpiredError,
    Transaction,
    TransactionLostError,
    UnknownEngineError,
)

pytestmark = pytest.mark.real_time

CHILD = Path(__file__).parent / "postgres_child.py"


@pytest.fixture
async def db(postgres_url: str):
    async with Database(postgres_url) as db:
        await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0)")
        yield db


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresServer]:
    """A server that tests of this module may end and start again."""
    with postgres_server() as server:
        yield server


async def ids(db: Database) -> list[int]:
    return await db.all(int, "SELECT id FROM t ORDER BY id")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("pool_size=0", "pool_size must be at least 1"),
        ("pool_size=many", "pool_size='many' is no int"),
        ("pool_timeout_s=0", "pool_timeout_s must be above 0"),
        ("schema=a'b", "schema must be like orders"),
        ("isolation=chaos", "isolation must be one of serializable, repeatable-read, read-committed"),
        ("pool_overflow=-1&pool_recycle_s=nan", "pool_overflow must be at least 0; pool_recycle_s must be above 0"),
    ],
)
async def test_a_wrong_parameter_is_told_without_the_password(query: str, told: str):
    with pytest.raises(UnknownEngineError) as caught:
        Database(f"postgresql://ann:secret@localhost/shop?{query}")
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "postgresql://ann@localhost/shop" in str(caught.value)


async def test_a_url_names_a_database():
    with pytest.raises(UnknownEngineError, match="names no database"):
        Database("postgresql://localhost")


async def test_a_server_that_is_not_there_is_told_at_once():
    port = free_port()
    with pytest.raises(ConnectionFailedError, match="see that the server runs") as caught:
        async with Database(f"postgresql://ann:secret@127.0.0.1:{port}/shop"):
            pass
    assert "secret" not in str(caught.value)
    assert f"postgresql://ann@127.0.0.1:{port}/shop" in str(caught.value)


async def test_a_statement_that_failed_ends_the_transaction_and_says_how_to_avoid_it(db: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    with pytest.raises(TransactionLostError, match="savepoint"):
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (2)")
            with pytest.raises(ConstraintError):
                await tx.execute("INSERT INTO t (id) VALUES (1)")
    assert await ids(db) == [1]


async def test_a_deadlock_ends_one_and_run_runs_it_again(db: Database):
    await db.many("INSERT INTO t (id) VALUES (:id)", [{"id": 1}, {"id": 2}])
    both = asyncio.Barrier(2)

    async def work(tx: Transaction, first: int, second: int) -> None:
        await tx.execute("UPDATE t SET n = n + 1 WHERE id = :id", id=first)
        if both.n_waiting < 2 and not met.is_set():
            await both.wait()
            met.set()
        await tx.execute("UPDATE t SET n = n + 1 WHERE id = :id", id=second)

    met = asyncio.Event()
    await asyncio.gather(db.run(lambda tx: work(tx, 1, 2)), db.run(lambda tx: work(tx, 2, 1)))
    assert await db.all(int, "SELECT n FROM t ORDER BY id") == [2, 2]
    assert db.statistics().lost_groups >= 1


async def test_the_isolation_can_be_chosen(postgres_url: str):
    level = "SELECT current_setting('transaction_isolation')"
    for name, told in (("serializable", "serializable"), ("read-committed", "read committed")):
        async with Database(f"{postgres_url}?isolation={name}") as db, db.transaction() as tx:
            assert await tx.one(str, level) == told


async def test_who_finds_no_connection_waits_and_is_told_when_it_takes_too_long(postgres_url: str):
    async with Database(f"{postgres_url}?pool_size=1&pool_overflow=1&pool_timeout_s=0.2") as db:
        await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO t (id) VALUES (1)")

            async def another(hold: asyncio.Event) -> None:
                async with db.transaction() as other:
                    await other.execute("INSERT INTO t (id) VALUES (2)")
                    await hold.wait()

            hold = asyncio.Event()
            task = asyncio.create_task(_apart(another(hold)))
            await asyncio.sleep(0.05)
            with pytest.raises(ConnectionFailedError, match=r"no connection of 2 became free in 0\.2 s"):
                await asyncio.create_task(_apart(db_execute(db, 3)))
            waiting = asyncio.create_task(_apart(db_execute(db, 4)))
            hold.set()
            await task
            await waiting
    async with Database(postgres_url) as db:
        assert await ids(db) == [1, 2, 4]


async def _apart(call: object) -> None:
    context.set_current(context.Call())
    await call  # type: ignore[misc]


async def db_execute(db: Database, number: int) -> None:
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO t (id) VALUES (:id)", id=number)


async def test_services_share_a_database_with_a_schema_each(postgres_url: str):
    one, same = Database(f"{postgres_url}?schema=orders"), Database(f"{postgres_url}?schema=orders")
    other = Database(f"{postgres_url}?schema=in-stock")
    assert one.label.endswith("?schema=orders")
    await asyncio.gather(*[each.__aenter__() for each in (one, same, other)])
    try:
        await one.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
        await other.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)")
        await one.execute("INSERT INTO t VALUES (1)")
        assert (await ids(same), await ids(other)) == ([1], [])
    finally:
        for each in (one, same, other):
            await each.__aexit__(None, None, None)


async def test_old_connections_are_replaced(postgres_url: str):
    async with Database(f"{postgres_url}?pool_recycle_s=0.05&pool_size=1&pool_overflow=0") as db:
        pid = "SELECT pg_backend_pid()"
        first = await db.one(int, pid)
        assert await db.one(int, pid) == first
        await asyncio.sleep(0.1)
        await db.one(int, pid)  # given back, it is found too old
        assert await db.one(int, pid) != first


async def test_a_slow_read_is_ended_at_its_limit(postgres_url: str):
    async with Database(postgres_url, snapshot_limit_s=0.2) as db:
        with pytest.raises(SnapshotExpiredError):
            await db.one(str, "SELECT pg_sleep(5)::text")
        with pytest.raises(SnapshotExpiredError):
            async with db.snapshot() as snapshot:
                await asyncio.sleep(0.3)
                await snapshot.one(int, "SELECT 1")
        assert await db.one(int, "SELECT 1") == 1


async def test_a_changed_table_is_read_as_it_is_now(db: Database):
    await db.execute("INSERT INTO t (id) VALUES (1)")
    assert await db.all(dict, "SELECT * FROM t") == [{"id": 1, "n": 0}]
    await db.execute("ALTER TABLE t ADD COLUMN word TEXT")
    assert await db.all(dict, "SELECT * FROM t") == [{"id": 1, "n": 0, "word": None}]


async def test_copies_and_pauses_are_for_the_tools_of_the_server(db: Database, tmp_path: Path):
    with pytest.raises(MisuseError, match="pg_dump"):
        await db.backup_to(tmp_path / "copy")
    with pytest.raises(MisuseError, match="other processes write"):
        async with db.paused():
            pass


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_server_that_was_restarted_is_not_the_error_of_the_next_caller(
    own: PostgresServer, how: signal.Signals
):
    url = own.new_database()
    async with Database(f"{url}?pool_pre_ping_s=0") as db:
        await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
        await asyncio.gather(*[db.one(int, "SELECT 1") for _ in range(5)])
        await asyncio.to_thread(own.restart, how)
        assert await db.execute("INSERT INTO t (id) VALUES (1)") == 1
        await db_execute(db, 2)
        assert await ids(db) == [1, 2]
        async with db.snapshot() as snapshot:
            assert await snapshot.one(int, "SELECT count(*) FROM t") == 2


async def test_a_transaction_that_the_server_did_not_survive_did_nothing_and_may_be_run_again(own: PostgresServer):
    url = own.new_database()
    async with Database(url) as db:
        await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
        attempts: list[int] = []

        async def work(tx: Transaction) -> None:
            attempts.append(1)
            await tx.execute("INSERT INTO t (id) VALUES (:id)", id=len(attempts))
            if len(attempts) == 1:
                await asyncio.to_thread(own.restart, signal.SIGQUIT)
            await tx.execute("UPDATE t SET id = id")

        await db.run(work)
        assert len(attempts) == 2
        assert await ids(db) == [2]


async def test_who_has_lost_several_times_is_waited_for_by_newcomers(postgres_url: str):
    """Else a slow one never gets through among quick ones on the same row."""
    async with Database(postgres_url) as db:
        await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)")
        await db.execute("INSERT INTO t (id, n) VALUES (1, 0)")
        done = asyncio.Event()
        slow_lost = 0

        async def slow(tx: Transaction) -> None:
            nonlocal slow_lost
            slow_lost += 1
            n = await tx.one(int, "SELECT n FROM t WHERE id = 1")
            await asyncio.sleep(0.05)
            await tx.execute("UPDATE t SET n = :n WHERE id = 1", n=n + 1000)

        async def quick(tx: Transaction) -> None:
            await tx.execute("UPDATE t SET n = n + 1 WHERE id = 1")

        async def newcomers() -> int:
            count = 0
            while not done.is_set():
                await db.run(quick)
                count += 1
            return count

        crowd = [asyncio.create_task(newcomers()) for _ in range(8)]
        while not await db.one(int, "SELECT n FROM t"):
            await asyncio.sleep(0)
        await db.run(slow, attempts=6)
        done.set()
        counted = sum(await asyncio.gather(*crowd))
        assert await db.one(int, "SELECT n FROM t") == 1000 + counted
        assert slow_lost > 1  # or nothing was in its way


POINTS = ["postgres.before_commit", "postgres.after_commit", "postgres.before_group",
          "postgres.after_group"]  # fmt: skip


def test_every_crash_point_of_the_engine_is_killed_at():
    assert {name for name in world.crash_points() if name.startswith("postgres.")} == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_point_each_transaction_is_there_whole_or_not_at_all(postgres_url: str, point: str):
    command = [sys.executable, str(CHILD), postgres_url]
    done = await asyncio.to_thread(
        subprocess.run, command, env=os.environ | {world.CRASH_VARIABLE: f"{point}:3"}, capture_output=True, timeout=60
    )
    assert done.returncode != 0, f"it was not killed at {point}: {done.stderr.decode()}"
    answered = {int(line) for line in done.stdout.split()}
    async with Database(postgres_url) as db:
        rows = await db.all(tuple[int, int], "SELECT id, count(*) FROM pairs GROUP BY id")
    assert all(count == 2 for _, count in rows), "half of a transaction is there"
    assert answered <= {number for number, _ in rows}, "what was answered is gone"


async def test_a_process_that_stops_in_a_transaction_does_not_hold_its_locks_for_ever(postgres_url: str):
    async with Database(postgres_url) as db:
        await db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0)")
        await db.execute("INSERT INTO t (id) VALUES (1)")
        child = subprocess.Popen([sys.executable, str(CHILD), postgres_url, "stop"], stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            assert await asyncio.to_thread(child.stdout.readline) == b"locked\n"
            child.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(20):
                await db.execute("UPDATE t SET n = 5 WHERE id = 1")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()  # type: ignore[union-attr]
        assert await db.one(int, "SELECT n FROM t") == 5
