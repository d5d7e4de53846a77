"""Both engines keep the promise of the suite, and broken ones are caught by it."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from archstone import simulation
from archstone.data import Database, EngineOptions
from archstone.data.engine import Result, Values
from archstone.data.engines.sqlite import SqliteEngine
from archstone.data.engines.sqlite.member import SqliteMember
from archstone.data.engines.sqlite.readers import SqliteView
from archstone.data.sql import Statement
from archstone.data.testing import DatabaseConformance


class TestSqlite(DatabaseConformance):
    @pytest.fixture
    async def db(self, tmp_path: Path):
        async with Database(f"sqlite:///{tmp_path}/x.db", hold_limit_s=self.hold_limit_s) as db:
            yield db

    @pytest.fixture
    async def other(self, db: Database) -> Database:
        return db


@pytest.mark.real_time
class TestPostgres(DatabaseConformance):
    shared = True

    @pytest.fixture
    async def db(self, postgres_url: str):
        async with Database(postgres_url, hold_limit_s=self.hold_limit_s) as db:
            yield db

    @pytest.fixture
    async def other(self, postgres_url: str, db: Database):
        async with Database(postgres_url) as other:
            yield other


# Broken on purpose, each in one way.


class TellsOneRow(SqliteEngine):
    """Says that every statement changed one row."""

    async def execute(self, statement: Statement, values: Values) -> Result:
        _, description, rows = await super().execute(statement, values)
        return 1, description, rows


class ReadsAsText(SqliteEngine):
    """Gives bytes as text."""

    async def read(self, statement: Statement, values: Values) -> Result:
        count, description, rows = await super().read(statement, values)
        return count, description, [tuple(str(v) if isinstance(v, bytes) else v for v in row) for row in rows]


class ReadsAndWrites(SqliteEngine):
    """Lets a read write."""

    async def read(self, statement: Statement, values: Values) -> Result:
        return await (super().execute if "DELETE" in statement.source else super().read)(statement, values)


class LivelySnapshots(SqliteEngine):
    """Gives the present for an instant of the past."""

    async def view(self) -> Any:
        engine = self

        class Present:
            async def read(self, statement: Statement, values: Values) -> Result:
                return await engine.read(statement, values)

            async def close(self) -> None:
                pass

        return Present()


class LateSnapshots(SqliteEngine):
    """Takes the instant of the first read for that of the entering."""

    async def view(self) -> Any:
        take = super().view

        class Late:
            view: SqliteView | None = None

            async def read(self, statement: Statement, values: Values) -> Result:
                self.view = self.view or await take()
                return await self.view.read(statement, values)

            async def close(self) -> None:
                if self.view is not None:
                    await self.view.close()

        return Late()


class Half(SqliteMember):
    async def run_many(self, statement: Statement, rows: Sequence[Values]) -> int:
        return sum([(await self.run(statement, row))[0] for row in rows])

    async def abandon(self, error: BaseException) -> None:
        await self.finish([])


class Eager(SqliteMember):
    async def finish(self, callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            callback()
        await super().finish([])


class Deaf(SqliteMember):
    async def finish(self, callbacks: list[Callable[[], None]]) -> None:
        await super().finish([])


class Sticky(SqliteMember):
    async def undo(self, name: str) -> None:
        await self.keep(name)


class Patient(SqliteMember):
    def expire(self) -> bool:
        return False


class Hasty(SqliteMember):
    """Commits each statement by itself: no isolation, no atomicity."""

    async def run(self, statement: Statement, values: Values) -> Result:
        return await self._writer.execute(statement, values)


def with_member(kind: type[SqliteMember]) -> type[SqliteEngine]:
    class Engine(SqliteEngine):
        def member(self, *, wait: bool) -> SqliteMember:
            assert self._writer is not None
            return kind(self._writer, wait=wait)

    Engine.__name__ = kind.__name__
    return Engine


BROKEN = {
    TellsOneRow: "test_a_statement_tells_how_many_rows_it_changed",
    ReadsAsText: "test_values_come_back_as_they_went",
    ReadsAndWrites: "test_reading_does_not_write",
    LivelySnapshots: "test_a_snapshot_shows_one_instant",
    LateSnapshots: "test_a_snapshot_is_of_the_instant_at_which_it_was_entered",
    with_member(Half): "test_what_raises_leaves_nothing",
    with_member(Eager): "test_a_callback_that_raises_harms_nobody",
    with_member(Deaf): "test_callbacks_come_after_the_commit_and_before_the_block_is_left",
    with_member(Sticky): "test_a_savepoint_takes_back_what_was_done_inside",
    with_member(Patient): "test_one_held_too_long_is_rolled_back_and_told",
    with_member(Hasty): "test_no_update_is_lost_between_a_read_and_a_write",
}


def fails(name: str, make: type[SqliteEngine]) -> bool:
    """Return whether a test of the suite fails on an engine."""
    test: Any = getattr(DatabaseConformance, name)

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            limit_s = DatabaseConformance.hold_limit_s
            options = EngineOptions(name="", hold_limit_s=limit_s, snapshot_limit_s=30.0, commit_in_thread=None)
            async with Database(make(Path(folder) / "x.db", options)) as db:
                await test(DatabaseConformance(), db=db)

    try:
        simulation.run(run)
    except (Exception, asyncio.CancelledError):
        return True
    return False


@pytest.mark.parametrize(("broken", "caught_by"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", None))
def test_the_suite_catches(broken: type[SqliteEngine], caught_by: str) -> None:
    assert not fails(caught_by, SqliteEngine)
    assert fails(caught_by, broken)
