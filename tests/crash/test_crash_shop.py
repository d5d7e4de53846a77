"""The promise of the shop under SIGKILL: every acknowledged order ends, nothing is lost, nothing is done twice."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest
from shop_process import Buyer, ShopProcess

from archstone.systems.shop import invariants

pytestmark = [pytest.mark.slow, pytest.mark.real_time]

CHECKOUTS, CONCURRENCY, KILLS = 200, 20, 10
TOKENS = ("tok_ok",) * 12 + ("tok_declined", "tok_flaky", "tok_timeout", "tok_unheard_of")

DURING_A_CHECKOUT = (
    "data.before_commit",
    "data.after_commit",
)
"""Crash points that any checkout passes. Those passed only elsewhere are killed at in the tests of their block."""


async def buyers(shop: ShopProcess, http: httpx.AsyncClient, count: int) -> list[Buyer]:
    return list(await asyncio.gather(*(Buyer(http, f"buyer{n}@example.org").register() for n in range(count))))


async def skus(http: httpx.AsyncClient) -> list[str]:
    return [item["sku"] for item in (await http.get("/api/v1/products?limit=20")).json()["items"]]


class Shopping:
    """Checkouts that insist until each has ended, while somebody else kills the process."""

    def __init__(self, shop: ShopProcess, http: httpx.AsyncClient) -> None:
        self.shop, self.http = shop, http
        self.ended: Counter[str] = Counter()
        self.acknowledged: dict[str, str] = {}
        self._places = asyncio.Semaphore(CONCURRENCY)

    async def run(self, checkouts: int, *, people: list[Buyer], seed: int = 1) -> None:
        chance, catalogue = random.Random(seed), await skus(self.http)
        async with asyncio.TaskGroup() as group:
            for number in range(checkouts):
                group.create_task(
                    self._one(number, chance.choice(people), chance.choice(catalogue), chance.choice(TOKENS))
                )

    async def _one(self, number: int, buyer: Buyer, sku: str, token: str) -> None:
        async with self._places:
            key = f"crash-{number}"
            placed = await buyer.place(sku, token=token, key=key)
            assert placed.status_code == 202, placed.text
            order_id = placed.json()["id"]
            self.acknowledged[order_id] = token
            again = await buyer.place(sku, token=token, key=key)
            assert again.json()["id"] == order_id, "the same key has placed a second order"
            ended = await buyer.settled(order_id)
            expected = {"tok_declined": "cancelled", "tok_unheard_of": "cancelled"}.get(token, "confirmed")
            assert ended["status"] == expected, (token, ended)
            self.ended[ended["status"]] += 1


def broken(shop: ShopProcess) -> list[str]:
    """Stop the shop in an orderly way and return every invariant that does not hold in its data folder."""
    assert shop.stop() == 0, shop.log_tail()
    return invariants.check(shop.data)


async def quiet(http: httpx.AsyncClient, shop: ShopProcess) -> None:
    """Wait until every event has been handled: the e-mail of the last order is the last thing to happen."""
    for _ in range(200):
        metrics = (await http.get("/metrics")).text
        waiting = [
            line
            for line in metrics.splitlines()
            if line.startswith(("archstone_bus_depth", "archstone_outbox_rows", "archstone_sagas_running"))
        ]
        if waiting and all(float(line.rpartition(" ")[2]) == 0 for line in waiting):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the shop does not come to rest: {waiting}\n{shop.log_tail()}")


async def test_two_hundred_checkouts_survive_ten_kills_at_random_moments(tmp_path: Path) -> None:
    shop = ShopProcess(tmp_path / "shop", settings={"RATE_LIMIT_PER_S": "100000"})
    chance = random.Random(int(os.environ.get("ARCHSTONE_SEED", "7")))
    try:
        await shop.start()
        limits = httpx.Limits(max_connections=CONCURRENCY * 2)
        async with httpx.AsyncClient(base_url=shop.url, limits=limits, timeout=30) as http:
            shopping = Shopping(shop, http)
            work = asyncio.create_task(
                shopping.run(CHECKOUTS, people=await buyers(shop, http, 10), seed=chance.randrange(1 << 30))
            )
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.05, 0.8))
                shop.kill()
                await shop.start()
            await work
            await quiet(http, shop)
        assert sum(shopping.ended.values()) == CHECKOUTS
        assert broken(shop) == []
    finally:
        shop.kill()


@pytest.mark.parametrize("point", DURING_A_CHECKOUT)
async def test_a_kill_at_a_crash_point_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    shop = ShopProcess(tmp_path / "shop", settings={"RATE_LIMIT_PER_S": "100000"})
    passes = random.Random(point).randrange(3, 12)
    try:
        await shop.start()
        async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
            people = await buyers(shop, http, 3)
            assert shop.stop() == 0, shop.log_tail()
            await shop.start(ARCHSTONE_CRASH=f"{point}:{passes}")
            shopping = Shopping(shop, http)
            work = asyncio.create_task(shopping.run(12, people=people))
            code = await shop.exited()
            assert code == -9, f"{point} was not passed {passes} times: exit code {code}\n{shop.log_tail()}"
            await shop.start()
            await work
            await quiet(http, shop)
        assert broken(shop) == []
    finally:
        shop.kill()
