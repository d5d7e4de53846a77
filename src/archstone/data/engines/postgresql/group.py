"""Single statements that run at the same moment, sent together: one round trip and one commit for all of them.

As many callers as there are share a transaction, which is what makes small durable writes (steps of sagas, notes of the
inbox, deletions of the relay) cheap. Statements of one text go together; each caller is told the rows of its own. If
one of them fails, nothing of the group was done and each is run by itself, so that nobody pays for another's fault.
"""

from asyncio import AbstractEventLoop, Future, Task, sleep, wait
from collections import deque
from typing import Final

from archstone import context, world
from archstone.context import Call
from archstone.data.engine import Result, Values
from archstone.data.engines.postgresql.link import Link
from archstone.data.engines.postgresql.pool import Pool
from archstone.data.engines.postgresql.translate import FAULTS, is_broken, is_lost, is_outdated, translated, unknown
from archstone.data.errors import CommitUnknownError, DatabaseClosedError, TooManyWaitingError, TransactionLostError
from archstone.data.sql import Statement
from archstone.errors import ArchstoneError

__all__ = ["GROUP_AFTER_COMMIT", "GROUP_BEFORE_COMMIT", "Groups"]

MEMBERS_LIMIT: Final = 512
WAITING_LIMIT: Final = 10_000
AGAIN: Final = 5
"""How often a statement is run again that was lost to a deadlock or a serialisation failure."""

GROUP_BEFORE_COMMIT: Final = world.declare_point(
    "postgres.before_group", "a group of statements is about to be sent; nobody is answered"
)
GROUP_AFTER_COMMIT: Final = world.declare_point(
    "postgres.after_group", "a group of statements is committed and nobody has been answered"
)

_Waiting = tuple[Values, "Future[Result]"]


class Groups:
    """The groups of one engine."""

    def __init__(self, pool: Pool, *, label: str, loop: AbstractEventLoop) -> None:
        self._pool = pool
        self._label = label
        self._loop = loop
        self._queues: dict[Statement, deque[_Waiting]] = {}
        self._runners: set[Task[None]] = set()
        self._waiting = 0
        self._closed = False
        self.commits = self.members = self.largest = self.lost = 0

    async def execute(self, statement: Statement, values: Values) -> Result:
        """Run one statement as a transaction of its own; return when it is durable.

        Cancelled, it may or may not take effect.
        """
        if self._closed:
            raise DatabaseClosedError(self._label)
        if self._waiting >= WAITING_LIMIT:
            raise TooManyWaitingError(self._label, self._waiting, WAITING_LIMIT)
        answer: Future[Result] = self._loop.create_future()
        queue = self._queues.get(statement)
        if queue is None:
            queue = self._queues[statement] = deque()
            self._spawn(statement, queue)
        queue.append((values, answer))
        self._waiting += 1
        return await answer

    def _spawn(self, statement: Statement, queue: "deque[_Waiting]") -> None:
        runner = self._loop.create_task(self._run(statement, queue))
        self._runners.add(runner)
        runner.add_done_callback(self._runners.discard)

    async def _run(self, statement: Statement, queue: "deque[_Waiting]") -> None:
        """Send what waits, and what came meanwhile, until nothing does."""
        context.set_current(Call())
        batch: list[_Waiting] = []
        try:
            while queue:
                link = await self._pool.take()
                try:
                    batch = self._take(queue, MEMBERS_LIMIT if statement.counting is not None else 1)
                    await self._send(link, statement, batch)
                finally:
                    self._pool.give(link)
        except ArchstoneError as error:  # no connection was to be had: nothing was done
            for _, answer in self._take(queue, len(queue)):
                _fail(answer, type(error)(*error.args))
        finally:
            del self._queues[statement]
            for _, answer in batch + self._take(queue, len(queue)):
                _fail(answer, CommitUnknownError(self._label, statement.source, "the program stops"))

    def _take(self, queue: "deque[_Waiting]", limit: int) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while queue and len(batch) < limit:
            waiting = queue.popleft()
            self._waiting -= 1
            if not waiting[1].done():
                batch.append(waiting)
        return batch

    async def _send(self, link: Link, statement: Statement, batch: list[_Waiting]) -> None:
        counting = statement.counting
        if len(batch) > 1 and counting is not None and await self._together(link, counting, batch):
            return
        for values, answer in batch:
            if not answer.done():
                await self._alone(link, statement, values, answer)

    async def _together(self, link: Link, counting: str, batch: list[_Waiting]) -> bool:
        """Run all of them in one round trip; False if nothing was done because one of them failed."""
        world.point(GROUP_BEFORE_COMMIT)
        try:
            changed = await link.run_each(counting, [values for values, _ in batch])
        except FAULTS as error:
            self.lost += 1
            if not is_broken(error):
                return False
            link.end()
            for _, answer in batch:
                _fail(answer, unknown(error, self._label))
            return True
        world.point(GROUP_AFTER_COMMIT)
        self._count(len(batch))
        counts = [0] * len(batch)
        for number in changed:
            counts[number] += 1
        for count, (_, answer) in zip(counts, batch, strict=True):
            _tell(answer, (count, None, []))
        return True

    async def _alone(self, link: Link, statement: Statement, values: Values, answer: "Future[Result]") -> None:
        for attempt in range(AGAIN):
            if link.closed:
                _fail(answer, TransactionLostError(self._label, "because the connection ended"))
                return
            try:
                result = await link.run(statement, values)
            except FAULTS as error:
                if (is_lost(error) or is_outdated(error)) and attempt < AGAIN - 1:
                    link.forget()
                    continue
                if is_broken(error):
                    link.end()
                    _fail(answer, unknown(error, self._label))
                else:
                    failure = translated(error, self._label, statement.source)
                    failure.__cause__ = error
                    _fail(answer, failure)
                return
            world.point(GROUP_AFTER_COMMIT)
            self._count(1)
            _tell(answer, result)
            return

    def _count(self, members: int) -> None:
        self.commits += 1
        self.members += members
        self.largest = max(self.largest, members)

    async def close(self) -> None:
        """Refuse more, and return when everybody who waits has been answered."""
        self._closed = True
        while self._runners:
            await wait(self._runners)
            await sleep(0)  # a runner takes itself out by a callback


def _tell(answer: "Future[Result]", result: Result) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "Future[Result]", failure: ArchstoneError) -> None:
    if not answer.done():
        answer.set_exception(failure)
