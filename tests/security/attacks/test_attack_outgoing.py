"""Attacks by addresses that somebody else names: into our own network, by names, redirects and spellings (SSRF)."""

import asyncio
import re
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest
from attack_stage import caught, caught_later
from image_host import ImageHost, image_host

from archstone.errors import ConfigError
from archstone.security.outgoing import Allowed, Outgoing, OutgoingBounds, OutgoingError, is_public, place_of

BOUNDS = OutgoingBounds(answer_bytes=200_000, total_s=1.0, connect_s=0.5)


@pytest.fixture(scope="module")
def host() -> Iterator[ImageHost]:
    with image_host() as host:
        yield host


def outgoing(*allowed: str, **more: object) -> Outgoing:
    return Outgoing(Allowed.parse(",".join(allowed)), BOUNDS, **more)  # type: ignore[arg-type]


async def fault(asking: Awaitable[object]) -> str:
    with pytest.raises(OutgoingError) as told:
        await asking
    return told.value.fault


def by_prefix(address: str) -> bool:
    """Weak: a list of beginnings, as they are found in the wild."""
    return not address.startswith(("127.", "10.", "192.168.", "169.254.", "::1"))


@pytest.mark.parametrize(
    "address",
    [
        "172.16.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "2002:7f00:1::",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_attack_an_address_of_our_own_network_in_another_dress(address: str) -> None:
    def check(public: Callable[[str], bool]) -> None:
        assert not public(address)

    check(is_public)
    caught(lambda: check(by_prefix))


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "localhost", "[::ffff:7f00:1]", "[::]", "0"],
)
@pytest.mark.real_time
async def test_attack_the_loopback_by_other_spellings(host: str) -> None:
    """However a resolver reads it, what it resolves to is looked at."""
    if host not in {"127.1", "127.0.0.1."}:
        assert by_prefix(host.strip("[]")), "weak: a list of beginnings lets it through"
    assert await fault(outgoing().fetch(f"http://{host}/")) in {"refused", "unreachable"}


@pytest.mark.real_time
async def test_attack_a_name_that_leads_inside_when_it_is_asked_again(host: ImageHost) -> None:
    """DNS rebinding: what was looked at is what is connected to."""

    async def check(fetch: Callable[[str, Callable[[str, int], Awaitable[list[str]]]], Awaitable[object]]) -> None:
        asked: list[str] = []

        async def rebinding(name: str, port: int) -> list[str]:
            asked.append(name)
            return ["203.0.113.9", "127.0.0.1"][len(asked) - 1 :]

        host.asked.clear()
        with pytest.raises(OutgoingError):
            await fetch(f"http://rebinding.test:{host.port}/inner", rebinding)
        assert not host.asked

    async def looked_at_once_connected_by_name(url: str, resolve: Callable[[str, int], Awaitable[list[str]]]) -> object:
        """Weak: looks at what a name resolves to, and hands the name on."""
        parts = urlsplit(url)
        (await resolve(str(parts.hostname), host.port))[0].startswith("203.")
        address = (await resolve(str(parts.hostname), host.port))[0]
        reader, writer = await asyncio.open_connection(address, parts.port)
        writer.write(b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read(10)
        writer.close()
        raise OutgoingError("answer", "whatever")

    await check(lambda url, resolve: outgoing(resolve=resolve).fetch(url))
    await caught_later(lambda: check(looked_at_once_connected_by_name))


@pytest.mark.real_time
@pytest.mark.parametrize(
    "to", ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data", "//[::1]/", "http://10.0.0.1/"]
)
async def test_attack_a_redirect_into_our_own_network(host: ImageHost, to: str) -> None:
    assert await fault(outgoing(host.authority).fetch(host.url(f"/to/{to}"))) == "refused"


@pytest.mark.real_time
async def test_attack_a_redirect_into_our_own_network_against_a_usual_client(host: ImageHost) -> None:
    with image_host() as inner:

        async def check(fetch: Callable[[str], Awaitable[object]]) -> None:
            with suppress(OutgoingError):
                await fetch(host.url(f"/to/{inner.url('/secret')}"))
            assert not inner.asked

        await check(outgoing(host.authority).fetch)
        # Weak: looks at the first address, and lets a client follow.
        await caught_later(lambda: check(lambda url: asyncio.to_thread(httpx.get, url, follow_redirects=True)))


@pytest.mark.real_time
async def test_attack_a_redirect_that_takes_the_token_elsewhere(host: ImageHost) -> None:
    with image_host() as other:

        def check(heads: list[str]) -> None:
            assert heads
            assert not [head for head in heads if "authorization" in head.lower() or "our-secret" in head]

        asking = outgoing(host.authority, other.authority)
        await asking.fetch(host.url(f"/to/{other.url('/x')}"), headers={"Authorization": "Bearer our-secret"})
        check(other.heads)
        assert any("our-secret" in head for head in host.heads)
        # Weak: urllib sends all headers on.
        other.heads.clear()
        request = urllib.request.Request(host.url(f"/to/{other.url('/y')}"), headers={"Authorization": "our-secret"})
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=5).read())
        caught(lambda: check(other.heads))


@pytest.mark.real_time
async def test_attack_a_command_sent_on_to_somebody_else(host: ImageHost) -> None:
    """A POST that is redirected is not made again, with its body, where the answer points."""

    async def check(post: Callable[[str], Awaitable[object]]) -> None:
        await post(host.url(f"/to/{host.url('/again')}"))
        assert not host.asked["/again"]

    await check(lambda url: outgoing(host.authority).fetch(url, method="POST", body=b"order"))
    # Weak: urllib asks there, as most clients do.
    await caught_later(lambda: check(lambda url: asyncio.to_thread(urllib.request.urlopen, url, b"")))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://a.test/",
        "http://user:secret@a.test/",
        "http://a.test:22/",
        "http://a.test:6379/",
        "http://a.test\\@127.0.0.1/",
        "http:///",
        "http://a\r\nHost: b/",
    ],
)
def test_attack_a_scheme_a_port_or_a_spelling_for_another_protocol(url: str) -> None:
    def check(look: Callable[[str], object]) -> None:
        with pytest.raises(OutgoingError) as told:
            look(url)
        assert told.value.fault == "refused"
        assert "secret" not in str(told.value)

    def by_pattern(url: str) -> object:
        """Weak: takes whatever has a scheme and a host somewhere."""
        if re.match(r"[a-z]+:///?", url) is None:
            raise OutgoingError("refused", "no address")
        return url

    check(lambda url: place_of(url, Allowed()))
    caught(lambda: check(by_pattern))


@pytest.mark.real_time
async def test_attack_headers_that_begin_another_request(host: ImageHost, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        for name, value in (
            ("X", "a\r\nY: b"), ("X\r\nY", "b"), ("Host", "inner"), ("Content-Length", "5"), ("é", "x"),
        ):  # fmt: skip
            with pytest.raises(ConfigError, match="cannot be sent"):
                await outgoing(host.authority).fetch(host.url("/a"), headers={name: value})
        with pytest.raises(ConfigError, match="method"):
            await outgoing(host.authority).fetch(host.url("/a"), method="GET / HTTP/1.1\r\nX:")

    await check()
    # Weak: writes down what it is given.
    monkeypatch.setattr("archstone.security.outgoing.outgoing._check_request", lambda method, headers: None)
    host.heads.clear()
    with suppress(OutgoingError):
        await outgoing(host.authority).fetch(host.url("/a"), headers={"X": "a\r\nSmuggled: yes"})
    assert any("smuggled: yes" in head.lower() for head in host.heads)


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/endless", "large"),
        ("/endless-head", "large"),
        ("/endless-chunks", "large"),
        ("/claims-much", "large"),
        ("/slow", "late"),
        ("/trickle", "late"),
        ("/loop", "answer"),
    ],
)
async def test_attack_an_answer_without_an_end(host: ImageHost, path: str, told: str) -> None:
    assert await fault(outgoing(host.authority).fetch(host.url(path))) == told


@pytest.mark.real_time
@pytest.mark.parametrize(("path", "sent_for_a_byte"), [("/endless", 1), ("/endless-chunks", 10_000)])
async def test_attack_an_answer_without_an_end_against_a_usual_client(
    host: ImageHost, path: str, sent_for_a_byte: int
) -> None:
    """Weak: it reads as long as something comes."""
    read, enough = 0, 5 * BOUNDS.answer_bytes // sent_for_a_byte
    async with httpx.AsyncClient(timeout=5) as client, client.stream("GET", host.url(path)) as answer:
        async for piece in answer.aiter_raw():
            read += len(piece)
            if read > enough:
                break
    assert read > enough
