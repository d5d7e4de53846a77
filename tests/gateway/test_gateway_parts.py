"""The pure parts of the gateway: negotiation, tags, mounts, lifespans."""

import json

import pytest
from gateway_subject import Door, bearer, header, problem_code

from archstone import context
from archstone.errors import ConfigError
from archstone.gateway import Compress, Gateway
from archstone.gateway.encoding import choose_encoding
from archstone.gateway.etag import matches, tag
from archstone.gateway.mounts import mount_of, mounts
from archstone.resilience import SettingsError
from archstone.services.http import ask


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (b"", "identity"),
        (b"gzip", "gzip"),
        (b"br", "br"),
        (b"gzip, deflate, br, zstd", "br"),
        (b"gzip;q=1.0, br;q=0.5", "gzip"),
        (b"GZIP ; q=0.3", "gzip"),
        (b"x-gzip", "gzip"),
        (b"br;q=0, gzip;q=0", "identity"),
        (b"*", "br"),
        (b"*;q=0", "identity"),
        (b"*, br;q=0", "gzip"),
        (b"identity, gzip;q=0.5", "identity"),
        (b"identity;q=0, gzip", "gzip"),
        (b"gzip;q=2", "identity"),
        (b"gzip;q=x, br;;", "identity"),
        (b"\xff\xfe, gzip", "gzip"),
        (b"deflate", "identity"),
        (b"," * 5000 + b"gzip", "identity"),
    ],
)
def test_an_encoding_is_chosen_by_weight_and_brotli_wins_a_tie(accept: bytes, chosen: str) -> None:
    assert choose_encoding(accept) == chosen


def test_compression_settings_are_checked_at_both_ends() -> None:
    Compress(min_bytes=0, brotli_quality=0, gzip_level=1)
    Compress(brotli_quality=11, gzip_level=9)
    with pytest.raises(SettingsError, match=r"min_bytes=-1 .*brotli_quality=12 .*gzip_level=0"):
        Compress(min_bytes=-1, brotli_quality=12, gzip_level=0)


def test_a_tag_matches_weakly_alone_in_a_list_and_by_star() -> None:
    mine = tag(b"body")
    assert mine != tag(b"bodz")
    for given in (mine, b"*", b'"x", ' + mine, mine.removeprefix(b"W/"), b'W/"y",' + mine + b',"z"'):
        assert matches(given, mine)
    for given in (b"", b'"x"', mine[3:-1], b"\xff", b'"' * 1000):
        assert not matches(given, mine)


async def page(scope, receive, send) -> None:
    """An application that says where it thinks it is."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["path"].endswith("/broken"):
        raise KeyError("/secret/path")
    told = json.dumps([scope["root_path"], scope["path"]]).encode()
    headers = [(b"content-type", b"text/html"), (b"X-Frame-Options", b"SAMEORIGIN")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


async def test_an_application_is_mounted_by_prefix_and_keeps_its_own_headers() -> None:
    door = Door(Gateway(mounts={"/shop": page}))
    answer = await door.get("/shop/cart", headers=[("x-request-id", "request-1")])
    assert json.loads(answer.body) == ["/shop", "/shop/cart"]
    assert header(answer, "x-content-type-options") == "nosniff"
    assert header(answer, "x-request-id") == "request-1"
    assert header(answer, "content-security-policy") is None
    assert [value for name, value in answer.headers if name.lower() == b"x-frame-options"] == [b"SAMEORIGIN"]
    assert (await door.get("/shopping")).status == 404
    assert (await door.get("/api/v1/products/tea")).status == 200


async def test_an_application_at_the_root_takes_only_what_nobody_else_takes() -> None:
    door = Door(mounts={"": page})
    assert (await door.get("/anything")).body == b'["", "/anything"]'
    assert json.loads((await door.get("/health/live")).body) == {"status": "live"}
    assert (await door.get("/api/v1/products/tea")).status == 200
    assert (await door.get("/api/v1/nowhere")).status == 404


async def test_a_mounted_application_that_fails_is_answered_by_a_problem_document(capsys) -> None:
    answer = await Door(mounts={"/shop": page}).get("/shop/broken")
    assert (answer.status, problem_code(answer)) == (500, "archstone.remote")


async def test_a_fastapi_application_can_be_mounted() -> None:
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"key": context.current().principal.id}

    answer = await ask(Door(mounts={"/old": app}).app, "GET", "/old/hello", headers=bearer("ann-token"))
    assert (answer.status, answer.body) == (200, b'{"key":""}')


def test_the_longest_prefix_wins_and_ends_at_a_slash() -> None:
    table = mounts({"/a": page}, {"/a/b": page})
    assert [found[0] if (found := mount_of(path, table)) else None for path in ("/a/b/c", "/a/bc", "/a", "/ab")] == [
        "/a/b",
        "/a",
        "/a",
        None,
    ]


def test_mounts_that_cannot_be_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError, match=r"'shop'.*'/x/'.*'/twice' is claimed twice"):
        mounts({"shop": page, "/x/": page, "/twice": page}, {"/twice": page})


class Living:
    """An application with a lifespan that writes down what happens to it."""

    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name, self.log, self.fails = name, log, fails

    async def __call__(self, scope, receive, send) -> None:
        for what in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{what}"
            self.log.append(f"{self.name} {what}")
            if self.fails:
                await send({"type": f"lifespan.{what}.failed", "message": "no disk"})
                return
            await send({"type": f"lifespan.{what}.complete"})


async def lived(app) -> list[dict]:
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[dict] = []

    async def receive() -> dict:
        return inbox.pop(0)

    async def send(message) -> None:
        sent.append(message)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return sent


async def test_mounted_applications_open_in_order_and_close_in_reverse() -> None:
    log: list[str] = []
    door = Door(mounts={"/bbb": Living("first", log), "/cc": page, "/d": Living("second", log)})
    assert [message["type"] for message in await lived(door.app)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert log == ["first startup", "second startup", "second shutdown", "first shutdown"]


async def test_one_that_fails_to_open_stops_the_start_and_closes_the_others() -> None:
    log: list[str] = []
    door = Door(mounts={"/bbb": Living("first", log), "/d": Living("second", log, fails=True)})
    assert await lived(door.app) == [{"type": "lifespan.startup.failed", "message": "no disk"}]
    assert log == ["first startup", "second startup", "first shutdown"]
