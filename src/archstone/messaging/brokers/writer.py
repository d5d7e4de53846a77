"""Writes what one turn of the loop wants written, in one transaction and with one statement per kind.

Promise: what is added before `written()` is called is durable when its future answers, in the order added. If the
transaction fails, none of it is, and every caller of the batch gets the error.
"""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from typing import Final

from archstone.data import Database, Transaction
from archstone.messaging.brokers.window import Window
from archstone.messaging.lane import Row

__all__ = ["Writer"]

_ATTEMPTS: Final = 3
"""Times that a batch is run when its transaction is lost through no fault of its own."""


class _Batch:
    __slots__ = ("arrivals", "statements", "waiters")

    def __init__(self) -> None:
        self.statements: dict[str, list[Mapping[str, object]]] = {}
        """Statement to its rows. Statements run in the order in which each first came."""
        self.arrivals: list[tuple[Window, Row]] = []
        """Messages to hand to their channels once they are durable."""
        self.waiters: list[asyncio.Future[None]] = []


class Writer:
    """The one way into the file of a broker. Made on the loop on which it writes."""

    def __init__(self, database: Database, context: Context) -> None:
        self._database = database
        # The writer's task must not live in the context of whoever happens to send first: with their open
        # transaction, their deadline, or the world of their saga.
        self._context = context
        self._loop = asyncio.get_running_loop()  # kept: to ask for it costs a system call each time
        self._batch = _Batch()
        self._task: asyncio.Task[None] | None = None

    def rows(self, statement: str) -> list[Mapping[str, object]]:
        """Return the rows that `statement` runs with in the next transaction, to append to."""
        rows = self._batch.statements.get(statement)
        if rows is None:
            rows = self._batch.statements[statement] = []
        return rows

    def arrives(self, window: Window, row: Row) -> None:
        """Hand `row` to its channel once the next transaction is durable."""
        self._batch.arrivals.append((window, row))

    def written(self) -> asyncio.Future[None]:
        """Return a future of the caller's own that answers when what was added so far is durable."""
        # One future for each caller: cancelling a task cancels the future it waits for, and with a shared one
        # everybody else's.
        future: asyncio.Future[None] = self._loop.create_future()
        self._batch.waiters.append(future)
        if self._task is None:
            self._task = self._loop.create_task(self._run(), context=self._context.copy())
        return future

    async def close(self) -> None:
        """Wait until nothing is left to write."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._batch.waiters:
                batch, self._batch = self._batch, _Batch()
                await self._commit(batch)
                # Whoever was just answered sends the next in this turn: their messages share the next commit.
                await asyncio.sleep(0)
        finally:
            self._task = None

    async def _commit(self, batch: _Batch) -> None:
        try:
            await self._write(batch)
        except BaseException as error:
            for window, _ in batch.arrivals:
                window.depth -= 1
            _answer(batch, error)
            if not isinstance(error, Exception):
                raise
            return
        lanes = {id(window): window.lane for window, _ in batch.arrivals}
        for window, row in batch.arrivals:
            window.committed(row)
        for lane in lanes.values():
            lane.wake()
        _answer(batch, None)

    async def _write(self, batch: _Batch) -> None:
        async def work(tx: Transaction) -> None:
            for statement, rows in batch.statements.items():
                await tx.many(statement, rows)

        await self._database.run(work, attempts=_ATTEMPTS)


def _answer(batch: _Batch, error: BaseException | None) -> None:
    for future in batch.waiters:
        if future.done():
            continue  # its caller was cancelled
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
