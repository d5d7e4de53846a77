"""Connections cut at random, servers that stop, an exchange that does not know: nothing is lost, nothing done twice."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pipes import Pipes
from random import Random

import pytest
from plain import PlainVenue, opened
from test_entry_binary import ACCOUNTS, identify

from archstone.errors import RejectedError
from archstone.systems.exchange.entry import Position, Report, Reports, reports_of
from archstone.systems.exchange.entry.binary import BinaryServer, EntryClient, EntryRefusedError
from archstone.systems.exchange.matching import Command, Commands, Kind, Side
from archstone.systems.exchange.sequencer import Batch, MemorySequencer


class Unsure(MemorySequencer):
    """Is late, refuses now and then, and sometimes does what it was asked for and then says that it does not know."""

    def __init__(self, random: Random) -> None:
        super().__init__(PlainVenue())
        self.random, self.calm = random, False

    async def submit(self, commands: Commands) -> Batch:
        if self.calm:
            return await super().submit(commands)
        await asyncio.sleep(self.random.expovariate(60))
        if self.random.random() < 0.05:
            raise RejectedError("full")
        unsure = self.random.random()
        if unsure < 0.03:
            raise ConnectionResetError("the leader is gone before it was kept")
        batch = await super().submit(commands)
        if unsure < 0.06:
            raise ConnectionResetError("the leader is gone after it was kept")
        await asyncio.sleep(self.random.expovariate(60))
        return batch

    async def follow(self, after: int) -> AsyncGenerator[Batch]:
        async with aclosing(super().follow(after)) as batches:
            async for batch in batches:
                if not self.calm:
                    await asyncio.sleep(self.random.expovariate(60))
                yield batch


class Program:
    """What one account asks for. Each replacement has a price of its own, so that each can be told in the stream."""

    def __init__(self, client: EntryClient, random: Random) -> None:
        self.client, self.random = client, random
        self.done: Counter[tuple[int, int, int]] = Counter()
        self.refused: Counter[tuple[int, int, int]] = Counter()
        self.price = 1_000 + client.account

    async def ask(self, command: Command) -> bool:
        name = (command.kind, command.id, command.price)
        try:
            await self.client.submit(command, book=1)
        except EntryRefusedError:
            self.refused[name] += 1
            return False
        self.done[name] += 1
        return True

    async def trade(self, count: int) -> None:
        for _ in range(count):
            number = self.client.next_number()
            side = self.random.choice([*Side])
            price = 1_000 + self.random.randint(-3, 3)
            if not await self.ask(
                Command(Kind.NEW, number, side=side, price=price, quantity=self.random.randint(1, 9))
            ):
                continue
            for _ in range(self.random.randint(0, 2)):
                self.price += 10
                far = self.price if side == Side.SELL else self.price % 997 + 1
                await self.ask(Command(Kind.REPLACE, number, price=far, quantity=self.random.randint(1, 9)))
            if self.random.random() < 0.5:
                await self.ask(Command(Kind.CANCEL, number))


@pytest.mark.parametrize("seed", range(4))
async def test_each_request_is_done_once_or_refused(seed: int) -> None:
    random = Random(f"cuts {seed}")
    sequencer = Unsure(random)
    await MemorySequencer.submit(sequencer, opened(1))
    reports = Reports(sequencer)
    await reports.__aenter__()
    server = BinaryServer(sequencer, reports, identify, host=None)
    pipes = Pipes(server.connection, seed=seed)
    over = asyncio.Event()

    async def disturb() -> None:
        nonlocal server, reports
        while not over.is_set():
            await asyncio.sleep(random.expovariate(15))
            match random.choice(("cut", "cut", "cut", "down", "restart")):
                case "cut":
                    pipes.cut()
                case "down":
                    pipes.down = True
                    pipes.cut()
                    await asyncio.sleep(0.3)
                    pipes.down = False
                case _:  # another process: nothing of the old one is left but the stream
                    pipes.down = True
                    await server.__aexit__(None, None, None)
                    await reports.__aexit__(None, None, None)
                    reports = Reports(sequencer)
                    await reports.__aenter__()
                    server = BinaryServer(sequencer, reports, identify, host=None)
                    pipes.server, pipes.down = server.connection, False

    seen: dict[str, list[Report]] = {name: [] for name in ACCOUNTS}
    clients = {
        name: EntryClient(name, pipes.connect, position=Position(0), heartbeat_s=0.2, on_report=seen[name].append)
        for name in ACCOUNTS
    }
    disturbing = asyncio.create_task(disturb())
    async with contextlib.AsyncExitStack() as stack:
        programs = [Program(await stack.enter_async_context(each), random) for each in clients.values()]
        async with asyncio.TaskGroup() as group:
            for program in programs:
                for _ in range(3):
                    group.create_task(program.trade(8))
        over.set()
        await disturbing
        sequencer.calm = True
        await asyncio.sleep(3)  # reconnected, and all told
    assert sum(client.connections for client in clients.values()) > 10

    for name, program in zip(ACCOUNTS, programs, strict=True):
        asked = Counter(
            (row["kind"], row["id"] & 0xFFFFFFFF, row["price"])
            for batch in sequencer._batches
            for row in batch.commands
            if row["account"] == ACCOUNTS[name]
        )
        assert asked == program.done
        assert not program.done.keys() & program.refused.keys()
        assert max(program.done.values()) == 1
        strip = [each._replace(number=0) for each in seen[name]]
        assert strip == reports_of(reports.after(ACCOUNTS[name], Position(0)))
    await server.__aexit__(None, None, None)
    await reports.__aexit__(None, None, None)
