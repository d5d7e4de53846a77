"""Transactions against a ten-line model, under any interleaving, failure and cancellation."""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archstone import simulation
from archstone.data import ConstraintError, Database


class Plan(NamedTuple):
    """One transaction: what it inserts, where it pauses, how it ends."""

    rows: list[tuple[int, int]]
    """(row, loop turns to wait after inserting it)."""
    ending: str
    """commit, raise or cancel."""
    cancelled_after: int
    single: bool
    """Whether its first row is a db.execute before the transaction."""


PLANS = st.lists(
    st.builds(
        Plan,
        rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=4),
        ending=st.sampled_from(["commit", "commit", "raise", "cancel"]),
        cancelled_after=st.integers(0, 6),
        single=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


class Model:
    """What the table must hold: rows of the transactions in the order in which they committed."""

    def __init__(self) -> None:
        self.rows: set[int] = set()
        self.committed: list[list[int]] = []


async def run_plan(db: Database, plan: Plan, model: Model) -> None:
    rows = list(plan.rows)
    if plan.single and rows:
        row, _ = rows.pop(0)
        with suppress(ConstraintError):
            await db.execute("INSERT INTO t (id) VALUES (:id)", id=row)
    done: list[int] = []
    async with db.transaction() as tx:
        for row, turns in rows:
            try:
                await tx.execute("INSERT INTO u (id) VALUES (:id)", id=row)
                done.append(row)
            except ConstraintError:
                seen = set(await tx.all(int, "SELECT id FROM u"))
                assert row in seen
            for _ in range(turns):
                await asyncio.sleep(0)
            assert set(done) <= set(await tx.all(int, "SELECT id FROM u"))
        tx.after_commit(lambda: model.committed.append(done))
        if plan.ending == "raise":
            raise ZeroDivisionError


async def run_plans(folder: Path, plans: list[Plan], *, threads: bool) -> None:
    model = Model()
    async with Database(f"sqlite:///{folder}/x.db", commit_in_thread=threads) as db:
        await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        await db.execute("CREATE TABLE u (id INTEGER PRIMARY KEY)")
        tasks = [asyncio.create_task(run_plan(db, plan, model)) for plan in plans]
        for turn in range(7):
            for plan, task in zip(plans, tasks, strict=True):
                if plan.ending == "cancel" and plan.cancelled_after == turn:
                    task.cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for plan, result in zip(plans, results, strict=True):
            expected = {"commit": type(None), "raise": ZeroDivisionError, "cancel": asyncio.CancelledError}[plan.ending]
            assert isinstance(result, expected) or (plan.ending == "cancel" and result is None), result
        async with asyncio.timeout(1):  # nobody left the writer taken
            await db.execute("DELETE FROM t WHERE id = -1")
        kept = sorted(await db.all(int, "SELECT id FROM u"))
        # Every row belongs to exactly one transaction that committed, and each of those is there whole.
        assert kept == sorted(row for rows in model.committed for row in rows)
        assert db.statistics().waiting == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans=PLANS, seed=st.none() | st.integers(0, 1000), threads=st.booleans())
def test_the_table_holds_whole_transactions_only_and_the_writer_is_never_left_taken(
    plans: list[Plan], seed: int | None, threads: bool
):
    with tempfile.TemporaryDirectory() as folder:
        simulation.run(run_plans(Path(folder), plans, threads=threads), seed=seed)
