"""One connection: each statement is prepared once, and results come as the port wants them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from archstone.data.engine import Result, Values
from archstone.data.engines.postgresql import driver
from archstone.data.engines.postgresql.driver import Connection, Prepared
from archstone.data.rows import Description
from archstone.data.sql import Statement

__all__ = ["Link", "connect"]

STATEMENTS_LIMIT: Final = 512
"""Prepared statements kept by a connection; above it they are all given up."""

_Prepared = tuple[Prepared, Description]


class Link:
    """A connection that is lent to one user at a time."""

    __slots__ = ("_number", "_prepared", "connection", "idle_since_s", "made_s")

    def __init__(self, connection: Connection, *, made_s: float) -> None:
        self.connection = connection
        self.made_s = made_s
        self.idle_since_s = made_s
        self._number = 0
        self._prepared: dict[str, _Prepared] = {}

    @property
    def closed(self) -> bool:
        """Whether it is of no more use."""
        return self.connection.is_closed()

    @property
    def free(self) -> bool:
        """Whether another may have it: neither closed nor in a transaction."""
        return not self.connection.is_closed() and not self.connection.is_in_transaction()

    async def say(self, text: str) -> str:
        """Run statements without parameters, BEGIN, COMMIT and the like; return what the server said of the last."""
        return await self.connection.execute(text)

    async def run(self, statement: Statement, values: Values) -> Result:
        """Run a statement and fetch everything it gives."""
        prepared, description = self._prepared.get(statement.dollars) or await self._prepare(statement.dollars)
        try:
            rows = await prepared.fetch(*values)
        except driver.VALUE_FAULTS:
            await self._settle()
            raise
        status = prepared.get_statusmsg()
        if description is None:
            if status is not None and status.startswith(("ALTER", "DROP")):
                self.forget()  # what is prepared may be of tables as they were
            return (_count(status), None, [])
        return (_count(status), description, [tuple(row) for row in rows])

    async def run_each(self, counting: str, rows: Sequence[Values]) -> list[int]:
        """Run a statement that returns the number of its row (its last parameter) for each row that it changes."""
        prepared, _ = self._prepared.get(counting) or await self._prepare(counting)
        numbered = [(*values, number) for number, values in enumerate(rows)]
        try:
            return [row[0] for row in await prepared.fetchmany(numbered)]
        except driver.VALUE_FAULTS:
            await self._settle()
            raise

    async def _settle(self) -> None:
        # Preparing leaves a transaction open until something is run, and with it locks on tables; nothing was, here.
        if not self.connection.is_in_transaction():
            await self.say("SELECT 1")

    async def _prepare(self, text: str) -> _Prepared:
        if len(self._prepared) >= STATEMENTS_LIMIT:
            self._prepared.clear()
        # One without a name would be parsed each time, and run even where its rows cannot be read any more.
        self._number += 1
        prepared = await self.connection.prepare(text, name=f"archstone_{self._number}")
        columns = prepared.get_attributes()
        entry: _Prepared = (prepared, tuple((column.name,) for column in columns) or None)
        self._prepared[text] = entry
        return entry

    def forget(self) -> None:
        """Prepare everything anew: the schema has changed."""
        self._prepared.clear()

    def end(self) -> None:
        """Close at once; the server rolls back what was open."""
        self._prepared.clear()
        if not self.connection.is_closed():
            self.connection.terminate()


def _count(status: str | None) -> int:
    # "INSERT 0 3", "UPDATE 2"; a SELECT counts rows that it gives and changes none.
    if status is None or status.startswith(("SELECT", "FETCH", "EXPLAIN")):
        return 0
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


def _number(text: str) -> int | Decimal:
    # The sum of integers is numeric there; Decimal only where there is a fraction.
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)


async def connect(dsn: str, *, settings: dict[str, str], timeout_s: float, made_s: float) -> Link:
    """Return a new connection.

    Raises:
        What the driver raises.
    """
    connection = await driver.connect(dsn, timeout=timeout_s, server_settings=settings, statement_cache_size=0)
    try:
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text")
    except BaseException:
        connection.terminate()
        raise
    return Link(connection, made_s=made_s)
