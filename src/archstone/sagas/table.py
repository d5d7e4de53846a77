"""The tables of an engine, and every statement on the rows of sagas and their journals.

`_archstone_sagas` has a row per saga, `_archstone_saga_journal` what each remembers. The last entries of a saga go
into its own row (`tail`) with its end, so that ending is one statement; so do the first (`head`) of one that begins
together with its row. `_archstone_saga_signals` has what was sent to each; its statements are in `signals`. All are
swept by age, see `sweep`. This is one file, however long, so that whoever changes how rows are written finds it all.

| status | meaning |
| --- | --- |
| `running` | ready: at work in memory, or about to be |
| `asleep` | waits for something, and is not in memory: `wake_us` says until when, NULL for as long as it takes |
| `queued`, `delayed` | has not begun, see `queue_rows` |
| `stuck` | waits for a person |
| `done`, `failed` | has ended |

Every change of a row that is there is made by `changed`, by the id of its saga.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

from archstone.data import Database, Schema, Snapshot, Transaction
from archstone.sagas.errors import SagaUnknownError

__all__ = [
    "FINISH", "READY", "SCHEMA", "Also", "Execute", "First", "Nap", "NewRow", "SagaRow", "SameRow", "Table", "changed",
]  # fmt: skip

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
        (
            "ALTER TABLE _archstone_sagas ADD COLUMN wake_us INTEGER",
            "CREATE INDEX _archstone_sagas_wake ON _archstone_sagas (wake_us) WHERE wake_us IS NOT NULL",
            "ALTER TABLE _archstone_sagas ADD COLUMN parent TEXT",
            "ALTER TABLE _archstone_sagas ADD COLUMN forked_from TEXT",
            "CREATE INDEX _archstone_sagas_forks ON _archstone_sagas (forked_from) WHERE forked_from IS NOT NULL",
            """CREATE TABLE _archstone_saga_signals (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                saga INTEGER NOT NULL,
                name TEXT NOT NULL,
                key TEXT NOT NULL,
                value BLOB NOT NULL,
                sent_us INTEGER NOT NULL,
                taken INTEGER NOT NULL DEFAULT 0
            )""",
            "CREATE UNIQUE INDEX _archstone_saga_signals_key ON _archstone_saga_signals (saga, name, key)",
            """CREATE INDEX _archstone_saga_signals_unread ON _archstone_saga_signals (saga, name, number)
                WHERE taken = 0""",
        ),
        (
            "ALTER TABLE _archstone_sagas ADD COLUMN queue TEXT",
            "ALTER TABLE _archstone_sagas ADD COLUMN queue_key TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE _archstone_sagas ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE _archstone_sagas ADD COLUMN turn INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE _archstone_sagas ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0",
            # Of sagas in queues only, and of those that have left one and not ended.
            """CREATE INDEX _archstone_sagas_line ON _archstone_sagas (queue, priority DESC, turn, number)
                WHERE status = 'queued'""",
            """CREATE INDEX _archstone_sagas_front ON _archstone_sagas (queue, priority DESC, turn, number)
                WHERE cleared = 1 AND status = 'queued'""",
            """CREATE INDEX _archstone_sagas_keys ON _archstone_sagas (queue, queue_key, priority DESC, turn, number)
                WHERE status = 'queued'""",
            """CREATE INDEX _archstone_sagas_cleared ON _archstone_sagas (queue, queue_key)
                WHERE cleared = 1 AND finished_us IS NULL""",
            """CREATE INDEX _archstone_sagas_begun ON _archstone_sagas (queue, status)
                WHERE cleared = 1 AND finished_us IS NULL""",
        ),
    ),
)

T = TypeVar("T")

_INSERT: Final = (
    "INSERT INTO _archstone_sagas (id, engine, method, version, status, arguments, headers, started_us, head, parent)"
    " VALUES (:id, :engine, :method, :version, 'running', :arguments, :headers, :at, :head, :parent)"
    " ON CONFLICT (id) DO NOTHING"
)
_INSERT_FORK: Final = (
    "INSERT INTO _archstone_sagas (id, engine, method, version, status, arguments, headers, started_us, head,"
    " forked_from) VALUES (:id, :engine, :method, :version, 'running', :arguments, :headers, :at, :head, :origin)"
    " ON CONFLICT (id) DO NOTHING"
)
_NUMBER: Final = "(SELECT number FROM _archstone_sagas WHERE id = :saga)"
_APPEND: Final = (
    f"INSERT INTO _archstone_saga_journal (saga, position, entries) VALUES ({_NUMBER}, :position, :entries)"
)
_ENTRIES: Final = f"SELECT entries FROM _archstone_saga_journal WHERE saga = {_NUMBER} AND position = :position"


def changed(what: str, *, where: str = "") -> str:
    """Return the statement that changes the row of one saga: the only way to do that."""
    return f"UPDATE _archstone_sagas SET {what} WHERE id = :id{where}"


READY: Final = "status = 'running', wake_us = NULL"
FINISH: Final = changed("status = :status, answer = :answer, tail = :tail, finished_us = :at")
_REOPEN: Final = changed(f"{READY}, finished_us = NULL, answer = NULL, tail = NULL, attempts = 0, why = NULL")
_NOTE: Final = changed("status = :status, attempts = :attempts, why = :why")
_TOUCH: Final = changed("status = status", where=" AND engine = :engine AND status = 'running'")
_REVIVE: Final = changed(f"{READY}, attempts = 0, why = NULL")
_UNSTICK: Final = changed(f"{READY}, attempts = 0, why = NULL", where=" AND engine = :engine AND status = 'stuck'")
_LIE_DOWN: Final = changed("status = 'asleep', wake_us = :until", where=" AND status = 'running'")
_HAS_ENDED: Final = "SELECT 1 FROM _archstone_sagas WHERE id = :saga AND finished_us IS NOT NULL"
_HAS_COME: Final = (
    f"SELECT 1 FROM _archstone_saga_signals WHERE saga = {_NUMBER} AND name = :name AND taken = 0 LIMIT 1"
)
_WAKE: Final = changed(READY, where=" AND status = 'asleep'")
_COLUMNS: Final = (
    "number, id, method, version, status, arguments, headers, started_us, finished_us, answer, head, tail, attempts,"
    " why, parent, forked_from, wake_us, queue, queue_key, priority"
)
_NEXT_POSITION: Final = "SELECT coalesce(max(position), -1) + 1 FROM _archstone_saga_journal WHERE saga = :number"
_AGES: Final = (
    "SELECT number, started_us, CASE WHEN parent IS NULL OR NOT EXISTS (SELECT 1 FROM _archstone_sagas AS above"
    " WHERE above.id = saga.parent AND above.finished_us IS NULL) THEN finished_us END AS ended_us"
    " FROM _archstone_sagas AS saga WHERE number > :after AND engine = :engine ORDER BY number LIMIT :batch"
)
_CHOSEN: Final = {
    "queued": " AND status IN ('queued', 'delayed') AND finished_us IS NULL",
    "running": " AND status IN ('running', 'asleep') AND finished_us IS NULL",
    "stuck": " AND status = 'stuck' AND finished_us IS NULL",
}
_SWEPT: Final = "DELETE FROM _archstone_{} WHERE {} = :number"

Execute = Callable[..., Awaitable[int]]
"""`execute` of a database or of a transaction."""


class Nap(NamedTuple):
    """What a step waits for: an instant, something that happens, or whichever comes first."""

    until_us: int | None = None
    """None: no limit."""
    signal: str | None = None
    """Name of the signal."""
    child: str | None = None
    """Id of the saga whose end it is."""


Also = Callable[[Transaction], Awaitable[object]]
"""Writes something in the transaction of a row of the journal."""


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
    parent: str | None
    forked_from: str | None
    wake_us: int | None
    queue: str | None
    queue_key: str
    priority: int


class NewRow(NamedTuple):
    """What is written of a saga when it comes into being."""

    id: str
    method: str
    version: int
    arguments: bytes
    headers: bytes
    started_us: int
    parent: str | None = None


class SameRow(NamedTuple):
    """What says whether two sagas of one id are the same."""

    engine: str
    method: str
    arguments: bytes


class _Age(NamedTuple):
    number: int
    started_us: int
    ended_us: int | None
    """When it ended; None if it has not, or is still needed."""


class Table:
    """The rows of one engine in one database."""

    def __init__(self, db: Database, engine: str) -> None:
        self._db = db
        self.engine = engine
        """Name of the engine."""

    def insert(self, new: NewRow, *, head: bytes | None, execute: Execute | None = None) -> Awaitable[int]:
        """Add a saga that is about to run; gives 0 if the id is taken. Durable as with `append`.

        One that has a parent has no `head`.
        """
        return (execute or self._db.execute)(
            _INSERT,
            id=new.id,
            engine=self.engine,
            method=new.method,
            version=new.version,
            arguments=new.arguments,
            headers=new.headers,
            at=new.started_us,
            head=head,
            parent=new.parent,
        )

    async def exists(self, saga: str) -> bool:
        """Tell whether a running saga is on disk, with everything that was written before this was asked."""
        # A write, although it changes nothing: a read would not wait for a commit that is about to happen.
        return await self._db.execute(_TOUCH, id=saga, engine=self.engine) == 1

    def append(self, saga: str, position: int, entries: bytes, *, execute: Execute | None = None) -> Awaitable[int]:
        """Add a row to the journal; durable when it returns, or with its transaction if given the `execute` of one."""
        return (execute or self._db.execute)(_APPEND, saga=saga, position=position, entries=entries)

    async def append_with(self, saga: str, position: int, entries: bytes, also: Also) -> None:
        """Add a row to the journal and do something else, in one transaction; returns when both are durable."""

        async def work(tx: Transaction) -> None:
            await also(tx)
            await tx.execute(_APPEND, saga=saga, position=position, entries=entries)

        await self.run(work)

    async def entries(self, saga: str, position: int) -> bytes | None:
        """Return a row of the journal or None, as of everything that was written before this was asked."""
        await self.exists(saga)  # waits for a commit that is about to happen
        return await self._db.first(bytes, _ENTRIES, saga=saga, position=position)

    def finish(self, saga: str, *, status: str, answer: bytes, tail: bytes, at: int) -> Awaitable[int]:
        """End a saga as `done` or `failed`; returns when it is durable."""
        return self._db.execute(FINISH, id=saga, status=status, answer=answer, tail=tail, at=at)

    async def finish_child(self, saga: str, parent: str, *, status: str, answer: bytes, tail: bytes, at: int) -> bool:
        """End a saga that another waits for, durably; return whether that one slept on disk, and goes on."""

        async def work(tx: Transaction) -> bool:
            await tx.execute(FINISH, id=saga, status=status, answer=answer, tail=tail, at=at)
            return await self.wake(parent, execute=tx.execute)

        return await self.run(work)

    async def ended(self, saga: str) -> SagaRow | None:
        """Return the row of a saga if it is done or failed; SagaUnknownError if there is none."""
        row = await self.get(saga)
        return row if row.status in {"done", "failed"} else None

    async def reopen(self, saga: str, entry: bytes) -> bool:
        """Write that a saga that is done goes back, durably; False if it is not done."""

        async def work(tx: Transaction) -> bool:
            found = await tx.first(
                tuple[int, bytes],
                "SELECT number, tail FROM _archstone_sagas WHERE id = :id AND engine = :engine AND status = 'done'",
                id=saga,
                engine=self.engine,
            )
            if found is None:
                return False
            number, tail = found
            position = await tx.one(int, _NEXT_POSITION, number=number)
            await tx.execute(_APPEND, saga=saga, position=position, entries=tail)
            await tx.execute(_APPEND, saga=saga, position=position + 1, entries=b"[" + entry + b"]")
            await tx.execute(_REOPEN, id=saga)
            return True

        return await self.run(work)

    async def note(self, saga: str, *, status: str, attempts: int, why: str) -> None:
        """Write down a bug of the body, or that the saga is stuck."""
        await self._db.execute(_NOTE, id=saga, status=status, attempts=attempts, why=why)

    async def unstick(self, saga: str) -> bool:
        """Make a stuck saga running again, its attempts forgotten; False if it is not stuck."""
        return await self._db.execute(_UNSTICK, id=saga, engine=self.engine) == 1

    async def lie_down(self, saga: str, naps: Sequence[Nap]) -> bool:
        """Have a saga sleep on disk until what it waits for happens; False if that has happened, and it goes on.

        Nothing of it may be in flight.
        """

        async def work(tx: Transaction) -> bool:
            for nap in naps:
                if nap.signal is not None and await tx.first(int, _HAS_COME, saga=saga, name=nap.signal):
                    return False
                if nap.child is not None and await tx.first(int, _HAS_ENDED, saga=nap.child):
                    return False
            until = min((nap.until_us for nap in naps if nap.until_us is not None), default=None)
            return await tx.execute(_LIE_DOWN, id=saga, until=until) == 1

        return await self.run(work)

    async def wake(self, saga: str, *, execute: Execute | None = None) -> bool:
        """Have a saga that sleeps on disk go on; False if it does not sleep. Durable as with `append`."""
        return await (execute or self._db.execute)(_WAKE, id=saga) == 1

    async def due(self, *, at: int, limit: int) -> list[str]:
        """Return sagas whose time to go on has come, the earliest first."""
        return await self._db.all(
            str,
            "SELECT id FROM _archstone_sagas WHERE wake_us IS NOT NULL AND wake_us <= :at AND engine = :engine"
            " ORDER BY wake_us LIMIT :limit",
            at=at,
            engine=self.engine,
            limit=limit,
        )

    async def queue_of(self, saga: str) -> str | None:
        """Return the name of the queue that a saga waits or has waited in, None if there is none."""
        found = await self._db.first(tuple[str | None], "SELECT queue FROM _archstone_sagas WHERE id = :id", id=saga)
        return None if found is None else found[0]

    async def next_due(self) -> int | None:
        """Return the earliest instant at which a saga is to go on, None if there is none."""
        return await self._db.first(
            int,
            "SELECT wake_us FROM _archstone_sagas WHERE wake_us IS NOT NULL AND engine = :engine"
            " ORDER BY wake_us LIMIT 1",
            engine=self.engine,
        )

    async def cancel(self, saga: str, entry: bytes, *, held: bool) -> str:
        """Write that a saga that has not ended goes back, durably; return the status that it had.

        Nothing is done to one that has ended, or that is `running` and not held: somebody may write its journal.
        """

        async def work(tx: Transaction) -> str:
            found = await tx.first(
                tuple[int, str],
                "SELECT number, status FROM _archstone_sagas WHERE id = :id AND engine = :engine",
                id=saga,
                engine=self.engine,
            )
            if found is None:
                raise SagaUnknownError(saga)
            number, status = found
            if status not in {"done", "failed"} and (held or status != "running"):
                position = await tx.one(int, _NEXT_POSITION, number=number)
                await tx.execute(_APPEND, saga=saga, position=position, entries=b"[" + entry + b"]")
                await tx.execute(_REVIVE, id=saga)
            return status

        return await self.run(work)

    def run(self, work: Callable[[Transaction], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Do `work` in a transaction, durably, and again as a whole if that was lost."""
        return self._db.run(work)

    async def taken(self, saga: str) -> str | None:
        """Return the method of the saga that has an id, of whatever engine; None if it is free."""
        return await self._db.first(str, "SELECT method FROM _archstone_sagas WHERE id = :id", id=saga)

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

    async def insert_fork(self, tx: Transaction, origin: SagaRow, head: bytes, *, saga: str, version: int) -> bool:
        """Add a saga that begins with a part of another's journal; False if the id is taken."""
        added = await tx.execute(
            _INSERT_FORK,
            id=saga,
            engine=self.engine,
            method=origin.method,
            version=version,
            arguments=origin.arguments,
            headers=origin.headers,
            at=origin.started_us,
            head=head,
            origin=origin.id,
        )
        return added == 1

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
        chosen = "" if status is None else _CHOSEN.get(status, f" AND status = '{status}'")
        named = "" if method is None else " AND method = :method"
        aged = "" if until_us is None else " AND started_us <= :until"
        params = {"method": method, "until": until_us}
        return await self._db.all(
            SagaRow,
            f"SELECT {_COLUMNS} FROM _archstone_sagas WHERE number < :before AND engine = :engine{chosen}{named}{aged}"
            " ORDER BY number DESC LIMIT :limit",
            before=before,
            engine=self.engine,
            limit=limit,
            **{name: value for name, value in params.items() if value is not None},
        )

    async def sweep(self, *, before_us: int, batch: int) -> int:
        """Delete sagas that were finished before an instant, oldest first, a transaction per batch; return how many.

        Those stay whose parent has not ended: it may ask for the answer again, or have it undone.
        """
        swept, after, more = 0, 0, True
        while more:
            # Numbers grow with the start, and nothing ends before it starts: the first young row ends the search.
            ages = await self._db.all(
                _Age,
                _AGES,
                after=after,
                engine=self.engine,
                batch=batch,
            )
            more = len(ages) == batch and ages[-1].started_us < before_us
            after = ages[-1].number if ages else after
            old = [{"number": each.number} for each in ages if each.ended_us is not None and each.ended_us < before_us]
            if old:
                async with self._db.transaction() as tx:
                    await tx.many(_SWEPT.format("saga_journal", "saga"), old)
                    await tx.many(_SWEPT.format("saga_signals", "saga"), old)
                    await tx.many(_SWEPT.format("sagas", "number"), old)
            swept += len(old)
        return swept
