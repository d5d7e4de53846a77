"""Programs that act for somebody: each has a part of what its owner may ask, and perhaps a limit of its own."""

import asyncio
from collections.abc import Callable

import pytest
from gateway_subject import Door, header, problem_code

from archstone.context import Principal, Program
from archstone.gateway import Gateway
from archstone.resilience import RateLimit, SettingsError, SharedState
from archstone.services.http import ask

LIMIT = RateLimit(4, burst=8)


def by(owner: str, program: str | None = None, per_minute: int | None = None) -> Principal:
    acting = None if program is None else Program(program, per_minute)
    return Principal(owner, frozenset({"customer"}), by=acting)


PEOPLE = {
    "ann": by("ann"), "bob": by("bob"), "export": by("ann", "key:export"), "import": by("ann", "key:import"),
    "app": by("ann", "client:app"), "slow": by("ann", "key:slow", 3),
}  # fmt: skip


def a_door(shared: SharedState | None = None, **settings: object) -> Door:
    return Door(Gateway(**{"rate_limit": LIMIT, **settings}), verify=PEOPLE.__getitem__, shared=shared)


async def let(door: Door, who: str, times: int) -> int:
    """Ask so often, and return how many were answered before the first refusal."""
    statuses = [(await door.get("/api/v1/me", token=who)).status for _ in range(times)]
    assert statuses == sorted(statuses)
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


async def test_a_program_takes_half_of_what_its_owner_may_ask_and_the_rest_is_for_others() -> None:
    door = a_door()
    assert await let(door, "export", 30) == 4
    assert await let(door, "ann", 30) == 4
    assert await let(door, "bob", 30) == 8
    await asyncio.sleep(10)
    # What was refused has cost nothing; all of them together have no more than one.
    assert [await let(door, each, 30) for each in ("import", "app", "export", "ann")] == [4, 4, 0, 0]
    await asyncio.sleep(1)
    assert [await let(door, each, 30) for each in ("export", "ann")] == [2, 2]


async def test_the_part_of_a_program_is_a_setting() -> None:
    assert await let(a_door(program_ratio=0.25), "export", 30) == 2
    assert await let(a_door(program_ratio=1), "export", 30) == 8
    assert await let(a_door(rate_limit=None), "export", 30) == 30
    for ratio in (0, 1.01, float("nan")):
        with pytest.raises(SettingsError, match="program_ratio"):
            Gateway(program_ratio=ratio)


async def test_a_key_keeps_to_the_limit_that_it_was_given() -> None:
    for door in (a_door(), a_door(rate_limit=None)):
        assert await let(door, "slow", 10) == 3
        refused = await door.get("/api/v1/me", token="slow")
        assert problem_code(refused) == "resilience.rate-limited"
        assert b"'key:slow': above 0.05 per second" in refused.body
        wait_s = int(header(refused, "retry-after") or 0)
        assert 0 < wait_s <= 120
        await asyncio.sleep(wait_s)
        assert await let(door, "slow", 1) == 1
        await asyncio.sleep(180)
        assert await let(door, "slow", 10) == 3


@pytest.mark.parametrize("per_minute", [1, 3, 7, 49, 997])
async def test_a_minute_holds_as_many_requests_as_it_says(per_minute: int) -> None:
    door = Door(Gateway(rate_limit=None), verify=lambda _: by("ann", "key:x", per_minute))
    assert await let(door, "x", per_minute + 5) == per_minute


@pytest.mark.parametrize("url", ["memory:", "sqlite", pytest.param("redis", marks=pytest.mark.real_time)])
async def test_programs_are_counted_for_all_processes_where_they_share_a_store(
    url: str, request: pytest.FixtureRequest, tmp_path: object
) -> None:
    if url == "redis":
        url = request.getfixturevalue("redis_url")
    url = f"sqlite:///{tmp_path}/limits.db" if url == "sqlite" else url
    slowly = RateLimit(0.001, burst=8)
    async with SharedState(url) as shared:
        doors = [a_door(shared, rate_limit=slowly) for _ in range(2)]
        for who, most in (("slow", 3), ("export", 4), ("ann", 1)):
            statuses = [(await doors[at % 2].get("/api/v1/me", token=who)).status for at in range(8)]
            assert statuses == [200] * most + [429] * (8 - most), who


async def test_a_program_holds_half_of_the_bodies_under_way_of_its_owner() -> None:
    door = a_door(rate_limit=None, pending_bodies_each=4)
    parts: Callable[[str], object] = lambda who: _slowly(door, who)  # noqa: E731 - short here
    export = [asyncio.ensure_future(parts("export")) for _ in range(3)]
    await asyncio.sleep(0.1)
    ann = [asyncio.ensure_future(parts("ann")) for _ in range(3)]
    assert sorted([await each for each in export]) == [200, 200, 429]
    assert sorted([await each for each in ann]) == [200, 200, 429]
    assert [await parts("export")] == [200]


async def _slowly(door: Door, who: str) -> int:
    async def late(scope, receive, send) -> None:
        async def after_a_while():
            await asyncio.sleep(1)
            return await receive()

        await door.app(scope, after_a_while, send)

    headers = [("content-type", "application/json"), ("authorization", f"Bearer {who}")]
    answer = await ask(late, "POST", "/api/v1/visits", headers=headers, body=[b'{"page":', b' "x"}'])
    return answer.status
