"""Several reads of one instant, while others write."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

from archstone.data.engine import Engine, View
from archstone.data.errors import MisuseError, NoRowError
from archstone.data.rows import row_maker
from archstone.data.sql import compile_statement

__all__ = ["Snapshot"]

T = TypeVar("T")


class Snapshot:
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

    async def one(self, row: type[T], sql: str, /, **params: object) -> T:
        """Return the first row as `row`.

        Raises:
            NoRowError: There is none.
        """
        found = await self._fetch(row, sql, params)
        if not found:
            raise NoRowError(getattr(row, "__name__", str(row)), sql)
        return found[0]

    async def first(self, row: type[T], sql: str, /, **params: object) -> T | None:
        """Return the first row as `row`, or None where there is none."""
        found = await self._fetch(row, sql, params)
        return found[0] if found else None

    async def all(self, row: type[T], sql: str, /, **params: object) -> list[T]:
        """Return all rows as `row`, in the order of the statement."""
        return await self._fetch(row, sql, params)

    async def _fetch(self, row: type[T], sql: str, params: Mapping[str, object]) -> list[T]:
        if self._view is None:
            raise MisuseError(f"snapshot of {self._engine.label}", "used outside its block")
        statement = compile_statement(sql)
        _, description, rows = await self._view.read(statement, statement.bind(params))
        return row_maker(row, sql, description)(rows)
