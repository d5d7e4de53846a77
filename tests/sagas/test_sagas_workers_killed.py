"""Four worker processes on one PostgreSQL, killed and stopped at random, and the database restarted under them."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from postgres import PostgresServer, postgres_server
from saga_worker_child import EFFECTS, SETTINGS, Bank, Closed

from archstone.data import Database, Transaction
from archstone.sagas import Sagas, SagaSettings

pytestmark = [pytest.mark.slow, pytest.mark.real_time]

CHILD = Path(__file__).with_name("saga_worker_child.py")
SITTER = Path(__file__).with_name("saga_sitter_child.py")
WORKERS = 4
SAGAS = 5_000
ROUNDS = 20


class Workers:
    """Processes that are started again when they were killed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.processes = [self._started() for _ in range(WORKERS)]
        self.kills = self.stops = 0

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(CHILD), self._url], stdout=subprocess.DEVNULL)

    def supervise(self) -> None:
        """Start those again that ended by themselves: the server was down when they began."""
        for place, process in enumerate(self.processes):
            if process.poll() is not None:
                self.processes[place] = self._started()

    def kill(self, place: int) -> None:
        """End one at once, and start another in its place."""
        self.processes[place].send_signal(signal.SIGKILL)
        self.processes[place].wait(30)
        self.processes[place] = self._started()
        self.kills += 1

    async def pause(self, place: int, seconds: float) -> None:
        """Stop one for longer than a lease, and let it go on."""
        process = self.processes[place]
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        self.stops += 1

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait(30)


@contextlib.contextmanager
def workers_of(url: str) -> Iterator[Workers]:
    workers = Workers(url)
    try:
        yield workers
    finally:
        workers.end()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server({"fsync": "off", "max_connections": "200", "shared_buffers": "64MB"}) as server:
        yield server


async def prepared(db: Database, sagas: Sagas, bank: Bank, count: int) -> None:
    await sagas.prepare()
    await db.execute(EFFECTS)
    for first in range(0, count, 500):

        async def work(tx: Transaction, first: int = first) -> None:
            for n in range(first, min(first + 500, count)):
                await sagas.start(tx, bank.transfer, n, id=f"t{n}")

        await db.run(work)


async def left(db: Database) -> int:
    while True:
        with contextlib.suppress(Exception):  # the server may be down at this moment
            return await db.one(int, "SELECT count(*) FROM _archstone_sagas WHERE finished_us IS NULL")
        await asyncio.sleep(0.2)


@pytest.mark.longest
async def test_five_thousand_sagas_while_everything_dies(server: PostgresServer) -> None:
    url = server.new_database()
    chance = random.Random(4)
    async with asyncio.timeout(400), Database(url) as db:
        bank = Bank(db)
        sagas = Sagas(db, owner=bank, settings=SETTINGS)
        await prepared(db, sagas, bank, SAGAS)
        with workers_of(url) as workers:
            restarts = rounds = 0
            while (open_ := await left(db)) > 0:
                await asyncio.sleep(1.0)
                rounds += 1
                workers.supervise()
                print(f"round {rounds}: {open_} sagas have not ended")
                if rounds > ROUNDS:
                    continue  # let them end
                match rounds % 4:
                    case 1:
                        workers.kill(chance.randrange(WORKERS))
                    case 2:
                        await workers.pause(chance.randrange(WORKERS), SETTINGS.lease_s * 2.5)
                    case 3 if restarts < 3:
                        await asyncio.to_thread(server.restart, chance.choice([signal.SIGQUIT, signal.SIGINT]))
                        restarts += 1
                    case _:
                        pass
            assert workers.kills >= 1
            assert workers.stops >= 1
            assert restarts >= 1
        await proved(db, sagas)


async def proved(db: Database, sagas: Sagas) -> None:
    """Every saga has come to its end, and what it did took effect once: no money is lost, none is made."""
    states = dict(await db.all(tuple[str, int], "SELECT status, count(*) FROM _archstone_sagas GROUP BY status"))
    assert states == {"done": SAGAS * 9 // 10, "failed": SAGAS // 10}
    sums = dict(await db.all(tuple[str, int], "SELECT account, sum(amount) FROM effects GROUP BY account"))
    assert sums == {"from": -SAGAS * 9 // 10, "fees": 0, "to": SAGAS * 9 // 10}
    effects = await db.one(int, "SELECT count(*) FROM effects")
    assert effects == SAGAS * 9 // 10 * 3 + SAGAS // 10 * 4
    # A journal has no answer twice, and none of a step that another worker ended.
    twice = "SELECT count(*) - count(DISTINCT (saga, position)) FROM _archstone_saga_journal"
    assert await db.one(int, twice) == 0
    with pytest.raises(Closed):
        await sagas.result("t0")


class Sitters:
    """Processes that have one saga between them: the first waits in its step, the others would go through."""

    def __init__(self, db: Database, url: str, *, lease_s: float) -> None:
        self._db = db
        self._command = [sys.executable, str(SITTER), url]
        self._lease_s = str(lease_s)
        self._all: list[subprocess.Popen[bytes]] = []

    def begin(self, how: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [*self._command, how, self._lease_s]
        self._all.append(subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE))
        return self._all[-1]

    async def sitting(self) -> subprocess.Popen[bytes]:
        """Return a process that is in its step."""
        first = self.begin("wait")
        while not await self._db.one(int, "SELECT count(*) FROM marks"):
            await asyncio.sleep(0.02)
        return first

    async def ready(self) -> subprocess.Popen[bytes]:
        """Return another process, once it works."""
        other = self.begin("go")
        assert other.stdout is not None
        assert await asyncio.to_thread(other.stdout.readline) == b"ready\n"
        return other

    def end(self) -> None:
        for process in self._all:
            process.kill()
            process.communicate(timeout=30)


@contextlib.asynccontextmanager
async def sitters(url: str, *, lease_s: float) -> AsyncIterator[tuple[Database, Sitters]]:
    async with asyncio.timeout(120), Database(url) as db:
        await Sagas(db).prepare()
        await db.execute("CREATE TABLE marks (saga TEXT NOT NULL)")
        found = Sitters(db, url, lease_s=lease_s)
        try:
            yield db, found
        finally:
            found.end()


async def test_a_killed_workers_saga_has_ended_elsewhere_in_less_than_ten_seconds(server: PostgresServer) -> None:
    async with sitters(server.new_database(), lease_s=SagaSettings().lease_s) as (db, processes):
        first = await processes.sitting()
        await processes.ready()
        first.kill()
        killed_s = time.monotonic()
        while await left(db):
            await asyncio.sleep(0.02)
        took_s = time.monotonic() - killed_s
    print(f"taken over and ended {took_s:.1f} s after the kill")
    assert took_s < 10


@pytest.mark.parametrize("point", ["sagas.after_burial", "sagas.after_claim"])
async def test_who_dies_over_taking_over_is_taken_over_from(server: PostgresServer, point: str) -> None:
    async with sitters(server.new_database(), lease_s=0.5) as (db, processes):
        first = await processes.sitting()
        first.kill()
        second = processes.begin("go", ARCHSTONE_CRASH=f"{point}:1")
        assert await asyncio.to_thread(second.wait, 60) == -signal.SIGKILL
        assert await left(db) == 1
        await processes.ready()
        while await left(db):
            await asyncio.sleep(0.02)
        assert await db.one(int, "SELECT count(*) FROM marks") == 2
