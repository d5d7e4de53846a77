"""The three ways to read rows, for whatever can fetch them: a database, a transaction, a snapshot."""

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from archstone.data.errors import NoRowError

__all__ = ["Reading"]

T = TypeVar("T")


class Reading:
    """Inherit it and say how rows are fetched."""

    __slots__ = ()

    async def one(self, row: type[T], sql: str, /, **params: object) -> T:
        """Return the first row as `row`. In a transaction it sees what that has done.

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

    def all(self, row: type[T], sql: str, /, **params: object) -> Coroutine[Any, Any, list[T]]:
        """Return all rows as `row`, in the order of the statement."""
        return self._fetch(row, sql, params)  # not awaited here: that would only cost a second coroutine

    async def _fetch(self, row: type[T], sql: str, params: Mapping[str, object]) -> list[T]:
        raise NotImplementedError
