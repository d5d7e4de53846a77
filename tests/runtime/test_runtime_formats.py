"""A data folder that an earlier commit wrote opens with the present code, and what was under way in it ends well."""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from shop_http import Person, at_rest, served_shop, skus

from archstone.runtime.folder import FORMAT
from archstone.systems.shop import invariants

DATA = Path(__file__).parent / "data"
FOLDERS = sorted(DATA.glob("shop-format-*.tar.gz"))


def test_there_is_a_folder_of_every_format() -> None:
    assert [file.name for file in FOLDERS] == [f"shop-format-{number}.tar.gz" for number in range(1, FORMAT + 1)]


def under_way(data: Path) -> int:
    # Not by the invariants: they read what the present migrations make.
    with closing(sqlite3.connect(f"file:{data / 'orders.db'}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM _archstone_sagas WHERE status = 'running'").fetchone()[0])


@pytest.mark.parametrize("file", FOLDERS, ids=lambda file: file.name)
def test_the_folder_of_an_earlier_commit_opens_and_its_orders_end(file: Path, tmp_path: Path) -> None:
    data = tmp_path / "shop"
    with tarfile.open(file) as archive:
        archive.extractall(data, filter="data")
    expected = json.loads((data / "expected.json").read_text())
    assert under_way(data), "nothing in it is under way"
    with served_shop(data) as shop, httpx.Client(base_url=shop.url, timeout=30) as http:
        person = Person(http, expected["email"]).sign_in()
        found = {order_id: person.settled(order_id)["status"] for order_id in expected["orders"]}
        assert found == expected["orders"]
        new = person.buy((skus(http, 10)[9], 1))
        assert person.settled(new)["status"] == "confirmed"
        at_rest(shop)
        assert shop.command("dead", "shop").stdout == "none\n"
        assert shop.command("sagas", "shop", "--status", "stuck").stdout == "none\n"
    assert invariants.check(data) == []
