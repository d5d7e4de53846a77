"""Services in two processes that prove to each other who they are, and who is refused. Real processes and sockets."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attack_stage import caught, caught_later
from mtls_contract import Desk
from mtls_party import DOMAIN, calling, serving

from archstone import world
from archstone.errors import DeniedError
from archstone.security.authority import IDENTITY, TRUSTED, Authority, service_uri
from archstone.security.mtls import Identity, PeerError, PeersOnly, peer_of
from archstone.services import client
from archstone.services.http import HttpTransport, UnreachableError, ask, peer_principal


class Yesterday(world.World):
    """A world two days ago."""

    def now_us(self) -> int:
        return super().now_us() - 2 * 86_400_000_000


@pytest.mark.real_time
async def test_attack_another_service_in_place_of_the_one_that_is_called(port: int, tls: Path) -> None:
    """Whoever holds some certificate of the domain is not whom we want to talk to."""
    async with calling(port, tls / "orders", "payments") as desk:
        with pytest.raises(PeerError, match=r"is spiffe://shop.internal/service/desk, and must be .*/payments"):
            await desk.who()
    # Weak: any certificate of the authority will do.
    identity = Identity(tls / "orders", domain=DOMAIN)

    class Anybody:
        context = staticmethod(identity.client)

        @staticmethod
        def check(certificate: object) -> None: ...

    async with HttpTransport(f"https://127.0.0.1:{port}", tls=Anybody()) as transport:
        assert await client(Desk, transport).who() == "service:orders", "the weak one talks to it"


@pytest.mark.real_time
async def test_attack_a_caller_that_this_service_does_not_know(port: int, tls: Path) -> None:
    async def check(port: int) -> None:
        async with calling(port, tls / "other") as desk:
            with pytest.raises(DeniedError):
                await desk.who()

    await check(port)
    with serving(tls / "desk") as open_to_all:  # weak: whoever is of the domain
        await caught_later(lambda: check(open_to_all))


@pytest.mark.real_time
async def test_attack_a_certificate_of_another_authority_of_the_same_name(port: int, tmp_path: Path, tls: Path) -> None:
    """Its weak variant stands in `test_attack_a_handshake_that_must_fail`."""
    mine = Authority.create(DOMAIN)
    mine.give("orders", tmp_path / "orders")
    (tmp_path / "orders" / TRUSTED).write_bytes((tls / "orders" / TRUSTED).read_bytes())
    async with calling(port, tmp_path / "orders") as desk:
        with pytest.raises(UnreachableError):
            await desk.who()
    # The other way: a server of a foreign authority is refused before anything is sent.
    mine.give("orders", tmp_path / "orders")
    async with calling(port, tmp_path / "orders") as desk:
        with pytest.raises(UnreachableError, match=r"(?i)certificate"):
            await desk.who()


@pytest.mark.real_time
async def test_attack_a_certificate_that_has_ended(port: int, tmp_path: Path, authority: Authority) -> None:
    """Its weak variant stands in `test_attack_a_handshake_that_must_fail`."""
    with world.use(Yesterday()):
        authority.give("expired", tmp_path / "expired", lifetime_s=86_400)
    async with calling(port, tmp_path / "expired") as desk:
        with pytest.raises(UnreachableError):
            await desk.who()
    authority.give("expired", tmp_path / "expired")
    async with calling(port, tmp_path / "expired") as desk:
        assert await desk.who() == "service:expired", "it is its end that was refused"


@pytest.mark.real_time
async def test_attack_no_certificate_at_all(port: int, tls: Path) -> None:
    """Its weak variant stands in `test_attack_a_handshake_that_must_fail`."""
    bare = ssl.create_default_context(cafile=str(tls / "orders" / TRUSTED))
    bare.check_hostname = False

    class Bare:
        @staticmethod
        def context() -> ssl.SSLContext:
            return bare

        @staticmethod
        def check(certificate: object) -> None: ...

    async with HttpTransport(f"https://127.0.0.1:{port}", tls=Bare()) as transport:
        with pytest.raises(UnreachableError):
            await client(Desk, transport).who()
    async with HttpTransport(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnreachableError):
            await client(Desk, transport).who()


@pytest.mark.parametrize(
    "names",
    [
        (),
        (("DNS", "spiffe://shop.internal/service/orders"),),
        (("URI", "spiffe://evil.internal/service/orders"),),
        (("URI", "spiffe://shop.internal.evil/service/orders"),),
        (("URI", "spiffe://shop.internal/user/orders"),),
        (("URI", "spiffe://shop.internal/service/a"), ("URI", "spiffe://shop.internal/service/b")),
    ],
)
def test_attack_a_certificate_that_names_something_else(names: tuple[tuple[str, str], ...]) -> None:
    peer = {"subjectAltName": names, "notAfter": "Jan  1 00:00:00 2100 GMT"}
    scope = {"type": "http", "headers": [], "extensions": {"archstone.peer": peer}}

    def by_its_end(scope: dict[str, Any], domain: str) -> str:
        """Weak: takes the last word of the first name."""
        return scope["extensions"]["archstone.peer"]["subjectAltName"][0][1].rpartition("/")[2]

    def check(read: Callable[[dict[str, Any], str], str]) -> None:
        with pytest.raises(PeerError):
            read(scope, DOMAIN)

    check(peer_of)
    if names:
        caught(lambda: check(by_its_end))


HANDSHAKES = ["none", "foreign", "ended"]


@pytest.mark.real_time
@pytest.mark.parametrize("who", HANDSHAKES)
async def test_attack_a_handshake_that_must_fail(tls: Path, tmp_path: Path, authority: Authority, who: str) -> None:
    """The same as above in one process, so that a weak server can stand beside ours."""
    if who == "foreign":
        Authority.create(DOMAIN).give("orders", tmp_path)
    elif who == "ended":
        with world.use(Yesterday()):
            authority.give("orders", tmp_path, lifetime_s=86_400)
    caller = ssl.create_default_context(cafile=str(tls / "desk" / TRUSTED))
    caller.check_hostname = False
    if who != "none":
        caller.load_cert_chain(tmp_path / IDENTITY)

    async def check(context: ssl.SSLContext) -> None:
        assert not await heard(context, caller)

    unasked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # weak: asks nobody who they are
    unasked.load_cert_chain(tls / "desk" / IDENTITY)
    await check(Identity(tls / "desk", domain=DOMAIN).server())
    await caught_later(lambda: check(unasked))


async def heard(server_side: ssl.SSLContext, client_side: ssl.SSLContext) -> bool:
    """Return whether a byte of the caller reaches the application behind the server."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            got.set_result(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
    try:
        async with asyncio.timeout(2):
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side)
            writer.write(b"x")
            with suppress(OSError):
                await reader.read()
            writer.close()
    except OSError:
        pass
    finally:
        server.close()
    return got.done() and got.result() == b"x"


async def test_attack_a_header_that_says_who_calls() -> None:
    """Only `PeersOnly` says it; what comes under its name from outside is dropped, or nothing is let in at all."""
    seen: list[list[tuple[bytes, bytes]]] = []

    async def app(scope, receive, send) -> None:
        seen.append([pair for pair in scope["headers"] if pair[0] == b"archstone-peer"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def check(guarded: Any) -> None:
        seen.clear()
        answer = await ask(guarded, "GET", "/", headers=[("archstone-peer", "payments")])
        assert (answer.status, seen) == (403, [])

    await check(PeersOnly(app, domain=DOMAIN))
    await caught_later(lambda: check(app))  # weak: believes the header
    seen.clear()
    peer = {"subjectAltName": (("URI", service_uri(DOMAIN, "orders")),), "notAfter": "Jan  1 00:00:00 2100 GMT"}

    async def with_peer(scope, receive, send) -> None:
        await PeersOnly(app, domain=DOMAIN)({**scope, "extensions": {"archstone.peer": peer}}, receive, send)

    await ask(with_peer, "GET", "/", headers=[("archstone-peer", "payments")])
    assert seen == [[(b"archstone-peer", b"orders")]]
    with pytest.raises(DeniedError):
        peer_principal()({})


@pytest.mark.real_time
async def test_attack_a_session_that_outlives_its_certificate(tls: Path) -> None:
    """A resumed session is not checked anew: whoever has one could come back when the certificate has ended."""
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # with tickets, as contexts have them
    weak.load_cert_chain(tls / "desk" / IDENTITY)
    weak.load_verify_locations(tls / "desk" / TRUSTED)
    weak.verify_mode = ssl.CERT_REQUIRED

    async def check(context: ssl.SSLContext) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(1))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        try:
            assert not await asyncio.to_thread(resumed, tls, port)
        finally:
            server.close()

    await check(Identity(tls / "desk", domain=DOMAIN).server())
    await caught_later(lambda: check(weak))


def resumed(tls: Path, port: int) -> bool:
    """Return whether a second connection takes up the session of the first, with whatever a client may try."""
    context = ssl.create_default_context(cafile=str(tls / "desk" / TRUSTED))
    context.check_hostname = False
    context.load_cert_chain(tls / "orders" / IDENTITY)
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, session=session) as secured,
        ):
            secured.sendall(b"x")
            assert secured.recv(1) == b"x"
            session = secured.session
            if secured.session_reused:
                return True
    return False
