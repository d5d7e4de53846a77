"""Every statement that writes the rows of sagas and their journals.

Every change of a row that is there is made by `changed`, by the id of its saga.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from archstone.data import Database, Transaction
from archstone.sagas.errors import SagaLostError, SagaUnknownError
from archstone.sagas.reading import Reader
from archstone.sagas.rows import Age, Also, End, Execute, Nap, NewRow, SagaRow

__all__ = ["OURS", "READY", "Table", "changed", "check_had"]

T = TypeVar("T")

_INSERT: Final = (
    "INSERT INTO _archstone_sagas (id, engine, method, version, status, arguments, headers, started_us, head, parent,"
    " worker) VALUES (:id, :engine, :method, :version, 'running', :arguments, :headers, :at, :head, :parent, :worker)"
    " ON CONFLICT (id) DO NOTHING"
)
_INSERT_FORK: Final = (
    "INSERT INTO _archstone_sagas (id, engine, method, version, status, arguments, headers, started_us, head,"
    " forked_from, worker)"
    " VALUES (:id, :engine, :method, :version, 'running', :arguments, :headers, :at, :head, :origin, :worker)"
    " ON CONFLICT (id) DO NOTHING"
)
_NUMBER: Final = "(SELECT number FROM _archstone_sagas WHERE id = :saga)"
_APPEND: Final = (
    "INSERT INTO _archstone_saga_journal (saga, position, entries) SELECT number, :position, :entries"
    " FROM _archstone_sagas WHERE id = :saga AND worker = :worker"
)
_LOCKED: Final = {"sqlite": _APPEND, "postgresql": f"{_APPEND} FOR SHARE"}
"""Who takes a saga over waits for what is being written of it, and what is written after that is not written."""
_ADD: Final = f"INSERT INTO _archstone_saga_journal (saga, position, entries) VALUES ({_NUMBER}, :position, :entries)"
"""To the journal of a saga that nobody has."""
_ENTRIES: Final = f"SELECT entries FROM _archstone_saga_journal WHERE saga = {_NUMBER} AND position = :position"


def changed(what: str, *, where: str = "") -> str:
    """Return the statement that changes the row of one saga: the only way to do that."""
    return f"UPDATE _archstone_sagas SET {what} WHERE id = :id{where}"  # sql: texts of this block


def check_had(saga: str, changed: int) -> None:
    """Raise SagaLostError if a change that only who has a saga can make was not made."""
    if not changed:
        raise SagaLostError(saga)


READY: Final = (
    "status = 'running', wake_us = NULL, worker = coalesce("
    "(SELECT each.number FROM _archstone_saga_workers AS each WHERE each.number = :worker), 0), asked = NULL"
)
OURS: Final = " AND worker = :worker"
_FINISH: Final = changed("status = :status, answer = :answer, tail = :tail, finished_us = :at", where=OURS)
_REOPEN: Final = changed(f"{READY}, finished_us = NULL, answer = NULL, tail = NULL, attempts = 0, why = NULL")
_NOTE: Final = changed("attempts = :attempts, why = :why", where=OURS)
_STICK: Final = changed("status = 'stuck', worker = 0, asked = NULL, attempts = :attempts, why = :why", where=OURS)
_TOUCH: Final = changed("status = status", where=" AND engine = :engine AND status = 'running'")
_REVIVE: Final = changed(f"{READY}, attempts = 0, why = NULL")
_UNSTICK: Final = changed(f"{READY}, attempts = 0, why = NULL", where=" AND engine = :engine AND status = 'stuck'")
_LIE_DOWN: Final = changed(
    "status = 'asleep', wake_us = :until, worker = 0", where=f"{OURS} AND status = 'running' AND asked IS NULL"
)
_HAS_ENDED: Final = "SELECT 1 FROM _archstone_sagas WHERE id = :saga AND finished_us IS NOT NULL"
_HAS_COME: Final = (
    f"SELECT 1 FROM _archstone_saga_signals WHERE saga = {_NUMBER} AND name = :name AND taken = 0 LIMIT 1"
)
_WAKE: Final = changed(READY, where=" AND status = 'asleep'")
_NEXT_POSITION: Final = "SELECT coalesce(max(position), -1) + 1 FROM _archstone_saga_journal WHERE saga = :number"
_AGES: Final = (
    "SELECT number, started_us, CASE WHEN parent IS NULL OR NOT EXISTS (SELECT 1 FROM _archstone_sagas AS above"
    " WHERE above.id = saga.parent AND above.finished_us IS NULL) THEN finished_us END AS ended_us"
    " FROM _archstone_sagas AS saga WHERE number > :after AND engine = :engine ORDER BY number LIMIT :batch"
)
_SWEPT: Final = "DELETE FROM _archstone_{} WHERE {} = :number"


class Table(Reader):
    """The rows of one engine in one database."""

    def __init__(self, db: Database, engine: str) -> None:
        super().__init__(db, engine)
        self._append = _LOCKED[db.dialect]

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
            worker=new.worker,
        )

    async def exists(self, saga: str) -> bool:
        """Tell whether a running saga is on disk, with everything that was written before this was asked."""
        # A write, although it changes nothing: a read would not wait for a commit that is about to happen.
        return await self._db.execute(_TOUCH, id=saga, engine=self.engine) == 1

    def append(
        self, saga: str, worker: int, position: int, entries: bytes, *, execute: Execute | None = None
    ) -> Awaitable[int]:
        """Add a row to the journal of a saga that `worker` has; gives 0 if that has lost it.

        Durable when it returns, or with its transaction if given the `execute` of one.
        """
        return (execute or self._db.execute)(self._append, saga=saga, worker=worker, position=position, entries=entries)

    async def append_with(self, saga: str, worker: int, position: int, entries: bytes, also: Also) -> None:
        """Add a row to the journal and do something else, in one transaction; returns when both are durable.

        Raises:
            SagaLostError: `worker` has lost the saga; nothing was done.
        """

        async def work(tx: Transaction) -> None:
            await also(tx)
            check_had(saga, await self.append(saga, worker, position, entries, execute=tx.execute))

        await self.run(work)

    async def entries(self, saga: str, position: int) -> bytes | None:
        """Return a row of the journal or None, as of everything that was written before this was asked."""
        await self.exists(saga)  # waits for a commit that is about to happen
        return await self._db.first(bytes, _ENTRIES, saga=saga, position=position)

    def finish(self, end: End, *, execute: Execute | None = None) -> Awaitable[int]:
        """End a saga; gives 0 if who has it had lost it. Durable as with `append`."""
        return (execute or self._db.execute)(_FINISH, **end._asdict())

    async def finish_child(self, end: End, parent: str) -> bool:
        """End a saga that another waits for, durably; return whether that one slept on disk, and goes on.

        Raises:
            SagaLostError: Who had it has lost it.
        """

        async def work(tx: Transaction) -> bool:
            check_had(end.id, await self.finish(end, execute=tx.execute))
            return await self.wake(parent, execute=tx.execute)

        return await self.run(work)

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
            await tx.execute(_ADD, saga=saga, position=position, entries=tail)
            await tx.execute(_ADD, saga=saga, position=position + 1, entries=b"[" + entry + b"]")
            await tx.execute(_REOPEN, id=saga, worker=self.taker)
            return True

        return await self.run(work)

    async def note(self, saga: str, worker: int, *, stuck: bool, attempts: int, why: str) -> None:
        """Write down a bug of the body, or that the saga is stuck.

        Raises:
            SagaLostError: `worker` has lost it.
        """
        sql = _STICK if stuck else _NOTE
        check_had(saga, await self._db.execute(sql, id=saga, worker=worker, attempts=attempts, why=why))

    async def unstick(self, saga: str) -> bool:
        """Make a stuck saga running again, its attempts forgotten; False if it is not stuck."""
        return await self._db.execute(_UNSTICK, id=saga, engine=self.engine, worker=self.taker) == 1

    async def lie_down(self, saga: str, worker: int, naps: Sequence[Nap]) -> bool:
        """Have a saga that `worker` has sleep on disk until what it waits for happens; False if it goes on.

        Nothing of it may be in flight.
        """

        async def work(tx: Transaction) -> bool:
            for nap in naps:
                if nap.signal is not None and await tx.first(int, _HAS_COME, saga=saga, name=nap.signal):
                    return False
                if nap.child is not None and await tx.first(int, _HAS_ENDED, saga=nap.child):
                    return False
            until = min((nap.until_us for nap in naps if nap.until_us is not None), default=None)
            return await tx.execute(_LIE_DOWN, id=saga, worker=worker, until=until) == 1

        return await self.run(work)

    async def wake(self, saga: str, *, execute: Execute | None = None) -> bool:
        """Have a saga that sleeps on disk go on; False if it does not sleep. Durable as with `append`."""
        return await (execute or self._db.execute)(_WAKE, id=saga, worker=self.taker) == 1

    async def cancel(self, saga: str, entry: bytes, *, held: int | None, asked: bool = False) -> str:
        """Write that a saga that has not ended goes back, durably; return the status that it had.

        Nothing is done to one that has ended, or that is `running` and not held: somebody may write its journal.
        """

        async def work(tx: Transaction) -> str:
            found = await tx.first(
                tuple[int, str, int, str | None],
                "SELECT number, status, worker, asked FROM _archstone_sagas WHERE id = :id AND engine = :engine",
                id=saga,
                engine=self.engine,
            )
            if found is None:
                raise SagaUnknownError(saga)
            number, status, worker, wish = found
            if held is not None and status == "running" and (worker != held or (asked and wish is None)):
                raise SagaLostError(saga)
            if status not in {"done", "failed"} and (held is not None or status != "running"):
                position = await tx.one(int, _NEXT_POSITION, number=number)
                await tx.execute(_ADD, saga=saga, position=position, entries=b"[" + entry + b"]")
                await tx.execute(_REVIVE, id=saga, worker=self.taker)
            return status

        return await self.run(work)

    def run(self, work: Callable[[Transaction], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Do `work` in a transaction, durably, and again as a whole if that was lost."""
        return self._db.run(work)

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
            worker=self.taker,
        )
        return added == 1

    async def sweep(self, *, before_us: int, batch: int) -> int:
        """Delete sagas that were finished before an instant, oldest first, a transaction per batch; return how many.

        Those stay whose parent has not ended: it may ask for the answer again, or have it undone.
        """
        swept, after, more = 0, 0, True
        while more:
            # Numbers grow with the start, and nothing ends before it starts: the first young row ends the search.
            ages = await self._db.all(
                Age,
                _AGES,
                after=after,
                engine=self.engine,
                batch=batch,
            )
            more = len(ages) == batch and ages[-1].started_us < before_us
            after = ages[-1].number if ages else after
            old = [{"number": each.number} for each in ages if each.ended_us is not None and each.ended_us < before_us]
            if old:
                await self.run(partial(_sweep, old=old))
            swept += len(old)
        return swept


async def _sweep(tx: Transaction, *, old: list[dict[str, int]]) -> None:
    await tx.many(_SWEPT.format("saga_journal", "saga"), old)
    await tx.many(_SWEPT.format("saga_signals", "saga"), old)
    await tx.many(_SWEPT.format("sagas", "number"), old)
