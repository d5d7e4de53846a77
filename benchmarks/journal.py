"""The command log of the exchange: commands kept per second, and how long one waits for the disk, alone and in two.

`commands kept` are frames of 16,384 commands, each written and synced before the next, nothing done with them. `submit`
is an open loop: one order every 100 us, each waited for until it is on disk and done by a venue that does nothing; how
late the loop itself was counts, since an order is timed from when it was due. `in two` has a standby and a witness in
processes of their own on the same machine, over loopback TCP, so both nodes sync on one disk. `raw` is write and
fdatasync alone.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Bench, Measured, Row, room

if TYPE_CHECKING:
    from archstone.systems.exchange.sequencer import Sequencer

bench = Bench(
    "journal",
    shows="the exchange's command log: commands kept per second, and the wait of one at 10,000 a second",
    hides="matching and risk, machines apart, a disk of a node's own, recovery",
)

FRAME = 16_384
PER_SECOND = 10_000
SECONDS, QUICK_SECONDS = 4.0, 0.7
VENUE = "benchmarks.journal:Nothing"


class Nothing:
    """A venue that does nothing."""

    def apply(self, commands, at_ns):
        from archstone.systems.exchange.matching import EVENT

        return np_zeros(len(commands), EVENT)

    def depth(self, book, side, levels):
        return []

    def standing(self, account):
        raise KeyError(account)

    def digest(self):
        return 0

    def dump(self):
        return b""

    @classmethod
    def load(cls, dump, /):
        return cls()

    def __len__(self):
        return 0


def np_zeros(count, dtype):
    import numpy as np

    return np.zeros(count, dtype)


def orders(count: int):
    from archstone.systems.exchange.matching import Command, Kind, Side, rows_of

    return rows_of(Command(Kind.NEW, n + 1, 7, Side.BUY, price=100, quantity=5) for n in range(count))


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the disk of the checkout: /tmp may be memory."""
    with tempfile.TemporaryDirectory(dir=room()) as name:
        yield Path(name)


@bench.contender()
def log(quick: bool) -> Measured:
    from archstone.systems.exchange.sequencer.frames import Frame
    from archstone.systems.exchange.sequencer.log import CommandLog

    commands, kept = orders(FRAME), 0
    with folder() as where:
        keeping = CommandLog(where)
        keeping.open()
        keeping.append(Frame.after(keeping.end, commands[:0], at_ns=1, epoch=1))
        begin = time.perf_counter()
        while (took := time.perf_counter() - begin) < (QUICK_SECONDS if quick else SECONDS):
            keeping.append(Frame.after(keeping.end, commands, at_ns=time.time_ns()))
            keeping.sync()
            keeping.drop(keeping.end.sequence, keep=4)
            kept += FRAME
        keeping.close()
    return Measured(kept / took, {"frame": FRAME, "fsync": "each frame"})


@bench.contender()
def raw(quick: bool) -> Measured:
    data, kept = bytes(64 * FRAME), 0
    with folder() as where, (where / "raw").open("wb", buffering=0) as file:
        begin = time.perf_counter()
        while (took := time.perf_counter() - begin) < (QUICK_SECONDS if quick else SECONDS):
            file.write(data)
            os.fdatasync(file.fileno())
            kept += FRAME
            if kept % (64 * FRAME) == 0:
                file.truncate(0)
                file.seek(0)
    return Measured(kept / took, {"frame": FRAME, "fsync": "each write"})


async def waits_us(sequencer: "Sequencer", seconds: float) -> list[float]:
    """Submit an order every 100 us and return how long each took from when it was due, microseconds."""
    from archstone.errors import ArchstoneError

    command, waits = orders(1), []
    clock = time.perf_counter
    begin = clock()
    due = [begin + n / PER_SECOND for n in range(int(seconds * PER_SECOND))]
    flying: set[asyncio.Task] = set()

    async def one(due_s: float) -> None:
        with suppress(ArchstoneError):  # refused: more comes than this machine takes
            await sequencer.submit(command)
            waits.append((clock() - due_s) * 1e6)

    at = 0
    while at < len(due):
        now = clock()
        while at < len(due) and due[at] <= now:
            task = asyncio.create_task(one(due[at]))
            flying.add(task)
            task.add_done_callback(flying.discard)
            at += 1
        await asyncio.sleep(0)
    await asyncio.gather(*flying)
    return waits


async def measured(sequencer: "Sequencer", quick: bool) -> Measured:
    await waits_us(sequencer, 0.2)
    waits = sorted(await waits_us(sequencer, QUICK_SECONDS if quick else SECONDS))
    p50, p99, p999 = (waits[int(len(waits) * ratio)] for ratio in (0.5, 0.99, 0.999))
    refused = int((QUICK_SECONDS if quick else SECONDS) * PER_SECOND) - len(waits)
    return Measured(p50, {"p99_us": round(p99), "p999_us": round(p999), "orders": len(waits), "refused": refused})


@bench.contender()
def alone(quick: bool) -> Measured:
    from archstone.systems.exchange.sequencer import DurableSequencer

    async def run(where: Path) -> Measured:
        async with DurableSequencer(where, Nothing) as sequencer:
            return await measured(sequencer, quick)

    with folder() as where:
        return asyncio.run(run(where))


@bench.contender()
def before_fsync(quick: bool) -> Measured:
    from archstone.systems.exchange.sequencer import DurableSequencer, SequencerSettings

    async def run(where: Path) -> Measured:
        settings = SequencerSettings(acknowledge_before_fsync=True)
        async with DurableSequencer(where, Nothing, settings=settings) as sequencer:
            return await measured(sequencer, quick)

    with folder() as where:
        return asyncio.run(run(where))


@contextmanager
def process(role: str, where: Path, listen: str, *more: str) -> Iterator[None]:
    command = [sys.executable, "-m", "archstone.systems.exchange.node", "--role", role, "--data", where / role]
    command += ["--listen", listen, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as it:
        it.stdout.readline()
        try:
            yield
        finally:
            it.terminate()


@asynccontextmanager
async def paired(where: Path) -> AsyncIterator["Sequencer"]:
    from archstone.systems.exchange.sequencer import Node, Place, TcpNetwork

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    witness, mine, other = (f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    options = ("--name", "b", "--peer", mine, "--witness", witness, "--venue", VENUE)
    place = Place(name="a", listen=mine, peer=other, witness=witness)
    with process("witness", where, witness):
        async with Node(place, where / "a", Nothing, network=TcpNetwork(), eager=True) as node:
            with process("standby", where, other, *options):
                while node.leading is None or not node.leading.standby:
                    await asyncio.sleep(0.01)
                yield node


@bench.contender()
def in_two(quick: bool) -> Measured:
    async def run(where: Path) -> Measured:
        async with paired(where) as node:
            return await measured(node, quick)

    with folder() as where:
        return asyncio.run(run(where))


bench.row(
    Row("commands kept, a frame at a time", "commands/s", goal=5e6, bigger_is_better=True), ours="log", beside=["raw"]
)
for percentile, of in (("p50", None), ("p99", "p99_us")):
    bench.row(Row(f"submit at 10,000/s, {percentile}", "us", goal=None, of=of), ours="alone", beside=["before_fsync"])
    bench.row(Row(f"submit at 10,000/s in two, {percentile}", "us", goal=None, of=of), ours="in_two")

if __name__ == "__main__":
    bench.main()
