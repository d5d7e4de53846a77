"""Processes of a sequencer that prove to each other who they are, and who is refused. On real sockets."""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attack_stage import caught_later
from tally import Tally, orders

from archstone import world
from archstone.errors import ConfigError
from archstone.security.authority import IDENTITY, TRUSTED, Authority
from archstone.security.mtls import Identity
from archstone.systems.exchange.sequencer import (
    Node,
    Place,
    RemoteSequencer,
    TcpNetwork,
    UnavailableError,
    Witness,
    tcp,
    tcp_link,
)
from archstone.systems.exchange.sequencer.following import follow_message
from archstone.systems.exchange.sequencer.frames import Position
from archstone.systems.exchange.sequencer.grant import Ask
from archstone.systems.exchange.sequencer.network import Link, Message, Say, encode
from archstone.systems.exchange.sequencer.tcp_link import Tls

DOMAIN = "exchange.internal"
HERE = Path(__file__).parent
pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(DOMAIN)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    """Return a folder with a folder of each service."""
    found = tmp_path_factory.mktemp("tls")
    for name in ("a", "b", "w", "desk", "other"):
        authority.give(name, found / name)
    return found


def network(folder: Path, *callers: str) -> TcpNetwork:
    return TcpNetwork(Identity(folder, domain=DOMAIN), callers=callers or None)


def free(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found


class Listening:
    """A process that hears, and answers what it heard first with a sign of life."""

    def __init__(self, tls: Tls | None, *callers: str) -> None:
        self.network = TcpNetwork(tls, callers=callers or None)
        (self.address,) = free(1)
        self.heard: list[Message] = []
        self.links: list[Link] = []

    async def serve(self, link: Link) -> None:
        self.links.append(link)
        self.heard.append(await link.receive())
        link.send(Message(Say.BEAT))
        await link.receive()


@asynccontextmanager
async def listening(tls: Tls | None, *callers: str) -> AsyncIterator[Listening]:
    it = Listening(tls, *callers)
    listener = await it.network.listen(it.address, it.serve)
    try:
        yield it
    finally:
        await listener.close()


async def told(it: Listening, context: ssl.SSLContext | None) -> bytes:
    """Connect as anybody might, say something, and return what comes back."""
    host, _, port = it.address.partition(":")
    got = b""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(encode(Message(Say.LOOK)))
        async with asyncio.timeout(5):
            got = await reader.read(40)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return got


async def test_two_that_are_expected_talk_and_each_knows_who_the_other_is(tls: Path) -> None:
    async with listening(Identity(tls / "a", domain=DOMAIN), "b", "desk") as it:
        link = await network(tls / "desk").connect(f"a@{it.address}")
        link.send(Message(Say.LOOK))
        assert (await link.receive()).kind is Say.BEAT
        assert link.service == "a"
        assert it.links[0].service == "desk"
        link.close()


async def test_a_connection_ends_with_the_certificate_of_either_end(
    tls: Path, tmp_path: Path, authority: Authority
) -> None:
    for ends in ("of who listens", "of who connects"):
        brief = authority.give("brief", tmp_path / "brief", lifetime_s=2.0)
        mine, theirs = tls / "desk", tmp_path / "brief"
        if ends == "of who connects":
            mine, theirs = theirs, mine
        async with listening(Identity(theirs, domain=DOMAIN)) as it:
            link = await network(mine).connect(f"{theirs.name}@{it.address}")
            link.send(Message(Say.LOOK))
            await link.receive()
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(4):
                    await link.receive()
            assert -1 < (world.now() - brief.ends_at).total_seconds() < 1  # certificates have whole seconds


@pytest.mark.parametrize(
    ("secured", "address", "why"),
    [
        (False, "10.0.0.7:7101", r"10\.0\.0\.7:7101 is not on this machine.*\(--tls\).*--private-network"),
        (False, "example.org:7101", "example.org:7101 is not on this machine"),
        (False, "b@127.0.0.1:7101", "names who must be there, and without TLS nobody proves it"),
        (True, "127.0.0.1:7101", "does not say whose certificate must be there: write SERVICE@127.0.0.1:7101"),
        (True, "b@127.0.0.1", "write HOST:PORT, or SERVICE@HOST:PORT"),
    ],
)
async def test_an_address_that_nobody_could_be_sure_of_is_refused_with_what_to_do(
    tls: Path, secured: bool, address: str, why: str
) -> None:
    it = network(tls / "a") if secured else TcpNetwork()
    with pytest.raises(ConfigError, match=why):
        await it.connect(address)


async def test_other_machines_are_listened_to_with_a_certificate_or_on_a_private_network_alone(tls: Path) -> None:
    async def serve(link: Link) -> None: ...

    with pytest.raises(ConfigError, match="is not on this machine"):
        await TcpNetwork().listen("0.0.0.0:0", serve)
    for it in (TcpNetwork(private_network=True), network(tls / "a")):
        await (await it.listen("0.0.0.0:0", serve)).close()


async def test_why_a_connection_ends_is_told_and_not_with_each_try(
    tls: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with listening(Identity(tls / "a", domain=DOMAIN), "b") as it:
        for _ in range(3):
            link = await network(tls / "desk").connect(f"a@{it.address}")
            with pytest.raises(ConnectionResetError):
                await link.receive()
    told = "".join(capfd.readouterr())
    assert told.count("the other end is service desk, and must be service b") == 1


class Yesterday(world.World):
    """A world two days ago."""

    def now_us(self) -> int:
        return super().now_us() - 2 * 86_400_000_000


class Unasked:
    """A weak listener: it asks nobody who they are."""

    def __init__(self, folder: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / IDENTITY)

    client = server = lambda self: self.context

    def peer(self, certificate: Mapping[str, Any] | None, *, among: Collection[str] | None = None) -> str:
        return "b"


STRANGERS = ["plain", "none", "foreign", "ended", "other"]


def stranger(who: str, tls: Path, folder: Path, authority: Authority) -> ssl.SSLContext | None:
    """Return with what somebody connects who may not."""
    if who == "plain":
        return None
    if who == "foreign":
        Authority.create(DOMAIN).give("b", folder)
    elif who == "ended":
        with world.use(Yesterday()):
            authority.give("b", folder, lifetime_s=86_400)
    elif who == "other":
        shutil.copytree(tls / "other", folder, dirs_exist_ok=True)
    context = ssl.create_default_context(cafile=str(tls / "a" / TRUSTED))
    context.check_hostname = False
    if who != "none":
        context.load_cert_chain(folder / IDENTITY)
    return context


@pytest.mark.parametrize("who", STRANGERS)
async def test_attack_a_stranger_at_the_port_of_a_node(
    tls: Path, tmp_path: Path, authority: Authority, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reaches the port could submit orders, or read all of them: he is heard by nobody and told nothing."""
    context = stranger(who, tls, tmp_path, authority)

    async def check(mine: Tls | None, *callers: str) -> None:
        async with listening(mine, *callers) as it:
            assert await told(it, context) == b""
            assert it.heard == []

    identity = Identity(tls / "a", domain=DOMAIN)
    await check(identity, "b", "desk")
    if who == "plain":
        await caught_later(lambda: check(None))  # weak: nothing is encrypted
    elif who == "other":
        await caught_later(lambda: check(identity))  # weak: whoever is of the domain
    else:
        monkeypatch.setattr("archstone.systems.exchange.sequencer.tcp.TcpLink.prove", lambda *_: None)
        await caught_later(lambda: check(Unasked(tls / "a")))


class Credulous:
    """A weak client: it takes whoever is there for whom it called."""

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    client = server = lambda self: self.context

    def peer(self, certificate: Mapping[str, Any] | None, *, among: Collection[str] | None = None) -> str:
        return "b"


@pytest.mark.parametrize("who", ["foreign", "another", "plain"])
async def test_attack_somebody_in_place_of_the_node_that_is_called(
    tls: Path, tmp_path: Path, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes over an address, or stands between, gets no order, no frame, no question to the witness."""
    Authority.create(DOMAIN).give("b", tmp_path)
    theirs = {"foreign": tmp_path, "another": tls / "other"}.get(who)
    context = None
    if theirs is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # he takes whoever comes
        context.load_cert_chain(theirs / IDENTITY)

    async def check(mine: TcpNetwork, name: str) -> None:
        heard: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                heard.append(await reader.read(100))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with server:
            with suppress(OSError):
                link = await mine.connect(f"{name}127.0.0.1:{server.sockets[0].getsockname()[1]}")
                link.send(Message(Say.SUBMIT))
                with suppress(OSError):
                    await link.receive()
                link.close()
            async with asyncio.timeout(5):
                while context is None and not heard:
                    await asyncio.sleep(0.01)
        # In the clear he hears that somebody wants to talk TLS, and no more.
        assert [said for said in heard if said and said[:1] != b"\x16"] == []

    await check(network(tls / "a"), "b@")
    if who == "plain":
        await caught_later(lambda: check(TcpNetwork(), ""))  # weak: nothing is encrypted
    else:
        monkeypatch.setattr("archstone.systems.exchange.sequencer.tcp.TcpLink.prove", lambda *_: None)
        await caught_later(lambda: check(TcpNetwork(Credulous()), "b@"))


async def test_attack_a_client_of_the_domain_that_speaks_for_a_node(
    tls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A desk may submit; were it to ask the witness, or to follow in the standby's name, it could stop the exchange."""
    asked = Message(Say.ASK, 0, 0, 1, f'{{"what": {Ask.CLAIM:d}, "node": "a/1", "other": ""}}'.encode())

    async def refused(address: str, *messages: Message) -> None:
        for message in messages:
            link = await network(tls / "desk").connect(address)
            link.send(message)
            with pytest.raises(ConnectionResetError):
                async with asyncio.timeout(5):
                    await link.receive()
            link.close()

    async def check(folder: Path) -> None:
        witness, mine, other = free(3)
        place = Place(name="a", listen=mine, peer=f"b@{other}", witness=f"w@{witness}")
        async with Witness(folder / "w", network=network(tls / "w", "a", "b", "desk"), listen=witness) as kept:
            await refused(f"w@{witness}", asked)
            assert kept.grant.leader == ""
            node = Node(place, folder / "a", Tally, network=network(tls / "a", "b", "desk"), eager=True)
            async with node, RemoteSequencer(network(tls / "desk"), (f"a@{mine}",), patience_s=20) as desk:
                assert (await desk.submit(orders(1))).first == 1
                start = (Position(0, 0),)
                await refused(f"a@{mine}", follow_message("b/1", start), follow_message("desk/1", start))
                assert node.leading is not None
                assert node.leading.held is None

    await check(tmp_path / "strict")
    for where in ("witness", "node"):
        with monkeypatch.context() as weak:  # a name is believed that the certificate does not bear out
            weak.setattr(f"archstone.systems.exchange.sequencer.{where}.check_speaker", lambda *_: None)
            await caught_later(lambda: check(tmp_path / where))  # noqa: B023  it is done before the next


@contextmanager
def process(name: str, folder: Path, tls: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "archstone.systems.exchange.node", "--data", str(folder / name)]
    command += ["--tls", str(tls / name), "--domain", DOMAIN, *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"ready")
        try:
            yield child
        finally:
            child.kill()


async def test_three_processes_prove_who_they_are_and_a_desk_goes_on_when_the_leader_dies(
    tls: Path, tmp_path: Path
) -> None:
    witness, one, two = free(3)
    shared = ("--witness", f"w@{witness}", "--caller", "desk", "--venue", "tally:Tally")
    with (
        process("w", tmp_path, tls, "--role", "witness", "--listen", witness, "--caller", "a", "--caller", "b"),
        process(
            "a", tmp_path, tls, "--role", "leader", "--name", "a", "--listen", one, "--peer", f"b@{two}", *shared
        ) as a,
        process("b", tmp_path, tls, "--role", "standby", "--name", "b", "--listen", two, "--peer", f"a@{one}", *shared),
    ):
        mine = network(tls / "desk")
        async with RemoteSequencer(mine, (f"a@{one}", f"b@{two}"), patience_s=20) as desk:
            assert (await desk.submit(orders(1, 3))).first == 1
            async with asyncio.timeout(20):
                link = await mine.connect(f"a@{one}")
                standby = b""
                while b'"standby": "b"' not in standby:
                    link.send(Message(Say.LOOK))
                    standby = (await link.receive()).body
                link.close()
            a.kill()
            with suppress(UnavailableError):
                await desk.submit(orders(4))
            assert (await desk.submit(orders(5))).events["id"].tolist() == [5]


async def test_who_does_not_finish_the_handshake_or_says_nothing_after_it_is_cut_off(
    tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "_HANDSHAKE_S", 0.2)
    monkeypatch.setattr(tcp_link, "_WHOLE_S", 0.2)
    async with listening(Identity(tls / "a", domain=DOMAIN), "desk") as it:
        host, _, port = it.address.partition(":")
        for said in (b"", b"\x16\x03\x01"):  # no word; the beginning of a hello
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(said)
            async with asyncio.timeout(3):
                with suppress(ConnectionError):
                    await reader.read()
            writer.close()
        link = await network(tls / "desk").connect(f"a@{it.address}")
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(3):
                await link.receive()
        await link.farewell()  # type: ignore[attr-defined]


async def test_those_that_still_shake_hands_count_among_the_connections_and_a_refusal_is_told_under_tls(
    tls: Path,
) -> None:
    full = TcpNetwork(Identity(tls / "a", domain=DOMAIN), callers={"desk"}, max_connections=2)
    (address,) = free(1)

    async def serve(link: Link) -> None:
        await link.receive()

    listener = await full.listen(address, serve)
    held = [await asyncio.open_connection(*address.split(":")) for _ in range(2)]
    link = await network(tls / "desk").connect(f"a@{address}")
    with pytest.raises(ConnectionResetError, match=r"2 connections are open at .*, and no more are taken"):
        await link.receive()
    await link.farewell()  # type: ignore[attr-defined]
    for _, writer in held:
        writer.close()
    await listener.close()
