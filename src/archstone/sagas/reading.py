"""What one reads of the rows of sagas and of their journals."""

from collections.abc import Sequence
from typing import Final, Literal

from archstone.data import Database, Snapshot, Transaction
from archstone.sagas.errors import SagaUnknownError
from archstone.sagas.rows import First, SagaRow, SameRow

__all__ = ["AT_ONCE", "Reader"]

_COLUMNS: Final = (
    "number, id, method, version, status, arguments, headers, started_us, finished_us, answer, head, tail, attempts,"
    " why, parent, forked_from, wake_us, queue, queue_key, priority, worker, asked"
)
_CHOSEN: Final = {
    "queued": " AND status IN ('queued', 'delayed') AND finished_us IS NULL",
    "running": " AND status IN ('running', 'asleep') AND finished_us IS NULL",
    "stuck": " AND status = 'stuck' AND finished_us IS NULL",
}
AT_ONCE: Final = 32
_ENDED_AMONG: Final = (
    f"SELECT {_COLUMNS} FROM _archstone_sagas WHERE engine = :engine AND status IN ('done', 'failed', 'stuck')"
    f" AND id IN ({', '.join(f':id{n}' for n in range(AT_ONCE))})"
)


class Reader:
    """The rows of one engine in one database, to read."""

    def __init__(self, db: Database, engine: str) -> None:
        self._db = db
        self.engine = engine
        """Name of the engine."""
        self.worker = 0
        """The number under which this process has sagas. 0: it owns the database, or has none (any more)."""
        self.draining = False
        """Whether this process begins no more steps, and takes no more sagas."""

    @property
    def shared(self) -> bool:
        """Whether other processes may have sagas of this engine."""
        return self._db.shared

    @property
    def taker(self) -> int:
        """Whose a saga is that goes on now: this process's if it takes any, else nobody's."""
        return 0 if self.draining else self.worker

    @property
    def working(self) -> bool:
        """Whether this process may have sagas."""
        return self.worker > 0 or not self._db.shared

    async def get(self, saga: str) -> SagaRow:
        """Return the row of a saga, or raise SagaUnknownError."""
        row = await self._db.first(
            SagaRow,
            f"SELECT {_COLUMNS} FROM _archstone_sagas WHERE id = :id AND engine = :engine",
            id=saga,
            engine=self.engine,
        )
        if row is None:
            raise SagaUnknownError(saga)
        return row

    async def read(self, saga: str) -> tuple[SagaRow, list[bytes], int]:
        """Return the row of a saga, its journal with the tail, and the next position in it, all of one instant."""
        async with self._db.snapshot() as snapshot:
            return await self.read_in(snapshot, saga)

    async def read_in(self, reading: Snapshot | Transaction, saga: str) -> tuple[SagaRow, list[bytes], int]:
        """Return the same as a snapshot or a transaction sees it."""
        row = await reading.first(
            SagaRow,
            f"SELECT {_COLUMNS} FROM _archstone_sagas WHERE id = :id AND engine = :engine",
            id=saga,
            engine=self.engine,
        )
        if row is None:
            raise SagaUnknownError(saga)
        found = await reading.all(
            tuple[int, bytes],
            "SELECT position, entries FROM _archstone_saga_journal WHERE saga = :number ORDER BY position",
            number=row.number,
        )
        entries = [row.head, *(each for _, each in found), row.tail]
        return row, [each for each in entries if each is not None], found[-1][0] + 1 if found else 0

    async def ended(self, saga: str) -> SagaRow | None:
        """Return the row of a saga if it is done or failed; SagaUnknownError if there is none."""
        row = await self.get(saga)
        return row if row.status in {"done", "failed"} else None

    async def taken(self, saga: str) -> str | None:
        """Return the method of the saga that has an id, of whatever engine; None if it is free."""
        return await self._db.first(str, "SELECT method FROM _archstone_sagas WHERE id = :id", id=saga)

    async def same(self, first: First, saga: str) -> SameRow | None:
        """Return what has the id of a saga, of whatever engine."""
        return await first(SameRow, "SELECT engine, method, arguments FROM _archstone_sagas WHERE id = :id", id=saga)

    async def fork_of(self, tx: Transaction, saga: str) -> str | None:
        """Return a saga that was forked from another, None if there is none."""
        return await tx.first(str, "SELECT id FROM _archstone_sagas WHERE forked_from = :saga LIMIT 1", saga=saga)

    async def above(self, tx: Transaction, saga: str) -> tuple[str | None, str, str | None] | None:
        """Return parent, status and origin of a saga; None if it is gone."""
        return await tx.first(
            tuple[str | None, str, str | None],
            "SELECT parent, status, forked_from FROM _archstone_sagas WHERE id = :id",
            id=saga,
        )

    async def running(self, *, after: int, limit: int) -> list[tuple[int, str]]:
        """Return number and id of running sagas of this process above `after`, oldest first, at most `limit`."""
        return await self._db.all(
            tuple[int, str],
            "SELECT number, id FROM _archstone_sagas WHERE finished_us IS NULL AND status = 'running'"
            " AND engine = :engine AND worker = :worker AND number > :after ORDER BY number LIMIT :limit",
            engine=self.engine,
            worker=self.worker,
            after=after,
            limit=limit,
        )

    async def due(self, *, at: int, limit: int) -> list[tuple[str, str]]:
        """Return sagas whose time to go on has come, with their status, the earliest first."""
        return await self._db.all(
            tuple[str, str],
            "SELECT id, status FROM _archstone_sagas WHERE wake_us IS NOT NULL AND wake_us <= :at AND engine = :engine"
            " ORDER BY wake_us LIMIT :limit",
            at=at,
            engine=self.engine,
            limit=limit,
        )

    async def next_due(self) -> int | None:
        """Return the earliest instant at which a saga is to go on, None if there is none."""
        return await self._db.first(
            int,
            "SELECT wake_us FROM _archstone_sagas WHERE wake_us IS NOT NULL AND engine = :engine"
            " ORDER BY wake_us LIMIT 1",
            engine=self.engine,
        )

    async def queue_of(self, saga: str) -> str | None:
        """Return the name of the queue that a saga waits or has waited in, None if there is none."""
        found = await self._db.first(tuple[str | None], "SELECT queue FROM _archstone_sagas WHERE id = :id", id=saga)
        return None if found is None else found[0]

    async def count(self, status: Literal["running", "stuck"]) -> int:
        """Return how many sagas are in a state in which they have not ended, and are not another process's."""
        return await self._db.one(
            int,
            "SELECT count(*) FROM _archstone_sagas WHERE finished_us IS NULL AND status = :status AND engine = :engine"
            " AND worker IN (0, :worker)",
            status=status,
            engine=self.engine,
            worker=self.worker,
        )

    async def ended_among(self, sagas: Sequence[str]) -> list[SagaRow]:
        """Return those of some sagas, at most `AT_ONCE`, that are done, failed or stuck."""
        names = {f"id{n}": saga for n, saga in enumerate([*sagas, *("" for _ in range(AT_ONCE - len(sagas)))])}
        return await self._db.all(SagaRow, _ENDED_AMONG, engine=self.engine, **names)

    async def list(
        self,
        *,
        status: str | None,
        limit: int,
        before: int,
        method: str | None = None,
        until_us: int | None = None,
    ) -> list[SagaRow]:
        """Return rows below number `before`, newest first, at most `limit`.

        Args:
            status: None: any.
            limit: Rows.
            before: The number.
            method: None: any.
            until_us: Only those that were started by then. None: any.
        """
        # The live index serves the states in which few sagas are; the others are read from the newest on.
        chosen = "" if status is None else _CHOSEN.get(status, " AND status = :status")
        named = "" if method is None else " AND method = :method"
        aged = "" if until_us is None else " AND started_us <= :until"
        params = {"status": None if status in _CHOSEN else status, "method": method, "until": until_us}
        return await self._db.all(
            SagaRow,
            # sql: which of the conditions above
            f"SELECT {_COLUMNS} FROM _archstone_sagas WHERE number < :before AND engine = :engine{chosen}{named}{aged}"
            " ORDER BY number DESC LIMIT :limit",
            before=before,
            engine=self.engine,
            limit=limit,
            **{name: value for name, value in params.items() if value is not None},
        )
