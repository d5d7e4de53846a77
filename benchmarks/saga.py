"""Three durable steps with an undo each, to the disk, beside DBOS, on SQLite and on PostgreSQL: 1, 20, 200 callers."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Bench, Measured, Row, room
from benchmarks.servers import postgres

bench = Bench(
    "saga",
    shows="three durable steps in a row, started and answered, every moment of it on disk before what follows",
    hides="what steps do (they return at once), failures, restarts, a server on another machine",
)

WARM_UP, FULL_S, QUICK_S = 10, 4.0, 1.0


async def measure(run: Callable[[str], Awaitable[object]], *, callers: int, quick: bool) -> Measured:
    """Return the rate of `run` with so many callers, or the median time of one if there is only one caller."""
    for n in range(WARM_UP):
        await run(f"warm-{n}")
    took_s: list[float] = []
    begun_s = time.perf_counter()
    end_s = begun_s + (QUICK_S if quick else FULL_S)

    async def call(caller: int) -> None:
        n = 0
        while (start_s := time.perf_counter()) < end_s:
            await run(f"order-{caller}-{n}")
            took_s.append(time.perf_counter() - start_s)
            n += 1

    await asyncio.gather(*(call(caller) for caller in range(callers)))
    per_s = len(took_s) / (time.perf_counter() - begun_s)
    took_s.sort()
    p50_ms, p99_ms = took_s[len(took_s) // 2] * 1e3, took_s[len(took_s) * 99 // 100] * 1e3
    details: dict[str, object] = {"n": len(took_s), "p50_ms": f"{p50_ms:.3g}", "p99_ms": f"{p99_ms:.3g}"}
    if callers == 1:
        return Measured(p50_ms, {**details, "per_s": f"{per_s:.4g}"})
    return Measured(per_s, details)


def archstone(callers: int, url: str, *, quick: bool) -> Measured:
    from archstone.data import Database
    from archstone.sagas import Sagas, current_step, saga

    class Depot:
        async def reserve(self, order: str, count: int) -> str:
            return order

        async def release(self, order: str) -> None: ...

    class Orders:
        def __init__(self) -> None:
            self.depot = Depot()

        @saga()
        async def checkout(self, order: str) -> str:
            step = current_step()
            for count in (1, 2, 3):
                await step(self.depot.reserve, order, count, undo=(self.depot.release, order))
            return order

    async def main() -> Measured:
        orders = Orders()
        async with Database(url) as db, Sagas(db, owner=orders) as sagas:
            return await measure(lambda order: sagas.run(orders.checkout, order), callers=callers, quick=quick)

    return asyncio.run(main())


def archstone_sqlite(callers: int, *, quick: bool) -> Measured:
    with tempfile.TemporaryDirectory(dir=room()) as folder:
        measured = archstone(callers, f"sqlite:///{folder}/sagas.db", quick=quick)
    return Measured(measured.figure, {**measured.details, "journal": "WAL", "synchronous": "FULL"})


def archstone_postgres(callers: int, *, quick: bool) -> Measured:
    with postgres() as url:
        measured = archstone(callers, url, quick=quick)
    return Measured(measured.figure, {**measured.details, "fsync": "on"})


@contextmanager
def launched(*, wal: bool, **config: object) -> Iterator[None]:
    """Launch DBOS on a file of its own. Its workflows must be registered inside, before the first call."""
    from dbos import DBOS

    with tempfile.TemporaryDirectory(dir=room()) as folder:
        file = Path(folder) / "dbos.db"
        if wal:
            connection = sqlite3.connect(file)
            connection.execute("PRAGMA journal_mode = WAL")  # stays with the file
            connection.close()
        DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{file}", "log_level": "ERROR", **config})
        try:
            yield
        finally:
            DBOS.destroy()


def dbos(callers: int, *, quick: bool, wal: bool) -> Measured:
    """DBOS as its guide shows it for asyncio."""
    from dbos import DBOS

    with launched(wal=wal):

        @DBOS.step()
        async def reserve(order: str, count: int) -> str:
            return order

        @DBOS.workflow()
        async def checkout(order: str) -> str:
            for count in (1, 2, 3):
                await reserve(order, count)
            return order

        DBOS.launch()
        measured = asyncio.run(measure(checkout, callers=callers, quick=quick))
    mode = "WAL" if wal else "DELETE"
    return Measured(measured.figure, {**measured.details, "journal": mode, "synchronous": "FULL"})


def dbos_postgres(callers: int, *, quick: bool) -> Measured:
    """DBOS on a server, for asyncio, with as many connections as it takes by itself."""
    from dbos import DBOS

    with postgres() as url:
        DBOS(config={"name": "bench", "system_database_url": url.replace("postgresql:", "postgresql+psycopg:"),
                     "log_level": "ERROR"})  # fmt: skip
        try:

            @DBOS.step()
            async def reserve(order: str, count: int) -> str:
                return order

            @DBOS.workflow()
            async def checkout(order: str) -> str:
                for count in (1, 2, 3):
                    await reserve(order, count)
                return order

            DBOS.launch()
            measured = asyncio.run(measure(checkout, callers=callers, quick=quick))
        finally:
            DBOS.destroy()
    return Measured(measured.figure, {**measured.details, "fsync": "on"})


def dbos_in_threads(callers: int, *, quick: bool) -> Measured:
    """DBOS at its best, of what was tried: WAL, plain functions in a thread per caller, one connection for all."""
    from dbos import DBOS

    with launched(wal=True, sys_db_pool_size=1):

        @DBOS.step()
        def reserve(order: str, count: int) -> str:
            return order

        @DBOS.workflow()
        def checkout(order: str) -> str:
            for count in (1, 2, 3):
                reserve(order, count)
            return order

        DBOS.launch()
        with ThreadPoolExecutor(callers) as threads:

            async def run(order: str) -> object:
                if callers == 1:
                    return checkout(order)
                return await asyncio.get_running_loop().run_in_executor(threads, checkout, order)

            measured = asyncio.run(measure(run, callers=callers, quick=quick))
    return Measured(measured.figure, {**measured.details, "journal": "WAL", "synchronous": "FULL", "pool": 1})


def fsync_5(quick: bool) -> Measured:
    """Five appended and synced pages, one after another: what the disk asks for five commits."""
    took_ms: list[float] = []
    with tempfile.TemporaryFile(dir=".") as file:
        for _ in range(50 if quick else 500):
            start_s = time.perf_counter()
            for _ in range(5):
                os.write(file.fileno(), bytes(4096))
                os.fsync(file.fileno())
            took_ms.append((time.perf_counter() - start_s) * 1e3)
    return Measured(sorted(took_ms)[len(took_ms) // 2])


bench.contender()(fsync_5)
_TABLE = "CREATE TABLE rows (number INTEGER PRIMARY KEY, saga TEXT NOT NULL, entries BLOB NOT NULL)"


def rounds(callers: int, commit: Callable[[int], object], *, quick: bool) -> Measured:
    """Return how often in a second five commits of a row for each caller are made; of one caller, in what time."""
    begun_s = time.perf_counter()
    end_s = begun_s + (QUICK_S if quick else FULL_S)
    done = 0
    while time.perf_counter() < end_s:
        for _ in range(5):
            commit(callers)
        done += 1
    took_s = time.perf_counter() - begun_s
    return Measured(took_s / done * 1e3 if callers == 1 else callers * done / took_s)


def raw_sqlite(callers: int, *, quick: bool) -> Measured:
    """The ceiling of the database: rows as large as those of sagas, in one statement and one commit for all."""
    with tempfile.TemporaryDirectory(dir=room()) as folder:
        db = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        for text in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _TABLE):
            db.execute(text)

        def commit(callers: int) -> None:
            db.execute("BEGIN IMMEDIATE")
            rows = ((f"order-{n}", bytes(200)) for n in range(callers))
            db.executemany("INSERT INTO rows (saga, entries) VALUES (?, ?)", rows)
            db.execute("COMMIT")

        measured = rounds(callers, commit, quick=quick)
        db.close()
    return measured


def raw_postgres(callers: int, *, quick: bool) -> Measured:
    """The same on a server, in one round trip and one commit for all."""
    import asyncpg

    with postgres() as url, asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))
        types = _TABLE.replace("INTEGER PRIMARY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY")
        runner.run(connection.execute(types.replace("BLOB", "BYTEA")))

        def commit(callers: int) -> None:
            rows = [(f"order-{n}", bytes(200)) for n in range(callers)]
            runner.run(connection.executemany("INSERT INTO rows (saga, entries) VALUES ($1, $2)", rows))

        measured = rounds(callers, commit, quick=quick)
        runner.run(connection.close())
    return measured


@bench.contender("archstone", "asyncpg")
def archstone_take_over(quick: bool) -> Measured:
    """From the SIGKILL of the process that has a saga to the saga's end in another, with the default lease."""
    from archstone.data import Database
    from archstone.sagas import Sagas

    child = Path(__file__).parent.parent / "tests" / "sagas" / "saga_sitter_child.py"

    async def main(url: str) -> float:
        async with Database(url) as db:
            await Sagas(db).prepare()
            await db.execute("CREATE TABLE marks (saga TEXT NOT NULL)")
            command = [sys.executable, str(child), url]
            first = subprocess.Popen([*command, "wait", "5"], stdout=subprocess.DEVNULL)
            second = None
            try:
                while not await db.one(int, "SELECT count(*) FROM marks"):
                    await asyncio.sleep(0.02)
                second = subprocess.Popen([*command, "go", "5"], stdout=subprocess.PIPE)
                assert second.stdout is not None
                await asyncio.to_thread(second.stdout.readline)
                first.kill()
                killed_s = time.perf_counter()
                while await db.one(int, "SELECT count(*) FROM _archstone_sagas WHERE finished_us IS NULL"):
                    await asyncio.sleep(0.02)
                return time.perf_counter() - killed_s
            finally:
                for process in (first, second):
                    if process is not None:
                        process.kill()
                        process.communicate()

    with postgres() as url:
        return Measured(asyncio.run(main(url)), {"lease_s": 5})


def enter(callers: int, row: Row, *beside: str) -> None:
    def ours(quick: bool) -> Measured:
        return archstone_sqlite(callers, quick=quick)

    def shipped(quick: bool) -> Measured:
        return dbos(callers, quick=quick, wal=False)

    def with_wal(quick: bool) -> Measured:
        return dbos(callers, quick=quick, wal=True)

    def in_threads(quick: bool) -> Measured:
        return dbos_in_threads(callers, quick=quick)

    def raw(quick: bool) -> Measured:
        return raw_sqlite(callers, quick=quick)

    raw.__name__ = f"raw_sqlite_{callers}"
    bench.contender()(raw)
    peers = {"dbos": shipped, "dbos_wal": with_wal, "dbos_wal_threads": in_threads}
    for name, function in {"archstone": ours, **peers}.items():
        function.__name__ = f"{name}_{callers}"
        bench.contender(name.partition("_")[0])(function)
    bench.row(row, ours=f"archstone_{callers}", peers=[f"{name}_{callers}" for name in peers],
              beside=[raw.__name__, *beside])  # fmt: skip


def enter_postgres(callers: int, row: Row, *beside: str) -> None:
    def ours(quick: bool) -> Measured:
        return archstone_postgres(callers, quick=quick)

    def shipped(quick: bool) -> Measured:
        return dbos_postgres(callers, quick=quick)

    def raw(quick: bool) -> Measured:
        return raw_postgres(callers, quick=quick)

    raw.__name__ = f"raw_postgres_{callers}"
    bench.contender("asyncpg")(raw)
    for name, function in {"archstone": ours, "dbos": shipped}.items():
        function.__name__ = f"{name}_postgres_{callers}"
        bench.contender(*(("dbos", "psycopg") if name == "dbos" else ("archstone", "asyncpg")))(function)
    bench.row(row, ours=f"archstone_postgres_{callers}", peers=[f"dbos_postgres_{callers}"],
              beside=[raw.__name__, *beside])  # fmt: skip


enter(1, Row("saga, one caller, p50", "ms/saga", goal=3.0), "fsync_5")
enter(20, Row("saga, 20 callers", "sagas/s", goal=20.0, bigger_is_better=True))
enter(200, Row("saga, 200 callers", "sagas/s", goal=50.0, bigger_is_better=True))
enter_postgres(1, Row("saga on PostgreSQL, one caller, p50", "ms/saga", goal=3.0), "fsync_5")
enter_postgres(20, Row("saga on PostgreSQL, 20 callers", "sagas/s", goal=20.0, bigger_is_better=True))
enter_postgres(200, Row("saga on PostgreSQL, 200 callers", "sagas/s", goal=50.0, bigger_is_better=True))
bench.row(Row("saga, taken over from a worker that was killed", "s", goal=10.0), ours="archstone_take_over")

if __name__ == "__main__":
    bench.main()
