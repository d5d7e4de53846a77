import asyncio
import sys
from functools import partial

import pytest

from archstone import world
from archstone.errors import DomainError, RejectedError
from archstone.resilience import (
    Fallback,
    OutOfTimeError,
    SettingsError,
    Signal,
    Timeout,
    add_listener,
    remove_listener,
)


async def broken(number: int, *, error: BaseException) -> str:
    raise error


async def second_best(number: int, *, error: BaseException) -> str:
    assert sys.exception() is error
    return f"second best {number}"


@pytest.mark.parametrize("error", [ConnectionError(), RejectedError(), TimeoutError()])
async def test_another_answers_where_the_other_side_is_away(error: Exception) -> None:
    fallback = Fallback(second_best).bind("prices")
    assert await fallback(broken)(7, error=error) == "second best 7"
    assert fallback.statistics().fell_back == 1


@pytest.mark.parametrize("error", [DomainError(), ValueError(), asyncio.CancelledError()])
async def test_its_own_answers_and_cancellations_come_out(error: BaseException) -> None:
    with pytest.raises(type(error)):
        await Fallback(second_best)(broken)(7, error=error)


async def test_what_the_fallback_raises_comes_out_with_the_first_error_as_its_context() -> None:
    def worse(number: int, *, error: BaseException) -> str:
        raise KeyError(number)

    first = ConnectionError()
    with pytest.raises(KeyError) as raised:
        await Fallback(worse)(broken)(7, error=first)
    assert raised.value.__context__ is first


async def test_which_errors_is_for_the_policy_to_say_and_a_plain_function_may_answer() -> None:
    assert await Fallback(lambda number, **_: -number, on=(ValueError,))(broken)(7, error=ValueError()) == -7


def test_plain_functions_fall_back_to_plain_ones() -> None:
    @Fallback(lambda text: -1, on=(ValueError,))
    def parse(text: str) -> int:
        return int(text)

    assert (parse("7"), parse("seven")) == (7, -1)
    with pytest.raises(SettingsError, match="must be plain"):
        Fallback(second_best)(len)


async def test_falling_back_is_told() -> None:
    told: list[Signal] = []
    add_listener(told.append)
    error = ConnectionError()
    try:
        await Fallback(second_best).bind("told")(broken)(1, error=error)
    finally:
        remove_listener(told.append)
    assert told == [Signal("fell-back", "fallback", "told", error)]


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError) as raised:
        Fallback(7, on=ValueError)  # type: ignore[arg-type]
    assert len(raised.value.faults) == 2


async def test_a_timeout_ends_a_function() -> None:
    slow = Timeout(2.0).bind("bank")(asyncio.sleep)
    with pytest.raises(OutOfTimeError, match="'bank' ran out of time"):
        await slow(100)
    assert world.monotonic() == 2.0
    assert await Timeout(2.0)(partial(asyncio.sleep, 1.0, "in time"))() == "in time"
    async with Timeout(2.0).bind("block").admit():
        await asyncio.sleep(1)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_timeout_out_of_bounds_is_refused(seconds: float) -> None:
    with pytest.raises(SettingsError):
        Timeout(seconds)
    with pytest.raises(SettingsError, match="must be a coroutine function"):
        Timeout(1)(len)
