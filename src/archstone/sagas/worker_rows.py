"""What the workers of an engine write of themselves and of each other, and how sagas go from one to another.

A worker is a process that has sagas of a database which others share. It counts its beat up; one whose beat stands is
buried by whoever sees it, and its sagas are nobody's, until somebody claims them. What the dead one writes later is not
written: its number is in no row any more.
"""

from typing import Final, NamedTuple

from archstone import world
from archstone.data import Database, Transaction
from archstone.sagas.table import OURS, Table, changed

__all__ = ["Asked", "Beat", "WorkerRows"]

_JOIN: Final = "INSERT INTO _archstone_saga_workers (engine, name) VALUES (:engine, :name)"
_NUMBER: Final = "SELECT number FROM _archstone_saga_workers WHERE name = :name"
_BEAT: Final = "UPDATE _archstone_saga_workers SET beat = beat + 1 WHERE number = :number"
_BEATS: Final = "SELECT number, beat FROM _archstone_saga_workers WHERE engine = :engine ORDER BY number"
_BURY: Final = "DELETE FROM _archstone_saga_workers WHERE number = :number AND beat = :beat"
_ALIVE: Final = "SELECT number FROM _archstone_saga_workers WHERE number = :number FOR SHARE"
_LEAVE: Final = "DELETE FROM _archstone_saga_workers WHERE number = :number"
_LIVE: Final = "status = 'running' AND finished_us IS NULL AND engine = :engine"
_FREE: Final = f"UPDATE _archstone_sagas SET worker = 0 WHERE {_LIVE} AND worker = :number"
_FREE_LOST: Final = (
    f"UPDATE _archstone_sagas SET worker = 0 WHERE {_LIVE} AND worker <> 0"
    " AND NOT EXISTS (SELECT 1 FROM _archstone_saga_workers AS worker WHERE worker.number = _archstone_sagas.worker)"
)
_FREE_ONES: Final = (
    f"SELECT id FROM _archstone_sagas WHERE {_LIVE} AND worker = 0 ORDER BY number LIMIT :limit FOR UPDATE SKIP LOCKED"
)
_CLAIM: Final = changed("worker = :worker", where=" AND status = 'running' AND worker = 0")
_ASK: Final = changed("asked = :asked", where=" AND status = 'running'")
_ANSWER: Final = changed("asked = NULL", where=OURS)
_WITHDRAW: Final = changed("asked = NULL")
_ASKED: Final = f"SELECT id, asked FROM _archstone_sagas WHERE {_LIVE} AND worker = :worker AND asked IS NOT NULL"
_TOLD: Final = (
    f"SELECT id FROM _archstone_sagas AS saga WHERE {_LIVE} AND worker = :worker AND EXISTS"
    " (SELECT 1 FROM _archstone_saga_signals AS signal WHERE signal.saga = saga.number AND signal.taken = 0)"
)


class Beat(NamedTuple):
    """A worker and how often it has given a sign of life."""

    number: int
    beat: int


class Asked(NamedTuple):
    """A saga that somebody wants to be cancelled."""

    id: str
    asked: str
    """JSON of `[by, whatever]`."""


class WorkerRows:
    """The workers of one engine. Only where the database is shared."""

    def __init__(self, db: Database, table: Table) -> None:
        self._db = db
        self._table = table

    async def join(self) -> int:
        """Return the number of a new worker."""
        name = world.new_id()

        async def work(tx: Transaction) -> int:
            await tx.execute(_JOIN, engine=self._table.engine, name=name)
            return await tx.one(int, _NUMBER, name=name)

        return await self._db.run(work)

    async def leave(self, number: int) -> None:
        """End a worker; its sagas are nobody's."""
        await self._db.execute(_LEAVE, number=number)
        await self._db.execute(_FREE, engine=self._table.engine, number=number)

    async def beat(self, number: int) -> bool:
        """Give a sign of life; False if the worker was buried."""
        return await self._db.execute(_BEAT, number=number) == 1

    async def beats(self) -> list[Beat]:
        """Return all workers."""
        return await self._db.all(Beat, _BEATS, engine=self._table.engine)

    async def bury(self, dead: Beat) -> int | None:
        """End a worker that gives no sign of life, and return how many sagas it had; None if somebody else did."""
        if not await self._db.execute(_BURY, number=dead.number, beat=dead.beat):
            return None
        return await self._db.execute(_FREE, engine=self._table.engine, number=dead.number)

    async def free_lost(self) -> int:
        """Make sagas nobody's whose worker is gone, and return how many.

        One had written them while it was buried, or who buried it died over that.
        """
        return await self._db.execute(_FREE_LOST, engine=self._table.engine)

    async def claim(self, limit: int) -> list[str]:
        """Take at most `limit` sagas that are nobody's, the oldest first, and return them; none for a dead one."""

        async def work(tx: Transaction) -> list[str]:
            # Each row is locked: what a serializable transaction would watch over beyond them costs others retries.
            await tx.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            if await tx.first(int, _ALIVE, number=self._table.worker) is None:
                return []
            sagas = await tx.all(str, _FREE_ONES, engine=self._table.engine, limit=limit)
            await tx.many(_CLAIM, [{"id": saga, "worker": self._table.worker} for saga in sagas])
            return sagas

        return await self._db.run(work)

    async def claim_one(self, saga: str) -> bool:
        """Take a running saga if it is nobody's; False if it is not."""
        return await self._db.execute(_CLAIM, id=saga, worker=self._table.worker) == 1

    async def ask(self, saga: str, asked: str) -> bool:
        """Ask whoever has a running saga to cancel it; False if it does not run."""
        return await self._db.execute(_ASK, id=saga, asked=asked) == 1

    async def asked(self) -> list[Asked]:
        """Return the sagas of this process that others want cancelled."""
        return await self._db.all(Asked, _ASKED, engine=self._table.engine, worker=self._table.worker)

    async def answer(self, saga: str) -> None:
        """Note that it was tried to cancel a saga of this process."""
        await self._db.execute(_ANSWER, id=saga, worker=self._table.worker)

    async def withdraw(self, saga: str) -> None:
        """Ask no more."""
        await self._db.execute(_WITHDRAW, id=saga)

    async def told(self) -> list[str]:
        """Return the sagas of this process that have signals which they have not taken."""
        return await self._db.all(str, _TOLD, engine=self._table.engine, worker=self._table.worker)
