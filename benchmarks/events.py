"""An event store on SQLite: events appended per second, and an aggregate rebuilt, beside the library `eventsourcing`.

Both sync each commit (WAL, `synchronous=FULL`, printed as the connection has it), save one aggregate at a time and know
one order over all streams. What is timed is a command as a user writes it, a new aggregate that records events and is
saved, and the load of an aggregate by its id; an event has an id, a number and a text. `raw` is `sqlite3` alone: rows
that are ready, one an event, into a table with one index.
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Bench, Measured, Row, room

if TYPE_CHECKING:
    from archstone.eventsourcing import Aggregate, EventStore

bench = Bench(
    "events",
    shows="events recorded and saved per second, 1, 100 and 1,000 a save, and an aggregate of 1,000 rebuilt, on SQLite",
    hides="projections, snapshots, personal fields, large payloads, other databases",
)

SECONDS, QUICK_SECONDS = 3.0, 0.5
REBUILT = 1_000
CALLERS = 100
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


async def with_store(work: "Callable[[EventStore, Path], Awaitable[Measured]]") -> Measured:
    from archstone.data import Database
    from archstone.eventsourcing import EventStore

    with folder() as where:
        async with Database(f"sqlite:///{where}/events.db", commit_in_thread=False) as db:
            store = EventStore(db)
            await store.open()
            measured = await work(store, where)
            measured.details["fsync"] = durability(db._engine._writer.connection)  # type: ignore[attr-defined]
            measured.details["sync_us"] = sync_us(where)
            return measured


def ours(quick: bool, *, events: int, callers: int = 1) -> Measured:
    from archstone import world

    ticker = our_ticker()

    async def work(store: "EventStore", where: Path) -> Measured:
        saved = 0
        delays_ms: list[float] = []
        until_s = time.perf_counter() + seconds(quick)

        async def call() -> None:
            nonlocal saved
            while time.perf_counter() < until_s:
                begin_s = time.perf_counter()
                one: Any = ticker(world.new_id())
                one.tick(events)
                await store.save(one)
                delays_ms.append((time.perf_counter() - begin_s) * 1e3)
                saved += events

        begin_s = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(callers)))
        took_s = time.perf_counter() - begin_s
        delays_ms.sort()
        return Measured(saved / took_s, {"events": saved, "p50_ms": round(delays_ms[len(delays_ms) // 2], 3)})

    return asyncio.run(with_store(work))


@bench.contender("archstone", "pydantic")
def archstone_1(quick: bool) -> Measured:
    return ours(quick, events=1)


@bench.contender("archstone")
def archstone_100(quick: bool) -> Measured:
    return ours(quick, events=100)


@bench.contender("archstone")
def archstone_1000(quick: bool) -> Measured:
    return ours(quick, events=1_000)


@bench.contender("archstone")
def archstone_callers(quick: bool) -> Measured:
    return ours(quick, events=1, callers=CALLERS)


@bench.contender("archstone")
def archstone_rebuild(quick: bool) -> Measured:
    ticker = our_ticker()

    async def work(store: "EventStore", where: Path) -> Measured:
        one: Any = ticker("a")
        one.tick(REBUILT)
        await store.save(one)
        took: list[float] = []
        until_s = time.perf_counter() + seconds(quick)
        while time.perf_counter() < until_s:
            begin_s = time.perf_counter()
            again = await store.load(ticker, "a")
            took.append((time.perf_counter() - begin_s) * 1e3)
            assert again.version == REBUILT
        return Measured(sorted(took)[len(took) // 2], {"loads": len(took)})

    return asyncio.run(with_store(work))


# The library


class Theirs:
    """An application of `eventsourcing` on a SQLite file, as its documentation sets it up."""

    def __init__(self, where: Path) -> None:
        from eventsourcing.application import Application
        from eventsourcing.domain import Aggregate, event

        class Ticker(Aggregate):
            def __init__(self) -> None:
                self.total = 0

            @event("Ticked")
            def ticked(self, number: int, text: str) -> None:
                self.total += number

        self.ticker = Ticker
        self.application: Any = Application(
            env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(where / "events.db")}
        )

    def ticked(self, times: int) -> Any:
        one = self.ticker()
        for number in range(times):
            one.ticked(number=number, text="a text of some length")
        return one

    def fsync(self) -> str:
        with self.application.recorder.datastore.get_connection(commit=False) as connection:
            return durability(connection.cursor())


def theirs(quick: bool, *, events: int) -> Measured:
    with folder() as where:
        library = Theirs(where)
        spent_s, saved, delays_ms = 0.0, 0, []
        until_s = time.perf_counter() + seconds(quick)
        while time.perf_counter() < until_s:
            begin_s = time.perf_counter()
            one = library.ticked(events - 1)  # its creation is an event too
            library.application.save(one)
            took_s = time.perf_counter() - begin_s
            spent_s += took_s
            delays_ms.append(took_s * 1e3)
            saved += events
        delays_ms.sort()
        details: dict[str, object] = {"events": saved, "p50_ms": round(delays_ms[len(delays_ms) // 2], 3)}
        return Measured(saved / spent_s, details | {"fsync": library.fsync(), "sync_us": sync_us(where)})


@bench.contender("eventsourcing")
def eventsourcing_1(quick: bool) -> Measured:
    return theirs(quick, events=1)


@bench.contender("eventsourcing")
def eventsourcing_100(quick: bool) -> Measured:
    return theirs(quick, events=100)


@bench.contender("eventsourcing")
def eventsourcing_1000(quick: bool) -> Measured:
    return theirs(quick, events=1_000)


@bench.contender("eventsourcing")
def eventsourcing_rebuild(quick: bool) -> Measured:
    with folder() as where:
        library = Theirs(where)
        one = library.ticked(REBUILT - 1)
        library.application.save(one)
        took: list[float] = []
        until_s = time.perf_counter() + seconds(quick)
        while time.perf_counter() < until_s:
            begin_s = time.perf_counter()
            again = library.application.repository.get(one.id)
            took.append((time.perf_counter() - begin_s) * 1e3)
            assert again.version == REBUILT
        return Measured(sorted(took)[len(took) // 2], {"loads": len(took), "fsync": library.fsync()})


# The ceiling


def raw(quick: bool, *, events: int) -> Measured:
    """Measure sqlite3 alone: rows that are ready, in a transaction each."""
    with folder() as where:
        connection = sqlite3.connect(where / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL,"
            " name TEXT NOT NULL, payload BLOB NOT NULL, UNIQUE (stream, version))"
        )
        insert = "INSERT INTO events (stream, version, name, payload) VALUES (?, ?, ?, ?)"
        spent_s, saved, stream = 0.0, 0, 0
        payload = b'{"ticker_id":"01234567890123456789012345678901","number":100,"text":"a text of some length"}'
        until_s = time.perf_counter() + seconds(quick)
        while time.perf_counter() < until_s:
            stream += 1
            rows = [(f"ticker/{stream:032}", version, "bench.ticked", payload) for version in range(events)]
            begin_s = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows)
            connection.execute("COMMIT")
            spent_s += time.perf_counter() - begin_s
            saved += events
        measured = Measured(
            saved / spent_s, {"events": saved, "fsync": durability(connection), "sync_us": sync_us(where)}
        )
        connection.close()
        return measured


@bench.contender()
def raw_1(quick: bool) -> Measured:
    return raw(quick, events=1)


@bench.contender()
def raw_100(quick: bool) -> Measured:
    return raw(quick, events=100)


@bench.contender()
def raw_1000(quick: bool) -> Measured:
    return raw(quick, events=1_000)


for size, goal in ((1, 1.3), (100, 2.0), (1_000, 3.0)):
    bench.row(
        Row(f"append, {size:,} per save", "events/s", goal=goal, bigger_is_better=True),
        ours=f"archstone_{size}",
        peers=[f"eventsourcing_{size}"],
        beside=[f"raw_{size}"],
    )
# The library has no form for callers that share a commit; its best with one event per save is one caller.
bench.row(
    Row(f"append, 1 per save, {CALLERS} callers", "events/s", goal=1.3, bigger_is_better=True),
    ours="archstone_callers",
    peers=["eventsourcing_1"],
    beside=["raw_1"],
)
bench.row(
    Row(f"rebuild of {REBUILT:,} events", "ms", goal=10.0),
    ours="archstone_rebuild",
    peers=["eventsourcing_rebuild"],
)

if __name__ == "__main__":
    bench.main()
