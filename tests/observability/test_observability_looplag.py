import asyncio
import math
import time

import pytest

from archstone.observability import LoopLag, Registry


async def test_a_loop_that_is_in_time_has_no_lag() -> None:
    registry = Registry()
    async with LoopLag(0.05, registry=registry) as lag:
        await asyncio.sleep(10)
        assert lag.lag_s == 0
    assert "archstone_loop_lag_spread_seconds_count 199" in registry.render() or (
        "archstone_loop_lag_spread_seconds_count 200" in registry.render()
    )


@pytest.mark.real_time
async def test_code_that_blocks_the_loop_shows_at_once_and_afterwards() -> None:
    registry = Registry()
    async with LoopLag(0.01, registry=registry) as lag:
        await asyncio.sleep(0.02)
        time.sleep(0.15)
        assert lag.lag_s > 0.1
        await asyncio.sleep(0)
        assert lag.lag_s > 0.1
        assert registry.gauge("archstone_loop_lag_seconds", "").value > 0.1
        await asyncio.sleep(0.05)
        assert lag.lag_s < 0.1
    assert registry.histogram("archstone_loop_lag_spread_seconds", "").percentile(1.0) > 0.1


async def test_it_ends_with_its_block() -> None:
    async with LoopLag() as lag:
        await asyncio.sleep(1)
    await asyncio.sleep(100)
    assert lag.lag_s == 0


@pytest.mark.parametrize("interval_s", [0, -1, math.nan])
def test_the_interval_is_above_zero(interval_s: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        LoopLag(interval_s)
