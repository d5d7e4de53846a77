"""The reverse-proxy cache before an ASGI application, rule by rule."""

import asyncio

import pytest
from http_origin import Origin, ask

from archstone import world
from archstone.cache import Cache, CacheStoreError
from archstone.cache.http import API, CHECKED, PERSONAL, STATIC, HttpCache
from archstone.cache.http.response import CODEC, Stored, lifetime_s
from archstone.cache.stores.memory import MemoryStore


@pytest.fixture
def origin():
    return Origin()


@pytest.fixture
async def cache():
    async with Cache("memory:", ttl_s=1) as cache:
        yield cache


@pytest.fixture
def app(origin, cache):
    return HttpCache(origin, cache, max_body_bytes=100)


async def test_an_answer_is_served_for_its_time_with_its_age(origin, app):
    first = await ask(app)
    assert (first.status, first.body, "age" in first.headers) == (200, b"v1", False)
    origin.body = b"v2"
    await asyncio.sleep(59.5)
    again = await ask(app)
    assert (again.body, again.headers["age"], again.headers["etag"]) == (b"v1", "59", '"1"')
    await asyncio.sleep(0.5)
    assert (await ask(app)).body == b"v2"
    assert origin.requests == 2


async def test_urls_hosts_and_queries_are_pages_of_their_own(origin, app):
    for path, query in (("/a", b""), ("/b", b""), ("/a", b"x=1")):
        await ask(app, path, query=query)
    assert origin.requests == 3


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"cache-control": PERSONAL}, {"cache-control": CHECKED}, {"cache-control": "private, max-age=60"},
        {"cache-control": "max-age=0"}, {"cache-control": "max-age=60", "set-cookie": "a=1"},
        {"cache-control": "max-age=60", "vary": "*"}, {"cache-control": "max-age=60, s-maxage=0"},
        {"cache-control": "max-age=60", "age": "60"}, {"expires": "0"}, {"cache-control": "max-age=soon"},
    ],
)  # fmt: skip
async def test_what_may_not_be_kept_is_not(origin, app, headers):
    origin.headers = headers
    await ask(app)
    await ask(app)
    assert origin.requests == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"cache-control": STATIC}, 31_536_000),
        ({"cache-control": API}, 300),
        ({"cache-control": 'public, S-MaxAge="7", max-age=60'}, 7),
        ({"cache-control": "max-age=99999999999"}, 31_536_000),
        ({"expires": "Thu, 01 Jan 2026 00:01:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 60),
    ],
)
def test_how_long_an_answer_lives(headers, seconds):
    pairs = tuple((name.encode(), text.encode()) for name, text in headers.items())
    assert lifetime_s(200, pairs) == seconds
    assert lifetime_s(500, pairs) == 0


@pytest.mark.parametrize("headers", [{"authorization": "Bearer x"}, {"cookie": "a=1"}, {"range": "bytes=0-1"}])
async def test_what_is_personal_or_a_part_is_passed_on(origin, app, headers):
    await ask(app)
    await ask(app, **headers)
    assert origin.requests == 2


async def test_an_answer_too_long_is_passed_on_whole_and_not_kept(origin, app):
    origin.body, origin.chunks = b"x" * 60, 3
    assert len((await ask(app)).body) == 180
    await ask(app)
    assert origin.requests == 2
    origin.body = b"x" * 33
    assert [len((await ask(app, "/short")).body) for _ in range(2)] == [99, 99]
    assert origin.requests == 3


async def test_an_answer_that_varies_is_kept_for_each(origin, app):
    origin.headers["vary"] = "accept-language"
    bodies = [(await ask(app, accept_language=language)).body for language in ("de", "en", "de", "en", "de")]
    assert bodies == [b"v1de", b"v1en", b"v1de", b"v1en", b"v1de"]
    assert origin.requests == 2


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"if_none_match": 'W/"1"'}, 304), ({"if_none_match": '"0", "1"'}, 304), ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"0"'}, 200),
        ({"if_modified_since": "Thu, 01 Jan 2026 00:00:00 GMT"}, 304),
        ({"if_modified_since": "Wed, 31 Dec 2025 00:00:00 GMT"}, 200),
        ({"if_none_match": '"0"', "if_modified_since": "Thu, 01 Jan 2026 00:00:00 GMT"}, 200),
        ({"if_modified_since": "yesterday"}, 200),
    ],
)  # fmt: skip
async def test_who_has_it_already_hears_so(origin, app, asked, status):
    origin.headers["last-modified"] = "Thu, 01 Jan 2026 00:00:00 GMT"
    await ask(app)
    answer = await ask(app, **asked)
    assert (answer.status, answer.body) == (status, b"" if status == 304 else b"v1")
    assert answer.headers["etag"] == '"1"'
    assert origin.requests == 1


async def test_a_head_is_answered_from_what_a_get_has_brought(origin, app):
    await ask(app, method="HEAD")
    await ask(app)
    answer = await ask(app, method="HEAD")
    assert (answer.status, answer.body, origin.requests) == (200, b"", 2)


@pytest.mark.parametrize("control", ["no-cache", "max-age=5", "min-fresh=55", "no-store"])
async def test_a_reader_may_ask_for_newer(origin, app, control):
    await ask(app)
    await asyncio.sleep(10)
    await ask(app, cache_control=control)
    assert origin.requests == 2


async def test_a_reader_may_ask_for_what_is_there_only(origin, app):
    assert (await ask(app, cache_control="only-if-cached")).status == 504
    await ask(app)
    assert (await ask(app, cache_control="only-if-cached")).body == b"v1"
    assert origin.requests == 1


async def test_a_thousand_at_once_reach_the_application_once(origin, app):
    origin.takes_s = 1
    answers = await asyncio.gather(*(ask(app) for _ in range(1000)))
    assert {answer.body for answer in answers} == {b"v1"}
    assert origin.requests == 1


async def test_what_may_not_be_kept_is_given_to_nobody_else(origin, app):
    origin.takes_s, origin.headers = 1, {"cache-control": "private"}
    await asyncio.gather(*(ask(app) for _ in range(10)))
    assert origin.requests == 10


async def test_when_the_first_hangs_up_the_others_are_served(origin, app):
    origin.takes_s = 1
    first = asyncio.create_task(ask(app))
    await asyncio.sleep(0)
    others = [asyncio.create_task(ask(app)) for _ in range(9)]
    await asyncio.sleep(0.5)
    first.cancel()
    assert {answer.body for answer in await asyncio.gather(*others)} == {b"v1"}
    assert origin.requests == 2


async def test_when_the_first_hangs_up_before_it_has_asked_the_page_is_not_held(origin):
    class SlowToClaim(MemoryStore):
        async def claim(self, key, codec, *, lease_s, refresh=False):
            await asyncio.sleep(5)
            return await super().claim(key, codec, lease_s=lease_s, refresh=refresh)

    async with Cache(SlowToClaim()) as cache:
        app = HttpCache(origin, cache)
        first = asyncio.create_task(ask(app))
        await asyncio.sleep(1)
        first.cancel()
        async with asyncio.timeout(60):
            assert (await ask(app)).body == b"v1"


async def test_when_the_first_fails_the_others_do_not_queue_up(origin, cache):
    async def failing(scope, receive, send):
        origin.requests += 1
        await asyncio.sleep(1)
        raise OSError

    app = HttpCache(failing, cache)
    begun = world.monotonic()
    came = await asyncio.gather(*(ask(app) for _ in range(10)), return_exceptions=True)
    assert {type(each) for each in came} == {OSError}
    assert world.monotonic() - begun == 2


@pytest.mark.parametrize("vary", [None, "accept-language"])
async def test_a_change_makes_its_page_wrong_also_one_on_its_way(origin, app, vary):
    if vary:
        origin.headers["vary"] = vary
    await ask(app)
    origin.body = b"v2"
    await ask(app, method="PUT")
    assert (await ask(app)).body == b"v2"
    await asyncio.sleep(60)
    origin.takes_s = 1
    slow = asyncio.create_task(ask(app))
    await asyncio.sleep(0.5)
    origin.takes_s, origin.body = 0, b"v3"
    await ask(app, method="DELETE")
    assert (await slow).body == b"v2"
    assert (await ask(app)).body == b"v3"


async def test_a_change_that_failed_changes_nothing(origin, app):
    await ask(app)
    origin.status = 409
    await ask(app, method="POST")
    await ask(app)
    assert origin.requests == 2


class Away(MemoryStore):
    async def read(self, keys, codec):
        raise CacheStoreError("away:", "reading")

    async def claim(self, key, codec, *, lease_s, refresh=False):
        raise CacheStoreError("away:", "claiming")

    async def invalidate(self, *, keys=(), tags=()):
        raise CacheStoreError("away:", "invalidating")


async def test_a_store_that_is_away_costs_speed_only(origin):
    async with Cache(Away()) as cache:
        app = HttpCache(origin, cache)
        assert [(await ask(app, method=method)).status for method in ("GET", "GET", "POST")] == [200] * 3
        assert origin.requests == 3


async def test_hop_by_hop_headers_are_not_kept(origin, app):
    origin.headers |= {"connection": "close, x-hop", "x-hop": "1", "keep-alive": "5", "x-end": "2"}
    await ask(app)
    assert (await ask(app)).headers.keys() & {"connection", "x-hop", "keep-alive", "x-end"} == {"x-end"}


def test_an_answer_is_written_down_as_it_was():
    stored = Stored(200, ((b"a", b"\xff\n"), (b"a", b"b")), b"\x00\n\xff")
    assert CODEC.decode(CODEC.encode(stored)) == stored


async def test_other_scopes_are_passed_on(origin, app):
    await app({"type": "lifespan"}, None, None)
