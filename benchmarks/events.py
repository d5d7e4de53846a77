"""An event store: events appended per second, and an aggregate rebuilt, beside the library `eventsourcing`, on SQLite
and on PostgreSQL.

Both sync each commit (SQLite with WAL and `synchronous=FULL`, as the connection that writes has it; the server with
`fsync` and `synchronous_commit` on), save one aggregate at a time and know one order over all streams. What is timed is
a command as a user writes it, a new aggregate that records events and is saved, and the load of an aggregate by its id;
an event has an id, a number and a text. `raw` is the driver alone: rows that are ready, one an event, into a table with
one index, in a transaction each.
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.harness import Bench, Measured, Row, room
from benchmarks.servers import postgres

if TYPE_CHECKING:
    from archstone.eventsourcing import Aggregate, EventStore

bench = Bench(
    "events",
    shows="events recorded and saved per second, 1, 100 and 1,000 a save, and an aggregate of 1,000 rebuilt",
    hides="projections, snapshots, personal fields, large payloads, a server on another machine",
)

SECONDS, QUICK_SECONDS = 3.0, 0.4
REBUILT = 1_000
CALLERS = 100
DATABASES = ("sqlite", "postgres")
PAYLOAD = b'{"ticker_id":"01234567890123456789012345678901","number":100,"text":"a text of some length"}'
TABLE = (
    "CREATE TABLE events (position {key}, stream TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL,"
    " payload {bytes} NOT NULL, UNIQUE (stream, version))"
)
FULL = 2
"""What `PRAGMA synchronous` says for FULL."""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the disk of the checkout: /tmp may be memory."""
    with tempfile.TemporaryDirectory(dir=room()) as name:
        yield Path(name)


def sync_us(where: Path) -> float:
    """Return what one fdatasync costs here, microseconds."""
    with (where / "sync").open("wb", buffering=0) as file:
        begin = time.perf_counter()
        for _ in range(200):
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
        return round((time.perf_counter() - begin) / 200 * 1e6)


def seconds(quick: bool) -> float:
    return QUICK_SECONDS if quick else SECONDS


def durability(connection: Any) -> str:
    """Return how the connection (or its cursor) that writes is set."""

    def setting(name: str) -> Any:
        connection_or_cursor = connection.execute(f"PRAGMA {name}") or connection
        return connection_or_cursor.fetchone()[0]

    journal, synchronous = setting("journal_mode"), setting("synchronous")
    return f"{journal}, synchronous={'FULL' if synchronous == FULL else synchronous}"


# Ours


def our_ticker() -> "type[Aggregate]":
    from archstone.data import Event
    from archstone.eventsourcing import Aggregate, apply

    class Ticked(Event, name="bench.ticked", key="ticker_id"):
        ticker_id: str
        number: int
        text: str

    class Ticker(Aggregate, name="ticker"):
        total: int = 0

        def tick(self, times: int) -> None:
            for number in range(times):
                self.record(Ticked(ticker_id=self.id, number=number, text="a text of some length"))

        @apply
        def ticked(self, event: Ticked) -> None:
            self.total += event.number

    return Ticker


async def with_store(database: str, work: "Callable[[EventStore], Awaitable[Measured]]") -> Measured:
    from archstone.data import Database
    from archstone.eventsourcing import EventStore

    async def run(url: str, **options: Any) -> Measured:
        async with Database(url, **options) as db:
            store = EventStore(db)
            await store.open()
            measured = await work(store)
            if database == "sqlite":
                measured.details["fsync"] = durability(db._engine._writer.connection)  # type: ignore[attr-defined]
            return measured

    if database == "postgres":
        with postgres() as url:
            return noted(await run(url))
    with folder() as where:
        measured = await run(f"sqlite:///{where}/events.db", commit_in_thread=False)
        measured.details["sync_us"] = sync_us(where)
        return measured


def noted(measured: Measured) -> Measured:
    """Say how the server of `benchmarks.servers` is set."""
    measured.details["fsync"] = "on, synchronous_commit=on"
    return measured


def ours(quick: bool, database: str, *, events: int, callers: int = 1) -> Measured:
    from archstone import world

    ticker = our_ticker()

    async def work(store: "EventStore") -> Measured:
        delays_ms: list[float] = []
        until_s = time.perf_counter() + seconds(quick)

        async def call() -> None:
            while time.perf_counter() < until_s:
                begin_s = time.perf_counter()
                one: Any = ticker(world.new_id())
                one.tick(events)
                await store.save(one)
                delays_ms.append((time.perf_counter() - begin_s) * 1e3)

        begin_s = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        return rate(delays_ms, events, time.perf_counter() - begin_s)

    return asyncio.run(with_store(database, work))


def rate(delays_ms: list[float], events: int, took_s: float) -> Measured:
    """Return the rate of saves of so many events that took so long."""
    saved = events * len(delays_ms)
    return Measured(saved / took_s, {"events": saved, "p50_ms": round(sorted(delays_ms)[len(delays_ms) // 2], 3)})


def our_rebuild(quick: bool, database: str) -> Measured:
    ticker = our_ticker()

    async def work(store: "EventStore") -> Measured:
        one: Any = ticker("a")
        one.tick(REBUILT)
        await store.save(one)
        took_ms: list[float] = []
        until_s = time.perf_counter() + seconds(quick)
        while time.perf_counter() < until_s:
            begin_s = time.perf_counter()
            again = await store.load(ticker, "a")
            took_ms.append((time.perf_counter() - begin_s) * 1e3)
            assert again.version == REBUILT
        return Measured(sorted(took_ms)[len(took_ms) // 2], {"loads": len(took_ms)})

    return asyncio.run(with_store(database, work))


# The library


class Theirs:
    """An application of `eventsourcing`, as its documentation sets it up."""

    def __init__(self, **environment: str) -> None:
        from eventsourcing.application import Application
        from eventsourcing.domain import Aggregate, event

        class Ticker(Aggregate):
            def __init__(self) -> None:
                self.total = 0

            @event("Ticked")
            def ticked(self, number: int, text: str) -> None:
                self.total += number

        self.ticker = Ticker
        self.application: Any = Application(env=environment)

    def ticked(self, times: int) -> Any:
        one = self.ticker()
        for number in range(times):
            one.ticked(number=number, text="a text of some length")
        return one


@contextmanager
def their_library(database: str) -> Iterator[tuple[Theirs, dict[str, object]]]:
    """Give the library on a database, and what is to be said about it at the end."""
    said: dict[str, object] = {}
    if database == "postgres":
        with postgres() as url:
            parts = urlsplit(url)
            library = Theirs(
                PERSISTENCE_MODULE="eventsourcing.postgres",
                POSTGRES_DBNAME=parts.path[1:],
                POSTGRES_HOST=parts.hostname or "",
                POSTGRES_PORT=str(parts.port),
                POSTGRES_USER=parts.username or "",
                POSTGRES_PASSWORD=parts.password or "any",
            )
            yield library, said
            library.application.close()
            said["fsync"] = "on, synchronous_commit=on"
        return
    with folder() as where:
        library = Theirs(PERSISTENCE_MODULE="eventsourcing.sqlite", SQLITE_DBNAME=str(where / "events.db"))
        yield library, said
        with library.application.recorder.datastore.get_connection(commit=False) as connection:
            said |= {"fsync": durability(connection.cursor()), "sync_us": sync_us(where)}


def theirs(quick: bool, database: str, *, events: int) -> Measured:
    with their_library(database) as (library, said):
        delays_ms: list[float] = []
        until_s = time.perf_counter() + seconds(quick)
        while time.perf_counter() < until_s:
            begin_s = time.perf_counter()
            one = library.ticked(events - 1)  # its creation is an event too
            library.application.save(one)
            delays_ms.append((time.perf_counter() - begin_s) * 1e3)
        measured = rate(delays_ms, events, sum(delays_ms) / 1e3)
    measured.details.update(said)
    return measured


def their_rebuild(quick: bool, database: str) -> Measured:
    with their_library(database) as (library, said):
        one = library.ticked(REBUILT - 1)
        library.application.save(one)
        took_ms: list[float] = []
        until_s = time.perf_counter() + seconds(quick)
        while time.perf_counter() < until_s:
            begin_s = time.perf_counter()
            again = library.application.repository.get(one.id)
            took_ms.append((time.perf_counter() - begin_s) * 1e3)
            assert again.version == REBUILT
    return Measured(sorted(took_ms)[len(took_ms) // 2], {"loads": len(took_ms), **said})


# The ceiling


def ready_rows(events: int) -> Iterator[list[tuple[str, int, str, bytes]]]:
    """Yield the rows of one save after another."""
    for stream in count():
        yield [(f"ticker/{stream:032}", version, "bench.ticked", PAYLOAD) for version in range(events)]


def raw_sqlite(quick: bool, *, events: int) -> Measured:
    with folder() as where:
        connection = sqlite3.connect(where / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(TABLE.format(key="INTEGER PRIMARY KEY", bytes="BLOB"))
        insert = "INSERT INTO events (stream, version, name, payload) VALUES (?, ?, ?, ?)"
        delays_ms: list[float] = []
        until_s = time.perf_counter() + seconds(quick)
        for rows in ready_rows(events):
            begin_s = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows)
            connection.execute("COMMIT")
            delays_ms.append((time.perf_counter() - begin_s) * 1e3)
            if time.perf_counter() >= until_s:
                break
        measured = rate(delays_ms, events, sum(delays_ms) / 1e3)
        measured.details.update(fsync=durability(connection), sync_us=sync_us(where))
        connection.close()
        return measured


def raw_postgres(quick: bool, *, events: int) -> Measured:
    import asyncpg

    async def work(url: str) -> Measured:
        connection = await asyncpg.connect(url)
        await connection.execute(TABLE.format(key="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", bytes="BYTEA"))
        insert = await connection.prepare("INSERT INTO events (stream, version, name, payload) VALUES ($1, $2, $3, $4)")
        delays_ms: list[float] = []
        until_s = time.perf_counter() + seconds(quick)
        for rows in ready_rows(events):
            begin_s = time.perf_counter()
            await insert.executemany(rows)  # in a transaction of its own
            delays_ms.append((time.perf_counter() - begin_s) * 1e3)
            if time.perf_counter() >= until_s:
                break
        await connection.close()
        return rate(delays_ms, events, sum(delays_ms) / 1e3)

    with postgres() as url:
        return noted(asyncio.run(work(url)))


def contender(name: str, measure: Callable[[bool], Measured], *distributions: str) -> str:
    measure.__name__ = name
    bench.contender(*distributions)(measure)
    return name


def enter(database: str) -> None:
    """Enter the rows of one database."""
    where, driver = ("", ()) if database == "sqlite" else (" on PostgreSQL", ("psycopg",))
    ours_on = ("archstone", "pydantic", *(("asyncpg",) if driver else ()))
    raw = raw_sqlite if database == "sqlite" else raw_postgres
    for size, goal in ((1, 1.3), (100, 2.0), (1_000, 3.0)):
        bench.row(
            Row(f"append{where}, {size:,} per save", "events/s", goal=goal, bigger_is_better=True),
            ours=contender(
                f"archstone_{database}_{size}", lambda quick, size=size: ours(quick, database, events=size), *ours_on
            ),
            peers=[
                contender(
                    f"eventsourcing_{database}_{size}",
                    lambda quick, size=size: theirs(quick, database, events=size),
                    "eventsourcing", *driver,
                )
            ],
            beside=[contender(f"raw_{database}_{size}", lambda quick, size=size: raw(quick, events=size))],
        )  # fmt: skip
    # The library has no form for callers that share a commit; its best with one event per save is one caller.
    bench.row(
        Row(f"append{where}, 1 per save, {CALLERS} callers", "events/s", goal=1.3, bigger_is_better=True),
        ours=contender(
            f"archstone_{database}_callers",
            lambda quick: ours(quick, database, events=1, callers=CALLERS), *ours_on,
        ),
        peers=[f"eventsourcing_{database}_1"],
        beside=[f"raw_{database}_1"],
    )  # fmt: skip
    bench.row(
        Row(f"rebuild{where} of {REBUILT:,} events", "ms", goal=10.0),
        ours=contender(f"archstone_{database}_rebuild", lambda quick: our_rebuild(quick, database), *ours_on),
        peers=[
            contender(
                f"eventsourcing_{database}_rebuild", lambda quick: their_rebuild(quick, database),
                "eventsourcing", *driver,
            )
        ],
    )  # fmt: skip


for each in DATABASES:
    enter(each)

if __name__ == "__main__":
    bench.main()
