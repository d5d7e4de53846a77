"""What travels between nodes: each message is read as it was sent, and nothing else is taken for one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from links import Cables, MemoryNetwork
from tally import Tally, orders

from archstone.errors import InvalidError
from archstone.systems.exchange.node import main
from archstone.systems.exchange.sequencer import (
    FrameTooLargeError,
    Node,
    Place,
    RemoteSequencer,
    SequencerSettings,
    TcpNetwork,
    UnavailableError,
    Witness,
    tcp_link,
)
from archstone.systems.exchange.sequencer.frames import Mark
from archstone.systems.exchange.sequencer.network import (
    MAX_BODY_BYTES,
    Link,
    Message,
    Say,
    Serve,
    decode,
    encode,
    in_pieces,
    receive_whole,
)
from archstone.systems.exchange.sequencer.snapshots import Snapshot

NUMBERS = st.integers(0, 2**64 - 1)
MESSAGES = st.builds(Message, st.sampled_from(Say), NUMBERS, NUMBERS, NUMBERS, st.binary(max_size=200))


@given(message=MESSAGES, behind=st.binary(max_size=60))
def test_a_message_is_read_as_it_was_sent_whatever_follows(message: Message, behind: bytes) -> None:
    data = encode(message)
    assert decode(memoryview(data + behind)) == message
    assert all(decode(memoryview(data[:size])) is None for size in (0, 39, len(data) - 1))


@given(message=MESSAGES, where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_message_with_any_byte_changed_is_not_taken(message: Message, where: float, flip: int) -> None:
    data = bytearray(encode(message))
    data[int(where * len(data))] ^= flip
    with suppress(ConnectionError):
        assert decode(memoryview(data)) is None  # its length says that more is to come


@pytest.mark.parametrize("more", [-1, 0, 1, MAX_BODY_BYTES + 5])
async def test_a_message_of_any_length_comes_whole_in_pieces_that_are_taken(more: int) -> None:
    message = Message(Say.BATCH, 7, 8, 9, bytes(range(256)) * (MAX_BODY_BYTES // 256) + bytes(max(more, 0)))
    message = message._replace(body=message.body[: MAX_BODY_BYTES + more])
    cables = Cables(Random(1))
    received: list[Message] = []

    async def serve(link: Link) -> None:
        received.extend([await receive_whole(link), await receive_whole(link)])

    await MemoryNetwork(cables, "node").listen("node", serve)
    link = await MemoryNetwork(cables, "client").connect("node")
    for piece in [*in_pieces(message), *in_pieces(Message(Say.LOOK))]:
        link.send(piece)
    await asyncio.sleep(1)
    assert received == [message, Message(Say.LOOK)]


def test_a_body_that_is_too_long_is_not_sent() -> None:
    assert len(encode(Message(Say.FRAME, body=bytes(MAX_BODY_BYTES)))) == 40 + MAX_BODY_BYTES
    with pytest.raises(ValueError, match="at most 16777216"):
        encode(Message(Say.FRAME, body=bytes(MAX_BODY_BYTES + 1)))


@pytest.mark.real_time
async def test_a_connection_to_a_machine_that_vanished_ends() -> None:
    """By the system: here only that it is told to."""
    links: list[Link] = []

    async def serve(link: Link) -> None:
        links.append(link)
        await link.receive()

    network = TcpNetwork()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    listener = await network.listen(address, serve)
    links.append(await network.connect(address))
    await asyncio.sleep(0.05)
    for link in links:
        connection = link._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5_000
    assert len(links) == 2
    for link in links:
        link.close()
    await listener.close()


def test_a_body_that_is_too_long_is_refused_before_it_has_come() -> None:
    head = bytearray(encode(Message(Say.FRAME))[:40])
    head[4:8] = (MAX_BODY_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(ConnectionError, match="at most 16777216"):
        decode(memoryview(head))
    head[4:8] = MAX_BODY_BYTES.to_bytes(4, "little")
    assert decode(memoryview(head)) is None


@given(
    epoch=NUMBERS,
    sequence=NUMBERS,
    digest=NUMBERS,
    dump=st.binary(max_size=100),
    where=st.floats(0, 1),
    flip=st.integers(1, 255),
)
def test_a_snapshot_is_read_as_it_was_written_and_never_otherwise(
    epoch: int, sequence: int, digest: int, dump: bytes, where: float, flip: int
) -> None:
    snapshot = Snapshot(Mark(epoch, sequence, 5, 77), digest, dump)
    data = bytearray(snapshot.head + dump)
    assert Snapshot.decode(bytes(data)) == snapshot
    assert Snapshot.decode(bytes(data[:-1])) is None
    data[min(int(where * len(data)), len(data) - 1)] ^= flip
    assert Snapshot.decode(bytes(data)) is None


def test_a_mark_of_another_length_is_none() -> None:
    mark = Mark(1, 2, 3, 4)
    assert Mark.decode(mark.encode()) == mark
    with pytest.raises(ValueError, match="28 bytes, not 27"):
        Mark.decode(mark.encode()[:-1])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ["--listen", "10.0.0.7:7101"],
            "10.0.0.7:7101 is not on this machine, and without TLS all that travels can be read and forged",
        ),
        (["--listen", "127.0.0.1:7101", "--peer", "example.org:1"], "example.org:1 is not on this machine"),
        (["--listen", "localhost:7101"], "a leader needs --name, --peer and --witness"),
        (["--listen", "10.0.0.7:7101", "--tls", "tls"], "--tls needs --domain, and --caller with the name"),
        (["--listen", "10.0.0.7:7101", "--tls", "tls", "--domain", "x", "--caller", "b"], "No such file"),
    ],
)
def test_a_process_that_cannot_be_right_says_why_and_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], why: str
) -> None:
    assert main(["--role", "leader", "--data", str(tmp_path / "a"), *options]) == 1
    assert why in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.real_time
async def test_whoever_talks_nonsense_is_cut_off_and_the_others_are_served(tmp_path: Path) -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    witness, mine, other = (f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    place = Place(name="a", listen=mine, peer=other, witness=witness)
    network, small = TcpNetwork(), SequencerSettings(max_frame=10)
    async with (
        Witness(tmp_path / "w", network=network, listen=witness),
        Node(place, tmp_path / "a", Tally, network=network, eager=True, settings=small),
        RemoteSequencer(network, (other, mine), patience_s=20) as remote,
    ):
        for address in (witness, mine):
            for said in (
                b"GET / HTTP/1.1\r\n\r\n" * 10,
                encode(Message(Say.FOLLOW, body=b"{")),
                encode(Message(Say.ASK, body=b"[]")),
                encode(Message(Say.SUBMIT, body=b"x")),
            ):
                reader, writer = await asyncio.open_connection(*address.split(":"))
                writer.write(said)
                if not said.endswith(b"x"):
                    writer.write_eof()
                    await reader.read()
                writer.close()
                await writer.wait_closed()
        batch = await remote.submit(orders(1, 3))
        assert batch.events["id"].tolist() == [1, 2, 3]
        with pytest.raises(InvalidError, match="11 commands at once: submit from 1 to 10"):
            await remote.submit(orders(4, 11))
        assert issubclass(FrameTooLargeError, InvalidError)
        stream = remote.follow(1)
        assert (await anext(stream)).commands["id"].tolist() == [2, 3]
        await stream.aclose()


@asynccontextmanager
async def listening(network: TcpNetwork, serve: Serve) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    listener = await network.listen(address, serve)
    try:
        yield address
    finally:
        await listener.close()


async def echo(link: Link) -> None:
    while True:
        link.send(await link.receive())


async def ping(link: Link) -> Message:
    link.send(Message(Say.BEAT))
    async with asyncio.timeout(5):
        return await link.receive()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the other end ends the connection."""
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            return await reader.read()
        return b""


@pytest.mark.real_time
async def test_more_connections_than_may_be_are_told_so_and_far_more_are_just_ended() -> None:
    network = TcpNetwork(max_connections=2)
    async with listening(network, echo) as address:
        links = [await network.connect(address) for _ in range(2)]
        for link in links:
            await ping(link)
        for _ in range(40):  # none that was refused counts
            refused = await network.connect(address)
            with pytest.raises(ConnectionResetError, match=r"^2 connections are open at 127.*, and no more are taken$"):
                await ping(refused)
        flood = [await asyncio.open_connection(*address.split(":")) for _ in range(60)]
        answers = await asyncio.gather(*(ended(reader) for reader, _ in flood))
        assert {
            b"",
            encode(Message(Say.FULL, body=b"2 connections are open at %b, and no more are taken" % address.encode())),
        } >= {*answers}
        for _, writer in flood:
            writer.close()
        for link in links:
            assert (await ping(link)).kind is Say.BEAT  # and they are served as before
        links.pop().close()
        for _ in range(100):
            with suppress(ConnectionError):
                links.append(await network.connect(address))
                await ping(links[-1])
                break
        else:
            pytest.fail("there is room again, and nobody is let in")
        for link in links:
            link.close()


@pytest.mark.real_time
@pytest.mark.parametrize("said", [b"", encode(Message(Say.BEAT))[:39], encode(Message(Say.BEAT)) * 2 + b"\x01"])
async def test_who_says_nothing_or_never_comes_to_the_end_is_cut_off(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_link, "_WHOLE_S", 0.2)
    network = TcpNetwork()
    async with listening(network, echo) as address:
        quick = await network.connect(address)
        await ping(quick)
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(said)
        assert len(await ended(reader)) == len(said) // 40 * 40
        writer.close()
        assert (await ping(quick)).kind is Say.BEAT  # who has said something may say nothing for as long as it likes
        quick.close()


@pytest.mark.real_time
async def test_what_nobody_receives_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_link, "_MAX_PENDING_BYTES", 1 << 20)
    links: list[Link] = []
    go_on = asyncio.Event()

    async def serve(link: Link) -> None:
        links.append(link)
        await go_on.wait()
        await echo(link)

    network = TcpNetwork()
    async with listening(network, serve) as address:
        link = await network.connect(address)
        sent = 64 * [Message(Say.FRAME, body=bytes(1 << 18))]
        for message in sent:
            link.send(message)
        async with asyncio.timeout(5):
            while not links or links[0].pending < 5:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert links[0].pending <= 8
        go_on.set()
        async with asyncio.timeout(5):
            assert [await link.receive() for _ in sent] == sent
        link.close()


@pytest.mark.real_time
@pytest.mark.parametrize(("resets", "why"), [(False, "no sign of life for 1 s"), (True, "the connection has ended")])
async def test_a_node_that_takes_connections_and_no_more_is_left_for_the_other_one(
    tmp_path: Path, resets: bool, why: str
) -> None:
    """It hangs, and its system goes on; or it has died behind a proxy."""
    taken: list[asyncio.StreamWriter] = []

    def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        if resets:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    hung = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    witness, mine = (f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    network = TcpNetwork()
    place = Place(name="a", listen=mine, peer=hung, witness=witness)
    async with (
        server,
        Witness(tmp_path / "w", network=network, listen=witness),
        Node(place, tmp_path / "a", Tally, network=network, eager=True),
        RemoteSequencer(network, (hung, mine), patience_s=20) as remote,
    ):
        async with asyncio.timeout(4):
            with pytest.raises(UnavailableError, match=why):
                await remote.submit(orders(1))
            assert (await remote.submit(orders(1))).first == 1
    for each in taken:
        each.transport.abort()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--venue", "nowhere:X"], "--venue nowhere:X: No module named 'nowhere': write MODULE:CLASS"),
        (["--venue", "tally:X"], "--venue tally:X: module 'tally' has no attribute 'X'"),
        (["--role", "witness", "--lease", "0"], "lease_s=0.0, epoch=0: above 0"),
        (["--role", "witness", "--lease", "nan"], "lease_s=nan, epoch=0: above 0"),
        (["--role", "witness", "--epoch", "-1"], "epoch=-1: above 0 and finite, and at least 0"),
    ],
)
def test_options_that_name_nothing_that_is_there_say_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], why: str
) -> None:
    mine = ["--name", "a", "--listen", "127.0.0.1:1", "--peer", "127.0.0.1:2", "--witness", "127.0.0.1:3"]
    assert main(["--role", "leader", *mine, "--data", str(tmp_path / "a"), *options]) == 1
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("role", ["witness", "leader"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        mine = ["--name", "a", "--listen", listen, "--peer", "127.0.0.1:2", "--witness", "127.0.0.1:3"]
        assert main(["--role", role, *mine, "--data", str(tmp_path)]) == 1
    assert f"the {role} cannot start: [Errno" in (told := capsys.readouterr().err)
    assert f"--listen {listen}" in told
