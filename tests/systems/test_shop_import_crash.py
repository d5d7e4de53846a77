"""An import that is killed leaves the shelf as it was, or all of itself on it, and its stock arrives in the end."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import shop_importing
import warm

from archstone import world
from archstone.systems.shop import invariants
from archstone.systems.shop.catalog import loading

pytestmark = [pytest.mark.slow, pytest.mark.real_time]

ROWS = 330
SEEN = (
    "SELECT count(*) FROM products p, shelf s WHERE p.id <= s.top AND (p.replaced_by IS NULL OR p.replaced_by > s.top)"
)


def run(folder: Path, first: int, count: int, **environment: str) -> tuple[int, str]:
    words = [shop_importing.__file__, folder, str(first), str(count)]
    done = warm.run(words, env={**os.environ, **environment})
    assert done.returncode in {0, -9}, done.stderr
    return done.returncode, done.stdout.strip()


def one(folder: Path, service: str, sql: str) -> int:
    with closing(sqlite3.connect(f"file:{folder / service}.db?mode=ro", uri=True)) as db:
        return int(db.execute(sql).fetchone()[0])


def whole(folder: Path, products: int) -> None:
    """The shelf, the index, the stock and the numbers of the categories agree."""
    assert one(folder, "catalog", SEEN) == products
    assert one(folder, "catalog", "SELECT count(*) FROM products") == products
    assert one(folder, "catalog", "SELECT sum(products) FROM categories") == products
    assert one(folder, "inventory", "SELECT count(*) FROM stock") == products
    assert one(folder, "inventory", "SELECT count(*) FROM stock WHERE import > 0 AND free <> 5") == 0
    assert invariants.check(folder) == []


@pytest.mark.parametrize("passes", [1, 7])
def test_killed_after_staging_nothing_is_seen_and_the_next_run_brings_all(tmp_path: Path, passes: int) -> None:
    shop = tmp_path / "shop"
    assert run(shop, 0, ROWS, ARCHSTONE_CRASH=f"{loading.AFTER_STAGING}:{passes}")[0] == -9
    assert one(shop, "catalog", SEEN) == 100
    assert one(shop, "catalog", "SELECT sum(products) FROM categories") == 100
    assert one(shop, "catalog", "SELECT count(*) FROM products") > 100
    assert run(shop, 0, ROWS) == (0, f"{ROWS} 0 0")
    whole(shop, 100 + ROWS)
    assert run(shop, 0, ROWS) == (0, f"0 0 {ROWS}")
    whole(shop, 100 + ROWS)


@pytest.mark.parametrize("point", [loading.AFTER_SWITCH, f"{loading.AFTER_TELLING}:2"])
def test_killed_after_the_switch_all_is_seen_and_the_stock_follows(tmp_path: Path, point: str) -> None:
    shop = tmp_path / "shop"
    assert run(shop, 0, ROWS, ARCHSTONE_CRASH=point)[0] == -9
    assert one(shop, "catalog", SEEN) == 100 + ROWS
    assert run(shop, 0, ROWS) == (0, f"0 0 {ROWS}")
    whole(shop, 100 + ROWS)


def test_killed_while_clearing_away_what_a_kill_left_nothing_is_seen_either(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    assert run(shop, 0, ROWS, ARCHSTONE_CRASH=f"{loading.AFTER_STAGING}:10")[0] == -9
    assert run(shop, 0, ROWS, ARCHSTONE_CRASH=f"{loading.AFTER_CLEARING}:2")[0] == -9
    assert one(shop, "catalog", SEEN) == 100
    assert one(shop, "catalog", "SELECT count(*) FROM products") > 100
    assert run(shop, 0, ROWS) == (0, f"{ROWS} 0 0")
    whole(shop, 100 + ROWS)


def test_every_point_of_an_import_is_killed_at() -> None:
    points = {name for name in world.crash_points() if name.startswith("shop.import_")}
    assert points == {loading.AFTER_STAGING, loading.AFTER_SWITCH, loading.AFTER_TELLING, loading.AFTER_CLEARING}
