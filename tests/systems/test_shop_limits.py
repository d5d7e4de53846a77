"""Limits of the shop that all processes count together, by the option `limits`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pages_browser import Browser
from wiring import running

from archstone.resilience import RateLimit, RateLimitedError, SharedLimiter, SharedState
from archstone.runtime import Settings
from archstone.security import KeyFile, Passkeys
from archstone.systems.shop.programs.programs import Programs
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.safeguards import Safeguards

Two = tuple[Safeguards, Safeguards]


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.real_time)])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    """The safeguards of two processes on one store."""
    url = f"sqlite:///{tmp_path}/limits.db"
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    keys = KeyFile(tmp_path / "factors-key.json").load()
    passkeys = Passkeys(rp_id="shop.test", rp_name="Shop", origins=["https://shop.test"])
    async with AsyncExitStack() as stack:
        states = [await stack.enter_async_context(SharedState(url)) for _ in range(2)]
        one, other = (Safeguards(keys=keys, passkeys=passkeys, shared=each) for each in states)
        yield one, other


async def taken(limiters: list[SharedLimiter], key: str, times: int) -> list[bool]:
    """Take in turns, and return what was let through."""
    let: list[bool] = []
    for at in range(times):
        try:
            await limiters[at % 2].turn(key)
            let.append(True)
        except RateLimitedError:
            let.append(False)
    return let


async def test_sign_ups_from_one_place_are_counted_in_both_processes(two: Two) -> None:
    limiters = [each.sign_ups for each in two]
    assert await taken(limiters, "192.0.2.1", 32) == [True] * 30 + [False] * 2
    assert await taken(limiters, "192.0.2.2", 2) == [True] * 2


async def test_reset_mails_to_one_address_are_counted_in_both_processes(two: Two) -> None:
    limiters = [each.reset_mails for each in two]
    assert await taken(limiters, "ann@example.com", 5) == [True] * 3 + [False] * 2
    assert await taken(limiters, "bob@example.com", 2) == [True] * 2


async def test_wrong_codes_and_passwords_are_counted_in_both_processes(two: Two) -> None:
    for kind, most in (("codes", 5), ("passwords", 10)):
        let = 0
        for at in range(20):
            try:
                async with getattr(two[at % 2], kind).admit("ann", "", failure=KeyError):
                    let += 1
                    raise KeyError
            except (KeyError, RateLimitedError):
                continue
        # A process learns from its own next failure that the other one has filled a limit.
        assert most <= let <= most + 1


async def test_the_shop_counts_everything_where_the_option_says(tmp_path: Path) -> None:
    settings = Settings(options={"limits": f"sqlite:///{tmp_path}/limits.db"}, rate_limit_per_s=1)
    async with running(shop, data=tmp_path / "shop", settings=settings) as run:
        shared = run.parts.provided[SharedState]
        assert isinstance(shared, SharedState)
        guard: Safeguards = run.parts.provided[Safeguards]
        programs: Programs = run.parts.provided[Programs]
        limiters = [guard.sign_ups, guard.reset_mails, programs.oauth.asking, programs.oauth.guessing]
        assert {type(each) for each in limiters} == {SharedLimiter}
        # What another process has seen of an address fills the limits of this one: of the door, and of the pages.
        async with SharedState(f"sqlite:///{tmp_path}/limits.db") as other:
            for door in ("gateway", "shop pages"):
                await RateLimit(1, burst=2).bind(door, store=other).take("address:192.0.2.9", 2.0)
        for address, status in (("192.0.2.9", 429), ("192.0.2.8", 200)):
            visitor = Browser(run.asgi)
            visitor.client = (address, 1)
            assert (await visitor.get("/api/v1/products")).status == status
            assert (await visitor.get("/")).status == status


async def test_without_the_option_each_process_counts_alone(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path) as run:
        assert run.parts.provided[SharedState] is None
        assert not isinstance(run.parts.provided[Safeguards].sign_ups, SharedLimiter)
