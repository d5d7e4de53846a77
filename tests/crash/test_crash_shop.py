"""The promise of the shop under SIGKILL: every acknowledged order ends, nothing is lost, nothing is done twice."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from postgres import Databases
from shop_past import Past, Pasts
from shop_process import Buyer, ShopProcess

from archstone import world
from archstone.data.engines import sqlite as _engine  # noqa: F401 - declares its points
from archstone.messaging.brokers import sqlite as _broker  # noqa: F401 - declares its points
from archstone.runtime import ask
from archstone.systems.shop import invariants
from archstone.systems.shop.system import shop as _shop  # noqa: F401 - imports every block that declares points

pytestmark = [pytest.mark.slow, pytest.mark.real_time]

SOLD_OUT = "more than there is"
"""In place of a token: an order that inventory refuses."""
MIXED = {
    "saga": ("tok_ok", "tok_ok", "tok_declined", "tok_flaky", SOLD_OUT, SOLD_OUT),
    # What is sold out makes no saga go back here: declined charges alone do.
    "choreography": ("tok_ok", "tok_declined", "tok_declined", "tok_declined", "tok_flaky", SOLD_OUT),
}
FORMS = tuple(MIXED)
"""Of the checkout."""
CHECKOUTS, CONCURRENCY, KILLS = 200, 20, 10
TOKENS = ("tok_ok",) * 12 + ("tok_declined", "tok_flaky", "tok_timeout", "tok_unheard_of")

STARTS = {"data.": 120, "postgres.before_commit": 60, "postgres.after_commit": 60, "postgres.after_group": 30}
"""How often a start and a moment of rest pass points, about: the kill is to come after that."""

ELSEWHERE = {
    "cache.after_save": "tests/cache/test_cache_behind_crash.py",
    "data.mid_migration": "tests/data/test_data_crash_points.py",
    "disk.after_aside": "tests/systems/exchange/test_sequencer_crash.py",
    "eventsourcing.after_outside": "tests/eventsourcing/test_eventsourcing_crash_points.py",
    "eventsourcing.after_swap": "tests/eventsourcing/test_eventsourcing_crash_points.py",
    "eventsourcing.before_swap": "tests/eventsourcing/test_eventsourcing_crash_points.py",
    "messaging.after_count": "tests/messaging/test_messaging_crash_points.py",
    "messaging.after_failure": "tests/messaging/test_messaging_crash_points.py",
    "sagas.after_burial": "tests/sagas/test_sagas_workers_killed.py",
    "sagas.after_cancel": "tests/sagas/test_sagas_crash.py",
    "sagas.after_child": "tests/sagas/test_sagas_crash.py",
    "sagas.after_child_end": "tests/sagas/test_sagas_crash.py",
    "sagas.after_claim": "tests/sagas/test_sagas_workers_killed.py",
    "sagas.after_fork": "tests/sagas/test_sagas_crash.py",
    "sagas.after_let_out": "tests/sagas/test_sagas_crash.py",
    "sagas.after_reopen": "tests/sagas/test_sagas_crash.py",
    "sagas.after_rest": "tests/sagas/test_sagas_crash.py",
    "sagas.after_signal": "tests/sagas/test_sagas_crash.py",
    "sagas.after_take": "tests/sagas/test_sagas_crash.py",
    "sagas.after_wait": "tests/sagas/test_sagas_crash.py",
    "sagas.before_cancel": "tests/sagas/test_sagas_crash.py",
    "sagas.before_take": "tests/sagas/test_sagas_crash.py",
    "services.after_rollback_before_record": "tests/services/test_services_crash_points.py",
    "shop.bank_after_part_refund": "tests/systems/test_shop_refund_crash.py",
    "shop.import_after_clearing": "tests/systems/test_shop_import_crash.py",
    "shop.import_after_staging": "tests/systems/test_shop_import_crash.py",
    "shop.import_after_switch": "tests/systems/test_shop_import_crash.py",
    "shop.import_after_telling": "tests/systems/test_shop_import_crash.py",
    "shop.refund_after_asked": "tests/systems/test_shop_refund_crash.py",
    "shop.refund_after_booked": "tests/systems/test_shop_refund_crash.py",
    "two_phase.after_decision": "tests/sagas/test_sagas_two_phase.py",
    "two_phase.after_prepare": "tests/sagas/test_sagas_two_phase.py",
    "two_phase.before_decision": "tests/sagas/test_sagas_two_phase.py",
    "two_phase.mid_commit": "tests/sagas/test_sagas_two_phase.py",
}
"""Points that no checkout passes, and the test that kills there."""

GATHERED = {"eventsourcing.after_checkpoint", "eventsourcing.after_effects"}
"""Points that are passed once for all orders of a quarter of a second."""
ON_POSTGRESQL = (
    "postgres.before_commit",
    "postgres.after_commit",
    "postgres.before_group",
    "postgres.after_group",
    "messaging.after_send",
    "sagas.after_begin",
    "sagas.after_effect",
    "sagas.before_undo",
    "services.after_commit_before_answer",
    "services.after_handled_before_settle",
    "shop.bank_after_capture",
)
"""Points that a checkout passes on PostgreSQL: all of its engine, and of each block some."""

DURING_A_CHECKOUT = sorted(
    point
    for point in world.crash_points().keys() - ELSEWHERE.keys() - set(ON_POSTGRESQL[:4])
    if not point.startswith("exchange.")
)


async def buyers(shop: ShopProcess, http: httpx.AsyncClient, count: int) -> list[Buyer]:
    return list(await asyncio.gather(*(Buyer(http, f"buyer{n}@example.org").register() for n in range(count))))


async def skus(http: httpx.AsyncClient) -> list[str]:
    return [item["sku"] for item in (await http.get("/api/v1/products?limit=20")).json()["items"]]


class Shopping:
    """Checkouts that insist until each has ended, while somebody else kills the process."""

    def __init__(self, rare: str = "") -> None:
        """`rare` is a product of which there are less than 99."""
        self.ended: Counter[str] = Counter()
        self.acknowledged: dict[str, str] = {}
        self._rare = rare
        self._places = asyncio.Semaphore(CONCURRENCY)

    async def run(
        self,
        checkouts: int,
        *,
        people: Sequence[Buyer],
        catalogue: Sequence[str],
        tokens: tuple[str, ...] = TOKENS,
        seed: int = 1,
    ) -> None:
        chance = random.Random(seed)
        async with asyncio.TaskGroup() as group:
            for number in range(checkouts):
                group.create_task(
                    self._one(number, chance.choice(people), chance.choice(catalogue), chance.choice(tokens))
                )

    async def _one(self, number: int, buyer: Buyer, sku: str, token: str) -> None:
        async with self._places:
            key = f"crash-{number}"
            wanted = {"sku": sku, "token": token, "key": key}
            if token == SOLD_OUT:
                wanted |= {"sku": self._rare, "token": "tok_ok", "quantity": 99}
            placed = await buyer.place(**wanted)
            assert placed.status_code == 202, placed.text
            order_id = placed.json()["id"]
            self.acknowledged[order_id] = token
            again = await buyer.place(**wanted)
            assert again.json()["id"] == order_id, "the same key has placed a second order"
            ended = await buyer.settled(order_id)
            expected = {"tok_declined": "cancelled", "tok_unheard_of": "cancelled", SOLD_OUT: "cancelled"}.get(
                token, "confirmed"
            )
            assert ended["status"] == expected, (token, ended)
            self.ended[ended["status"]] += 1


def broken(shop: ShopProcess) -> list[str]:
    """Stop the shop in an orderly way and return every invariant that does not hold in its data folder."""
    assert shop.stop() == 0, shop.log_tail()
    return invariants.check(shop.data, shop.settings.get("DATABASE_URL", ""))


async def quiet(shop: ShopProcess) -> None:
    """Wait until every saga has ended and every event has been sent and handled."""
    status: dict[str, object] = {}
    for _ in range(300):
        status = await ask(shop.data / "control.sock", "status")
        if not any(status[name] for name in ("unsent", "unhandled", "sagas_running")):
            assert (status["dead"], status["sagas_stuck"]) == (0, 0), shop.log_tail()
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the shop does not come to rest: {status}\n{shop.log_tail()}")


@pytest.mark.parametrize("form", FORMS)
async def test_two_hundred_checkouts_survive_ten_kills_at_random_moments(tmp_path: Path, form: str) -> None:
    shop = ShopProcess(tmp_path / "shop", options={"checkout": form}, settings={"RATE_LIMIT_PER_S": "100000"})
    chance = random.Random(int(os.environ.get("ARCHSTONE_SEED", "7")))
    try:
        await shop.start()
        limits = httpx.Limits(max_connections=CONCURRENCY * 2)
        async with httpx.AsyncClient(base_url=shop.url, limits=limits, timeout=30) as http:
            shopping = Shopping()
            people, catalogue = await buyers(shop, http, 10), await skus(http)
            work = asyncio.create_task(
                shopping.run(CHECKOUTS, people=people, catalogue=catalogue, seed=chance.randrange(1 << 30))
            )
            for progress in sorted(chance.sample(range(CHECKOUTS - CONCURRENCY), KILLS)):
                while sum(shopping.ended.values()) < progress:
                    await asyncio.sleep(0.005)
                await asyncio.sleep(chance.uniform(0, 0.05))
                assert not work.done(), "killed after the last checkout had ended"
                shop.kill()
                await shop.start()
            await work
            await quiet(shop)
        assert sum(shopping.ended.values()) == CHECKOUTS
        assert broken(shop) == []
    finally:
        shop.kill()


@pytest.fixture(scope="module")
def pasts(tmp_path_factory: pytest.TempPathFactory) -> Pasts:
    return Pasts(tmp_path_factory.mktemp("past"))


@pytest.fixture(scope="module")
def pasts_on_postgresql(tmp_path_factory: pytest.TempPathFactory, postgres: Databases) -> Pasts:
    return Pasts(tmp_path_factory.mktemp("past"), postgres)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("point", DURING_A_CHECKOUT)
async def test_a_kill_at_a_crash_point_loses_and_doubles_nothing(
    tmp_path: Path, pasts: Pasts, point: str, form: str
) -> None:
    past, shop = await pasts.shop(tmp_path / "shop", checkout=form)
    await killed_at(shop, past, point, MIXED[form])


@pytest.mark.parametrize("point", ON_POSTGRESQL)
async def test_a_kill_at_a_crash_point_on_postgresql_loses_and_doubles_nothing(
    tmp_path: Path, pasts_on_postgresql: Pasts, point: str
) -> None:
    past, shop = await pasts_on_postgresql.shop(tmp_path / "shop")
    await killed_at(shop, past, point, MIXED["saga"])


async def killed_at(shop: ShopProcess, past: Past, point: str, tokens: tuple[str, ...]) -> None:
    """Let people buy, kill the shop at a point, start it again, and look whether all is well in the end."""
    passes = random.Random(point).randrange(1, 6) + next((n for name, n in STARTS.items() if point.startswith(name)), 0)
    passes = min(passes, 2) if point in GATHERED else passes
    try:
        shop.spawn(ARCHSTONE_CRASH=f"{point}:{passes}")
        async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
            work = asyncio.create_task(
                Shopping(past.rare).run(16, people=past.present(http), catalogue=past.skus, tokens=tokens)
            )
            code = await shop.exited()
            assert code == -9, f"{point} was not passed {passes} times: exit code {code}\n{shop.log_tail()}"
            await shop.start()
            await work
            await quiet(shop)
        assert broken(shop) == []
    finally:
        shop.kill()
