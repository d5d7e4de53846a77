"""Fetching pictures of elsewhere: what hosts do wrong, and what they must not make the shop do. On real sockets."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_host import ImageHost, image_host, picture

from archstone.errors import ConfigError
from archstone.security.outgoing import Allowed, Names, OutgoingError, is_public, place_of
from archstone.systems.shop.images.bounds import ImageBounds
from archstone.systems.shop.images.failures import ImageError
from archstone.systems.shop.images.fetching import Fetcher

BOUNDS = ImageBounds(original_bytes=200_000, fetch_s=1.0, connect_s=0.5)


@pytest.fixture(scope="module")
def host() -> Iterator[ImageHost]:
    with image_host() as host:
        yield host


def fetcher(*allowed: str, **options: object) -> Fetcher:
    return Fetcher(Allowed.parse(",".join(allowed)), BOUNDS, **options)  # type: ignore[arg-type]


async def failed(fetch: Fetcher, url: str) -> ImageError:
    with pytest.raises(ImageError) as told:
        await fetch.fetch(url)
    return told.value


@pytest.mark.real_time
@pytest.mark.parametrize("path", ["/plain.jpg", "/chunked", "/until-end", "/hops/3", "/jpeg-as-text", "/a b?c=ü"])
async def test_a_picture_comes_however_it_is_sent(host: ImageHost, path: str) -> None:
    content = await fetcher(host.authority).fetch(host.url(path))
    assert content[:3] == b"\xff\xd8\xff"
    assert content[-2:] == b"\xff\xd9"


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/slow", "late"),
        ("/trickle", "late"),
        ("/endless", "large"),
        ("/endless-head", "large"),
        ("/endless-chunks", "large"),
        ("/claims-much", "large"),
        ("/cut", "answer"),
        ("/reset", "answer"),
        ("/loop", "answer"),
        ("/hops/4", "answer"),
        ("/missing", "answer"),
        ("/nonsense", "answer"),
        ("/to/ftp://a.example/1.png", "refused"),
        ("/to/http://[broken", "refused"),
        ("/to/http://user:secret@a.example/1.png", "refused"),
    ],
)
async def test_what_a_host_does_wrong_ends_soon_and_is_told(host: ImageHost, path: str, outcome: str) -> None:
    begun_s = asyncio.get_running_loop().time()
    error = await failed(fetcher(host.authority), host.url(path))
    assert error.outcome == outcome
    assert asyncio.get_running_loop().time() - begun_s < BOUNDS.fetch_s + 1
    assert "secret" not in str(error)


@pytest.mark.real_time
async def test_of_an_answer_longer_than_it_says_only_what_it_says_is_taken(host: ImageHost) -> None:
    content = await fetcher(host.authority).fetch(host.url("/claims-little"))
    assert len(content) == len(picture(text="claims-little")) // 2


@pytest.mark.real_time
async def test_neither_cookies_nor_names_go_along(host: ImageHost) -> None:
    await fetcher(host.authority).fetch(host.url("/head.jpg?a=1&b=%20"))
    head = next(head for head in host.heads if "/head.jpg" in head)
    lines = head.strip().split("\r\n")
    assert lines[0] == "GET /head.jpg?a=1&b=%20 HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:]} == {
        "Host", "User-Agent", "Accept", "Accept-Encoding", "Connection",
    }  # fmt: skip
    assert lines[1] == f"Host: {host.authority}"


@pytest.mark.real_time
async def test_without_leave_the_loopback_is_not_asked(host: ImageHost) -> None:
    host.asked.clear()
    assert (await failed(fetcher(), host.url("/own.jpg"))).outcome == "refused"  # by its port
    assert (await failed(fetcher(), "http://127.0.0.1/own.jpg")).outcome == "refused"  # by its address
    assert (await failed(fetcher(), "http://localhost/own.jpg")).outcome == "refused"
    assert not host.asked


@pytest.mark.real_time
async def test_a_redirect_into_the_network_is_not_followed(host: ImageHost) -> None:
    with image_host() as inner:
        fetch = fetcher(host.authority)
        assert (await failed(fetch, host.url(f"/to/{inner.url('/secret')}"))).outcome == "refused"
        assert (await failed(fetch, host.url("/to/http://127.0.0.1/secret"))).outcome == "refused"
        assert (await failed(fetch, host.url("/to/http://169.254.169.254/latest/meta-data"))).outcome == "refused"
        assert (await failed(fetch, host.url("/to///[::1]/secret"))).outcome == "refused"
        assert not inner.asked


@pytest.mark.real_time
async def test_it_connects_to_the_address_that_was_looked_at_and_resolves_no_second_time(host: ImageHost) -> None:
    asked: list[str] = []

    async def rebinding(name: str, port: int) -> list[str]:
        """Answer with a public address first, and with the loopback whenever it is asked again."""
        asked.append(name)
        return ["192.0.2.1"] if len(asked) > 1 else ["203.0.113.9", "127.0.0.1"]

    fetch = fetcher("127.0.0.0/8", resolve=rebinding)
    # Documentation addresses are not public, so the only one that is left is the one that was allowed.
    assert (await failed(fetch, "http://pictures.test/1.jpg")).outcome == "unreachable"  # nothing listens on port 80
    assert asked == ["pictures.test"]

    async def public(name: str, port: int) -> list[str]:
        return ["10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]

    assert (await failed(fetcher(resolve=public), "http://pictures.test/1.jpg")).outcome == "refused"


@pytest.mark.real_time
async def test_a_name_that_the_operator_trusts_may_lead_inside(host: ImageHost) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    fetch = fetcher(f"images.internal:{host.port}", resolve=resolve)
    assert await fetch.fetch(f"http://IMAGES.internal:{host.port}/1.jpg")
    assert (await failed(fetch, f"http://other.internal:{host.port}/1.jpg")).outcome == "refused"


@pytest.mark.real_time
async def test_a_host_that_cannot_be_had_is_dead_and_a_picture_that_is_missing_is_not(host: ImageHost) -> None:
    async def hang(name: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    assert (await failed(fetcher(resolve=hang), "http://a.example/1.jpg")).dead
    assert (await failed(fetcher("127.0.0.1:1"), "http://127.0.0.1:1/1.jpg")).dead
    assert not (await failed(fetcher(host.authority), host.url("/missing"))).dead


@pytest.mark.real_time
async def test_cancelling_leaves_no_connection(host: ImageHost) -> None:
    task = asyncio.create_task(fetcher(host.authority).fetch(host.url("/slow")))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.real_time
async def test_names_are_looked_up_by_the_system() -> None:
    names = Names()
    assert "127.0.0.1" in await names("localhost", 80)
    for name in ("nowhere.invalid", "x" * 70 + ".example"):
        with pytest.raises(OutgoingError, match="leads nowhere") as told:
            await names(name, 80)
        assert told.value.dead


@pytest.mark.real_time
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
async def test_a_certificate_must_be_trusted_and_be_that_of_the_name(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=pictures.test",
            "-addext", "subjectAltName=DNS:pictures.test",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)

    async def here(name: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    with image_host(tls=server) as host:
        trusting = ssl.create_default_context(cafile=str(certificate))
        names = (f"pictures.test:{host.port}", f"other.test:{host.port}")
        good = fetcher(*names, resolve=here, tls=trusting)
        assert await good.fetch(f"https://pictures.test:{host.port}/1.jpg")
        error = await failed(good, f"https://other.test:{host.port}/1.jpg")
        assert (error.outcome, error.why) == ("unreachable", "its certificate is not trusted")
        error = await failed(fetcher(*names, resolve=here), f"https://pictures.test:{host.port}/1.jpg")
        assert error.why == "its certificate is not trusted"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.0.10", "192.0.2.1", "198.51.100.7",
        "203.0.113.9", "198.18.0.1", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
        "3fff::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "5f00::1",
        "", "localhost", "1.2.3", "1.2.3.4.5",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_public_network_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_addresses_of_the_public_network_are_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/1.png", "file:///etc/passwd", "gopher://a.example/", "//a.example/1.png", "1.png", "", "http:",
        "http:///1.png", "http://a.example:22/1.png", "http://a.example:0/1.png", "http://a.example:99999/",
        "http://a.example:x/1.png", "http://user@a.example/", "http://user:secret@a.example/", "http://:@a.example/",
        "http://[::1/", "http://a example/", "http://a.example\r\nX: y/", "http://exämple.test/1.png",
        f"http://a.example/{'x' * 2000}",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(OutgoingError) as told:
        place_of(url, Allowed())
    assert told.value.fault == "refused"
    assert "secret" not in str(told.value)


def test_a_place_holds_nothing_that_could_begin_another_line() -> None:
    place = place_of("https://A.Example./ä b?q=\u2028é&x=%0d%0a#there", Allowed())
    assert place == (True, "a.example.", 443, "/%C3%A4%20b?q=%E2%80%A8%C3%A9&x=%0d%0a")
    assert place.authority == "a.example."
    assert place_of("http://[2606:4700::1111]/", Allowed()).authority == "[2606:4700::1111]"


def test_what_the_operator_allows_is_read_and_its_faults_are_told_at_once() -> None:
    allowed = Allowed.parse(" 127.0.0.1:9000, 10.1.0.0/16,images.internal, [::1]:81 ,")
    assert allowed.takes("127.0.0.1", 9000)
    assert not allowed.takes("127.0.0.1", 80)
    assert allowed.takes("images.internal", 443)
    assert not allowed.takes("images.internal", 8080)
    assert allowed.takes("::1", 81)
    inside = place_of("http://a.example/", allowed)
    assert allowed.addresses(inside, ["10.2.0.1", "10.1.9.9", "8.8.8.8"]) == ("10.1.9.9", "8.8.8.8")
    with pytest.raises(ConfigError, match=r"'10\.0\.0\.1/8', 'a:b' cannot be read; write HOST, HOST:PORT"):
        Allowed.parse("10.0.0.1/8,a:b,fine.example")
