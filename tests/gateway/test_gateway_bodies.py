"""Bodies that are still on their way: where they wait, and how many may."""

import asyncio
import json

import pytest
from gateway_subject import Door, header, problem_code

from archstone.gateway import Gateway
from archstone.observability import render
from archstone.resilience import RateLimit, SettingsError, Shed
from archstone.services.http import ASGIApp, Response, ask

HERE, THERE = ("10.0.0.1", 1), ("10.0.0.2", 1)
JSON = ("content-type", "application/json")
BODY = [b'{"page":', b' "x"}']


def slowly(app: ASGIApp, seconds: float) -> ASGIApp:
    """Let each part of a body take so long to arrive, the first one as well."""

    async def slow(scope, receive, send) -> None:
        async def late():
            await asyncio.sleep(seconds)
            return await receive()

        await app(scope, late, send)

    return slow


def visit(door: Door, *, seconds: float, client=HERE, headers=()) -> asyncio.Task[Response]:
    asking = ask(
        slowly(door.app, seconds), "POST", "/api/v1/visits", headers=[JSON, *headers], body=BODY, client=client
    )
    return asyncio.ensure_future(asking)


def many(door: Door, count: int, **how) -> list[asyncio.Task[Response]]:
    return [visit(door, **how) for _ in range(count)]


async def statuses(asked: list[asyncio.Task[Response]]) -> list[int]:
    return sorted([(await each).status for each in asked])


def waiting() -> float:
    told = next(line for line in render().splitlines() if line.startswith("archstone_bodies_pending "))
    return float(told.split()[1])


async def test_bodies_under_way_take_no_place_from_those_who_have_sent_theirs() -> None:
    door = Door(Gateway(shed=Shed(2, reserve_ratio=0)))
    slow = many(door, 10, seconds=5)
    await asyncio.sleep(1)
    assert (await door.get("/api/v1/products/tea", client=THERE)).status == 200
    assert (await door.post("/api/v1/visits", {"page": "x"}, client=THERE)).status == 200
    assert await statuses(slow) == [200] * 10


async def test_one_client_has_so_many_bodies_under_way_and_is_429_beyond() -> None:
    door = Door(Gateway(pending_bodies_each=3))
    slow = many(door, 3, seconds=5)
    await asyncio.sleep(1)
    refused = await visit(door, seconds=5)
    assert (refused.status, problem_code(refused)) == (429, "gateway.bodies-pending")
    assert header(refused, "retry-after") == "1"
    assert (await visit(door, seconds=1, client=THERE)).status == 200
    assert (await visit(door, seconds=1, headers=[("authorization", "Bearer ann-token")])).status == 200
    assert await statuses(slow) == [200] * 3
    assert (await visit(door, seconds=5)).status == 200


async def test_all_clients_have_so_many_bodies_under_way_and_are_503_beyond() -> None:
    door = Door(Gateway(pending_bodies=2))
    slow = [visit(door, seconds=5), visit(door, seconds=5, client=THERE)]
    await asyncio.sleep(1)
    refused = await visit(door, seconds=5, client=("10.0.0.3", 1))
    assert (refused.status, problem_code(refused)) == (503, "resilience.overloaded")
    assert header(refused, "retry-after") == "1"
    assert await statuses(slow) == [200] * 2


async def test_a_body_that_came_with_its_headers_needs_no_place_to_wait() -> None:
    door = Door(Gateway(pending_bodies=1, pending_bodies_each=1))
    slow = visit(door, seconds=5)
    await asyncio.sleep(1)
    assert (await door.post("/api/v1/visits", {"page": "x"}, client=HERE)).status == 200
    assert (await door.post("/api/v1/visits", BODY, client=HERE)).status == 200
    assert (await slow).status == 200


async def test_the_place_of_a_body_is_free_when_it_is_late_too_large_or_given_up() -> None:
    door = Door(Gateway(pending_bodies=1, pending_bodies_each=1, time_limit_s=10, body_limit_bytes=12))
    assert problem_code(await visit(door, seconds=20)) == "http.body-late"
    assert waiting() == 0
    assert problem_code(await visit(door, seconds=1)) == "http.body-too-large"
    assert waiting() == 0
    given_up = visit(door, seconds=5)
    await asyncio.sleep(1)
    assert waiting() == 1
    given_up.cancel()
    await asyncio.sleep(10)
    assert waiting() == 0


async def test_a_house_that_filled_up_while_the_body_came_refuses_it() -> None:
    door = Door(Gateway(shed=Shed(1, reserve_ratio=0)))
    slow = visit(door, seconds=1)
    await asyncio.sleep(1.5)
    inside = asyncio.ensure_future(door.get("/api/v1/products/slow"))
    assert problem_code(await slow) == "resilience.overloaded"
    assert (await inside).status == 200
    assert len(door.behind.calls) == 1


async def test_a_full_house_refuses_before_it_waits_for_a_body() -> None:
    door = Door(Gateway(shed=Shed(1, reserve_ratio=0)))
    inside = asyncio.ensure_future(door.get("/api/v1/products/slow"))
    await asyncio.sleep(0.1)
    asked = visit(door, seconds=100)
    await asyncio.sleep(0.1)
    assert asked.done()
    assert (await asked).status == 503
    assert (await inside).status == 200


async def test_a_request_is_rated_once_however_its_body_comes() -> None:
    door = Door(Gateway(rate_limit=RateLimit(0.001, burst=2)))
    assert await statuses(many(door, 3, seconds=1)) == [200, 200, 429]


def test_the_bounds_are_at_least_one() -> None:
    with pytest.raises(SettingsError, match=r"pending_bodies=0 must be at least 1; pending_bodies_each=0 must"):
        Gateway(pending_bodies=0, pending_bodies_each=0)


async def test_what_arrived_in_parts_is_what_was_sent() -> None:
    door = Door()
    answer = await visit(door, seconds=1)
    assert json.loads(answer.body) == ""
    assert waiting() == 0
