"""Two nodes and a witness on virtual time: processes die, machines die, cables are cut; what was answered stays."""

import asyncio
import os
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import pytest
from links import Cables, MemoryNetwork
from tally import Tally, orders

from archstone import world
from archstone.errors import ArchstoneError, ConfigError
from archstone.systems.exchange.matching import COMMAND, Commands, Events
from archstone.systems.exchange.sequencer import (
    DurableSequencer,
    FrameTooLargeError,
    LogBrokenError,
    LogDamagedError,
    LogsDifferError,
    Node,
    NodeSettings,
    NotLeadingError,
    Place,
    RemoteSequencer,
    SequencerSettings,
    UnavailableError,
    Witness,
)
from archstone.systems.exchange.sequencer.frames import Frame
from archstone.systems.exchange.sequencer.grant import Ask, Asked
from archstone.systems.exchange.sequencer.network import Message, Say
from archstone.systems.exchange.sequencer.replica import Replica

PEER = {"a": "b", "b": "a"}


@dataclass
class Acknowledged:
    """What one `submit` was told."""

    sequence: int
    order: int
    node: str
    epoch: int
    at_s: float


@dataclass
class Cluster:
    """Two nodes and a witness, each of which may be away."""

    folder: Path
    random: Random = field(default_factory=lambda: Random(1))
    settings: SequencerSettings = field(default_factory=SequencerSettings)
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    witness: Witness | None = None
    acknowledged: list[Acknowledged] = field(default_factory=list[Acknowledged])
    next_order: int = 1
    venue: type[Tally] = Tally

    def __post_init__(self) -> None:
        self.cables = Cables(self.random)

    async def start(self, name: str) -> None:
        network = MemoryNetwork(self.cables, name)
        if name == "w":
            self.witness = await Witness(self.folder / "w", network=network, listen="w").__aenter__()
            return
        place = Place(name=name, listen=name, peer=PEER[name], witness="w")
        node = Node(place, self.folder / name, self.venue, network=network, eager=name == "a", settings=self.settings)
        self.nodes[name] = await node.__aenter__()

    async def kill(self, name: str, *, silently: bool = False) -> None:
        self.cables.die(name, silently=silently)
        if name == "w":
            witness, self.witness = self.witness, None
            assert witness is not None
            await witness.__aexit__(None, None, None)
        else:
            await self.nodes.pop(name).__aexit__(None, None, None)

    def alive(self, name: str) -> bool:
        return self.witness is not None if name == "w" else name in self.nodes

    @property
    def leaders(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.leading is not None]

    async def until(self, holds: "Callable[[], object]", *, limit_s: float = 10.0) -> None:
        async with asyncio.timeout(limit_s):
            while not holds():
                await asyncio.sleep(0.005)

    async def paired(self) -> Node:
        """Wait until one leads, with the other as its standby, and the witness knows."""
        await self.until(lambda: self.leaders and self.leaders[-1].leading.standby and self.witness.grant.standby)
        return self.leaders[-1]

    async def submit(self, node: Node, count: int = 1) -> Acknowledged:
        first, self.next_order = self.next_order, self.next_order + count
        batch = await node.submit(orders(first, count))
        assert node.leading is not None
        told = Acknowledged(batch.first, first, node.name, node.leading.epoch, world.monotonic())
        self.acknowledged.append(told)
        return told

    async def stop(self) -> None:
        for name in [*self.nodes, "w"]:
            if self.alive(name):
                await self.kill(name)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(tmp_path)
    for name in ("w", "a", "b"):
        await cluster.start(name)
    yield cluster
    await cluster.stop()


async def test_one_leads_and_the_other_holds_and_does_the_same(cluster: Cluster) -> None:
    leader = await cluster.paired()
    assert leader.name == "a"
    for _ in range(20):
        told = await cluster.submit(leader, 3)
        assert cluster.nodes["b"].replica.log.end.sequence >= told.sequence + 2
    with pytest.raises(NotLeadingError, match="node 'b' does not lead"):
        await cluster.nodes["b"].submit(orders(1_000))
    await asyncio.sleep(0.2)
    assert cluster.nodes["b"].replica.venue.dump() == leader.replica.venue.dump()


@pytest.mark.parametrize("silently", [False, True], ids=["process", "machine"])
async def test_the_standby_leads_within_a_second_and_the_old_leader_comes_back_as_standby(
    cluster: Cluster, silently: bool
) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader, 5)
    died_at_s = world.monotonic()
    await cluster.kill("a", silently=silently)
    await cluster.until(lambda: cluster.leaders)
    told = await cluster.submit(cluster.nodes["b"], 5)
    assert world.monotonic() - died_at_s < 1.0
    assert (told.sequence, told.epoch) == (6, 2)
    await cluster.start("a")
    assert (await cluster.paired()).name == "b"
    await cluster.submit(cluster.nodes["b"])
    await asyncio.sleep(0.2)
    assert cluster.nodes["a"].replica.venue.dump() == cluster.nodes["b"].replica.venue.dump()


async def test_without_a_standby_the_leader_goes_on_and_the_standby_that_lacks_frames_never_leads(
    cluster: Cluster,
) -> None:
    leader = await cluster.paired()
    await cluster.kill("b")
    await cluster.submit(leader)
    assert cluster.witness is not None
    assert cluster.witness.grant.standby == ""
    await cluster.kill("a")
    await cluster.start("b")
    await asyncio.sleep(5)
    assert cluster.leaders == []
    await cluster.start("a")
    assert (await cluster.paired()).name == "a"
    assert cluster.nodes["b"].replica.log.end.sequence == 1


async def test_a_leader_whose_folder_was_emptied_comes_back_as_standby(cluster: Cluster) -> None:
    await cluster.submit(await cluster.paired(), 3)
    await cluster.kill("a")
    shutil.rmtree(cluster.folder / "a")
    await cluster.start("a")  # which may begin, as far as it knows
    assert (await cluster.paired()).name == "b"
    await cluster.submit(cluster.nodes["b"])
    await asyncio.sleep(0.2)
    assert list(cluster.nodes["a"].replica.venue.taken) == [1, 2, 3, 4]


@pytest.mark.parametrize("left", [("id",), ("id", "log"), ("snapshots", "owner")])
async def test_a_standby_whose_folder_was_emptied_never_leads_with_a_part_of_what_it_held(
    cluster: Cluster, left: tuple[str, ...]
) -> None:
    leader = await cluster.paired()
    for _ in range(5):
        await cluster.submit(leader)
    await cluster.kill("b")
    for path in (cluster.folder / "b").iterdir():
        if path.is_file() and path.name not in left:
            path.unlink()
        elif path.name not in left:
            shutil.rmtree(path)
    for path in (cluster.folder / "b").glob("log/*"):
        path.unlink()
    await cluster.start("b")
    append = cluster.nodes["b"].replica.append

    def two_and_no_more(frame: Frame) -> None:
        append(frame)
        if frame.last == 2:
            cluster.cables.cut.add(frozenset(("a", "b")))
            raise ConnectionResetError

    cluster.nodes["b"].replica.append = two_and_no_more  # type: ignore[method-assign]
    await cluster.until(lambda: cluster.nodes["b"].replica.log.end.sequence == 2)
    await cluster.kill("a", silently=True)
    await asyncio.sleep(5)
    assert cluster.leaders == []
    cluster.nodes["b"].replica.append = append  # type: ignore[method-assign]
    cluster.cables.mend()
    await cluster.start("a")
    assert (await cluster.paired()).name == "a"
    await cluster.submit(leader := cluster.leaders[-1])
    await asyncio.sleep(0.2)
    assert list(cluster.nodes["b"].replica.venue.taken) == list(leader.replica.venue.taken) == [*range(1, 7)]


async def test_a_folder_that_is_put_back_never_leads_in_place_of_the_one_that_came_after_it(cluster: Cluster) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader)
    await cluster.kill("b")
    (cluster.folder / "b").rename(cluster.folder / "aside")
    await cluster.start("b")
    await cluster.until(lambda: cluster.nodes["b"].replica.log.end.sequence == 1)
    await cluster.submit(leader)
    await cluster.kill("b")
    shutil.rmtree(cluster.folder / "b")
    (cluster.folder / "aside").rename(cluster.folder / "b")
    await cluster.kill("a")
    await cluster.start("b")
    await asyncio.sleep(5)
    assert cluster.leaders == []
    await cluster.start("a")
    assert (await cluster.paired()).name == "a"
    assert list(cluster.leaders[-1].replica.venue.taken) == [1, 2]


def gated(node: Node) -> asyncio.Event:
    """Let a node hold nothing more before the event is set: its disk is slow."""
    sync, free = node.replica.sync, asyncio.Event()

    async def slow() -> None:
        await free.wait()
        await sync()

    node.replica.sync = slow  # type: ignore[method-assign]
    return free


async def test_a_standby_that_waited_to_join_while_the_leader_parted_from_it_does_not_join(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)
    (leader,) = cluster.leaders
    ask, parts = leader._asking.ask, asyncio.Event()

    async def slow(asked: Asked) -> Message | None:
        if asked.what is Ask.JOIN and not parts.is_set():
            return None  # lost
        if asked.what is Ask.ALONE:
            parts.set()
        answer = await ask(asked)
        if asked.what is Ask.ALONE:
            await asyncio.sleep(0.2)  # the standby's turn to join would come meanwhile
        return answer

    leader._asking.ask = slow  # type: ignore[method-assign]
    await cluster.start("b")
    await cluster.until(lambda: leader.leading is not None and leader.leading.standby)
    gated(cluster.nodes["b"])
    await cluster.submit(leader)
    assert parts.is_set()
    await asyncio.sleep(0.3)
    assert cluster.witness is not None
    assert cluster.witness.grant.standby == ""
    await cluster.stop()


async def test_a_standby_joins_anew_where_it_is_not_known_whether_the_leader_may_go_on_alone(cluster: Cluster) -> None:
    leader = await cluster.paired()
    ask, asked_alone = leader._asking.ask, asyncio.Event()

    async def late(asked: Asked) -> Message | None:
        answer = await ask(asked)
        if asked.what is not Ask.ALONE:
            return answer
        asked_alone.set()
        return None

    leader._asking.ask = late  # type: ignore[method-assign]
    free = gated(cluster.nodes["b"])
    submitted = asyncio.create_task(cluster.submit(leader))
    await asked_alone.wait()
    free.set()
    await submitted
    await asyncio.sleep(1)
    assert cluster.witness is not None
    assert cluster.witness.grant.standby
    await cluster.kill("a")
    await cluster.until(lambda: cluster.leaders, limit_s=1.0)
    assert list(cluster.nodes["b"].replica.venue.taken) == [1]


async def test_a_standby_is_told_of_once_it_may_lead_and_not_before(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)
    (leader,) = cluster.leaders
    ask, late = leader._asking.ask, asyncio.Event()

    async def lossy(asked: Asked) -> Message | None:
        return await ask(asked) if asked.what is not Ask.JOIN or late.is_set() else None

    leader._asking.ask = lossy  # type: ignore[method-assign]
    await cluster.start("b")
    await cluster.until(lambda: leader.leading is not None and leader.leading.standby)
    await asyncio.sleep(0.3)
    assert leader.look()["standby"] == ""
    late.set()
    await cluster.until(lambda: leader.look()["standby"] == "b")
    await cluster.kill("a")
    await cluster.until(lambda: cluster.leaders, limit_s=1.0)
    await cluster.stop()


async def test_a_standby_joins_a_leader_that_always_has_something_to_do(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.cables.slowest_s = 0.02
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)

    async def without_end() -> None:
        while True:
            await cluster.submit(cluster.nodes["a"])
            await asyncio.sleep(0.001)

    work = asyncio.create_task(without_end())
    await cluster.start("b")
    await cluster.until(lambda: cluster.witness and cluster.witness.grant.standby, limit_s=3.0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await cluster.stop()


async def test_what_a_stranger_says_of_epochs_does_not_keep_a_node_from_leading(cluster: Cluster) -> None:
    await cluster.submit(await cluster.paired())
    for name in "ab":
        link = await MemoryNetwork(cluster.cables, "stranger").connect(name)
        link.send(Message(Say.FOLLOW, 2**64 - 1, body=b"{}"))
        assert (await link.receive()).kind is Say.REFUSED
        link.close()
    await cluster.kill("a")
    await cluster.until(lambda: cluster.leaders, limit_s=2.0)


async def test_without_standby_and_witness_nothing_is_acknowledged(cluster: Cluster) -> None:
    leader = await cluster.paired()
    await cluster.kill("w")
    await cluster.kill("b")
    with pytest.raises(UnavailableError, match="no word of standby or witness in 2 s"):
        await cluster.submit(leader)
    with pytest.raises(NotLeadingError):
        await cluster.submit(leader)
    await cluster.start("w")
    await cluster.until(lambda: cluster.leaders)
    # Nobody knew whether the first was kept: the new epoch says that it was.
    assert list(leader.replica.venue.taken) == [1]


async def test_a_leader_that_cannot_renew_stops_before_its_lease_ends(cluster: Cluster) -> None:
    leader = await cluster.paired()
    cluster.cables.cut.add(frozenset(("a", "w")))
    cut_at_s = world.monotonic()
    with suppress(UnavailableError, NotLeadingError):
        while True:
            await cluster.submit(leader)
            await asyncio.sleep(0.01)
    last_s = cluster.acknowledged[-1].at_s - cut_at_s
    assert 0.4 < last_s < 0.7 * 0.9
    # The standby was there all the time; it may lead since the lease is over.
    cluster.cables.cut.add(frozenset(("a", "b")))
    await cluster.until(lambda: [node.name for node in cluster.leaders] == ["b"])
    await cluster.submit(cluster.nodes["b"])


async def test_an_old_leader_that_was_cut_off_learns_that_it_leads_no_more_and_gives_up_its_frames(
    cluster: Cluster,
) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader)
    cluster.cables.cut |= {frozenset(("a", "b")), frozenset(("a", "w"))}
    lost = asyncio.create_task(leader.submit(orders(900)))
    await cluster.until(lambda: "b" in [node.name for node in cluster.leaders])
    await cluster.submit(cluster.nodes["b"])
    with pytest.raises(UnavailableError):
        await lost
    assert leader.replica.log.end.sequence == 2
    assert 900 not in leader.replica.venue.taken
    cluster.cables.mend()
    assert (await cluster.paired()).name == "b"
    await cluster.submit(cluster.nodes["b"])
    await asyncio.sleep(0.2)
    assert leader.replica.venue.dump() == cluster.nodes["b"].replica.venue.dump()
    assert list(leader.replica.venue.taken) == [1, 2, 3]


async def test_a_leader_whose_disk_fails_ends_and_the_standby_leads(cluster: Cluster) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader)

    def refuse() -> None:
        raise LogBrokenError("log", "Input/output error")

    leader.replica.log.sync = refuse  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="Input/output error"):
        await cluster.submit(leader)
    with pytest.raises(LogBrokenError, match="mend the disk and start it again"):
        await leader.wait()
    await cluster.until(lambda: [node.name for node in cluster.leaders] == ["b"], limit_s=1.0)
    # The standby had the frame, and nobody knew: now it is kept.
    assert list(cluster.nodes["b"].replica.venue.taken) == [1, 2]


@pytest.mark.parametrize("what", ["receive", "accept"])
async def test_a_standby_whose_disk_fails_ends_and_does_not_take_it_for_a_lost_connection(
    tmp_path: Path, what: str
) -> None:
    small = SequencerSettings(snapshot_commands=1_000, segment_bytes=1 << 16, keep_segments=0)
    cluster = Cluster(tmp_path, settings=small)
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)
    for _ in range(60):
        await cluster.submit(cluster.nodes["a"], 100)
    assert cluster.nodes["a"].replica.log.begin.sequence > 0

    def refuse(_: object) -> None:
        raise OSError(28, "No space left on device")

    await cluster.start("b")
    setattr(cluster.nodes["b"].replica.snapshots, what, refuse)
    with pytest.raises(LogBrokenError, match="No space left on device"):
        async with asyncio.timeout(5):
            await cluster.nodes["b"].wait()
    await cluster.stop()


async def test_a_node_that_begins_anew_keeps_nothing_of_a_snapshot_that_was_under_way(tmp_path: Path) -> None:
    async with DurableSequencer(tmp_path / "other", Tally) as other:
        await other.submit(orders(1, 9))
        snapshot = other._replica.dumped()
    async with DurableSequencer(tmp_path / "mine", Tally) as mine:
        await mine.submit(orders(101))
        mine._replica.snapshot()
        await mine._replica.begin_with(snapshot)
        await mine._replica.settle()
        assert mine._replica.snapshots.sequences() == [9]


def test_a_frame_that_does_not_follow_what_is_done_is_not_done(tmp_path: Path) -> None:
    replica = Replica(tmp_path, Tally, SequencerSettings())
    replica.open()
    stray = Frame.after(replica.done._replace(crc=7), orders(1), at_ns=5)
    replica._held.append(stray)
    with pytest.raises(LogDamagedError, match="begins with command 1 does not follow what is done"):
        replica.do(1)
    replica.close()


async def test_a_standby_far_behind_begins_with_a_snapshot(tmp_path: Path) -> None:
    small = SequencerSettings(snapshot_commands=1_000, segment_bytes=1 << 16, keep_segments=0)
    cluster = Cluster(tmp_path, settings=small)
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)
    for _ in range(60):
        await cluster.submit(cluster.nodes["a"], 100)
    assert cluster.nodes["a"].replica.log.begin.sequence > 0
    cluster.nodes["a"].replica.dumped = None  # type: ignore[assignment]  # the leader is not held up by a dump
    await cluster.start("b")
    await cluster.paired()
    await cluster.submit(cluster.nodes["a"])
    await cluster.kill("a")
    await cluster.until(lambda: cluster.leaders)
    assert (await cluster.submit(cluster.nodes["b"])).sequence == 6_002
    # And from there it starts again by itself.
    state = cluster.nodes["b"].replica.venue.dump()
    await cluster.kill("b")
    await cluster.start("b")
    await cluster.until(lambda: cluster.leaders)
    assert cluster.nodes["b"].replica.venue.dump() == state
    await cluster.stop()


async def test_a_log_of_another_exchange_is_refused(tmp_path: Path) -> None:
    async with DurableSequencer(tmp_path / "b", Tally) as other:
        for n in range(5):
            await other.submit(orders(n + 100))
    cluster = Cluster(tmp_path)
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)
    await cluster.submit(cluster.nodes["a"])
    await cluster.start("b")
    with pytest.raises(LogsDifferError, match="belongs to another exchange or is damaged"):
        await cluster.nodes["b"].wait()
    await cluster.stop()


async def test_a_witness_that_has_lost_what_it_kept_grants_nothing(cluster: Cluster) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader)
    for name in ("a", "b", "w"):
        await cluster.kill(name)
    (cluster.folder / "w" / "grant.json").unlink()
    for name in ("w", "b", "a"):
        await cluster.start(name)
    await asyncio.sleep(3)
    assert cluster.leaders == []


@pytest.mark.parametrize(
    "kept", [b"", b"{", b"[1]", b"7", b'{"epok":1}', b'{"epoch":"1"}', b'{"leader":null}', b"\xff"]
)
async def test_a_witness_whose_file_is_damaged_says_so_and_changes_nothing(tmp_path: Path, kept: bytes) -> None:
    cluster, file = Cluster(tmp_path), tmp_path / "w" / "grant.json"
    file.parent.mkdir()
    file.write_bytes(kept)
    with pytest.raises(ConfigError, match=r"grant\.json is damaged .*: nobody knows any more who may lead"):
        await cluster.start("w")
    assert file.read_bytes() == kept


async def test_what_ran_alone_goes_on_in_two(tmp_path: Path) -> None:
    async with DurableSequencer(tmp_path / "a", Tally) as alone:
        await alone.submit(orders(1, 3))
    cluster = Cluster(tmp_path, next_order=4)
    cluster.witness = await Witness(
        tmp_path / "w", network=MemoryNetwork(cluster.cables, "w"), listen="w", epoch=1
    ).__aenter__()
    for name in ("a", "b"):
        await cluster.start(name)
    assert (await cluster.submit(await cluster.paired())).sequence == 4
    assert list(cluster.nodes["b"].replica.venue.taken)[:3] == [1, 2, 3]
    await cluster.stop()


async def test_a_new_witness_lets_nobody_begin_who_lacks_the_log_that_is_there(tmp_path: Path) -> None:
    async with DurableSequencer(tmp_path / "b", Tally) as alone:
        await alone.submit(orders(1, 3))
    cluster = Cluster(tmp_path, next_order=4)
    network = MemoryNetwork(cluster.cables, "w")
    cluster.witness = await Witness(tmp_path / "w", network=network, listen="w", epoch=1).__aenter__()
    await cluster.start("a")  # which may begin, as far as it knows, and has nothing
    await asyncio.sleep(3)
    assert cluster.leaders == []
    await cluster.start("b")
    assert (await cluster.submit(await cluster.paired())).node == "b"
    assert list(cluster.nodes["a"].replica.venue.taken)[:3] == [1, 2, 3]
    await cluster.stop()


async def test_a_client_finds_who_leads_and_goes_on_with_who_leads_next(cluster: Cluster) -> None:
    await cluster.paired()
    async with RemoteSequencer(MemoryNetwork(cluster.cables, "client"), ("b", "a")) as remote:
        heard: list[int] = []

        async def listen() -> None:
            async for batch in remote.follow(0):
                heard.extend(batch.commands["id"].tolist())

        listening = asyncio.create_task(listen())
        batch = await remote.submit(orders(1, 2))
        assert (batch.first, batch.last, batch.events["id"].tolist()) == (1, 2, [1, 2])
        await cluster.kill("a")
        with suppress(UnavailableError):
            await remote.submit(orders(3))
        again = await remote.submit(orders(3))
        assert again.first in {3, 4}
        await cluster.until(lambda: 3 in heard)
        assert heard[:3] == [1, 2, 3]
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


class Loud(Tally):
    """Much comes of each command."""

    def apply(self, commands: Commands, at_ns: int) -> Events:
        return np.repeat(super().apply(commands, at_ns), 20)


async def test_a_client_is_told_all_that_comes_of_a_large_batch(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, venue=Loud)
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)
    async with RemoteSequencer(MemoryNetwork(cluster.cables, "client"), ("a",)) as remote:
        batch = await remote.submit(orders(1, 16_384))
        assert len(batch.events) == 20 * 16_384
        stream = remote.follow(0)
        async with asyncio.timeout(5):
            followed = await anext(stream)
        await stream.aclose()
        assert (followed.last, followed.events.tobytes()) == (16_384, batch.events.tobytes())
        with pytest.raises(FrameTooLargeError, match="65537 commands at once: submit from 1 to 65536"):
            await remote.submit(np.zeros(65_537, COMMAND))
    await cluster.stop()


async def test_many_that_follow_find_the_node_that_is_there(cluster: Cluster) -> None:
    await cluster.submit(await cluster.paired())
    async with RemoteSequencer(MemoryNetwork(cluster.cables, "client"), ("away", "a")) as remote:
        streams = [remote.follow(0) for _ in range(2)]
        async with asyncio.timeout(3):
            batches = await asyncio.gather(*(anext(stream) for stream in streams))
        assert [batch.commands["id"].tolist() for batch in batches] == [[1], [1]]
        for stream in streams:
            await stream.aclose()


async def busy(cluster: Cluster) -> None:
    """Submit without end to whoever leads."""
    random = cluster.random
    while True:
        for node in cluster.leaders:
            with suppress(ArchstoneError, TimeoutError):
                async with asyncio.timeout(4):
                    await cluster.submit(node, random.randint(1, 3))
        await asyncio.sleep(random.uniform(0.001, 0.2))


async def disturb(cluster: Cluster) -> None:
    """Kill, cut, mend or start something."""
    random = cluster.random
    name = random.choice("aabbw")
    match random.choice(["kill", "kill", "cut", "mend", "start"]):
        case "kill" if cluster.alive(name):
            await cluster.kill(name, silently=random.random() < 0.5)
        case "cut":
            cluster.cables.cut.add(frozenset(random.sample("abw", 2)))
        case "mend":
            cluster.cables.mend()
        case _:
            await start_those_away(cluster, lambda: random.random() < 0.7)


async def start_those_away(cluster: Cluster, chosen: Callable[[], bool]) -> None:
    for name in "abw":
        if not cluster.alive(name) and chosen():
            await cluster.start(name)


async def shaken(cluster: Cluster, *, rounds: int) -> None:
    """Submit without end, while chance disturbs, and let all be well again."""
    clients = [asyncio.create_task(busy(cluster)) for _ in range(3)]
    for _ in range(rounds):
        await asyncio.sleep(cluster.random.uniform(0.0, 0.8))
        await disturb(cluster)
    cluster.cables.mend()
    await start_those_away(cluster, lambda: True)
    for each in clients:
        each.cancel()
    await asyncio.gather(*clients, return_exceptions=True)


def check(cluster: Cluster) -> None:
    """Check what must never be false."""
    by_epoch: defaultdict[int, set[str]] = defaultdict(set)
    for told in cluster.acknowledged:
        by_epoch[told.epoch].add(told.node)
    assert all(len(nodes) == 1 for nodes in by_epoch.values()), "two nodes acknowledged in one epoch"
    epochs = [told.epoch for told in sorted(cluster.acknowledged, key=lambda told: told.at_s)]
    assert epochs == sorted(epochs), "an old leader acknowledged after a new one"
    one, other = (cluster.nodes[name].replica for name in "ab")
    assert one.venue.dump() == other.venue.dump()
    place = {order: number for number, order in kept(cluster.nodes["a"])}
    for told in cluster.acknowledged:
        assert place[told.order] == told.sequence, "an acknowledged command is lost or has moved"


def kept(node: Node) -> list[tuple[int, int]]:
    """Return number and order of each command of a node's log."""
    log = node.replica.log
    pairs = [
        pair
        for frame in log.read(log.begin.position)
        for pair in zip(frame.commands["sequence"].tolist(), frame.commands["id"].tolist(), strict=True)
    ]
    assert [number for number, _ in pairs] == [*range(1, len(pairs) + 1)]
    return pairs


SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 40))]


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_dies_and_is_cut_nothing_acknowledged_is_lost(tmp_path: Path, seed: int) -> None:
    cluster = Cluster(tmp_path, Random(seed))
    for name in ("w", "a", "b"):
        await cluster.start(name)
    await shaken(cluster, rounds=20)
    leader = await cluster.paired()
    await cluster.submit(leader)
    await asyncio.sleep(0.3)
    check(cluster)
    assert len(cluster.acknowledged) > 10  # of one seed the witness is away for most of the time
    state = leader.replica.venue.dump()
    await cluster.stop()
    async with DurableSequencer(tmp_path / leader.name, Tally) as replayed:
        assert replayed.venue.dump() == state


def test_times_of_a_node_say_all_that_is_wrong_at_once() -> None:
    with pytest.raises(ValueError, match=r"silence_s=0\.1 must be above beat_s") as raised:
        NodeSettings(silence_s=0.1, drift_ratio=1.0)
    assert "drift_ratio=1.0" in str(raised.value)


async def test_a_disk_that_fails_after_the_answer_ends_a_node_that_has_nothing_to_do(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, settings=SequencerSettings(acknowledge_before_fsync=True))
    for name in ("w", "a"):
        await cluster.start(name)
    await cluster.until(lambda: cluster.leaders)
    (leader,) = cluster.leaders

    def refuse() -> None:
        raise LogBrokenError("log", "Input/output error")

    leader.replica.log.sync = refuse  # type: ignore[method-assign]
    await cluster.submit(leader)
    with pytest.raises(LogBrokenError, match="Input/output error"):
        async with asyncio.timeout(1):
            await leader.wait()
    await cluster.stop()


async def test_a_node_whose_disk_was_full_in_the_middle_of_a_frame_opens_again_once_there_is_room(
    cluster: Cluster,
) -> None:
    leader = await cluster.paired()
    await cluster.submit(leader)
    log = cluster.nodes["b"].replica.log

    def half(frame: Frame) -> None:
        os.write(log._open_descriptor, b"".join(frame.parts)[:70])
        raise OSError(28, "No space left on device")

    log._write = half  # type: ignore[method-assign]
    await cluster.submit(leader)  # which goes on alone
    with pytest.raises(LogBrokenError, match="No space left on device"):
        await cluster.nodes["b"].wait()
    await cluster.kill("b")
    await cluster.start("b")
    await cluster.paired()
    assert cluster.nodes["b"].replica.log.end.sequence == 2
