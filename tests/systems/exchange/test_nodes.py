"""Nodes as an exchange sees them: found, asked, watched; on virtual time."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from links import MemoryNetwork
from tally import orders
from test_sequencer_nodes import Cluster

from archstone import world
from archstone.context import Principal
from archstone.errors import ConfigError
from archstone.observability import Alerts
from archstone.runtime import running
from archstone.security.authority import Authority
from archstone.systems.exchange.accounts.contract import Accounts
from archstone.systems.exchange.desk.contract import NewOrder, Trading
from archstone.systems.exchange.nodes import Nodes, NoLeaderError, network_of
from archstone.systems.exchange.sequencer import (
    Looked,
    NotLeadingError,
    OtherHolderError,
    RemoteSequencer,
    SequencerSettings,
    UnavailableError,
    keeps,
)
from archstone.systems.exchange.sequencer.network import Message, Say
from archstone.systems.exchange.system import exchange


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    small = SequencerSettings(segment_bytes=1 << 16, keep_segments=0, recent_commands=10, sync_in_thread=False)
    cluster = Cluster(tmp_path, settings=small)
    for name in ("w", "a", "b"):
        await cluster.start(name)
    yield cluster
    await cluster.stop()


def network(cluster: Cluster) -> MemoryNetwork:
    return MemoryNetwork(cluster.cables, "client")


async def test_who_leads_says_how_far_it_is_and_gives_its_venue(cluster: Cluster) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader, 7)
    async with RemoteSequencer(network(cluster), ("b", "a")) as remote:
        assert remote.last == 0
        await asyncio.sleep(0.2)
        assert await remote.look() == [Looked("b", "follows", 7), Looked("a", "leads", 7)]
        assert remote.last == 7
        dump = await remote.dump()
        assert dump == (7, leader.replica.venue.dump())
        await remote.submit(orders(100))
        assert remote.last == 8
        await cluster.kill("a")
        await cluster.kill("b")
        assert {each.state for each in await remote.look()} == {"away"}
        with pytest.raises(NotLeadingError):
            await remote.dump()


async def test_what_one_node_has_let_go_of_is_followed_from_the_other(cluster: Cluster) -> None:
    leader = await cluster.paired()
    for _ in range(30):
        await cluster.submit(leader, 100)
    follower = cluster.nodes["b"].replica
    await cluster.until(lambda: follower.done.sequence == 3_000)
    await follower.snapshot()
    for sequence in follower.snapshots.sequences()[:-1]:
        (follower.folder / "snapshots" / f"{sequence:020}.snapshot").unlink(missing_ok=True)
    async with RemoteSequencer(network(cluster), ("b", "a")) as remote:
        stream = remote.follow(0)  # from b at first
        assert (await anext(stream)).first == 1
        await stream.aclose()
        await remote.look()
        assert await keeps(remote, 0)
        await leader.replica.snapshot()
        assert not await keeps(remote, 0)
        assert await keeps(remote, 3_000)


async def test_a_stream_of_a_node_that_lost_the_leader_goes_on_with_the_other(cluster: Cluster) -> None:
    leader = await cluster.paired()
    async with RemoteSequencer(network(cluster), ("b", "a")) as remote:
        stream = remote.follow(0)
        await cluster.submit(leader)
        assert (await anext(stream)).last == 1
        for other in ("a", "w"):
            cluster.cables.cut.add(frozenset(("b", other)))
        batch = await remote.submit(orders(100))
        begun_s = world.monotonic()
        assert (await anext(stream)).last == batch.last
        assert 1.0 < world.monotonic() - begun_s < 5.0
        await stream.aclose()


async def test_an_exchange_waits_for_nodes_and_says_what_is_missing(cluster: Cluster) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader, 3)
    await cluster.kill("a")
    begun_s = world.monotonic()
    async with Nodes(("a", "b"), network=network(cluster)) as nodes:  # the other takes over meanwhile
        assert nodes.last == 3
        assert world.monotonic() - begun_s < 2
    await cluster.kill("b")
    with pytest.raises(NoLeaderError, match=r"no node of the sequencer leads after 5 s: a is away, b is away: start"):
        await Nodes(("a", "b"), network=network(cluster), wait_s=5).__aenter__()


async def test_nodes_that_are_away_are_told_and_an_exchange_without_a_leader_is_not_ready(cluster: Cluster) -> None:
    await cluster.paired()
    async with Nodes(("a", "b"), network=network(cluster)) as nodes, Alerts() as alerts:
        nodes.watched_by(alerts)
        await asyncio.sleep(10)
        assert not alerts.firing()
        await cluster.kill("b")
        await nodes.submit(orders(100))
        await asyncio.sleep(8)
        assert [each.name for each in alerts.firing()] == ["node b"]
        assert alerts.unready() == []
        await cluster.kill("a")
        with pytest.raises(UnavailableError):
            await nodes.submit(orders(101))
        with pytest.raises(NotLeadingError):
            await nodes.submit(orders(101))
        await asyncio.sleep(8)
        assert alerts.unready() == ["sequencer of the exchange"]
        await cluster.start("a")
        await cluster.start("b")
        await asyncio.sleep(15)
        assert (alerts.firing(), alerts.unready()) == ([], [])
        await nodes.submit(orders(102))


MINE = "127.0.0.1:1,127.0.0.1:2"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sequencer": "disc"}, "write disk, memory, or both nodes, HOST:PORT,HOST:PORT"),
        ({"sequencer": "127.0.0.1:7101"}, "write disk, memory, or both nodes"),
        ({"sequencer": "a:1,b:2,c:3"}, "write disk, memory, or both nodes"),
        ({"sequencer": "127.0.0.1:1,127.0.0.1:x"}, "address '127.0.0.1:x': write HOST:PORT"),
        ({"sequencer": "10.0.0.7:1,10.0.0.8:2"}, "10.0.0.7:1 is not on this machine"),
        ({"sequencer": MINE, "sequencer_tls": "tls/desk"}, "say option sequencer_domain, too"),
    ],
)
async def test_an_option_that_names_no_nodes_says_what_to_write(
    tmp_path: Path, options: dict[str, str], why: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        async with running(exchange, data=tmp_path, options=options):
            pass


def test_with_a_certificate_an_address_says_who_must_be_there(tmp_path: Path) -> None:
    Authority.create("exchange.internal").give("desk", tmp_path)
    assert network_of(str(tmp_path), domain="exchange.internal", addresses=["a@10.0.0.7:1"])
    with pytest.raises(ConfigError, match=r"10\.0\.0\.7:1 does not say whose certificate must be there"):
        network_of(str(tmp_path), domain="exchange.internal", addresses=["10.0.0.7:1"])


def test_nodes_of_a_private_network_are_taken_at_their_word() -> None:
    assert network_of("private-network", domain="", addresses=["10.0.0.7:1"])


async def test_a_data_folder_of_another_sequencer_is_refused(tmp_path: Path) -> None:
    async with running(exchange, data=tmp_path, options={"bots": "off"}):
        pass
    with pytest.raises(ConfigError, match="holds the commands of this exchange, and option sequencer=a:1,b:2 names"):
        async with running(exchange, data=tmp_path, options={"sequencer": "a:1,b:2"}):
            pass
    (tmp_path / "sequencer").rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="is of an exchange whose commands nodes keep: name them"):
        async with running(exchange, data=tmp_path, options={"bots": "off"}):
            pass


def others(cluster: Cluster, *, wait_s: float = 0.0) -> Nodes:
    """Return what a second exchange, on another machine, sees of the nodes."""
    return Nodes(("a", "b"), network=MemoryNetwork(cluster.cables, "other"), wait_s=wait_s)


async def test_a_second_exchange_on_the_same_nodes_is_refused_while_the_first_is_there(cluster: Cluster) -> None:
    await cluster.paired()
    async with Nodes(("a", "b"), network=network(cluster)) as first:
        begun_s = world.monotonic()
        with pytest.raises(OtherHolderError, match=r"trades on these nodes, process \d+ on .*: stop that one, or give"):
            await others(cluster, wait_s=5).__aenter__()
        assert world.monotonic() - begun_s > 5
        async with RemoteSequencer(MemoryNetwork(cluster.cables, "other"), ("a", "b")) as program:
            with pytest.raises(OtherHolderError):
                await program.submit(orders(100))
            batch = await first.submit(orders(101))
            stream = program.follow(0)  # who reads is not refused
            assert (await anext(stream)).last == batch.last == 1
            await stream.aclose()
    async with others(cluster) as second:
        assert (await second.submit(orders(102))).first == 2


async def test_an_exchange_that_does_nothing_holds_whoever_leads_next(cluster: Cluster) -> None:
    await cluster.paired()
    async with Nodes(("a", "b"), network=network(cluster)):
        await cluster.kill("a")
        await cluster.until(lambda: cluster.leaders)
        await asyncio.sleep(5)
        with pytest.raises(OtherHolderError):
            await others(cluster).__aenter__()


async def test_who_says_no_name_holds_nothing(cluster: Cluster) -> None:
    await cluster.paired()
    stranger = await MemoryNetwork(cluster.cables, "stranger").connect("a")
    stranger.send(Message(Say.HOLD))
    with pytest.raises(ConnectionError):
        await stranger.receive()
    async with Nodes(("a", "b"), network=network(cluster)) as nodes:
        assert (await nodes.submit(orders(100))).first


async def test_an_exchange_takes_over_from_its_own_connection_that_the_node_has_not_missed_yet(
    cluster: Cluster,
) -> None:
    await cluster.paired()
    async with Nodes(("a", "b"), network=network(cluster)) as nodes:
        await nodes.submit(orders(100))
        cluster.cables.die("client", silently=True)
        await asyncio.sleep(0.01)
        begun_s = world.monotonic()
        await nodes.submit(orders(101))
        assert world.monotonic() - begun_s < 0.5
        await asyncio.sleep(5)  # and the old one, when its end is told, does not take the new one's place with it
        with pytest.raises(OtherHolderError):
            await others(cluster).__aenter__()


async def test_an_exchange_that_finds_another_one_in_its_place_takes_no_orders_until_that_has_ended(
    cluster: Cluster,
) -> None:
    await cluster.paired()
    async with Nodes(("a", "b"), network=network(cluster)) as first, Alerts() as alerts:
        first.watched_by(alerts)
        cluster.cables.cut |= {frozenset(("client", "a")), frozenset(("client", "b"))}
        for end in cluster.cables.ends:  # the nodes have missed it
            if end.other == "client":
                end.end()
        async with others(cluster) as second:
            await second.submit(orders(100))
            cluster.cables.mend()
            with pytest.raises(OtherHolderError):
                while True:
                    with suppress(UnavailableError):
                        await first.submit(orders(101))
            await asyncio.sleep(8)
            assert alerts.unready() == ["sequencer of the exchange"]
            assert "another exchange trades on these nodes" in alerts.firing()[0].why
        await asyncio.sleep(8)
        assert alerts.unready() == []
        assert (await first.submit(orders(101))).first == 2


async def test_a_leader_whose_machine_has_vanished_is_given_up_within_a_second(cluster: Cluster) -> None:
    await cluster.submit(await cluster.paired())
    async with Nodes(("a", "b"), network=network(cluster)) as nodes:
        await nodes.submit(orders(100))
        cluster.cables.cut |= {frozenset(("a", other)) for other in ("b", "w", "client")}
        begun_s = world.monotonic()
        with pytest.raises(UnavailableError, match="gave no sign of life for 1 s"):
            await nodes.submit(orders(101))
        await nodes.submit(orders(102))
        assert world.monotonic() - begun_s < 2.0


async def test_who_opens_the_first_account_of_a_new_database_is_nobody_that_the_venue_knows(tmp_path: Path) -> None:
    async def opened() -> int:
        async with running(exchange, data=tmp_path, options={"bots": "off"}) as run:
            session = await run.client(Accounts, as_=Principal()).trial()
            who = Principal(str(session.visitor.account), frozenset({"trader"}))
            mine = await run.client(Trading, as_=who).portfolio()
            assert (mine.cash, mine.paid_in) == (100_000_000, 100_000_000)
            selling = NewOrder(symbol="ACME", side="sell", quantity=1, price=10_050)
            assert (await run.client(Trading, as_=who).place(selling)).order.number == 1
            return session.visitor.account

    assert await opened() == 1001
    for file in tmp_path.glob("accounts.db*"):
        file.unlink()
    assert await opened() == 1002
