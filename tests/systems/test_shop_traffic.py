"""The load model: the mix it promises, the same plan for the same chance, arrivals that do not wait."""

import asyncio
from collections import Counter
from random import Random

import pytest

from archstone import world
from archstone.errors import ConfigError
from archstone.systems.shop.traffic import Mix, arrivals, oversold, plan

SKUS = [f"SKU-{n:03d}" for n in range(100)]


def test_the_plan_has_the_mix_and_the_rate_that_were_asked_for() -> None:
    visits = plan(Mix(), rate_per_s=100, duration_s=100, skus=SKUS, chance=Random(1))
    assert len(visits) == pytest.approx(10_000, rel=0.05)
    kinds = Counter(visit.kind for visit in visits)
    for kind, ratio in Mix().ratios.items():
        assert kinds[kind] / len(visits) == pytest.approx(ratio, rel=0.1)
    wanted = Counter(visit.path for visit in visits if visit.kind == "product")
    assert wanted["/products/SKU-000"] > 5 * wanted["/products/SKU-050"]
    tokens = Counter(visit.body["payment_token"] for visit in visits if visit.body)
    assert set(tokens) == {"tok_ok", "tok_declined", "tok_flaky"}
    assert all(1 <= len(visit.body["lines"]) <= 3 for visit in visits if visit.body)


def test_the_same_chance_gives_the_same_plan() -> None:
    one, other = (plan(Mix(), rate_per_s=10, duration_s=10, skus=SKUS, chance=Random(7)) for _ in range(2))
    assert one == other


async def test_visits_arrive_in_their_time_and_late_ones_are_not_left_out() -> None:
    began_s = world.monotonic()
    seen = []
    async for visit in arrivals(Mix(), rate_per_s=20, duration_s=5, skus=SKUS):
        assert world.monotonic() - began_s >= visit.at_s - 1e-6
        seen.append(visit)
        if len(seen) == 1:
            await asyncio.sleep(10)  # whoever sends was away
    assert len(seen) > 50
    assert [visit.at_s for visit in seen] == sorted(visit.at_s for visit in seen)


def test_a_mix_that_does_not_add_up_is_refused_with_every_fault() -> None:
    with pytest.raises(ConfigError) as caught:
        Mix(checkout_ratio=0.5, max_lines=0, popularity=float("nan"))
    for name in ("checkout_ratio", "max_lines", "popularity"):
        assert name in str(caught.value)


def test_what_was_sold_and_did_not_leave_the_stock_is_oversold() -> None:
    assert oversold({"A": 3, "B": 1}, {"A": 3, "B": 5, "C": 1}) == 0
    assert oversold({"A": 3, "B": 4}, {"A": 1, "B": 3}) == 3
    assert oversold({"A": 1}, {"A": 1, "B": -1}) is None, "somebody has restocked: it cannot be known"
