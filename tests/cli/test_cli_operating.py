"""What somebody does by hand with a shop in trouble: look at dead letters and stuck sagas, and put them right."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from shop_http import Person, at_rest, eventually, make_admin, new_person, served_shop, skus
from shop_process import ADDRESS, PASSWORD, ShopProcess

from archstone import context, simulation
from archstone.context import Principal
from archstone.runtime import Embedded, running
from archstone.systems.shop import invariants
from archstone.systems.shop.orders.contract import Orders
from archstone.systems.shop.system import shop as system
from archstone.systems.shop.users.contract import UserWrite
from archstone.systems.shop.values import Address, Line

EMAIL = "ann@example.org"


def said(shop: ShopProcess, *words: str) -> str:
    """Return what a verb prints; it must succeed without a word on stderr."""
    done = shop.command(*words)
    assert (done.returncode, done.stderr) == (0, ""), (words, done.stdout, done.stderr)
    return done.stdout


def refused(shop: ShopProcess, *words: str) -> str:
    """Return the one line with which a verb is refused."""
    done = shop.command(*words)
    assert (done.returncode, done.stdout) == (2, ""), (words, done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@contextmanager
def database(data: Path, name: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(data / f"{name}.db")) as db, db:
        yield db


async def placed(run: Embedded, customer: Principal) -> str:
    with context.enter(context.current()._replace(key="k")):
        lines = (Line(sku="KIT-001", quantity=1),)
        order = await run.client(Orders, as_=customer).place(lines, Address(**ADDRESS), "tok_ok")
    return order.id


async def made_dead(data: Path) -> str:
    """Place an order that analytics cannot count, and wait in virtual time: eight attempts take minutes."""
    async with running(system, data=data) as run:
        user = await run.client(UserWrite).register(EMAIL, PASSWORD, "Ann")
    with database(data, "analytics") as db:
        db.execute("ALTER TABLE minutes RENAME TO mislaid")
    async with running(system, data=data) as run:
        order_id = await placed(run, Principal(user.id, frozenset({"customer"})))
        while len(await run.bus.dead()) < 2:
            await asyncio.sleep(1)
    return order_id


@pytest.mark.slow
def test_a_dead_letter_is_shown_and_replayed_when_its_cause_is_mended(tmp_path: Path) -> None:
    data = tmp_path / "shop"
    # Today, or the dead letter would be older than dead letters are kept.
    order_id = simulation.run(made_dead(data), starts_at=datetime.now(UTC))
    shop = ShopProcess(data)
    listed = said(shop, "dead", "shop")
    assert listed.count(order_id) == listed.count(" analytics ") == 2
    letter = listed.splitlines()[1].split()[0]
    whole = said(shop, "dead", "shop", letter)
    assert "no such table: minutes" in whole
    assert '"order_id"' in whole
    assert "orders.order-placed" in whole
    assert "no dead letter 999" in refused(shop, "dead", "shop", "999")
    assert "whole number" in refused(shop, "dead", "shop", "first")
    with database(data, "analytics") as db:
        db.execute("ALTER TABLE mislaid RENAME TO minutes")
    assert "1 to be delivered again, once the system runs" in said(shop, "dead", "shop", letter, "--replay")
    assert f"no dead letter {letter}" in refused(shop, "dead", "shop", letter, "--replay")
    with served_shop(data) as shop, httpx.Client(base_url=shop.url) as http:
        assert said(shop, "dead", "shop", "--replay") == "1 to be delivered again\n"
        at_rest(shop)
        assert said(shop, "dead", "shop") == "none\n"
        summary = make_admin(shop, Person(http, EMAIL)).get("/analytics/summary").json()
        assert (summary["placed"], summary["confirmed"]) == (1, 1)
    assert invariants.check(data) == []


@pytest.mark.slow
def test_a_stuck_saga_is_shown_and_resumed_when_its_cause_is_mended(tmp_path: Path) -> None:
    data = tmp_path / "shop"
    shop = ShopProcess(data)
    try:
        asyncio.run(shop.start())
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            person = new_person(http)
            order_id = person.buy((skus(http, 1)[0], 1), token="tok_timeout")
            eventually(lambda: journal(data, order_id), lambda entries: b"take_money#1" in entries)
        shop.kill()
        told = said(shop, "sagas", "shop", order_id)
        assert "running" in told
        assert "take_money#1" in told
        assert "is running: only a stuck one can be resumed" in refused(shop, "sagas", "shop", "resume", order_id)
        change_version(data, order_id, 99)  # as if a release had taken the code away that began it
        asyncio.run(shop.start())
        listed = eventually(lambda: said(shop, "sagas", "shop", "--status", "stuck"), lambda told: order_id in told)
        assert "version 99" in listed
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            assert 'archstone_sagas_stuck{service="orders"} 1' in http.get("/metrics").text
        shop.kill()
        change_version(data, order_id, 1)
        assert said(shop, "sagas", "shop", "resume", order_id) == f"saga {order_id} goes on, once the system runs\n"
        change_status(data, order_id)
        asyncio.run(shop.start())
        assert said(shop, "sagas", "shop", "resume", order_id) == f"saga {order_id} goes on\n"
        with httpx.Client(base_url=shop.url, timeout=30) as http:
            person.http = http
            assert person.settled(order_id)["status"] == "confirmed"
        assert "done" in said(shop, "sagas", "shop", "--status", "done")
        at_rest(shop)
        assert shop.stop() == 0
    finally:
        shop.kill()
    assert invariants.check(data) == []


def journal(data: Path, saga: str) -> bytes:
    """Read what a saga remembers, from beside the running shop: a command takes longer than the step."""
    with database(data, "orders") as db:
        number = "(SELECT number FROM _archstone_sagas WHERE id = ?)"
        found = db.execute(f"SELECT entries FROM _archstone_saga_journal WHERE saga = {number}", (saga,))
        return b"".join(entries for (entries,) in found)


def change_version(data: Path, saga: str, version: int) -> None:
    with database(data, "orders") as db:
        assert db.execute("UPDATE _archstone_sagas SET version = ? WHERE id = ?", (version, saga)).rowcount == 1


def change_status(data: Path, saga: str) -> None:
    with database(data, "orders") as db:
        assert db.execute("UPDATE _archstone_sagas SET status = 'stuck' WHERE id = ?", (saga,)).rowcount == 1


@pytest.mark.slow
def test_a_shop_that_runs_is_asked_and_one_that_does_not_is_opened(tmp_path: Path) -> None:
    data = tmp_path / "shop"
    with served_shop(data) as shop, httpx.Client(base_url=shop.url) as http:
        person = new_person(http)
        order_id = person.buy((skus(http, 1)[0], 1))
        person.settled(order_id)
        at_rest(shop)
        running_answers = answers(shop, order_id)
        assert said(shop, "backup", "shop", str(tmp_path / "running.tgz"))
        assert "is an administrator now" in said(shop, "admin", "shop", person.email)
        assert "name a registered address" in refused(shop, "admin", "shop", "nobody@example.org")
    stopped_answers = answers(shop, order_id)
    assert running_answers == stopped_answers
    assert said(shop, "backup", "shop", str(tmp_path / "stopped.tgz"))
    assert "is an administrator now" in said(shop, "admin", "shop", person.email)
    assert "name a registered address" in refused(shop, "admin", "shop", "nobody@example.org")
    assert invariants.check(data) == []


def answers(shop: ShopProcess, order_id: str) -> list[str]:
    """Return what is said, and what is refused, in the same words whether it runs or not."""
    trace = said(shop, "trace", "shop", order_id)
    for part in ("POST /api/v1/orders", "step partners.hold_goods", "step confirm", "Inventory.reserve", "█"):
        assert part in trace, trace
    return [
        said(shop, "sagas", "shop"),
        said(shop, "sagas", "shop", order_id),
        said(shop, "sagas", "shop", "--status", "stuck"),
        said(shop, "dead", "shop"),
        refused(shop, "trace", "shop", "nothing"),
        refused(shop, "sagas", "shop", "nothing"),
        refused(shop, "sagas", "shop", "--status", "strange"),
        refused(shop, "dead", "shop", "1"),
        refused(shop, "backup", "shop", str(shop.data / "inside.tgz")),
        refused(shop, "backup", "shop", str(shop.data.parent / "no" / "folder.tgz")),
    ]
