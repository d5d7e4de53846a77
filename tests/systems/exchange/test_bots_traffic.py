"""The load model: what arrives, when, and that an exchange takes it."""

import asyncio
from collections import Counter
from random import Random

import pytest

from archstone import world
from archstone.errors import ConfigError
from archstone.systems.exchange.matching import Kind, ReferenceEngine, Side, TimeInForce, Told
from archstone.systems.exchange.traffic import Arrival, Mix, arrivals, plan


def planned(seed: int = 1, *, mix: Mix | None = None, duration_s: float = 20.0) -> list[Arrival]:
    given = {"book": 3, "price": 10_000, "accounts": range(1, 21), "rate_per_s": 200.0, "duration_s": duration_s}
    return [*plan(mix or Mix(), **given, chance=Random(seed))]


def test_the_same_chance_gives_the_same_plan_at_about_the_rate_that_was_asked() -> None:
    one = planned()
    assert one == planned() != planned(2)
    assert 3_700 < len(one) < 4_300
    assert [each.at_s for each in one] == sorted(each.at_s for each in one)
    assert one[-1].at_s < 20
    assert planned(duration_s=0) == []


def test_what_arrives_is_mixed_as_said_and_means_something_to_a_book() -> None:
    commands = [each.command for each in planned()]
    kinds = Counter(each.kind if each.kind != Kind.NEW else f"new {TimeInForce(each.tif).name}" for each in commands)
    ratios = {kind: count / len(commands) for kind, count in kinds.items()}
    assert ratios == pytest.approx({"new GTC": 0.45, "new IOC": 0.15, Kind.CANCEL: 0.3, Kind.REPLACE: 0.1}, abs=0.03)
    for each in commands:
        if each.kind == Kind.NEW and each.price != 10_000:
            below = each.price < 10_000
            assert below == ((each.side == Side.BUY) == (each.tif == TimeInForce.GTC)), "rests behind, takes across"
    book = ReferenceEngine()
    told = Counter(Told(event.kind) for command in commands for event in book.apply(command))
    assert told[Told.TRADED] > 300
    assert told[Told.REJECTED] < 0.5 * len(commands)


def test_a_mix_says_all_that_is_wrong_with_it() -> None:
    with pytest.raises(ConfigError, match=r"rest_ratio=0\.9 .*most_lots=0"):
        Mix(rest_ratio=0.9, most_lots=0)


async def test_arrivals_come_in_their_time_and_late_ones_at_once() -> None:
    began_s = world.monotonic()
    late: list[float] = []
    async for arrival in arrivals(iter(planned(duration_s=2.0))):
        late.append(world.monotonic() - began_s - arrival.at_s)
        if len(late) == 10:
            await asyncio.sleep(1)
    assert max(late[:10]) < 1e-6
    assert max(late) < 1.001
    assert late[-1] < 1e-6
