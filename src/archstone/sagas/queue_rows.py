"""Sagas in queues: the columns of their rows that say who is next, and every statement on those.

| status | cleared | meaning |
| --- | --- | --- |
| `delayed` | 0 | begins, or joins its queue, at `wake_us` |
| `queued` | 0 | its key has as many as may run: one of them must end first |
| `queued` | 1 | may leave as soon as the queue lets one out |
| any other | 1 | has left, and counts for its key until it has ended |

`turn` makes the keys take turns: the turn of a saga is one above that of the one of its key before it, and at least
that of whoever is at the front. So a key that has ten thousand in the queue is behind a key that has one. The next
of a key are cleared when one joins and when one ends, in those transactions, so whoever lets one out never looks at
those that may not.
"""

from typing import Final, NamedTuple

from archstone.data import Database, Transaction
from archstone.sagas.queue import Ticket
from archstone.sagas.rows import End, Execute, First, NewRow
from archstone.sagas.table import READY, Table, changed, check_had

__all__ = ["InQueue", "QueueRows"]

_INSERT: Final = (
    "INSERT INTO _archstone_sagas (id, engine, method, version, status, arguments, headers, started_us, wake_us, queue,"
    " queue_key, priority, turn, cleared) VALUES (:id, :engine, :method, :version, :status, :arguments, :headers, :at,"
    " :due, :queue, :key, :priority, :turn, :cleared) ON CONFLICT (id) DO NOTHING"
)
_FRONT: Final = (
    "SELECT turn FROM _archstone_sagas WHERE status = 'queued' AND queue = :queue AND priority = :priority"
    " ORDER BY turn LIMIT 1"
)
_LAST: Final = (
    "SELECT turn FROM _archstone_sagas WHERE status = 'queued' AND queue = :queue AND queue_key = :key"
    " AND priority = :priority ORDER BY turn DESC LIMIT 1"
)
_BUSY: Final = (
    "SELECT count(*) FROM _archstone_sagas WHERE cleared = 1 AND finished_us IS NULL AND queue = :queue"
    " AND queue_key = :key"
)
_RUNNING: Final = (
    "SELECT count(*) FROM _archstone_sagas WHERE cleared = 1 AND finished_us IS NULL AND queue = :queue"
    " AND status IN ('running', 'asleep')"
)
_NEXT_OF_KEY: Final = (
    "SELECT id FROM _archstone_sagas WHERE status = 'queued' AND queue = :queue AND queue_key = :key AND cleared = 0"
    " ORDER BY priority DESC, turn, number LIMIT 1"
)
_NEXT: Final = (
    "SELECT id FROM _archstone_sagas WHERE cleared = 1 AND status = 'queued' AND queue = :queue"
    " ORDER BY priority DESC, turn, number LIMIT :limit"
)
_CLEAR: Final = changed("cleared = 1", where=" AND status = 'queued'")
_LET_OUT: Final = changed(READY, where=" AND status = 'queued'")
_BEGIN: Final = changed(READY, where=" AND status = 'delayed'")
_JOIN: Final = changed(
    "status = 'queued', wake_us = NULL, turn = :turn, cleared = :cleared", where=" AND status = 'delayed'"
)
_DELAYED: Final = "SELECT queue, queue_key, priority FROM _archstone_sagas WHERE id = :id AND status = 'delayed'"
_IN_QUEUES: Final = (
    "SELECT queue, method, version, sum(CASE WHEN status = 'queued' THEN 1 ELSE 0 END) AS sagas FROM _archstone_sagas"
    " WHERE finished_us IS NULL AND queue IS NOT NULL AND status IN ('queued', 'delayed') AND engine = :engine"
    " GROUP BY queue, method, version"
)


class InQueue(NamedTuple):
    """How many sagas of one version wait in a queue; those that are delayed are not counted."""

    queue: str
    method: str
    version: int
    sagas: int


class QueueRows:
    """The queues of one engine, on disk."""

    def __init__(self, db: Database, table: Table) -> None:
        self._db = db
        self._table = table

    async def insert(self, new: NewRow, ticket: Ticket, *, execute: Execute, first: First) -> int:
        """Add a saga that joins a queue, now or later; gives 0 if the id is taken. Call it in a transaction."""
        waits = ticket.due_us is not None
        added = await execute(
            _INSERT,
            id=new.id,
            engine=self._table.engine,
            method=new.method,
            version=new.version,
            status="delayed" if waits else "queued",
            arguments=new.arguments,
            headers=new.headers,
            at=new.started_us,
            due=ticket.due_us,
            queue=ticket.queue,
            key=ticket.key,
            priority=ticket.priority,
            turn=0 if waits else await _turn(ticket, first),
            cleared=int(not waits and _free_of_keys(ticket)),
        )
        if added and not waits:
            await _clear(ticket, execute=execute, first=first)
        return added

    async def join(self, saga: str, per_key: int | None) -> bool:
        """Have a delayed saga join its queue, or begin if it has none; False if it is not delayed."""

        async def work(tx: Transaction) -> bool:
            found = await tx.first(tuple[str | None, str, int], _DELAYED, id=saga)
            if found is None:
                return False
            ticket = Ticket(*found, per_key)
            if ticket.queue is None:
                return await tx.execute(_BEGIN, id=saga, worker=self._table.worker) == 1
            await tx.execute(_JOIN, id=saga, turn=await _turn(ticket, tx.first), cleared=int(_free_of_keys(ticket)))
            await _clear(ticket, execute=tx.execute, first=tx.first)
            return True

        return await self._table.run(work)

    async def let_out(self, queue: str, *, limit: int, max_running: int | None) -> list[str]:
        """Have at most `limit` sagas leave a queue, durably, and return them, the first of all first."""

        async def work(tx: Transaction) -> list[str]:
            room = limit
            if max_running is not None:
                room = min(room, max_running - await tx.one(int, _RUNNING, queue=queue))
            if room <= 0:
                return []
            sagas = await tx.all(str, _NEXT, queue=queue, limit=room)
            await tx.many(_LET_OUT, [{"id": saga, "worker": self._table.worker} for saga in sagas])
            return sagas

        return await self._table.run(work)

    async def finish(self, end: End, ticket: Ticket) -> None:
        """End a saga that was in a queue, durably, and clear the next of its key.

        Raises:
            SagaLostError: Who had it has lost it.
        """

        async def work(tx: Transaction) -> None:
            check_had(end.id, await self._table.finish(end, execute=tx.execute))
            await _clear(ticket, execute=tx.execute, first=tx.first)

        await self._table.run(work)

    async def counted(self) -> list[InQueue]:
        """Return how many sagas wait in each queue that has any, or has delayed ones."""
        return await self._db.all(InQueue, _IN_QUEUES, engine=self._table.engine)


async def _turn(ticket: Ticket, first: First) -> int:
    """Return the turn of a saga that joins now."""
    if ticket.queue is None:
        return 0
    line = {"queue": ticket.queue, "priority": ticket.priority}
    front = await first(int, _FRONT, **line)
    last = await first(int, _LAST, **line, key=ticket.key)
    return max(front or 0, -1 if last is None else last + 1, 0)


def _free_of_keys(ticket: Ticket) -> bool:
    return ticket.per_key is None or not ticket.key


async def _clear(ticket: Ticket, *, execute: Execute, first: First) -> None:
    """Let the next sagas of a key leave, as many as its limit allows."""
    if ticket.queue is None or not ticket.key:
        return
    line = {"queue": ticket.queue, "key": ticket.key}
    # Without a limit all are cleared, but those that joined while there was one.
    while ticket.per_key is None or (await first(int, _BUSY, **line) or 0) < ticket.per_key:
        saga = await first(str, _NEXT_OF_KEY, **line)
        if saga is None:
            return
        await execute(_CLEAR, id=saga)
