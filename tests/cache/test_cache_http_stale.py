"""Stale answers of the reverse-proxy cache: served where the application has said so, for so long, and no longer."""

import asyncio

import pytest
from http_origin import Origin, ask

from archstone import context, world
from archstone.cache import Cache
from archstone.cache.http import HttpCache
from archstone.cache.http.response import stale_s

REVALIDATE = "max-age=60, stale-while-revalidate=30"
IF_ERROR = "max-age=60, stale-if-error=30"


@pytest.fixture
def origin():
    return Origin()


@pytest.fixture
async def cache():
    async with Cache("memory:", ttl_s=1) as cache:
        yield cache


@pytest.fixture
def app(origin, cache):
    return HttpCache(origin, cache, max_refreshes=2)


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        (REVALIDATE, 30), ("s-maxage=1, stale-while-revalidate=7", 7),
        ("stale-while-revalidate=99999999999", 31_536_000),
        ("max-age=60", 0), ("stale-while-revalidate=soon", 0), (f"{REVALIDATE}, must-revalidate", 0),
        (f"{REVALIDATE}, proxy-revalidate", 0),
    ],
)  # fmt: skip
def test_how_long_an_answer_may_be_stale(control, seconds):
    assert stale_s(((b"cache-control", control.encode()),), "stale-while-revalidate") == seconds


async def test_after_its_end_it_is_served_at_once_and_asked_for_in_the_background(origin, app):
    origin.headers["cache-control"] = REVALIDATE
    await ask(app)
    origin.body, origin.takes_s = b"v2", 1
    await asyncio.sleep(70)
    before = world.monotonic()
    stale = [await ask(app, if_none_match=tag) for tag in ('"0"', '"1"')]
    assert world.monotonic() == before
    assert [(each.status, each.body, each.headers["age"]) for each in stale] == [(200, b"v1", "70"), (304, b"", "70")]
    assert stale[0].headers["cache-status"] == "archstone; hit; ttl=-10"
    await asyncio.sleep(1.1)
    fresh = await ask(app)
    assert (fresh.body, fresh.headers["cache-status"], origin.requests) == (b"v2", "archstone; hit", 2)


async def test_a_thousand_who_get_the_stale_answer_make_one_request(origin, app):
    origin.headers["cache-control"], origin.takes_s = REVALIDATE, 1
    await ask(app)
    await asyncio.sleep(60)
    assert {answer.body for answer in await asyncio.gather(*(ask(app) for _ in range(1000)))} == {b"v1"}
    await asyncio.sleep(1)
    assert origin.requests == 2


@pytest.mark.parametrize("control", [REVALIDATE, f"{REVALIDATE}, stale-if-error=20"])
async def test_when_its_time_to_be_stale_is_over_it_is_waited_for(origin, app, control):
    origin.headers["cache-control"] = control
    await ask(app)
    origin.body = b"v2"
    await asyncio.sleep(90)
    assert (await ask(app)).body == b"v2"


@pytest.mark.parametrize("asks", ["no-cache", "max-age=60", "min-fresh=0"])
async def test_a_reader_who_wants_it_fresh_does_not_get_it_stale(origin, app, asks):
    origin.headers["cache-control"] = f"{REVALIDATE}, stale-if-error=30"
    await ask(app)
    origin.body, origin.status = b"v2", 503
    await asyncio.sleep(70)
    answer = await ask(app, cache_control=asks)
    assert (answer.status, answer.body) == (503, b"v2")


async def test_only_if_cached_gets_what_may_be_stale_meanwhile(origin, app):
    origin.headers["cache-control"] = REVALIDATE
    await ask(app)
    await asyncio.sleep(70)
    assert (await ask(app, cache_control="only-if-cached")).body == b"v1"
    await asyncio.sleep(1)


async def test_a_refresh_that_fails_leaves_the_old_answer_and_the_next_reader_tries_again(origin, app):
    origin.headers["cache-control"] = REVALIDATE
    await ask(app)
    origin.status = 500
    await asyncio.sleep(60)
    for _ in range(2):
        assert (await ask(app)).body == b"v1"
        await asyncio.sleep(1)
    assert origin.requests == 3


async def test_a_refresh_runs_as_nobody_and_asks_without_conditions(origin, cache):
    seen = []

    async def told(scope, receive, send):
        seen.append((scope["method"], sorted(name for name, _ in scope["headers"]), context.current().principal.id))
        seen.append((await receive())["body"])
        await origin(scope, receive, send)

    app = HttpCache(told, cache)
    origin.headers |= {"cache-control": REVALIDATE, "vary": "accept-language"}
    await ask(app, accept_language="de")
    seen.clear()
    await asyncio.sleep(60)
    with context.enter(context.current()._replace(principal=context.Principal("ann"))):
        assert (await ask(app, method="HEAD", accept_language="de", if_none_match='"0"')).status == 200
        await asyncio.sleep(1)
    assert seen == [("GET", [b"accept-language", b"host"], ""), b""]
    assert (await ask(app, accept_language="de")).headers["age"] == "1"


async def test_a_stale_answer_that_a_change_has_made_wrong_is_not_served_nor_brought_back(origin, app):
    origin.headers["cache-control"], origin.takes_s = f"{REVALIDATE}, stale-if-error=30", 1
    await ask(app)
    await asyncio.sleep(60)
    await ask(app)  # a refresh begins
    await asyncio.sleep(0.5)
    origin.takes_s, origin.body = 0, b"v3"
    await ask(app, method="PUT")
    await asyncio.sleep(1)
    assert (await ask(app)).body == b"v3"
    origin.status = 503
    await ask(app, method="PUT")  # failed, so nothing is wrong
    assert (await ask(app)).body == b"v3"


async def test_refreshes_are_bounded_and_end_with_the_lifespan(origin, app):
    origin.headers["cache-control"] = REVALIDATE
    for page in "abc":
        await ask(app, f"/{page}")
    await asyncio.sleep(60)
    origin.takes_s = 50
    for page in "abc":
        assert (await ask(app, f"/{page}")).status == 200
    await asyncio.sleep(1)
    assert origin.requests == 5

    async def lifespan(scope, receive, send):
        while (await receive())["type"] != "lifespan.shutdown":
            pass

    async def receive():
        return {"type": "lifespan.shutdown"}

    app._app = lifespan
    await app({"type": "lifespan"}, receive, None)
    assert len(app._refreshes) == 0


async def test_a_refresh_that_takes_too_long_is_ended(origin, cache):
    origin.headers["cache-control"] = "max-age=1, stale-while-revalidate=1000"
    app = HttpCache(origin, cache, refresh_limit_s=5.0)
    await ask(app)
    origin.takes_s = 50
    await asyncio.sleep(2)
    await ask(app)
    await asyncio.sleep(5.1)
    assert len(app._refreshes) == 0


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_in_place_of_an_error_the_old_answer_is_served(origin, app, status, method):
    origin.headers["cache-control"] = IF_ERROR
    await ask(app)
    origin.status, origin.body = status, b"broken"
    await asyncio.sleep(89)
    answer = await ask(app, method=method)
    assert (answer.status, answer.body) == (200, b"v1" if method == "GET" else b"")
    assert answer.headers["cache-status"] == f"archstone; fwd=stale; fwd-status={status}"
    await asyncio.sleep(1)
    assert (await ask(app, method=method)).status == status


async def test_an_error_that_is_an_answer_is_passed_on(origin, app):
    origin.headers["cache-control"] = IF_ERROR
    await ask(app)
    origin.status = 404
    await asyncio.sleep(60)
    assert (await ask(app)).status == 404


async def test_an_exception_before_the_answer_counts_as_an_error_and_one_within_it_comes_out(origin, cache):
    failing_at = None

    async def breaking(scope, receive, send):
        if failing_at == "begin":
            raise OSError("down")
        await origin(scope, receive, send)
        if failing_at == "end":
            raise OSError("cut")

    app = HttpCache(breaking, cache)
    origin.headers["cache-control"] = IF_ERROR
    await ask(app)
    await asyncio.sleep(60)
    failing_at = "begin"
    assert (await ask(app)).headers["cache-status"] == "archstone; fwd=stale"
    with pytest.raises(OSError, match="down"):
        await ask(app, "/other")
    failing_at = "end"
    with pytest.raises(OSError, match="cut"):
        await ask(app)


async def test_of_a_thousand_one_finds_out_that_the_application_fails(origin, app):
    origin.headers["cache-control"] = IF_ERROR
    await ask(app)
    origin.status, origin.takes_s = 503, 1
    await asyncio.sleep(60)
    answers = await asyncio.gather(*(ask(app) for _ in range(1000)))
    assert {answer.body for answer in answers} == {b"v1"}
    assert origin.requests == 2


async def test_without_permission_nothing_stale_is_served(origin, app):
    await ask(app)
    origin.status, origin.body = 503, b"broken"
    await asyncio.sleep(60)
    assert (await ask(app)).body == b"broken"


async def test_of_several_processes_one_refreshes(origin, cache):
    one, other = (HttpCache(origin, cache) for _ in range(2))  # what they share is the store
    origin.headers["cache-control"] = REVALIDATE
    await ask(one)
    origin.takes_s, origin.body = 5, b"v2"
    await asyncio.sleep(60)
    for app in (one, other):
        assert (await ask(app)).body == b"v1"
        await asyncio.sleep(1)
    assert origin.requests == 2
    await asyncio.sleep(5)
    assert (await ask(other)).body == b"v2"
