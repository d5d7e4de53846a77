"""Several reads of one instant, while others write."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

from archstone.data.engine import Engine, View
from archstone.data.errors import MisuseError
from archstone.data.reading import Reading
from archstone.data.rows import row_maker
from archstone.data.sql import compile_statement, known_statement

__all__ = ["Snapshot"]

T = TypeVar("T")


class Snapshot(Reading):
    """What `db.snapshot()` gives: all its reads see the database as it was when the block was entered.

    It never waits for the writer and the writer never waits for it. It must be short: while it is open the log of the
    database cannot be emptied, so it ends with SnapshotExpiredError after `snapshot_limit_s`.
    """

    __slots__ = ("_engine", "_view")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._view: View | None = None

    async def __aenter__(self) -> Self:
        self._view = await self._engine.view()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        view, self._view = self._view, None
        if view is not None:
            await view.close()

    async def _fetch(self, row: type[T], sql: str, params: Mapping[str, object]) -> list[T]:
        if self._view is None:
            raise MisuseError(f"snapshot of {self._engine.label}", "used outside its block")
        statement = known_statement(sql) or compile_statement(sql)
        _, description, rows = await self._view.read(statement, statement.bind(params))
        return row_maker(row, sql, description)(rows)
