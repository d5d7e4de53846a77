"""The two tables of an engine, and every statement on them.

`_archstone_sagas` has a row per saga, `_archstone_saga_journal` what each remembers. The last entries of a saga go
into its own row (`tail`) with its end, so that ending is one statement; so do the first (`head`) of one that begins
together with its row. Both tables are swept by age, see `sweep`.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

from archstone.data import Database, Schema
from archstone.sagas.errors import SagaUnknownError

__all__ = ["SCHEMA", "Execute", "First", "SagaRow", "SameRow", "Table"]

SCHEMA: Final = Schema(
    "sagas",
    (
        (
            """CREATE TABLE _archstone_sagas (
                number INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                engine TEXT NOT NULL,
                method TEXT NOT NULL,
                version INTEGER NOT NULL,
                status TEXT NOT NULL,
                arguments BLOB NOT NULL,
                headers BLOB NOT NULL,
                started_us INTEGER NOT NULL,
                finished_us INTEGER,
                answer BLOB,
                tail BLOB,
                attempts INTEGER NOT NULL DEFAULT 0,
                why TEXT
            )""",
            # Only sagas that are not finished are in it: small, and a finished saga costs nothing.
            "CREATE INDEX _archstone_sagas_live ON _archstone_sagas (status) WHERE finished_us IS NULL",
            """CREATE TABLE _archstone_saga_journal (
                saga TEXT NOT NULL,
                position INTEGER NOT NULL,
                entries BLOB NOT NULL,
                PRIMARY KEY (saga, position)
            ) WITHOUT ROWID""",
        ),
        ("ALTER TABLE _archstone_sagas ADD COLUMN head BLOB",),
        (
            # Rows in the order of writing, and small keys in an index: by the saga's id the rows of sagas that are
            # alive lay on a page each, and a commit wrote three pages for each row.
            "ALTER TABLE _archstone_saga_journal RENAME TO _archstone_saga_journal_by_id",
            """CREATE TABLE _archstone_saga_journal (
                number INTEGER PRIMARY KEY,
                saga INTEGER NOT NULL,
                position INTEGER NOT NULL,
                entries BLOB NOT NULL
            )""",
            """INSERT INTO _archstone_saga_journal (saga, position, entries)
                SELECT saga.number, old.position, old.entries FROM _archstone_saga_journal_by_id AS old
                JOIN _archstone_sagas AS saga ON saga.id = old.saga ORDER BY saga.number, old.position""",
            "CREATE UNIQUE INDEX _archstone_saga_journal_place ON _archstone_saga_journal (saga, position)",
            "DROP TABLE _archstone_saga_journal_by_id",
        ),
    ),
)

T = TypeVar("T")

_INSERT: Final = (
    "INSERT INTO _archstone_sagas (id, engine, method, version, status, arguments, headers, started_us, head)"
    " VALUES (:id, :engine, :method, :version, 'running', :arguments, :headers, :at, :head) ON CONFLICT (id) DO NOTHING"
)
_NUMBER: Final = "(SELECT number FROM _archstone_sagas WHERE id = :saga)"
_APPEND: Final = (
    f"INSERT INTO _archstone_saga_journal (saga, position, entries) VALUES ({_NUMBER}, :position, :entries)"
)
_ENTRIES: Final = f"SELECT entries FROM _archstone_saga_journal WHERE saga = {_NUMBER} AND position = :position"
_FINISH: Final = (
    "UPDATE _archstone_sagas SET status = :status, answer = :answer, tail = :tail, finished_us = :at WHERE id = :id"
)
_COLUMNS: Final = (
    "number, id, method, version, status, arguments, headers, started_us, finished_us, answer, head, tail, attempts,"
    " why"
)
_NEXT_POSITION: Final = "SELECT coalesce(max(position), -1) + 1 FROM _archstone_saga_journal WHERE saga = :number"
_REVIVE: Final = "UPDATE _archstone_sagas SET status = 'running', attempts = 0, why = NULL WHERE id = :id"
_SWEPT: Final = "DELETE FROM _archstone_{} WHERE {} = :number"

Execute = Callable[..., Awaitable[int]]
"""`execute` of a database or of a transaction."""


class First(Protocol):
    """`first` of a database or of a transaction."""

    async def __call__(self, row: type[T], sql: str, /, **params: object) -> T | None:
        """Return the first row as `row`, None where there is none."""
        ...


class SagaRow(NamedTuple):
    """A row of `_archstone_sagas`."""

    number: int
    id: str
    method: str
    version: int
    status: str
    arguments: bytes
    headers: bytes
    started_us: int
    finished_us: int | None
    answer: bytes | None
    head: bytes | None
    tail: bytes | None
    attempts: int
    why: str | None


class SameRow(NamedTuple):
    """What says whether two sagas of one id are the same."""

    engine: str
    method: str
    arguments: bytes


class _Age(NamedTuple):
    number: int
    started_us: int
    finished_us: int | None


class Table:
    """The rows of one engine in one database."""

    def __init__(self, db: Database, engine: str) -> None:
        self._db = db
        self.engine = engine
        """Name of the engine."""

    def insert(
        self,
        *,
        saga: str,
        method: str,
        version: int,
        arguments: bytes,
        headers: bytes,
        at: int,
        head: bytes | None,
        execute: Execute | None = None,
    ) -> Awaitable[int]:
        """Add a saga that is about to run; gives 0 if the id is taken. Durable as with `append`."""
        return (execute or self._db.execute)(
            _INSERT,
            id=saga,
            engine=self.engine,
            method=method,
            version=version,
            arguments=arguments,
            headers=headers,
            at=at,
            head=head,
        )

    async def exists(self, saga: str) -> bool:
        """Tell whether a running saga is on disk, with everything that was written before this was asked."""
        # A write, although it changes nothing: a read would not wait for a commit that is about to happen.
        found = await self._db.execute(
            "UPDATE _archstone_sagas SET status = status WHERE id = :id AND engine = :engine AND status = 'running'",
            id=saga,
            engine=self.engine,
        )
        return found == 1

    def append(self, saga: str, position: int, entries: bytes, *, execute: Execute | None = None) -> Awaitable[int]:
        """Add a row to the journal; durable when it returns, or with its transaction if given the `execute` of one."""
        return (execute or self._db.execute)(_APPEND, saga=saga, position=position, entries=entries)

    async def entries(self, saga: str, position: int) -> bytes | None:
        """Return a row of the journal or None, as of everything that was written before this was asked."""
        await self.exists(saga)  # waits for a commit that is about to happen
        return await self._db.first(bytes, _ENTRIES, saga=saga, position=position)

    def finish(self, saga: str, *, status: str, answer: bytes, tail: bytes, at: int) -> Awaitable[int]:
        """End a saga as `done` or `failed`; returns when it is durable."""
        return self._db.execute(_FINISH, id=saga, status=status, answer=answer, tail=tail, at=at)

    async def note(self, saga: str, *, status: str, attempts: int, why: str) -> None:
        """Write down a bug of the body, or that the saga is stuck."""
        await self._db.execute(
            "UPDATE _archstone_sagas SET status = :status, attempts = :attempts, why = :why WHERE id = :id",
            id=saga,
            status=status,
            attempts=attempts,
            why=why,
        )

    async def unstick(self, saga: str) -> bool:
        """Make a stuck saga running again, its attempts forgotten; False if it is not stuck."""
        changed = await self._db.execute(
            "UPDATE _archstone_sagas SET status = 'running', attempts = 0, why = NULL"
            " WHERE id = :id AND engine = :engine AND status = 'stuck'",
            id=saga,
            engine=self.engine,
        )
        return changed == 1

    async def cancel(self, saga: str, entry: bytes) -> str:
        """Write that a running or stuck saga goes back, durably; return its status, with nothing done if it has ended.

        Nobody may be writing its journal.
        """
        async with self._db.transaction() as tx:
            found = await tx.first(
                tuple[int, str],
                "SELECT number, status FROM _archstone_sagas WHERE id = :id AND engine = :engine",
                id=saga,
                engine=self.engine,
            )
            if found is None:
                raise SagaUnknownError(saga)
            number, status = found
            if status in {"running", "stuck"}:
                position = await tx.one(int, _NEXT_POSITION, number=number)
                await tx.execute(_APPEND, saga=saga, position=position, entries=b"[" + entry + b"]")
                await tx.execute(_REVIVE, id=saga)
        return status

    async def same(self, first: First, saga: str) -> SameRow | None:
        """Return what has the id of a saga, of whatever engine."""
        return await first(SameRow, "SELECT engine, method, arguments FROM _archstone_sagas WHERE id = :id", id=saga)

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
            row = await snapshot.first(
                SagaRow,
                f"SELECT {_COLUMNS} FROM _archstone_sagas WHERE id = :id AND engine = :engine",
                id=saga,
                engine=self.engine,
            )
            if row is None:
                raise SagaUnknownError(saga)
            found = await snapshot.all(
                tuple[int, bytes],
                "SELECT position, entries FROM _archstone_saga_journal WHERE saga = :number ORDER BY position",
                number=row.number,
            )
        entries = [row.head, *(each for _, each in found), row.tail]
        return row, [each for each in entries if each is not None], found[-1][0] + 1 if found else 0

    async def running(self, *, after: int, limit: int) -> list[tuple[int, str]]:
        """Return number and id of running sagas above `after`, oldest first, at most `limit`."""
        return await self._db.all(
            tuple[int, str],
            "SELECT number, id FROM _archstone_sagas WHERE finished_us IS NULL AND status = 'running'"
            " AND engine = :engine AND number > :after ORDER BY number LIMIT :limit",
            engine=self.engine,
            after=after,
            limit=limit,
        )

    async def count(self, status: Literal["running", "stuck"]) -> int:
        """Return how many sagas are in a state in which they have not ended."""
        return await self._db.one(
            int,
            "SELECT count(*) FROM _archstone_sagas WHERE finished_us IS NULL AND status = :status AND engine = :engine",
            status=status,
            engine=self.engine,
        )

    async def list(self, *, status: str | None, limit: int, before: int) -> list[SagaRow]:
        """Return rows below number `before`, newest first, at most `limit`."""
        # The live index serves the two states in which few sagas are; the others are read from the newest on.
        live = "" if status not in ("running", "stuck") else " AND finished_us IS NULL"
        chosen = "" if status is None else f" AND status = '{status}'{live}"
        return await self._db.all(
            SagaRow,
            f"SELECT {_COLUMNS} FROM _archstone_sagas WHERE number < :before AND engine = :engine{chosen}"
            " ORDER BY number DESC LIMIT :limit",
            before=before,
            engine=self.engine,
            limit=limit,
        )

    async def sweep(self, *, before_us: int, batch: int) -> int:
        """Delete sagas that were finished before an instant, oldest first, a transaction per batch; return how many."""
        swept, after, more = 0, 0, True
        while more:
            # Numbers grow with the start, and nothing ends before it starts: the first young row ends the search.
            ages = await self._db.all(
                _Age,
                "SELECT number, started_us, finished_us FROM _archstone_sagas WHERE number > :after"
                " AND engine = :engine ORDER BY number LIMIT :batch",
                after=after,
                engine=self.engine,
                batch=batch,
            )
            more = len(ages) == batch and ages[-1].started_us < before_us
            after = ages[-1].number if ages else after
            old = [
                {"number": each.number}
                for each in ages
                if each.finished_us is not None and each.finished_us < before_us
            ]
            if old:
                async with self._db.transaction() as tx:
                    await tx.many(_SWEPT.format("saga_journal", "saga"), old)
                    await tx.many(_SWEPT.format("sagas", "number"), old)
            swept += len(old)
        return swept
