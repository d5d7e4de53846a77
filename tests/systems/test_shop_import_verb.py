"""`archstone import shop catalog FILE`, as somebody types it: files of others, fifty thousand rows, killed midway."""

import asyncio
import csv
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import warm
from shop_database import environment_of, faults_in, one
from shop_process import Buyer, ShopProcess, shop_process
from test_shop_import_crash import SEEN
from test_shop_import_loading import row
from test_shop_import_reading import OTHERS
from wiring import running

from archstone.runtime import ControlError, ControlServer
from archstone.runtime.operator import Operator
from archstone.services import client
from archstone.systems.shop.catalog import loading
from archstone.systems.shop.catalog.contract import Catalog
from archstone.systems.shop.catalog.importing import CatalogImport
from archstone.systems.shop.importing.loading import load
from archstone.systems.shop.importing.reaching import ControlWay
from archstone.systems.shop.system import shop

pytestmark = pytest.mark.real_time

COLUMNS = ["Product ID", "Title", "Final Price", "Category", "Body HTML", "Qty", "Image URL"]
MAPPING = "price=Final Price,stock=Qty"
FAULTS = {7: "was on line", 9: "is no number", 11: "whole number", 13: "no name", 15: "neither sku nor id"}
"""Of every thousand rows, those that are no products, and why."""


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A shop that has run and does not run now."""
    async with running(shop, data=tmp_path / "shop"):
        return tmp_path / "shop"


def generated(path: Path, rows: int) -> int:
    """Write a file with every fault in it; return how many of its records are products."""
    chance = random.Random(rows)
    forms = ["{}.99", "${}.50", "\u20ac{},25", "1,{:03}.00 USD"]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(COLUMNS)
        for number in range(rows):
            fault = number % 1000
            table.writerow(
                [
                    "" if fault == 15 else number - (fault == 7),
                    "" if fault == 13 else f"Widget number{number}",
                    "free" if fault == 9 else chance.choice(forms).format(1 + number % 900),
                    f"Shelf {number % 20}",
                    f"<p>One {number}</p>\n<ul><li>two &amp; three</ul>",
                    "-4" if fault == 11 else chance.choice([str(number % 50), ""]),
                    f"https://a.example/{number}.png",
                ]
            )
    return sum(number % 1000 not in FAULTS for number in range(rows))


def verb(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ("-m", "archstone.cli", "import", "shop", "catalog", *words, "--data", str(folder))
    return warm.run(command, env={**os.environ, **environment_of(folder), **environment}, timeout_s=120)


def imported(folder: Path, *words: str) -> dict[str, Any]:
    done = verb(folder, *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def figures(answer: Mapping[str, Any]) -> tuple[int, int, int, int]:
    return answer["added"], answer["changed"], answer["unchanged"], answer["faulty"]


async def started(folder: Path) -> None:
    """Let the shop run until the stock of what was imported has arrived."""
    async with running(shop, data=folder) as run:
        catalog, inventory = (run.parts.services[name].database for name in ("catalog", "inventory"))
        until = time.monotonic() + 60
        while await inventory.one(int, "SELECT count(*) FROM stock") < await catalog.one(int, SEEN):
            assert time.monotonic() < until, "the stock does not arrive"
            await asyncio.sleep(0.05)


async def test_every_fault_is_told_and_the_rest_is_there_once_however_often_it_runs(folder: Path) -> None:
    file = folder.with_name("feed.csv")
    good = generated(file, 1_000)
    assert verb(folder, str(file), "--map", MAPPING, "--dry-run").stdout.endswith("5 faulty; nothing was changed\n")
    assert one(folder, "catalog", SEEN) == 100
    first = imported(folder, str(file), "--map", MAPPING)
    assert figures(first) == (good, 0, 0, 5)
    for fault, told in zip(first["faults"], FAULTS.values(), strict=True):
        assert told in fault["reason"]
    assert [fault["line"] for fault in first["faults"]] == [2 + 2 * number for number in FAULTS]
    assert figures(imported(folder, str(file), "--map", MAPPING)) == (0, 0, good, 5)
    await started(folder)
    description, images, currency = one(
        folder, "catalog", "SELECT description, images, currency FROM products WHERE sku = 'ID-3'", tuple[str, str, str]
    )
    assert (description, json.loads(images)) == ("One 3\ntwo & three", ["https://a.example/3.png"])
    assert currency in {"EUR", "USD"}
    assert faults_in(folder) == []


async def test_people_get_a_table_of_faults_and_one_line(folder: Path) -> None:
    file = folder.with_name("feed.csv")
    file.write_text("id,title,cost\n1,Pan,9.99\n2,,1\n")
    done = verb(folder, str(file), "--map", "price=cost")
    assert done.stdout.splitlines() == [
        "line  left out because",
        "3     it has no name: --map name=...",
        "1 added, 0 changed, 0 as they were, 1 faulty and left out; stock is booked when the system runs",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--strict",), "1 records are faulty, the first on line 3: it has no name"),
        (("--map", "category=nowhere"), "no record of feed.csv has what is named for category"),
        (("--map", "category=nowhere"), "the first has the fields id, title, price; nothing was imported"),
        (("--map", "nam=title"), "did you mean name"),
        (("--currency", "euro"), "a code of three capitals"),
        (("--encoding", "klingon"), "no encoding 'klingon'"),
        (("--map", "price="), "there is no product among 2 records, the first on line 2: it has no price"),
        (("--map", "price="), "--map price=...; a record has the fields id, title, price; nothing was imported"),
    ],
)
async def test_what_is_refused_is_one_line_and_changes_nothing(folder: Path, words: tuple[str, ...], told: str) -> None:
    file = folder.with_name("feed.csv")
    file.write_text("id,title,price\n1,Pan,9.99\n2,,1\n")
    done = verb(folder, str(file), *words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert told in done.stderr
    assert one(folder, "catalog", SEEN) == 100


async def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "feed.csv"
    file.write_text("id,title,price\n1,Pan,9.99\n")
    done = verb(tmp_path / "typo", str(file))
    assert (done.returncode, "start it first" in done.stderr) == (2, True)
    assert not (tmp_path / "typo").exists()


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.sqlite_only("fifty thousand rows say nothing more of PostgreSQL than a thousand")
async def test_fifty_thousand_rows_killed_midway_arrive_while_the_shop_sells_and_are_brought_twice(
    folder: Path,
) -> None:
    file = folder.with_name("feed.csv")
    good = generated(file, 50_000)
    killed = verb(folder, str(file), "--map", MAPPING, ARCHSTONE_CRASH=f"{loading.AFTER_STAGING}:500")
    assert killed.returncode == -signal.SIGKILL
    assert one(folder, "catalog", SEEN) == 100
    assert one(folder, "catalog", "SELECT count(*) FROM products") > 10_000
    async with shop_process(folder) as process:
        words = ("import", "shop", "catalog", str(file), "--map", MAPPING, "--json")
        bringing = asyncio.create_task(asyncio.to_thread(process.command, *words, timeout_s=600))  # a net
        assert await sold_until(bringing.done, process) > 5
        again = await asyncio.to_thread(process.command, *words, timeout_s=600)
        process.stop()
    told = [json.loads(done.stdout) for done in (await bringing, again)]
    assert [figures(answer) for answer in told] == [(good, 0, 0, 250), (0, 0, good, 250)]
    assert one(folder, "catalog", SEEN) == 100 + good
    assert one(folder, "catalog", "SELECT count(*) FROM products") == 100 + good
    await started(folder)
    assert faults_in(folder) == []


async def sold_until(over: Callable[[], bool], process: ShopProcess) -> int:
    """Buy one thing after another until it is over; return how many were bought."""
    async with httpx.AsyncClient(base_url=process.url) as http:
        buyer = await Buyer(http, "ann@example.org").register()
        skus = [each["sku"] for each in (await http.get("/api/v1/products", params={"limit": 50})).json()["items"]]
        orders = 0
        while not over():
            placed = await buyer.place(skus[orders % len(skus)], key=f"while-{orders}")
            order = await buyer.settled(placed.json()["id"])
            assert (order["status"], order["reason"]) == ("confirmed", None)
            orders += 1
    return orders


async def test_the_products_of_others_are_brought_twice_and_are_there_once(folder: Path) -> None:
    if not (file := os.environ.get(OTHERS)):
        pytest.skip(f"{OTHERS} names no file of products that nobody here wrote")
    assert figures(imported(folder, file)) == (194, 0, 0, 0)
    assert figures(imported(folder, file)) == (0, 0, 194, 0)
    await started(folder)
    assert one(folder, "inventory", "SELECT free FROM stock WHERE sku = 'BEA-ESS-ESS-001'") == 99
    assert faults_in(folder) == []


async def test_a_running_shop_is_reached_through_its_socket(tmp_path: Path) -> None:
    async with running(shop, data=tmp_path / "shop") as run:
        server = ControlServer(run.folder.socket, Operator(run).answer)
        await server.open()
        imports = client(CatalogImport, ControlWay(run.folder.socket))
        report = await load(imports, map(row, range(60)), source="t", progress=lambda *_: None, judge=lambda _: None)
        assert report.added == 60
        found = await run.client(Catalog).products(search="number59")
        assert [each.sku for each in found.items] == ["ROW-59"]
        opened = await imports.begin("t")
        with pytest.raises(ControlError, match="'t' is being imported"):
            await imports.begin("t")
        await imports.discard(opened.number)
        await server.close()
        with pytest.raises(ControlError):
            await imports.begin("t")
