"""An embedded queue, fsynced: jobs per second from enqueueing to done, beside what a user would pick instead.

Every contender syncs each commit (`synchronous=FULL`) and runs producers and one consumer in one process, as an
embedded queue does: tasks for Archstone, threads for the others. A job is a message of about 200 bytes; it is done when
the queue has durably forgotten it. At most 1,000 jobs wait, so that a slow consumer slows its producers.
"""

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Bench, Measured, Row, room

if TYPE_CHECKING:
    from archstone.data import Envelope

bench = Bench(
    "queue",
    shows="durable jobs per second, enqueue to done, at 1, 20 and 100 producers, producers and consumer in one process",
    hides="work in the jobs, a disk whose sync takes long, several processes (one process owns the file), large bodies",
)

PAYLOAD = b'{"order_id":"' + b"7" * 180 + b'"}'
SECONDS, QUICK_SECONDS = 3.0, 0.8


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the disk of the working directory: /tmp may be memory."""
    with tempfile.TemporaryDirectory(dir=room()) as name:
        yield Path(name)


def sync_us(where: Path) -> float:
    """Return what one fdatasync costs here, microseconds."""
    with (where / "sync").open("wb", buffering=0) as file:
        begin = time.perf_counter()
        for _ in range(200):
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - begin) / 200 * 1e6


def seconds(quick: bool) -> float:
    return QUICK_SECONDS if quick else SECONDS


class Ours:
    """A Bus on SQLite with its producers and its consumer."""

    def __init__(self, where: Path, *, producers: int) -> None:
        from archstone.messaging import Bus

        self.bus = Bus(f"sqlite:///{where}/bus.db")
        self.subscription = self.bus.subscribe("jobs", "workers", self.handle, concurrency=256)
        self.producers = producers
        self.sent = 0
        self.delays_ms: list[float] = []

    async def handle(self, message: "Envelope") -> None:
        self.delays_ms.append(time.time_ns() / 1e6 - message.at / 1e3)

    async def produce(self, number: int, until_s: float) -> None:
        from archstone import world
        from archstone.data import Envelope

        key, send = f"p{number}", self.bus.send
        while time.perf_counter() < until_s:
            await send(Envelope(world.new_id(), "jobs", "jobs.run", 1, key, PAYLOAD, b"{}", world.now_us()))
            self.sent += 1

    async def run(self, last_s: float) -> float:
        """Return jobs per second, from the first send to the last job durably forgotten."""
        async with self.bus:
            await self.bus.start()
            begin_s = time.perf_counter()
            await asyncio.gather(*(self.produce(number, begin_s + last_s) for number in range(self.producers)))
            while self.subscription.handled < self.sent:
                await asyncio.sleep(0)
            return self.sent / (time.perf_counter() - begin_s)


async def hog(busy_us: float) -> None:
    """Hold the loop up for `busy_us` in every turn, as somebody else's work would."""
    while True:
        until_s = time.perf_counter() + busy_us / 1e6
        while time.perf_counter() < until_s:
            pass
        await asyncio.sleep(0)


def archstone(quick: bool, *, producers: int, busy_us: float = 0.0) -> Measured:
    async def main(ours: Ours) -> float:
        hogging = asyncio.create_task(hog(busy_us)) if busy_us else None
        try:
            return await ours.run(seconds(quick))
        finally:
            if hogging is not None:
                hogging.cancel()

    with folder() as where:
        ours = Ours(where, producers=producers)
        rate = asyncio.run(main(ours))
        return Measured(rate, _details(where, sorted(ours.delays_ms), ours.sent))


def _details(where: Path, delays_ms: list[float], jobs: int) -> dict[str, object]:
    return {
        "jobs": jobs,
        "p50_ms": round(delays_ms[len(delays_ms) // 2], 2),
        "p99_ms": round(delays_ms[len(delays_ms) * 99 // 100], 2),
        "fsync": "WAL, synchronous=FULL",
        "sync_us": round(sync_us(where)),
    }


def threads(
    quick: bool, where: Path, *, producers: int, put: Callable[[], object], take: Callable[[], bool]
) -> Measured:
    """Measure a blocking queue: `producers` threads put, this thread takes and finishes; `take` is False if empty."""
    until_s = time.perf_counter() + seconds(quick)
    counts = [0] * producers
    room = threading.Semaphore(1_000)

    def produce(number: int) -> None:
        while time.perf_counter() < until_s:
            room.acquire()
            put()
            counts[number] += 1

    workers = [threading.Thread(target=produce, args=(number,), daemon=True) for number in range(producers)]
    begin_s = time.perf_counter()
    for worker in workers:
        worker.start()
    done = 0
    while any(worker.is_alive() for worker in workers) or done < sum(counts):
        if take():
            done += 1
            room.release()
    took_s = time.perf_counter() - begin_s
    return Measured(done / took_s, {"jobs": done, "fsync": "WAL, synchronous=FULL", "sync_us": round(sync_us(where))})


def huey(quick: bool, *, producers: int) -> Measured:
    """Measure huey: `fsync=True` is its durable mode. It deletes a job when it hands it out: at most once."""
    from huey import SqliteHuey

    with folder() as where:
        queue = SqliteHuey("bench", filename=str(where / "huey.db"), fsync=True, timeout=60, results=False)
        ran = [0]

        @queue.task()
        def job(body: bytes) -> None:
            ran[0] += 1

        def take() -> bool:
            task = queue.dequeue()
            if task is None:
                return False
            queue.execute(task)
            return True

        return threads(quick, where, producers=producers, put=lambda: job(PAYLOAD), take=take)


def persist_queue(quick: bool, *, producers: int) -> Measured:
    """Measure persist-queue: an acknowledged queue, each job committed when put, taken and acknowledged."""
    from persistqueue import Empty, SQLiteAckQueue

    with folder() as where:
        # WAL with SQLite's default, synchronous=FULL: as durable as ours.
        queue = SQLiteAckQueue(str(where), auto_commit=True, multithreading=True, timeout=60)

        def take() -> bool:
            try:
                job = queue.get(block=False, raw=True)
            except Empty:
                return False
            queue.ack(id=job["pqid"])
            return True

        return threads(quick, where, producers=producers, put=lambda: queue.put(PAYLOAD), take=take)


@bench.contender("archstone")
def archstone_1(quick: bool) -> Measured:
    return archstone(quick, producers=1)


@bench.contender("archstone")
def archstone_20(quick: bool) -> Measured:
    return archstone(quick, producers=20)


@bench.contender("archstone")
def archstone_100(quick: bool) -> Measured:
    return archstone(quick, producers=100)


@bench.contender("archstone")
def archstone_100_saturated(quick: bool) -> Measured:
    return archstone(quick, producers=100, busy_us=2_000)


@bench.contender("huey")
def huey_1(quick: bool) -> Measured:
    return huey(quick, producers=1)


@bench.contender("huey")
def huey_20(quick: bool) -> Measured:
    return huey(quick, producers=20)


@bench.contender("huey")
def huey_100(quick: bool) -> Measured:
    return huey(quick, producers=100)


@bench.contender("persist-queue")
def persist_queue_1(quick: bool) -> Measured:
    return persist_queue(quick, producers=1)


@bench.contender("persist-queue")
def persist_queue_20(quick: bool) -> Measured:
    return persist_queue(quick, producers=20)


@bench.contender("persist-queue")
def persist_queue_100(quick: bool) -> Measured:
    return persist_queue(quick, producers=100)


PEERS = ["huey_1", "huey_20", "huey_100", "persist_queue_1", "persist_queue_20", "persist_queue_100"]

bench.row(
    Row("queue embedded, each at its best", "jobs/s", goal=10.0, bigger_is_better=True),
    ours="archstone_100",
    peers=PEERS,
    beside=["archstone_20"],
)
bench.row(
    Row("queue embedded, one producer", "jobs/s", goal=1.0, bigger_is_better=True),
    ours="archstone_1",
    peers=["persist_queue_1"],
    beside=["huey_1"],
)
# Somebody else's work holds the loop for 2 ms in every turn; the peers have the machine for themselves.
bench.row(
    Row("queue embedded, 100 producers, saturated loop", "jobs/s", goal=1.0, bigger_is_better=True),
    ours="archstone_100_saturated",
    peers=PEERS,
)

if __name__ == "__main__":
    bench.main()
