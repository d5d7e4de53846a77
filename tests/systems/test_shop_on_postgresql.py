"""The shop by URL alone: a process, the command line over it, a kill in mid checkout, and what it refuses there."""

import asyncio
from pathlib import Path

import httpx
import pytest
from shop_http import at_rest, make_admin, new_person
from shop_process import ShopProcess

from archstone.errors import ConfigError
from archstone.runtime import BackupError, Embedded, Operator, Settings, running
from archstone.systems.shop import invariants
from archstone.systems.shop.system import shop as the_shop


@pytest.mark.slow
@pytest.mark.real_time
def test_the_command_line_serves_a_shop_that_is_killed_in_mid_checkout(tmp_path: Path, postgres_url: str) -> None:
    shop = ShopProcess(tmp_path / "shop", settings={"DATABASE_URL": postgres_url})
    feed = tmp_path / "feed.csv"
    feed.write_text("sku,name,category,price,stock\nIMP-1,Zephyrine carafe,kitchen,12.50,5\n")
    try:
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=60) as http:
            ann = new_person(http)
            declined = ann.settled(ann.buy(("KIT-001", 1), token="tok_declined"))
            under_way = [ann.buy(("KIT-002", 1)) for _ in range(3)]
            shop.kill()
            assert shop.command("import", "shop", "catalog", str(feed)).stdout.startswith("1 added")
            asyncio.run(shop.start())
            assert declined["status"] == "cancelled"
            assert {ann.settled(order_id)["status"] for order_id in under_way} == {"confirmed"}
            admin = make_admin(shop, ann)
            assert admin.send(
                "POST", f"/orders/{under_way[0]}/refunds", key="once", json={"reason": "Late."}
            ).is_success
            admin.until(under_way[0], lambda order: any(each["status"] == "done" for each in order["refunds"]))
            await_stock(http)
            found = http.get("/api/v1/products", params={"search": "zephirine"}).json()["items"]
            assert [each["sku"] for each in found] == ["IMP-1"]
            assert "Zephyrine" in http.get("/search", params={"q": "zeph"}).text
            at_rest(shop)
            verbs = (f"trace shop {under_way[0]}", "dead shop", "sagas shop", "sagas shop --status stuck")
            refused = ("forget shop nobody", f"backup shop {tmp_path / 'copy.tgz'}")
            told = [shop.command(*words.split()) for words in (*verbs, *refused)]
        assert [done.returncode for done in told] == [0, 0, 0, 0, 2, 2], told
        assert (told[1].stdout, told[3].stdout) == ("none\n", "none\n")
        assert "pg_dump" in told[-1].stderr
        assert shop.stop() == 0, shop.log_tail()
        assert not list(shop.data.glob("orders.db*"))
        assert invariants.check(shop.data, postgres_url) == []
        assert len(asyncio.run(invariants.read(shop.data, postgres_url)).orders) == 4
    finally:
        shop.kill()


def await_stock(http: httpx.Client) -> None:
    """Wait until the inventory has heard of what was imported."""
    for _ in range(600):
        if http.get("/api/v1/stock/IMP-1").status_code == 200:
            return
    raise AssertionError("no stock of what was imported")


async def test_what_is_on_a_server_is_not_emptied_with_the_folder(tmp_path: Path) -> None:
    settings = Settings(database_url="postgresql://shop:secret@nowhere.invalid/shop")
    with pytest.raises(ConfigError, match="drop it yourself") as raised:
        await Embedded(the_shop, tmp_path / "shop", settings, fresh=True).__aenter__()
    assert "secret" not in str(raised.value)
    assert not (tmp_path / "shop").exists()


@pytest.mark.real_time
@pytest.mark.sqlite_only("has a database of its own")
async def test_what_is_on_a_server_is_not_backed_up_with_the_folder(tmp_path: Path, postgres_url: str) -> None:
    async with running(the_shop, data=tmp_path / "shop", settings=Settings(database_url=postgres_url)) as run:
        with pytest.raises(BackupError, match="pg_dump"):
            await Operator(run).answer("backup", {"file": str(tmp_path / "copy.tgz")})
    assert not (tmp_path / "copy.tgz").exists()
