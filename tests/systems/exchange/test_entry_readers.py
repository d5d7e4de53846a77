"""In front of the whole venue: risk, a sequencer that keeps its commands, and programs by both protocols."""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from test_entry_binary import ACCOUNTS, identify
from test_feed_recovery import free_port, same_depth

from archstone.systems.exchange.desk.floor import Floor
from archstone.systems.exchange.desk.gates import Address, Gates, open_gates
from archstone.systems.exchange.entry import ForgottenError, Position, Report, Reports, reports_of
from archstone.systems.exchange.entry.binary import BinaryServer, EntryClient, EntryRefusedError, over_tcp
from archstone.systems.exchange.entry.fix import FixServer, Listed
from archstone.systems.exchange.entry.readers import Readers
from archstone.systems.exchange.feed import Group, MarketClient, Publisher, Recovery, multicast
from archstone.systems.exchange.feed import over_tcp as recovery_over_tcp
from archstone.systems.exchange.instruments import INSTRUMENTS
from archstone.systems.exchange.matching import Command, Kind, Limit, Phase, Reason, Side, Told
from archstone.systems.exchange.sequencer import DurableSequencer, MemorySequencer, Sequencer, SequencerSettings
from archstone.systems.exchange.venue import ReferenceVenue
from archstone.systems.exchange.venue.flows import rows

LISTED = (Listed("ARC", 1, tick=Decimal("0.05"), lot=10),)
LIMITS = {Limit.CREDIT: 0, Limit.QUANTITY: 1_000, Limit.VALUE: 10**9, Limit.POSITION: 10_000, Limit.RATE: 10**6}


async def open_venue(sequencer: Sequencer) -> None:
    book = Command(Kind.OPEN, type=Phase.CONTINUOUS, price=1, quantity=1_000)
    limits = [Command(Kind.LIMIT, account=a, type=k, quantity=q) for a in ACCOUNTS.values() for k, q in LIMITS.items()]
    money = [Command(Kind.DEPOSIT, account=account, quantity=10**7) for account in ACCOUNTS.values()]
    await sequencer.submit(rows([(1, book), *((0, each) for each in [*limits, *money])]))


@pytest.mark.real_time
async def test_programs_by_both_protocols_trade_and_everybody_sees_it() -> None:
    pytest.importorskip("simplefix")
    from test_entry_fix import Fix

    venue = ReferenceVenue()
    sequencer = MemorySequencer(venue)
    await open_venue(sequencer)
    send, close = multicast.sender(group := Group(port=free_port()))
    async with AsyncExitStack() as life:
        life.callback(close)
        readers = await life.enter_async_context(Readers(sequencer))
        publisher = await life.enter_async_context(Publisher(readers.feed, send))
        recovery = await life.enter_async_context(Recovery(publisher, port=0))
        binary = await life.enter_async_context(BinaryServer(sequencer, readers.reports, identify, port=0))
        fix = await life.enter_async_context(FixServer(sequencer, readers.reports, identify, LISTED, port=0))
        market = await life.enter_async_context(MarketClient(recovery_over_tcp(port=recovery.port)))
        life.callback((await multicast.join(group, market.receive)).close)
        ann = await life.enter_async_context(EntryClient("ann", over_tcp("127.0.0.1", binary.port)))
        bob = Fix("BOB")
        await asyncio.get_running_loop().create_connection(lambda: bob, "127.0.0.1", fix.port)
        life.callback(bob.transport.close)
        bob.say("A", (98, 0), (108, 30), (554, "bob"))
        assert (await ann.new(book=1, side=Side.SELL, price=200, quantity=5)).reason == Reason.NONE
        bob.say("D", (11, 1), (55, "ARC"), (54, 1), (38, 20), (40, 2), (44, "10.00"), (59, 1), (60, "now"))
        async with asyncio.timeout(5):
            while not market.trades or bob.told[-1].get(150) != "F":
                await asyncio.sleep(0.01)
        assert bob.last(150, 31, 32) == ["F", "10", "20"]
        assert bob.last(527) == [f"{market.trades[0].sequence}-{market.trades[0].part}"]
        await market.caught_up()
        same_depth(market.depth(1), venue)
        assert venue.standing(8).positions == {1: 2}
        too_much = await ann.new(book=1, side=Side.BUY, price=200, quantity=1_001)
        assert (too_much.kind, too_much.reason) == (Told.REJECTED, Reason.QUANTITY)


async def trade(client: EntryClient, random: Random, over: asyncio.Event, done: list[int], refused: list[int]) -> None:
    while not over.is_set():
        numbers = [client.next_number() for _ in range(40)]
        sides = [(each, random.choice([*Side]), random.randint(95, 105)) for each in numbers]
        asked = [
            client.submit(Command(Kind.NEW, number, side=side, price=price, quantity=3), book=1)
            for number, side, price in sides
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for number, answer in zip(numbers, answers, strict=True):
            assert isinstance(answer, Report | EntryRefusedError)
            (done if isinstance(answer, Report) else refused).append(number)


@pytest.mark.slow
@pytest.mark.real_time
async def test_an_exchange_that_starts_again_goes_on_where_it_was(tmp_path: Path) -> None:
    """Its log forgets what a snapshot holds: reports and depth go on from what was kept."""
    port, random, over = free_port(), Random(7), asyncio.Event()
    small = SequencerSettings(segment_bytes=1 << 16, keep_segments=1, snapshot_commands=500, recent_commands=300)
    seen: dict[str, list[Report]] = {name: [] for name in ACCOUNTS}
    done: dict[str, list[int]] = {name: [] for name in ACCOUNTS}
    refused: dict[str, list[int]] = {name: [] for name in ACCOUNTS}
    connect = over_tcp("127.0.0.1", port)
    clients = {name: EntryClient(name, connect, on_report=seen[name].append) for name in ACCOUNTS}
    trading: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as life:
        for begun in range(3):
            async with DurableSequencer(tmp_path / "log", ReferenceVenue, settings=small) as sequencer:
                if not begun:
                    await open_venue(sequencer)
                async with (
                    Readers(sequencer, tmp_path / "readers") as readers,
                    BinaryServer(sequencer, readers.reports, identify, port=port),
                ):
                    for name, client in clients.items() if not begun else ():
                        await life.enter_async_context(client)
                        work = trade(client, random, over, done[name], refused[name])
                        trading.append(asyncio.create_task(work))
                    async with asyncio.timeout(30):
                        while sequencer.last < 1_100 * (begun + 1):
                            await asyncio.sleep(0.01)
                        if begun == 2:
                            over.set()
                            await asyncio.gather(*trading)
                            same_depth(readers.feed.depth(1, levels=None), sequencer.venue)
                            told = {
                                name: reports_of(readers.reports.kept(account)) for name, account in ACCOUNTS.items()
                            }
                            with pytest.raises(LookupError, match="commands after 0: kept from"):
                                await anext(sequencer.follow(0))
    for name, reports in seen.items():
        kept = min(len(reports), len(told[name]))
        assert [each._replace(number=0) for each in reports[-kept:]] == told[name][-kept:]
        answered = [each.order for each in reports if each.kind in {Told.ACCEPTED, Told.REJECTED}]
        assert answered == done[name] == sorted({*answered})
        assert not {*answered} & {*refused[name]}
    assert all(client.connections == 3 for client in clients.values())


async def test_reports_that_were_kept_are_those_that_were() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    await open_venue(sequencer)
    async with Reports(sequencer) as reports:
        order = Command(Kind.NEW, 7 << 32 | 5, 7, Side.SELL, price=100, quantity=5)
        await sequencer.submit(rows([(1, order)]))
        await reports.reached(sequencer.last)
        kept = await reports.dump()
    again = Reports(sequencer)
    again.load(kept)
    assert (again.highest(7), again.books, again._live) == (5, reports.books, reports._live)
    assert reports_of(again.after(7, Position(0, 0))) == reports_of(reports.after(7, Position(0, 0)))
    async with again:
        await sequencer.submit(rows([(1, Command(Kind.CANCEL, 7 << 32 | 5, 7))]))
        await again.reached(sequencer.last)
        assert reports_of(again.kept(7))[-1].kind == Told.CANCELED
    for place in range(0, len(kept), 97):
        with pytest.raises(ValueError, match="reports of"):
            Reports(sequencer).load(kept[:place])


@pytest.mark.parametrize("damage", ["cut", "of another stream", "none"])
async def test_what_is_damaged_or_of_another_stream_is_passed_over(tmp_path: Path, damage: str) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    await open_venue(sequencer)
    order = Command(Kind.NEW, 7 << 32 | 5, 7, Side.SELL, price=100, quantity=5)
    await sequencer.submit(rows([(1, order)]))
    async with Readers(sequencer, tmp_path):
        pass
    if damage == "cut":
        for name in ("reports", "feed"):
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-7])
    if damage == "of another stream":
        sequencer = MemorySequencer(ReferenceVenue())
        await open_venue(sequencer)
    async with Readers(sequencer, tmp_path) as readers:
        await asyncio.sleep(0)
        assert len(readers.feed.depth(1).sells) == readers.reports.highest(7) // 5 == (damage != "of another stream")


async def test_what_was_read_already_is_told_once() -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    await open_venue(sequencer)
    order = Command(Kind.NEW, 7 << 32 | 5, 7, Side.SELL, price=100, quantity=5)
    batch = await sequencer.submit(rows([(1, order)]))
    reports = Reports(sequencer)
    told: list[Report] = []
    reports.listen(7, lambda found: told.extend(reports_of(found)))
    for _ in range(2):
        reports.take(batch)
    assert [each.kind for each in told] == [Told.ACCEPTED, Told.RESTED]
    assert reports_of(reports.kept(7)) == told


@pytest.mark.real_time
async def test_gates_go_on_where_they_were_although_the_beginning_is_gone(tmp_path: Path) -> None:
    sequencer = MemorySequencer(ReferenceVenue())
    gates = Gates(binary=Address("127.0.0.1", free_port()), kept=tmp_path / "readers")
    for number in (1, 2):
        async with Floor(sequencer, INSTRUMENTS, checkpoint=tmp_path / "board") as floor:
            await floor.open_account(7)
            async with open_gates(gates, floor, identify):
                assert gates.binary is not None
                async with EntryClient("ann", over_tcp(*gates.binary)) as ann:
                    placed = await ann.new(book=1, side=Side.SELL, price=10_000, quantity=5)
                    assert (placed.kind, placed.order) == (Told.ACCEPTED, number)
        sequencer._batches.clear()
        await sequencer.submit(rows([(1, Command(Kind.TICK))]))


async def test_readers_whose_beginning_is_gone_begin_with_the_venue(tmp_path: Path) -> None:
    sequencer = MemorySequencer(venue := ReferenceVenue(), keep=1)
    await open_venue(sequencer)
    new = Command(Kind.NEW, 7 << 32 | 5, 7, Side.SELL, price=100, quantity=5, display=2)
    stop = Command(Kind.NEW, 7 << 32 | 6, 7, Side.BUY, price=120, quantity=5, trigger=110)
    await sequencer.submit(rows([(1, new), (1, stop)]))
    async with Readers(sequencer, tmp_path) as readers:
        same_depth(readers.feed.depth(1, levels=None), venue)
        assert (len(readers.feed.image), readers.reports.books, readers.reports.highest(7)) == (2, {1}, 6)
        with pytest.raises(ForgottenError):
            readers.reports.after(7, Position(0, 0))
        await sequencer.submit(rows([(0, Command(Kind.KILL, account=7, type=1))]))
        await readers.reports.reached(sequencer.last)
        told = [each for each in reports_of(readers.reports.kept(7)) if each.kind == Told.CANCELED]
        assert [(each.order, each.book) for each in told] == [(5, 1), (6, 1)]
        await asyncio.sleep(0)
        same_depth(readers.feed.depth(1, levels=None), venue)


async def test_what_stopped_halfway_is_not_kept_and_a_disk_that_fails_ends_nothing(tmp_path: Path) -> None:
    sequencer = MemorySequencer(ReferenceVenue(), keep=1)
    await sequencer.submit(opened_books := rows([(1, Command(Kind.OPEN, type=Phase.CONTINUOUS, price=1))]))
    folder = tmp_path / "away"
    async with Readers(sequencer, folder, every_s=1.0):
        folder.write_text("not a folder")
        await asyncio.sleep(1.5)
        folder.unlink()
        await asyncio.sleep(1)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {*before} == {"reports", "feed"}
    with pytest.raises(LookupError):
        async with Readers(sequencer, folder, every_s=1.0):
            for _ in range(2):
                await sequencer.submit(opened_books)
            await asyncio.sleep(1.5)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
