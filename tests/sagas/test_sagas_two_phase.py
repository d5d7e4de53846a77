"""Two-phase commit: in all databases or in none, whoever dies; what is settled by hand is reported."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import warm
from postgres import QUICK, PostgresServer, postgres_server

from archstone import context, world
from archstone.data import Database, MisuseError, Transaction, TransactionLostError
from archstone.errors import ConfigError
from archstone.sagas import InDoubt, Prepared, Reserving, TwoPhase, two_phase

pytestmark = pytest.mark.real_time

CHILD = Path(__file__).parent / "two_phase_child.py"
MOVE = "UPDATE accounts SET amount = amount + :n WHERE id = 1"
GRACE_S = 0.2


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server(QUICK | {"max_prepared_transactions": "20"}) as server:
        yield server


class Banks(NamedTuple):
    north: Database
    south: Database
    log: Database
    urls: tuple[str, str, str]

    def coordinator(self, grace_s: float = GRACE_S) -> TwoPhase:
        return TwoPhase(self.log, {"north": Prepared(self.north), "south": Prepared(self.south)}, grace_s=grace_s)

    async def amounts(self) -> tuple[int, int]:
        return await amount(self.north), await amount(self.south)


async def amount(db: Database) -> int:
    return await db.one(int, "SELECT amount FROM accounts WHERE id = 1")


@pytest.fixture
async def banks(server: PostgresServer):
    urls = (server.new_database(), server.new_database(), server.new_database())
    async with Database(urls[0]) as north, Database(urls[1]) as south, Database(urls[2]) as log:
        for db in (north, south):
            await db.execute("CREATE TABLE accounts (id BIGINT PRIMARY KEY, amount BIGINT CHECK (amount >= 0))")
            await db.execute("INSERT INTO accounts VALUES (1, 10)")
        yield Banks(north, south, log, urls)


async def move(coordinator: TwoPhase, n: int) -> None:
    async with coordinator.transaction("north", "south") as work:
        await work["north"].execute(MOVE, n=-n)
        await work["south"].execute(MOVE, n=n)


async def test_it_commits_in_both(banks: Banks):
    async with banks.coordinator() as coordinator:
        await move(coordinator, 4)
        assert await banks.amounts() == (6, 14)
        assert await coordinator.in_doubt() == []


async def test_what_raises_in_the_block_leaves_nothing_in_either(banks: Banks):
    async with banks.coordinator() as coordinator:
        with pytest.raises(ZeroDivisionError):
            async with coordinator.transaction("north", "south") as work:
                await work["north"].execute(MOVE, n=-4)
                await work["south"].execute(MOVE, n=4)
                _ = 1 // 0
        assert await banks.amounts() == (10, 10)
        assert await coordinator.in_doubt() == []


@pytest.mark.parametrize("order", [("north", "south"), ("south", "north")])
async def test_one_that_cannot_prepare_takes_the_other_back(banks: Banks, order: tuple[str, str]):
    await banks.south.execute("CREATE TABLE parts (id BIGINT PRIMARY KEY)")

    async def read_and_set(tx: Transaction, n: int) -> None:
        n += await tx.one(int, "SELECT amount FROM accounts WHERE id = 1")
        await tx.execute("UPDATE accounts SET amount = :n WHERE id = 1", n=n)

    async with banks.coordinator() as coordinator:
        with pytest.raises(TransactionLostError):
            async with coordinator.transaction(*order) as work:
                await read_and_set(work["north"], -4)
                await work["south"].one(int, "SELECT count(*) FROM parts")
                await work["south"].execute("UPDATE accounts SET amount = amount + 4 WHERE id = 1")
                # A transaction of somebody else that this one cannot be put in order with (write skew).
                await asyncio.create_task(skew(banks.south))
        assert await banks.amounts() == (10, 10)
        assert await coordinator.in_doubt() == []


async def skew(db: Database) -> None:
    context.set_current(context.Call())
    async with db.transaction() as tx:
        await tx.one(int, "SELECT amount FROM accounts WHERE id = 1")
        await tx.execute("INSERT INTO parts VALUES (1)")


async def test_concurrent_ones_lose_nothing(banks: Banks):
    await banks.north.execute("UPDATE accounts SET amount = 1000")

    async def insist(coordinator: TwoPhase) -> None:
        while True:
            try:
                return await move(coordinator, 1)
            except TransactionLostError:
                await asyncio.sleep(0.01 * world.random().random())

    async with banks.coordinator(grace_s=30) as coordinator:
        await asyncio.gather(*[insist(coordinator) for _ in range(15)])
        assert await banks.amounts() == (985, 25)


@pytest.mark.parametrize(
    ("point", "committed"),
    [
        (two_phase.AFTER_PREPARE, False),
        (two_phase.BEFORE_DECISION, False),
        (two_phase.AFTER_DECISION, True),
        (two_phase.MID_COMMIT, True),
    ],
)
async def test_a_coordinator_that_dies_is_recovered_from(banks: Banks, point: str, committed: bool):
    environment = os.environ | {world.CRASH_VARIABLE: point}
    done = await asyncio.to_thread(warm.run, [CHILD, *banks.urls], env=environment)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
    async with banks.coordinator() as coordinator:
        async with asyncio.timeout(20):
            while await coordinator.in_doubt():
                await asyncio.sleep(0.02)
        assert await banks.amounts() == ((5, 15) if committed else (10, 10))
        await move(coordinator, 1)  # and no lock is left


def test_every_crash_point_of_two_phases_is_killed_at():
    declared = {name for name in world.crash_points() if name.startswith("two_phase.")}
    assert declared == {
        two_phase.AFTER_PREPARE, two_phase.BEFORE_DECISION, two_phase.AFTER_DECISION, two_phase.MID_COMMIT
    }  # fmt: skip


async def test_a_participant_that_died_prepared_is_told_when_it_is_back(banks: Banks, server: PostgresServer):
    async with banks.coordinator(grace_s=60) as coordinator:
        settle = coordinator._participants["south"].settle

        async def crash_first(id_: str, /, *, commit: bool) -> bool:
            await asyncio.to_thread(server.restart, signal.SIGQUIT)
            coordinator._participants["south"].settle = settle  # type: ignore[method-assign]
            return await settle(id_, commit=commit)

        coordinator._participants["south"].settle = crash_first  # type: ignore[method-assign]
        await move(coordinator, 3)
        await coordinator.recover()
        assert await coordinator.in_doubt() == []
        assert await banks.amounts() == (7, 13)


async def test_recovery_and_a_slow_coordinator_cannot_decide_differently(banks: Banks):
    async with banks.coordinator(grace_s=60) as slow, banks.coordinator(grace_s=0.05) as other:
        decide = slow._decide

        async def late(id_: str) -> bool:
            async with asyncio.timeout(20):
                while await other.in_doubt():
                    await asyncio.sleep(0.02)
            return await decide(id_)

        slow._decide = late  # type: ignore[method-assign]
        with pytest.raises(TransactionLostError, match="took it for dead"):
            await move(slow, 3)
        assert await banks.amounts() == (10, 10)
        assert slow.heuristic == other.heuristic == []


async def test_what_was_settled_by_hand_against_the_decision_is_reported(banks: Banks):
    async with banks.coordinator(grace_s=60) as coordinator:
        decide = coordinator._decide
        ids: list[str] = []

        async def meddle(id_: str) -> bool:
            ids.append(id_)
            assert await banks.south.settle_prepared(coordinator._name("south", id_), commit=False)
            return await decide(id_)

        coordinator._decide = meddle  # type: ignore[method-assign]
        await move(coordinator, 3)
        assert coordinator.heuristic == [InDoubt("south", ids[0])]
        assert await banks.amounts() == (7, 10)


async def test_a_server_that_may_not_prepare_is_told_at_once(postgres_url: str):
    async with Database(postgres_url) as db:
        with pytest.raises(ConfigError, match="max_prepared_transactions"):
            await Prepared(db).open()


async def test_sqlite_refuses_to_prepare_and_takes_part_by_reservation(banks: Banks, tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/x.db") as till:
        with pytest.raises(MisuseError, match="take part by reservation"):
            await Prepared(till).open()
        await till.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL)")
        await till.execute("CREATE TABLE held (id TEXT PRIMARY KEY, amount INTEGER NOT NULL)")
        await till.execute("INSERT INTO accounts VALUES (1, 10)")

        async def confirm(tx: Transaction, id_: str) -> None:
            await tx.execute("DELETE FROM held")

        async def cancel(tx: Transaction, id_: str) -> None:
            await tx.execute("UPDATE accounts SET amount = amount + (SELECT coalesce(sum(amount), 0) FROM held)")
            await tx.execute("DELETE FROM held")

        async def pay(coordinator: TwoPhase, *, fail: bool) -> None:
            async with coordinator.transaction("north", "till") as work:
                await work["till"].execute("UPDATE accounts SET amount = amount - 4")
                await work["till"].execute("INSERT INTO held (id, amount) VALUES ('h', 4)")
                await work["north"].execute(MOVE, n=4)
                if fail:
                    await work["north"].execute(MOVE, n=-1000)

        parts = {"north": Prepared(banks.north), "till": Reserving(till, confirm=confirm, cancel=cancel)}
        async with TwoPhase(banks.log, parts, grace_s=GRACE_S) as coordinator:
            await pay(coordinator, fail=False)
            assert (await amount(till), await amount(banks.north)) == (6, 14)
            with pytest.raises(Exception, match="check constraint"):
                await pay(coordinator, fail=True)
            assert (await amount(till), await amount(banks.north)) == (6, 14)
            assert await till.all(str, "SELECT id FROM held") == []
            settle = coordinator._settle
            coordinator._settle = lambda *_, **__: asyncio.sleep(0)  # type: ignore[assignment,method-assign]
            await pay(coordinator, fail=False)
            assert (await amount(till), await till.one(int, "SELECT sum(amount) FROM held")) == (2, 4), (
                "held, not moved"
            )
            coordinator._settle = settle  # type: ignore[method-assign]
            while await coordinator.in_doubt():
                await coordinator.recover()
            assert (await amount(till), await amount(banks.north)) == (2, 18)
            assert await till.all(str, "SELECT id FROM held") == []


@pytest.mark.parametrize(("name", "grace_s"), [("", 1.0), ("Upper", 1.0), ("a'b", 1.0), ("x", 0.0), ("x", 1e9)])
async def test_wrong_arguments_are_told(banks: Banks, name: str, grace_s: float):
    with pytest.raises(ConfigError, match="TwoPhase: "):
        TwoPhase(banks.log, {}, name=name, grace_s=grace_s)


@pytest.mark.parametrize("name", ["a/b", "", "ü", "x" * 61])
async def test_a_participant_is_not_named_so_that_it_could_be_taken_for_another(banks: Banks, name: str):
    with pytest.raises(ConfigError, match="TwoPhase: name="):
        TwoPhase(banks.log, {"a": Prepared(banks.north), name: Prepared(banks.south)})


async def test_numbers_alone_are_a_name(banks: Banks):
    assert TwoPhase(banks.log, {}, name="1").name == "1"


async def test_recovery_forgets_notes_by_age_and_name(banks: Banks):
    async with banks.coordinator(grace_s=60) as coordinator:
        await move(coordinator, 1)
        await banks.north.execute(
            "INSERT INTO _archstone_branches VALUES ('archstone/two-phase/northern/x', 'committed', 1)"
        )
        await banks.north.execute(
            "INSERT INTO _archstone_branches VALUES ('archstone/two-phase/north/x', 'committed', 1)"
        )
        await coordinator.sweep()
        left = await banks.north.all(str, "SELECT id FROM _archstone_branches WHERE at = 1")
        assert left == ["archstone/two-phase/northern/x"]
