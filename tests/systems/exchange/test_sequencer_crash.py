"""Processes of a sequencer that are killed: at each crash point, and by SIGKILL under load."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from sequencer_child import SETTINGS
from shop_process import free_port
from tally import Tally, orders
from watched_nodes import WatchedNodes

from archstone import disk, world
from archstone.errors import RejectedError
from archstone.systems.exchange.matching import Told
from archstone.systems.exchange.sequencer import (
    DurableSequencer,
    RemoteSequencer,
    TcpNetwork,
    UnavailableError,
    log,
    node,
    quorum,
    replica,
    snapshots,
    witness,
    writer,
)

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}

ALONE = {
    "exchange.before_frame": 20,
    "exchange.after_write": 20,
    "exchange.after_hold": 20,
    "exchange.after_keep": 20,
    "exchange.after_do": 20,
    "exchange.mid_segment": 2,
    "exchange.after_segment": 2,
    disk.AFTER_ASIDE: 2,
    "exchange.after_snapshot": 2,
}
"""Points that one node passes, and at which pass to kill it."""
OF_THE_LEADER = {"exchange.after_send": 30, "exchange.after_claim": 1, "exchange.after_epoch": 1}
OF_THE_STANDBY = {"exchange.after_hold": 30, "exchange.after_claim": 1, "exchange.after_epoch": 1}
OF_THE_WITNESS = {"exchange.before_grant": 2, "exchange.after_grant": 2}
OF_WHO_COMES_BACK = ("exchange.after_cut", "exchange.after_reset")


def killed(folder: Path, what: str, point: str) -> list[int]:
    """Run a child until it dies at a point; return what it had answered."""
    command = [sys.executable, HERE / "sequencer_child.py", folder, what]
    armed = {**ENVIRONMENT, world.CRASH_VARIABLE: point}
    done = subprocess.run(command, env=armed, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.mark.parametrize(
    "point", [pytest.param(name, marks=() if name == "exchange.after_hold" else pytest.mark.slow) for name in ALONE]
)
async def test_killed_at_any_point_it_has_all_that_it_answered_and_comes_to_the_same_state(
    tmp_path: Path, point: str
) -> None:
    answered = killed(tmp_path / "s", "submit", f"{point}:{ALONE[point]}")
    assert answered
    async with DurableSequencer(tmp_path / "s", Tally, settings=SETTINGS) as again:
        assert again.last in {answered[-1] + 99, answered[-1] + 199}
        assert list(again.venue.taken) == [*range(1, again.last + 1)]
        assert (await again.submit(orders(again.last + 1))).events["kind"].tolist() == [Told.ACCEPTED]


@pytest.mark.slow
@pytest.mark.parametrize(("point", "what"), [("exchange.after_cut", "cut"), ("exchange.after_reset", "reset")])
async def test_killed_while_it_gives_up_what_it_has_a_standby_opens_again(
    tmp_path: Path, point: str, what: str
) -> None:
    async with DurableSequencer(tmp_path / "s", Tally, settings=SETTINGS) as before:
        for first in range(1, 40, 3):
            await before.submit(orders(first, 3))
    assert killed(tmp_path / "s", what, point) == []
    async with DurableSequencer(tmp_path / "s", Tally, settings=SETTINGS) as again:
        assert list(again.venue.taken) == [*range(1, 37)]


def test_every_crash_point_of_the_sequencer_is_killed_at_here() -> None:
    modules = (disk, log, node, quorum, replica, snapshots, witness, writer)
    values = [value for module in modules for value in vars(module).values() if isinstance(value, str)]
    groups = (ALONE, OF_THE_LEADER, OF_THE_STANDBY, OF_THE_WITNESS, OF_WHO_COMES_BACK)
    assert {value for value in values if value in world.crash_points()} == {name for group in groups for name in group}


class Processes(WatchedNodes):
    """A witness and two nodes, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in "wab"}
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.answered: dict[int, int] = {}
        self.next_order = 1

    async def start(self, name: str, *, crash: str | None = None) -> None:
        environment = ENVIRONMENT if crash is None else {**ENVIRONMENT, world.CRASH_VARIABLE: crash}
        role = {"w": "witness", "a": "leader", "b": "standby"}[name]
        options = ["--role", role, "--data", self.folder / name, "--listen", self.addresses[name]]
        if name != "w":
            peer = self.addresses["b" if name == "a" else "a"]
            options += ["--name", name, "--peer", peer, "--witness", self.addresses["w"], "--venue", "tally:Tally"]
        with (self.folder / f"{name}.log").open("ab") as told:
            self.running[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "archstone.systems.exchange.node", *options),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=told,
            )
        await self.running[name].stdout.readline()  # type: ignore[union-attr]

    async def kill(self, name: str) -> None:
        self.running[name].kill()
        await self.died(name)

    async def died(self, name: str) -> int:
        async with asyncio.timeout(30):
            code = await self.running[name].wait()
        del self.running[name]
        return code

    async def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for name in list(self.running):
            await self.died(name)

    async def busy(self, remote: RemoteSequencer) -> None:
        """Submit orders without end; what is not known to be kept is sent again."""
        while True:
            first, self.next_order = self.next_order, self.next_order + 5
            commands = orders(first, 5)
            batch = None
            while batch is None:
                try:
                    batch = await remote.submit(commands)
                except (UnavailableError, RejectedError):
                    await asyncio.sleep(0.01)
            if batch.events["kind"].tolist() == [Told.ACCEPTED] * 5:
                self.answered[first] = batch.first
            else:
                assert batch.events["kind"].tolist() == [Told.REJECTED] * 5
            await asyncio.sleep(0.005)  # not so many that a start takes long

    async def more_than(self, had: int) -> None:
        """Wait until more is answered than that."""
        async with asyncio.timeout(20):
            while len(self.answered) <= had:
                await asyncio.sleep(0.01)

    async def check(self) -> None:
        """Check what both nodes have on disk against what was answered."""
        states = []
        for name in "ab":
            async with DurableSequencer(self.folder / name, Tally) as kept:
                states.append((kept.last, kept.venue.digest()))
                places, times = {}, Counter[int]()
                async for batch in kept.follow(0):
                    places.update(zip(batch.commands["id"].tolist(), batch.commands["sequence"].tolist(), strict=True))
                    taken = batch.events["id"][batch.events["kind"] == Told.ACCEPTED]
                    times.update(np.unique(taken).tolist())
                    if batch.last == kept.last:
                        break
                assert set(times.values()) == {1}
                for order, sequence in self.answered.items():
                    # An order that was sent again has a second, refused, place further on.
                    assert places[order] >= sequence
                    assert times[order] == 1
        assert states[0] == states[1]


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    await processes.stop()


@asynccontextmanager
async def at_work(processes: Processes) -> AsyncIterator[None]:
    """Have some clients at work meanwhile."""
    async with RemoteSequencer(TcpNetwork(), (processes.addresses["a"], processes.addresses["b"])) as remote:
        clients = [asyncio.create_task(processes.busy(remote)) for _ in range(4)]
        try:
            yield
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.longest)])
async def test_the_leader_is_killed_under_load_again_and_again_and_nothing_answered_is_lost_or_done_twice(
    processes: Processes, rounds: int
) -> None:
    for name in "wab":
        await processes.start(name)
    took: list[float] = []
    async with at_work(processes):
        for _ in range(rounds):
            leader = await processes.leader()
            had = len(processes.answered)
            begin_s = world.monotonic()
            await processes.kill(leader)
            await processes.more_than(had)
            took.append(world.monotonic() - begin_s)
            await processes.start(leader)
    await processes.equal()
    await processes.stop()
    await processes.check()
    middle = sorted(took)[rounds // 2]
    print(f"{len(processes.answered)} answered; take-overs took {middle:.2f} s, at most {max(took):.2f} s")
    assert len(processes.answered) > rounds


@pytest.mark.slow
@pytest.mark.real_time
@pytest.mark.parametrize(
    ("name", "point"),
    [
        *(("a", f"{point}:{passes}") for point, passes in OF_THE_LEADER.items()),
        *(("b", f"{point}:{passes}") for point, passes in OF_THE_STANDBY.items()),
        *(("w", f"{point}:{passes}") for point, passes in OF_THE_WITNESS.items()),
    ],
)
async def test_one_of_the_three_is_killed_at_any_point_and_the_rest_goes_on(
    processes: Processes, name: str, point: str
) -> None:
    for each in "wab":
        await processes.start(each, crash=point if each == name else None)
    async with at_work(processes):
        if name == "b" and "hold" not in point:  # it must come to lead
            await processes.leader()
            await processes.kill("a")
        assert await processes.died(name) == -signal.SIGKILL
        for each in "wab":
            if each not in processes.running:
                await processes.start(each)
        await processes.more_than(len(processes.answered))
    await processes.equal()
    await processes.stop()
    await processes.check()
