"""Killed at each crash point of messaging, and started again, every event has its effect exactly once."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import warm

from archstone import world
from archstone.messaging import consumer, outcomes, relay
from archstone.messaging.brokers import sqlite

pytestmark = pytest.mark.slow

CHILD = Path(__file__).parent / "messaging_child.py"
ORDERS = 12


def run(folder: Path, orders: int, mode: str = "", *, point: str | None = None) -> tuple[int, str]:
    environment = dict(os.environ)
    environment.pop(world.CRASH_VARIABLE, None)
    if point is not None:
        environment[world.CRASH_VARIABLE] = point
    done = warm.run([CHILD, folder, str(orders), mode], env=environment)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout.strip()


def rows(file: Path, statement: str) -> list[int]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute(statement)]


def effects(folder: Path) -> list[int]:
    return rows(folder / "shop.db", "SELECT number FROM effects ORDER BY position")


def calls(folder: Path) -> list[int]:
    return [int(line.split()[0]) for line in (folder / "calls.txt").read_text().splitlines()]


def waiting(folder: Path) -> int:
    return rows(folder / "bus.db", "SELECT COUNT(*) FROM _archstone_bus_messages")[0]


def outbox(folder: Path) -> int:
    return rows(folder / "shop.db", "SELECT COUNT(*) FROM _archstone_outbox")[0]


def assert_each_had_its_effect_once_and_in_order(folder: Path) -> None:
    done = effects(folder)
    assert sorted(done) == list(range(ORDERS))
    for customer in range(3):
        assert [order for order in done if order % 3 == customer] == list(range(customer, ORDERS, 3))


POINTS = [
    (relay.BEFORE_SEND, "1"),
    (relay.BEFORE_SEND, "2"),
    (relay.AFTER_SEND, "1"),
    (relay.AFTER_SEND, "3"),
    (relay.AFTER_DELETE, "2"),
    (consumer.BEFORE_HANDLER, "1"),
    (consumer.BEFORE_HANDLER, "7"),
    (outcomes.AFTER_EFFECT, "1"),
    (outcomes.AFTER_EFFECT, "8"),
    (outcomes.AFTER_SETTLE, "2"),
]


@pytest.mark.real_time
@pytest.mark.parametrize(("point", "passes"), POINTS)
def test_every_event_has_its_effect_once_although_the_process_was_killed(tmp_path: Path, point: str, passes: str):
    code, _ = run(tmp_path, ORDERS, point=f"{point}:{passes}")
    assert code == -signal.SIGKILL
    assert outbox(tmp_path) + waiting(tmp_path) > 0 or point == outcomes.AFTER_SETTLE
    assert run(tmp_path, 0) == (0, "[]")
    assert_each_had_its_effect_once_and_in_order(tmp_path)
    assert (outbox(tmp_path), waiting(tmp_path)) == (0, 0)


@pytest.mark.real_time
def test_an_event_sent_but_not_deleted_is_sent_again_and_dropped_by_the_inbox(tmp_path: Path):
    run(tmp_path, ORDERS, point=relay.AFTER_SEND)
    assert outbox(tmp_path) == ORDERS
    assert waiting(tmp_path) == 4
    run(tmp_path, 0)
    assert_each_had_its_effect_once_and_in_order(tmp_path)
    assert len(calls(tmp_path)) == ORDERS


@pytest.mark.real_time
def test_a_message_killed_between_effect_and_settle_comes_again_and_is_dropped(tmp_path: Path):
    run(tmp_path, ORDERS, point=outcomes.AFTER_EFFECT)
    assert len(effects(tmp_path)) >= 1
    assert outbox(tmp_path) + waiting(tmp_path) >= ORDERS
    run(tmp_path, 0)
    assert_each_had_its_effect_once_and_in_order(tmp_path)


@pytest.mark.real_time
def test_a_failure_that_was_recorded_is_counted_after_a_crash(tmp_path: Path):
    code, _ = run(tmp_path, 1, "fail", point=outcomes.AFTER_RETRY)
    assert code == -signal.SIGKILL
    assert rows(tmp_path / "bus.db", "SELECT attempts FROM _archstone_bus_messages") == [1]
    assert run(tmp_path, 0, "fail") == (0, "[0]")
    assert len(calls(tmp_path)) == 3
    assert effects(tmp_path) == []


@pytest.mark.real_time
def test_a_delivery_that_is_counted_and_not_begun_is_begun_later(tmp_path: Path):
    run(tmp_path, ORDERS, point=consumer.BEFORE_HANDLER)
    code, _ = run(tmp_path, 0, point=sqlite.AFTER_COUNT)
    assert code == -signal.SIGKILL
    assert max(rows(tmp_path / "bus.db", "SELECT deaths FROM _archstone_bus_messages")) == 1
    assert run(tmp_path, 0) == (0, "[]")
    assert_each_had_its_effect_once_and_in_order(tmp_path)


@pytest.mark.real_time
def test_a_message_that_kills_its_process_is_buried_and_the_innocent_are_handled(tmp_path: Path):
    deaths = 0
    code, said = run(tmp_path, ORDERS, "poison")
    while code:
        deaths += 1
        assert deaths <= sqlite.DEATH_LIMIT + 1
        code, said = run(tmp_path, 0, "poison")
    assert said == "[3]"
    assert sorted(effects(tmp_path)) == [order for order in range(ORDERS) if order != 3]
    assert calls(tmp_path).count(3) == deaths


def test_every_crash_point_of_messaging_has_a_test_here():
    tested = {point for point, _ in POINTS} | {outcomes.AFTER_RETRY, sqlite.AFTER_COUNT}
    assert {name for name in world.crash_points() if name.startswith("messaging.")} == tested
