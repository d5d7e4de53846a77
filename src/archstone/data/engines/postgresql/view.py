"""One instant of the database, read several times."""

from asyncio import AbstractEventLoop, TimerHandle

from archstone.data.engine import Result, Values
from archstone.data.engines.postgresql.link import Link
from archstone.data.engines.postgresql.pool import Pool
from archstone.data.engines.postgresql.translate import FAULTS, is_outdated, translated
from archstone.data.errors import SnapshotExpiredError
from archstone.data.sql import Statement

__all__ = ["PostgresView"]


class PostgresView:
    """A repeatable-read transaction that reads. It ends by itself at its limit."""

    __slots__ = ("_expired", "_label", "_limit_s", "_link", "_pool", "_timer")

    def __init__(self, link: Link, pool: Pool, *, label: str, loop: AbstractEventLoop, limit_s: float) -> None:
        self._link: Link | None = link
        self._pool = pool
        self._label = label
        self._limit_s = limit_s
        self._expired = False
        self._timer: TimerHandle = loop.call_later(limit_s, self._expire)

    async def read(self, statement: Statement, values: Values) -> Result:
        """Run a reading statement and return everything it gives."""
        link = self._link
        if link is None:
            raise self._too_old()
        try:
            return await link.run(statement, values)
        except FAULTS as error:
            if self._expired:
                raise self._too_old() from error
            if is_outdated(error):
                link.forget()
                raise SnapshotExpiredError(self._label, "a table has changed since it was last read") from error
            raise translated(error, self._label, statement.source) from error

    async def close(self) -> None:
        """Give the instant up."""
        self._timer.cancel()
        link, self._link = self._link, None
        if link is None:
            return
        try:
            await link.say("COMMIT")
        except FAULTS:
            link.end()
        except BaseException:
            link.end()
            raise
        finally:
            self._pool.give(link)

    def _expire(self) -> None:
        self._expired = True
        link, self._link = self._link, None
        if link is not None:
            link.end()
            self._pool.give(link)

    def _too_old(self) -> SnapshotExpiredError:
        return SnapshotExpiredError(self._label, f"it was open for more than {self._limit_s:g} s")
