"""A reader of market data comes to the venue's own books, whatever the network does to packets."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from orders import buy, sell
from plain import PlainVenue, opened, rows
from test_feed_image import BOOKS, traffic

from archstone.systems.exchange.feed import (
    Depth,
    Feed,
    Group,
    MarketClient,
    Packet,
    Publisher,
    Recovery,
    multicast,
    over_tcp,
)
from archstone.systems.exchange.feed.packets import Ask, Carries, read_packet
from archstone.systems.exchange.matching import Side
from archstone.systems.exchange.sequencer import MemorySequencer
from archstone.systems.exchange.venue import Venue


class Network:
    """Loses, repeats, delays and damages packets, by a seed."""

    def __init__(self, seed: object, *, fault_ratio: float) -> None:
        self.random = Random(f"{seed}")
        self.fault_ratio = fault_ratio
        self.clients: list[MarketClient] = []
        self.lost = 0

    def send(self, packet: bytes) -> None:
        loop = asyncio.get_running_loop()
        for client in self.clients:
            if self.random.random() >= self.fault_ratio:
                loop.call_later(0.001, client.receive, packet)
                continue
            match self.random.choice(("lose", "repeat", "delay", "damage")):
                case "lose":
                    self.lost += 1
                case "repeat":
                    loop.call_later(0.001, client.receive, packet)
                    loop.call_later(self.random.uniform(0, 0.1), client.receive, packet)
                case "delay":
                    loop.call_later(self.random.uniform(0, 0.05), client.receive, packet)
                case _:
                    place = self.random.randrange(len(packet))
                    loop.call_later(0.001, client.receive, packet[:place] + b"\xff" + packet[place + 2 :])


def asking(publisher: Publisher, *, fails: Random | None = None):
    async def recover(ask: Ask, session: int, number: int, count: int) -> Sequence[Packet]:
        await asyncio.sleep(0.002)
        if fails is not None and fails.random() < 0.3:
            raise ConnectionResetError("cut")
        return [read_packet(each) for each in publisher.answer(ask, session, number, count)]

    return recover


def same_depth(depth: Depth, venue: Venue) -> None:
    assert [*depth.buys] == venue.depth(depth.book, Side.BUY, 10**9)
    assert [*depth.sells] == venue.depth(depth.book, Side.SELL, 10**9)


def same(client: MarketClient, venue: PlainVenue) -> None:
    for book in venue.books:
        depth = client.depth(book, levels=None)
        same_depth(depth, venue)
        assert (depth.phase, depth.last) == (venue.books[book].phase, venue.books[book].last)


class Market:
    def __init__(self, *, seed: object = 0, fault_ratio: float = 0.0, **options) -> None:
        self.venue = PlainVenue()
        self.sequencer = MemorySequencer(self.venue)
        self.network = Network(seed, fault_ratio=fault_ratio)
        self.feed = Feed(self.sequencer)
        self.publisher = Publisher(self.feed, self.network.send, **options)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["Market"]:
        async with self.feed, self.publisher:
            await self.sequencer.submit(opened(*BOOKS))
            yield self

    def client(self, **options) -> MarketClient:
        client = MarketClient(asking(self.publisher, fails=options.pop("fails", None)), **options)
        self.network.clients.append(client)
        return client


@pytest.mark.parametrize("conflate_s", [None, 0.05])
@pytest.mark.parametrize("name", ["quiet", "auction", "crash"])
async def test_packets_lost_repeated_late_and_damaged(name: str, conflate_s: float | None) -> None:
    async with Market(seed=name, fault_ratio=0.2, conflate_s=conflate_s).serving() as market:
        random = Random(name)
        async with market.client(fails=random) as client:
            commands = traffic(name, 2_000, seed=4)
            told: list[int] = []
            client.on_messages = lambda messages: told.append(len(messages))
            for start in range(0, len(commands), 20):
                await market.sequencer.submit(commands[start : start + 20])
                await asyncio.sleep(random.expovariate(200))
            market.network.fault_ratio = 0
            await asyncio.sleep(2.5)  # a heartbeat says whether the last one was lost
            await client.caught_up()
            assert client.is_live
            same(client, market.venue)
            assert client.number == market.publisher.next
            assert client.is_whole
            if conflate_s is None:
                assert market.network.lost
                assert client.damaged
                assert client.resent


async def test_what_is_gone_is_replaced_by_a_snapshot() -> None:
    async with Market(keep=60).serving() as market, market.client() as client:
        await client.caught_up()
        market.network.fault_ratio = 2  # nothing gets through
        market.network.random = Random(1)
        market.network.random.choice = lambda _: "lose"  # type: ignore[method-assign]
        commands = traffic("quiet", 500, seed=5)
        for start in range(0, 500, 20):
            await market.sequencer.submit(commands[start : start + 20])
            await asyncio.sleep(0)
        market.network.fault_ratio = 0
        await asyncio.sleep(2)
        assert client.is_live
        assert client.snapshots == 2
        same(client, market.venue)


async def test_each_message_that_is_kept_can_be_sent_again_and_no_other() -> None:
    async with Market(keep=50).serving() as market:
        sent: list[tuple] = []
        market.network.send = market.publisher._send = lambda packet: sent.extend(read_packet(packet).messages.tolist())
        before = market.publisher.next
        commands = traffic("quiet", 400, seed=9)
        for start in range(0, 400, 7):
            await market.sequencer.submit(commands[start : start + 7])
            await asyncio.sleep(0)
        publisher, session = market.publisher, market.publisher.session
        assert (publisher.next - before, publisher.oldest) == (len(sent), publisher.next - 50)
        for number in range(publisher.oldest, publisher.next):
            for count in (1, 20, 65_535):
                found = [read_packet(each) for each in publisher.answer(Ask.RESEND, session, number, count)]
                assert [each.number for each in found] == [*range(number, number + 20, 30)] or count > 20
                messages = [message for each in found for message in each.messages.tolist()]
                assert messages == sent[number - before :][:count]
        for number in (0, publisher.oldest - 1, publisher.next):
            (gone,) = publisher.answer(Ask.RESEND, session, number, 1)
            assert read_packet(gone)[:3] == (Carries.GONE, session, publisher.oldest)


async def test_a_snapshot_is_made_once_a_second_and_is_of_no_use_when_what_came_since_is_gone() -> None:
    async with Market(keep=20).serving() as market:

        def numbers() -> int:
            return read_packet(market.publisher.answer(Ask.SNAPSHOT, 0, 0, 0)[-1]).number

        async def sells(*orders: int) -> None:
            await market.sequencer.submit(rows(3, *(sell(number, 5, 100 + number) for number in orders)))
            await asyncio.sleep(0)

        await asyncio.sleep(0)
        first = numbers()
        await sells(1, 2)
        assert (market.publisher.next, numbers()) == (first + 2, first)
        await asyncio.sleep(0.5)
        assert numbers() == first
        await asyncio.sleep(0.6)
        assert numbers() == first + 2
        await sells(*range(3, 23))
        assert numbers() == first + 2
        await sells(23)
        assert numbers() == market.publisher.next
        session = market.publisher.session
        await market.publisher.__aexit__(None, None, None)
        await asyncio.sleep(1)
        await market.publisher.__aenter__()
        assert read_packet(market.publisher.answer(Ask.SNAPSHOT, 0, 0, 0)[-1]).session > session


async def test_a_snapshot_of_before_and_what_came_since_are_the_books() -> None:
    async with Market().serving() as market:
        commands = traffic("quiet", 600, seed=8)
        for start in range(0, 600, 20):
            await market.sequencer.submit(commands[start : start + 20])
            if start == 200:
                market.publisher.answer(Ask.SNAPSHOT, 0, 0, 0)
            await asyncio.sleep(0.001)
        async with market.client() as client:
            await market.sequencer.submit(rows(3, sell(9_001, 5, 100)))
            await asyncio.sleep(0.01)
            await client.caught_up()
            assert (client.snapshots, client.number) == (1, market.publisher.next)
            assert client.resent
            same(client, market.venue)


async def test_a_publisher_that_begins_anew_is_a_new_session() -> None:
    market = Market()
    async with market.serving(), market.client() as client:
        await market.sequencer.submit(rows(3, sell(1, 5, 100)))
        await asyncio.sleep(1.5)
        assert (client.session, client.is_live) == (market.publisher.session, True)
        first = client.session
        await market.publisher.__aexit__(None, None, None)
        await asyncio.sleep(0.5)
        assert client.is_over
        assert not client.is_live
        await market.sequencer.submit(rows(3, sell(2, 5, 100)))
        await market.publisher.__aenter__()
        await market.sequencer.submit(rows(3, sell(3, 5, 100)))
        await asyncio.sleep(1.5)
        assert client.session > first
        assert client.depth(3).sells == ((100, 15, 3),)
        assert client.is_live


async def test_what_is_not_read_any_more_is_over_and_not_quiet() -> None:
    market = Market(heartbeat_s=1.0)
    with pytest.raises(LookupError, match="commands after"):
        async with market.serving(), market.client() as client:
            await asyncio.sleep(1.5)
            assert (client.is_live, client.is_over) == (True, False)
            market.sequencer._batches = deque(maxlen=1)
            for number in (1, 2):
                await market.sequencer.submit(rows(3, sell(number, 5, 100)))
            await asyncio.sleep(0.1)
            assert (client.is_live, client.is_over) == (False, True)
            await asyncio.sleep(5)
            assert (client.is_live, client.is_over) == (False, True)


async def test_a_session_is_above_the_one_before_whatever_the_clock_says(tmp_path: Path) -> None:
    async with Feed(MemorySequencer(PlainVenue())) as feed:
        sessions: list[int] = []
        for noted in ("", "", str(2**32 - 9), "nonsense"):
            if noted:
                (tmp_path / "session").write_text(noted)
            async with Publisher(feed, lambda _: None, noted=tmp_path / "session") as publisher:
                sessions.append(publisher.session)
        first = sessions[0]
        assert sessions == [first, first + 1, 2**32 - 8, first]


async def test_silence_is_not_live() -> None:
    async with Market(heartbeat_s=1.0).serving() as market, market.client(silence_s=3.0) as client:
        await asyncio.sleep(1.5)
        assert client.is_live
        market.network.clients.clear()
        await asyncio.sleep(2.4)
        assert client.is_live
        await asyncio.sleep(0.2)
        assert not client.is_live


async def test_conflated_a_price_is_sent_once_and_each_trade() -> None:
    async with Market(conflate_s=0.1).serving() as market, market.client() as client:
        await asyncio.sleep(0.2)
        before = market.publisher.next
        for number in range(10):
            await market.sequencer.submit(rows(3, sell(2 * number + 1, 2, 100), buy(2 * number + 2, 1, 100)))
        await asyncio.sleep(0.2)
        assert market.publisher.next - before == 11
        assert len(client.trades) == 10
        assert client.depth(3).sells == ((100, 10, 5),)


async def test_a_snapshot_does_not_hold_what_only_later_messages_say() -> None:
    async with Market(conflate_s=10.0).serving() as market:
        await market.sequencer.submit(rows(3, sell(1, 5, 100)))
        await asyncio.sleep(0)
        *_, whole = market.publisher.answer(Ask.SNAPSHOT, 0, 0, 0)
        assert read_packet(whole).number == market.publisher.next == 4


@pytest.mark.real_time
async def test_over_multicast_on_the_loopback_interface_and_tcp() -> None:
    venue = PlainVenue()
    sequencer = MemorySequencer(venue)
    await sequencer.submit(opened(*BOOKS))
    send, close = multicast.sender(group := Group(port=free_port()))
    dropped = Random(3)
    async with (
        Feed(sequencer) as feed,
        Publisher(feed, lambda packet: dropped.random() < 0.1 or send(packet), heartbeat_s=0.05) as publisher,
        Recovery(publisher, port=0) as recovery,
        MarketClient(over_tcp(port=recovery.port)) as client,
    ):
        membership = await multicast.join(group, client.receive)
        commands = traffic("quiet", 1_000, seed=6)
        for start in range(0, 1_000, 10):
            await sequencer.submit(commands[start : start + 10])
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while client.number != publisher.next:
                await asyncio.sleep(0.01)
        same(client, venue)
        assert client.resent
        membership.close()
    close()


def free_port() -> int:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("", 0))
        return wire.getsockname()[1]


@pytest.mark.real_time
async def test_recovery_closes_who_asks_nonsense_nothing_or_is_one_too_many() -> None:
    async with (
        Feed(MemorySequencer(PlainVenue())) as feed,
        Publisher(feed, lambda _: None) as publisher,
        Recovery(publisher, port=0, connections=1, idle_s=0.05) as recovery,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", recovery.port)
        writer.write(b"x" * 16)
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", recovery.port)
        other, one_more = await asyncio.open_connection("127.0.0.1", recovery.port)
        assert await other.read() == b""
        assert await reader.read() == b""  # it asked nothing
        writer.close()
        one_more.close()
