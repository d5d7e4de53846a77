"""The shop as the runtime runs it: the same checkout, over a restart in the middle."""

from pathlib import Path

import pytest
from shop_database import faults_in
from wiring import HOME, eventually, keyed, running

from archstone.context import Principal
from archstone.services import periodic
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.system import shop
from archstone.systems.shop.users.contract import UserWrite
from archstone.systems.shop.values import Line


@pytest.mark.both_databases
async def test_an_order_outlives_the_process_that_took_it(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path) as run:
        user = await run.client(UserWrite).register("ann@example.com", "a quiet evening", "Ann")
        ann = Principal(user.id, frozenset(user.roles))
        with keyed("k"):
            placed = await run.client(Orders, as_=ann).place((Line(sku="KIT-001", quantity=1),), HOME, "tok_timeout")
    async with running(shop, data=tmp_path) as run:
        orders = run.client(Orders, as_=ann)

        async def ended() -> bool:
            return (await orders.order(placed.id)).status == "confirmed"

        async def told() -> bool:
            return len(list((tmp_path / "mails").glob("*.eml"))) == 1

        await eventually(ended)
        await eventually(told)
    assert faults_in(tmp_path) == []


async def test_all_periodic_work_of_the_shop_can_be_done(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path / "shop") as run:
        for part in run.parts.services.values():
            for work in periodic(part.dispatcher):
                await work.once()
