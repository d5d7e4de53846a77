"""A market that bots make: an hour of it on virtual time looks alive and stays sane."""

import asyncio
import statistics
from pathlib import Path

import numpy as np
import pytest
from bot_markets import MARKET, Made, make_market, open_book

from archstone import simulation, world
from archstone.errors import RejectedError
from archstone.systems.exchange.bots import Bots, Maker, Market, Walk
from archstone.systems.exchange.invariants import Watch, disagreements
from archstone.systems.exchange.matching import Command, Commands, Kind, Side, Told
from archstone.systems.exchange.sequencer import Batch, DurableSequencer, MemorySequencer
from archstone.systems.exchange.venue import ReferenceVenue


def flow(made: Made) -> bytes:
    return b"".join(batch.commands.tobytes() for batch in made.batches)


def trades(made: Made) -> int:
    return sum(int(np.sum(batch.events["kind"] == Told.TRADED)) for batch in made.batches)


class Look:
    """What somebody notes who looks once a second."""

    def __init__(self) -> None:
        self.walk = Walk(MARKET, seed="3")
        self.spreads: list[int] = []
        self.away: list[float] = []
        self.held: list[int] = []
        self.empty = 0

    def __call__(self, made: Made) -> None:
        bid, ask = (made.touch(side) for side in (Side.BUY, Side.SELL))
        if bid is None or ask is None:
            self.empty += 1
            return
        self.spreads.append(ask - bid)
        self.away.append((bid + ask) / 2 - self.walk.at(world.now_us() / 1e6))
        self.held.append(max(abs(each) for each in made.bots.statistics().positions.values()))


@pytest.mark.simulated(limit_s=4_000, limit_turns=10_000_000)
@pytest.mark.parametrize("minutes", [3, pytest.param(60, marks=pytest.mark.slow)])
async def test_an_hour_of_trading_is_alive_and_sane(minutes: int) -> None:
    look = Look()
    made = await make_market(60 * minutes, seed=3, look=look)
    assert look.empty <= 5
    assert statistics.mean(look.spreads) < 0.002 * MARKET.price
    assert max(look.spreads) < 0.01 * MARKET.price
    assert max(map(abs, look.away)) < 0.005 * MARKET.price
    assert max(look.held) <= 800 + 4 * 20
    assert trades(made) > 25 * minutes
    statistic = made.bots.statistics()
    assert statistic.begun == 1
    assert statistic.refused < 0.02 * statistic.commands
    watch = Watch()
    for batch in made.batches:
        watch.note(batch)
    assert watch.faults == []
    assert disagreements(watch, made.venue) == []
    assert len(made.venue) == 0


@pytest.mark.parametrize("seed", [5, 6])
def test_the_same_seed_makes_the_same_flow_and_another_one_another(seed: int) -> None:
    def ran(bots_seed: int, loop_seed: int) -> bytes:
        return flow(simulation.run(make_market(30, seed=bots_seed), seed=loop_seed))

    first = ran(seed, 1)
    assert len(first) > 64 * 100
    assert ran(seed, 1) == first
    assert ran(seed, 2) == first, "the order of callbacks decides nothing"
    assert ran(seed + 10, 1) != first


async def test_on_leaving_nothing_stays_open_and_nobody_goes_on() -> None:
    made = await make_market(20)
    assert len(made.venue) == 0
    sent = made.sequencer._next
    await asyncio.sleep(20)
    assert made.sequencer._next == sent


async def test_after_a_restart_old_orders_go_and_positions_stay() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    venue = sequencer.venue
    await sequencer.submit(open_book())
    first = Bots([MARKET], seed=1)

    async def killed() -> None:
        async with first.running(sequencer):
            await asyncio.sleep(60)
            first._leave = lambda _: asyncio.sleep(0)  # a process that dies says no goodbye

    await killed()
    assert len(venue) > 4
    held = first.statistics().positions
    assert any(held.values())
    again = Bots([MARKET], seed=1)
    before = sequencer._next
    async with again.running(sequencer):
        await asyncio.sleep(0.001)
        assert again.statistics().positions == held
        batches = [each for each in sequencer._batches if each.first >= before]
        assert {*batches[0].commands["kind"].tolist()} == {Kind.MASS_CANCEL}, "nobody is paid twice"
        await asyncio.sleep(30)
        assert again.statistics().refused == 0
        assert again.statistics().open_orders == len(venue) > 4


async def test_bots_go_on_after_a_restart_of_a_durable_exchange(tmp_path: Path) -> None:
    async with DurableSequencer(tmp_path, ReferenceVenue) as sequencer:
        await sequencer.submit(open_book())
        bots = Bots([MARKET], seed=1)
        async with bots.running(sequencer):
            await asyncio.sleep(30)
            bots._leave = lambda _: asyncio.sleep(0)
    held = bots.statistics().positions
    assert any(held.values())
    async with DurableSequencer(tmp_path, ReferenceVenue) as sequencer:
        assert len(sequencer.venue) > 4
        again = Bots([MARKET], seed=1)
        async with again.running(sequencer):
            await asyncio.sleep(0.2)
            assert again.statistics().positions == held
            await asyncio.sleep(20)
            assert again.statistics().refused == 0
            assert again.statistics().traded > 0
        watch = Watch()
        async for batch in sequencer.follow(0):
            watch.note(batch)
            if batch.last == sequencer.last:
                break
        assert watch.faults == disagreements(watch, sequencer.venue) == []
        assert len(sequencer.venue) == 0


class Moody:
    """A sequencer that refuses some, and once does not know."""

    def __init__(self, inner: MemorySequencer) -> None:
        self.inner = inner
        self.venue = inner.venue
        self.count = 0

    async def submit(self, commands: Commands) -> Batch:
        self.count += 1
        if self.count % 7 == 0:
            raise RejectedError("full")
        return await self.inner.submit(commands)

    def follow(self, after: int):
        return self.inner.follow(after)


async def test_a_sequencer_that_is_full_is_asked_again_later() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    await sequencer.submit(open_book())
    bots = Bots([MARKET], seed=1)
    async with bots.running(Moody(sequencer)):
        await asyncio.sleep(60)
        assert bots.statistics().traded > 0
        assert sequencer.venue.depth(MARKET.book, Side.BUY, 1)


async def test_who_falls_behind_what_is_kept_begins_again() -> None:
    sequencer = MemorySequencer(ReferenceVenue(), keep=1)
    await sequencer.submit(open_book())
    bots = Bots([MARKET], seed=1)
    async with bots.running(sequencer):
        await asyncio.sleep(5)
        for _ in range(3):  # at one moment, so that the listener misses the first ones
            await sequencer.submit(open_book(99))
        await asyncio.sleep(30)
        assert bots.statistics().begun == 2
        assert sequencer.venue.depth(MARKET.book, Side.BUY, 1)


class Late(Moody):
    """A sequencer that tells the stream late."""

    async def submit(self, commands: Commands) -> Batch:
        return await self.inner.submit(commands)

    async def follow(self, after: int):
        async for batch in self.inner.follow(after):
            await asyncio.sleep(2.5)
            yield batch


async def test_nothing_is_ordered_twice_when_the_stream_is_late() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    await sequencer.submit(open_book())
    maker = Maker(walk=Walk(MARKET, seed=1), levels=2)
    async with Bots([MARKET], crew=lambda *_: [maker]).running(Late(sequencer)):
        for _ in range(20):
            await asyncio.sleep(1)
            assert len(sequencer.venue) <= 4
        assert len(sequencer.venue) == 4


async def test_markets_are_apart() -> None:
    made = await make_market(30, markets=[Market(book=1, price=10_000), Market(book=2, price=300_000, value=10)])
    books = {int(each) for batch in made.batches for each in batch.commands["book"]}
    assert books == {0, 1, 2}
    accounts = {
        book: {int(row["account"]) for batch in made.batches for row in batch.commands[batch.commands["book"] == book]}
        for book in (1, 2)
    }
    assert accounts[1] & accounts[2] <= {0}
    assert made.bots.statistics().accounts == 10


async def test_a_bug_in_a_bot_ends_them_and_is_raised_on_leaving() -> None:
    class Broken:
        every_s = 1.0
        most_held = 1

        def decide(self, view: object) -> list[Command]:
            raise ZeroDivisionError

    sequencer = MemorySequencer(ReferenceVenue())
    await sequencer.submit(open_book())
    with pytest.raises(ExceptionGroup) as caught:
        async with Bots([MARKET], crew=lambda *_: [Broken()]).running(sequencer):
            await asyncio.sleep(5)
    assert caught.group_contains(ZeroDivisionError)
