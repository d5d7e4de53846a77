"""A database: plain SQL with named parameters, typed rows, durable transactions, snapshot reads, an outbox.

    async with Database("sqlite:///orders.db", migrations=Path("migrations")) as db:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO orders (id, total) VALUES (:id, :total)", id=order_id, total=990)
            tx.publish(OrderPlaced(order_id=order_id))
        order = await db.one(Order, "SELECT * FROM orders WHERE id = :id", id=order_id)

What has been answered is on disk. Reads never wait for the writer. Do not use it across processes: one process opens a
SQLite file. Do not await slow things inside a transaction: others wait for it, and it is rolled back at its limit.
"""

from asyncio import Lock, get_running_loop, sleep
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from archstone import context, world
from archstone.data.engine import Engine, EngineOptions, Pin, Statistics, find_engine
from archstone.data.errors import MisuseError, TransactionLostError
from archstone.data.migrations import migrate
from archstone.data.outbox import OUTBOX, OUTBOX_DELETE, OUTBOX_READ, Envelope, OutboxRow
from archstone.data.reading import Reading
from archstone.data.rows import row_maker
from archstone.data.schema import Schema, apply_schema, make_ledger
from archstone.data.snapshot import Snapshot
from archstone.data.sql import compile_statement, known_statement
from archstone.data.transaction import Transaction
from archstone.errors import ConfigError

__all__ = ["Database", "Paused"]

T = TypeVar("T")

_AGAIN_S: Final = 0.002
_AGAIN_LIMIT_S: Final = 0.25
"""Longest pause before a lost transaction is run again."""
_PATIENT: Final = 3
"""From this attempt on a transaction that was lost each time has newcomers wait for it."""
_NO_TURN: Final = nullcontext()


class Database(Reading):
    """One database, opened by `async with`. Nothing is opened or created before that.

    `one`, `first` and `all` read what is committed and never wait for the writer. Inside a transaction of this database
    they do not see what it has done: there, use those of the transaction.
    """

    def __init__(
        self,
        url: str | Engine,
        *,
        migrations: Path | None = None,
        schemas: Sequence[Schema] = (),
        name: str | None = None,
        hold_limit_s: float = 5.0,
        snapshot_limit_s: float = 30.0,
        commit_in_thread: bool | None = None,
    ) -> None:
        """Describe a database.

        Args:
            url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host:5432/database`
                (docs/postgresql.md tells its parameters), the URL of another engine, or a ready engine.
            migrations: Folder of `0001_what.sql` files, applied at opening. None: no migrations.
            schemas: Tables of blocks that are made before, since migrations name them.
            name: How it is named in errors and to a process that finds it in use. None: the URL's file.
            hold_limit_s: Seconds a transaction may stay open from its first statement on. Above 0.
            snapshot_limit_s: Seconds a snapshot or a slow read may last. Above 0.
            commit_in_thread: None: if a sync measured at opening takes more than 1 ms.

        Raises:
            ConfigError: A limit is out of range, or no engine is known for the URL.
        """
        faults = [
            f"{label}={value} must be above 0"
            for label, value in (("hold_limit_s", hold_limit_s), ("snapshot_limit_s", snapshot_limit_s))
            if not value > 0
        ]
        if faults:
            raise ConfigError("Database: " + "; ".join(faults))
        options = EngineOptions(
            name=name or "",
            hold_limit_s=hold_limit_s,
            snapshot_limit_s=snapshot_limit_s,
            commit_in_thread=commit_in_thread,
        )
        self._engine = find_engine(url, options) if isinstance(url, str) else url
        self._migrations = migrations
        self._schemas = (OUTBOX, *schemas)
        self._ensured: set[Schema] = set()
        self._again = Lock()
        self._pressing = 0
        """Transactions that newcomers wait for."""
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._engine.heard = self._heard
        self.name = name or self._engine.label
        """The name given, or the file."""
        self.outbox_ready: list[Callable[[], None]] = []
        """Called synchronously, on the loop, after each commit that held outbox rows, once per such transaction."""
        self.published: list[Callable[[Sequence[Envelope]], None]] = []
        """Called likewise, with what a transaction of this process has published, before its block is left: for what
        must hear of it here at once. A crash can come between; the outbox tells all others."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`: for the few statements that must differ."""
        return self._engine.dialect

    @property
    def label(self) -> str:
        """How errors name it: the file, or the URL without password."""
        return self._engine.label

    async def __aenter__(self) -> Self:
        """Open: take the file's lock, create what is missing, apply migrations. On failure nothing stays open."""
        await self._engine.open()
        try:
            await self.run(make_ledger)
            for schema in self._schemas:
                await self.ensure(schema)
            if self._migrations is not None:
                await migrate(self, self._migrations, dialect=self._engine.dialect)
        except BaseException:
            await self._shut()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close: let transactions in flight end, commit, empty the log, give the lock back."""
        await self._shut()

    async def _shut(self) -> None:
        self._ensured.clear()
        await self._engine.close()

    async def ensure(self, schema: Schema) -> None:
        """Create or upgrade the framework tables of a block, in one transaction. Cheap when already done.

        Raises:
            NewerSchemaError: The file was written by a later release.
        """
        if schema in self._ensured:
            return
        await self.run(partial(apply_schema, schema=schema, file=self.label))
        self._ensured.add(schema)

    def transaction(self, *, wait: bool = True) -> Transaction:
        """Return a new transaction for `async with`.

        Entering runs nothing: the first statement takes the writer, fairly, and without suspending if it is free. When
        the block has been left, the transaction is durable; if it raised or was cancelled, it is rolled back. A caller
        cancelled while leaving cannot know: the transaction may have taken effect.

        Args:
            wait: False: leaving does not wait for durability. Commits keep their order: whatever is answered later in
                this database implies this one. `await tx.durable()` waits afterwards.

        Raises (from its statements and from leaving):
            TransactionLostError: Its group was rolled back as a whole. Nothing was done; run it again.
            TransactionHeldError: It stayed open longer than `hold_limit_s` and was rolled back.
            DatabaseError: The disk or the file failed; subclasses say how.
        """
        return Transaction(self, self._engine.member(wait=wait))

    async def run(self, work: Callable[[Transaction], Awaitable[T]], *, attempts: int = 10) -> T:
        """Run `work` in a transaction and return what it returned, once it is durable.

        A transaction that was lost (a serialisation failure or a deadlock on PostgreSQL, a lost group on SQLite) is
        run again as a whole, after a short random pause that grows. So `work` may run several times: it has effects in
        the transaction only.

        Args:
            work: Gets the open transaction. What it raises rolls it back, and is raised.
            attempts: How often at most. At least 1.

        Raises:
            TransactionLostError: The last attempt was lost, too. Nothing was done.
        """
        turn = self._again if self._pressing else _NO_TURN
        try:
            async with turn, self.transaction() as tx:
                return await work(tx)
        except TransactionLostError:
            if attempts <= 1:
                raise
        return await self._run_again(work, attempts)

    async def _run_again(self, work: Callable[[Transaction], Awaitable[T]], attempts: int) -> T:
        """Go on with `run` after its first attempt. Those who lost wait for each other: all at once they lose again.

        And whoever comes new waits for one that has lost several times: else it could lose to newcomers for ever.
        """
        for attempt in range(2, attempts + 1):
            await sleep(world.random().random() * min(_AGAIN_S * 2**attempt, _AGAIN_LIMIT_S))
            pressing = attempt > _PATIENT
            self._pressing += pressing
            try:
                async with self._again, self.transaction() as tx:
                    return await work(tx)
            except TransactionLostError:
                if attempt == attempts:
                    raise
            finally:
                self._pressing -= pressing
        raise AssertionError("the last attempt returns or raises")

    def snapshot(self) -> Snapshot:
        """Return a snapshot for `async with`: several reads of one instant."""
        return Snapshot(self._engine)

    async def execute(self, sql: str, /, **params: object) -> int:
        """Run one statement as a transaction of its own; return the rows changed once it is durable."""
        if (tx := context.current().tx) is not None:
            self.refuse_inside(tx)
        statement = known_statement(sql) or compile_statement(sql)
        return (await self._engine.execute(statement, statement.bind(params)))[0]

    async def returning(self, row: type[T], sql: str, /, **params: object) -> list[T]:
        """Run one statement as a transaction of its own; return the rows of its RETURNING once it is durable."""
        if (tx := context.current().tx) is not None:
            self.refuse_inside(tx)
        statement = known_statement(sql) or compile_statement(sql)
        _, description, rows = await self._engine.execute(statement, statement.bind(params))
        return row_maker(row, sql, description)(rows)

    async def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> int:
        """Run one statement per mapping of parameters, all in one transaction; return the rows changed in all."""
        async with self.transaction() as tx:
            return await tx.many(sql, rows)

    async def _fetch(self, row: type[T], sql: str, params: Mapping[str, object]) -> list[T]:
        statement = known_statement(sql) or compile_statement(sql)
        _, description, rows = await self._engine.read(statement, statement.bind(params))
        return row_maker(row, sql, description)(rows)

    async def unsent(self, limit: int) -> list[OutboxRow]:
        """Return the oldest events of the outbox, at most `limit`: those of committed transactions, for a relay."""
        return await self.all(OutboxRow, OUTBOX_READ, limit=limit)

    async def forget(self, positions: Sequence[int]) -> None:
        """Delete events from the outbox that are sent."""
        await self.many(OUTBOX_DELETE, [{"position": position} for position in positions])

    def paused(self) -> "Paused":
        """Return a block during which nothing is written: `async with db.paused()`. For backups; keep it short."""
        return Paused(self._engine)

    async def pin(self) -> Pin:
        """Hold the present instant so that `copy_to(path)` can copy it while others write. Release it afterwards."""
        return await self._engine.pin()

    async def backup_to(self, path: Path) -> None:
        """Write a copy of the present instant to `path`, synced, while others write."""
        pin = await self.pin()
        try:
            await pin.copy_to(path)
        finally:
            await pin.release()

    @property
    def shared(self) -> bool:
        """Whether several processes may have it open at once."""
        return self._engine.shared

    @property
    def serializable(self) -> bool:
        """Whether its transactions are as if one ran after another, unless they say otherwise."""
        return self._engine.serializable

    def signal(self, word: str) -> None:
        """Wake who listens for `word`, here and in every other process that has this database open.

        A hint, after something was committed: it may be lost, said twice, or come late. Who listens looks for itself,
        and polls as a net.
        """
        self._heard(word)
        self._engine.signal(word)

    def listen(self, word: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback`, on the loop, when somebody signals `word`; return what ends that. Call it while open."""
        self._engine.listen()
        self._listeners.setdefault(word, []).append(callback)
        return partial(self._unlisten, word, callback)

    def _unlisten(self, word: str, callback: Callable[[], None]) -> None:
        callbacks = self._listeners[word]
        callbacks.remove(callback)
        if not callbacks:
            del self._listeners[word]

    def _heard(self, word: str | None) -> None:
        words = list(self._listeners) if word is None else [word]
        for callback in [each for one in words for each in self._listeners.get(one, ())]:
            get_running_loop().call_soon(callback)

    async def prepared(self) -> list[str]:
        """Return the names of prepared transactions, oldest first. MisuseError if the database cannot prepare."""
        return await self._engine.prepared()

    async def settle_prepared(self, name: str, *, commit: bool) -> bool:
        """Commit or roll back what was prepared as `name`; False if there is nothing of that name (any more)."""
        settled = await self._engine.settle(name, commit=commit)
        if settled and commit:
            self.wake_relay()  # it may have published
        return settled

    def statistics(self) -> Statistics:
        """Return the engine's counters since it was opened."""
        return self._engine.statistics()

    def refuse_inside(self, tx: object) -> None:
        """Raise MisuseError if `tx`, or one around it, is open and of this database: it would wait for itself."""
        while isinstance(tx, Transaction) and (tx := tx.innermost()) is not None:
            if tx.db is self:
                raise MisuseError(
                    f"database {self.name}", "a transaction is open in this task; use tx inside its block"
                )
            tx = tx.outer

    def wake_relay(self) -> None:
        """Call everybody in `outbox_ready`."""
        for callback in self.outbox_ready:
            callback()

    def tell_published(self, envelopes: Sequence[Envelope]) -> None:
        """Call everybody in `published`."""
        for callback in self.published:
            callback(envelopes)


class Paused:
    """The block of `db.paused()`."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __aenter__(self) -> Self:
        await self._engine.pause()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._engine.resume()
