"""How many requests an account may make in a second."""

import asyncio

import pytest

from archstone.systems.exchange.entry.allowance import Allowances


async def test_as_many_as_are_left_are_taken_and_the_wait_is_for_one_more() -> None:
    allowances = Allowances(100)
    assert allowances.take(7, 60) == (60, 0.0)
    taken, wait_s = allowances.take(7, 60)
    assert (taken, wait_s) == (40, pytest.approx(0.01))
    assert allowances.take(7, 5)[0] == 0
    assert allowances.take(8, 100) == (100, 0.0)
    await asyncio.sleep(wait_s)
    assert allowances.take(7, 5)[0] == 1
    await asyncio.sleep(0.255)
    assert allowances.take(7, 50) == (25, pytest.approx(0.005))


async def test_more_than_a_second_has_is_never_taken_at_once() -> None:
    allowances = Allowances(100)
    assert allowances.take(7, 1_000) == (100, pytest.approx(0.01))
    await asyncio.sleep(60)
    assert allowances.take(7, 1_000) == (100, pytest.approx(0.01))


async def test_all_of_a_second_is_given_however_it_is_asked_for() -> None:
    allowances, taken = Allowances(997), 0
    for wanted in range(1, 120):
        taken += allowances.take(7, wanted)[0]
        await asyncio.sleep(1 / 997)
    assert taken == 997 + 118
