"""How often a secret may be tried: failures alone count, the pause grows, owners get in, several processes are one."""

import asyncio
from pathlib import Path

import pytest

from archstone.resilience import RateLimit, RateLimitedError, SharedState
from archstone.security import ACCOUNT_LIMITS, PLACE_LIMITS, Attempts

pytestmark = pytest.mark.simulated(limit_s=None)


class WrongError(Exception):
    """It was the wrong one."""


async def fail(attempts: Attempts, account: str = "ann", place: str = "", *, known: bool = False) -> float:
    """Fail once; return how long one must wait if that was refused, else 0."""
    try:
        async with attempts.admit(account, place, failure=WrongError, known=known):
            raise WrongError
    except RateLimitedError as error:
        return error.retry_after_s
    except WrongError:
        return 0.0


async def failures(attempts: Attempts, *, seconds: float, account: str = "ann", place: str = "") -> int:
    """Fail as often as one is let for so long."""
    ends_s = asyncio.get_running_loop().time() + seconds
    count = 0
    while asyncio.get_running_loop().time() < ends_s:
        wait_s = await fail(attempts, account, place)
        count += wait_s == 0
        await asyncio.sleep(wait_s)
    return count


async def test_ten_fail_at_once_and_then_the_pause_grows() -> None:
    attempts = Attempts()
    assert [await fail(attempts) for _ in range(10)] == [0.0] * 10
    assert await fail(attempts) == pytest.approx(10, abs=0.01)
    await asyncio.sleep(9.9)
    assert await fail(attempts) > 0
    await asyncio.sleep(0.2)
    assert await fail(attempts) == 0
    assert await fail(attempts) > 9


async def test_an_hour_and_a_day_of_trying_are_bounded() -> None:
    attempts = Attempts()
    assert await failures(attempts, seconds=3600) <= 40 + 60
    assert await failures(attempts, seconds=86_400) <= 100 + 200
    assert await fail(attempts, "bob") == 0


async def test_what_works_does_not_count() -> None:
    attempts = Attempts()
    for _ in range(200):
        async with attempts.admit("ann", "192.0.2.1", failure=WrongError):
            pass
    for _ in range(200):
        with pytest.raises(KeyError):
            async with attempts.admit("ann", "192.0.2.1", failure=WrongError):
                raise KeyError
    assert await fail(attempts, "ann", "192.0.2.1") == 0


async def test_at_most_three_are_under_way_and_a_cancelled_one_gives_its_place_back() -> None:
    attempts, go = Attempts(), asyncio.Event()

    async def slow() -> None:
        async with attempts.admit("ann", "", failure=WrongError):
            await go.wait()

    tasks = [asyncio.create_task(slow()) for _ in range(3)]
    await asyncio.sleep(0)
    assert await fail(attempts) == 1.0
    assert await fail(attempts, "bob") == 0
    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    assert await fail(attempts) == 0
    go.set()
    await asyncio.gather(*tasks[1:])
    assert attempts._running == {}


async def test_the_owner_gets_in_at_a_known_place_while_strangers_are_closed_out() -> None:
    attempts = Attempts()
    for number in range(100):
        await fail(attempts, "ann", f"198.51.100.{number}")
    assert await fail(attempts, "ann", "203.0.113.1") > 0
    async with attempts.admit("ann", "192.0.2.1", failure=WrongError, known=True):
        pass
    for _ in range(10):
        assert await fail(attempts, "ann", "192.0.2.1", known=True) == 0
    assert await fail(attempts, "ann", "192.0.2.1", known=True) > 0  # whoever sits at that place is limited, too


async def test_an_error_names_neither_account_nor_place() -> None:
    attempts = Attempts("passwords")
    for _ in range(10):
        await fail(attempts, "ann@example.com", "192.0.2.1")
    with pytest.raises(RateLimitedError) as caught:
        async with attempts.admit("ann@example.com", "192.0.2.1", failure=WrongError):
            pass
    assert "ann" not in f"{caught.value!s}{caught.value!r}"
    assert "192.0.2.1" not in f"{caught.value!s}{caught.value!r}"


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archstone.security.attempts._FORGET_ABOVE", 20)
    attempts = Attempts(account=(RateLimit(0.1, burst=1),), place=())
    for number in range(200):
        await fail(attempts, str(number))
        await fail(attempts, str(number))
        await asyncio.sleep(0.1)
    assert len(attempts._closed_until_s) <= 20


@pytest.mark.real_time
async def test_two_processes_count_together(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/limits.db"
    async with SharedState(url) as one, SharedState(url) as other:
        here, there = Attempts("p", shared=one), Attempts("p", shared=other)
        count = sum([await fail(each) == 0 for _ in range(15) for each in (here, there)])
    assert 10 <= count <= 11  # the second learns it from a failure of its own
    assert sum([await fail(Attempts("p")) == 0 for _ in range(3)]) == 3


def test_the_limits_are_those_that_the_page_tells() -> None:
    assert [(limit.rate_per_s, limit.burst) for limit in ACCOUNT_LIMITS] == [
        (0.1, 9), (60 / 3600, 39), (200 / 86_400, 99),
    ]  # fmt: skip
    assert [(limit.rate_per_s, limit.burst) for limit in PLACE_LIMITS] == [(0.5, 29), (600 / 3600, 299)]
