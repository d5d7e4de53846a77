"""Who can take part in a two-phase commit: a database that prepares, and one that reserves.

`Prepared` uses the prepared transactions of PostgreSQL (`max_prepared_transactions` of the server must be above 0).

`Reserving` is for a database that cannot prepare without holding its only writer, such as SQLite. It is no two-phase
commit but try, confirm, cancel: the block's work is committed at once and must be a *reservation* that others can see
(money held, not moved), which `confirm` turns into the effect and `cancel` takes back.
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Protocol, TypeAlias

from archstone import world
from archstone.data import Database, Schema, Transaction
from archstone.errors import ConfigError

__all__ = ["Branch", "Participant", "Prepared", "Reserving", "Settle"]

BRANCHES: Final = Schema(
    "branches",
    (
        (
            """CREATE TABLE _archstone_branches (
                id TEXT PRIMARY KEY, state TEXT NOT NULL, at INTEGER NOT NULL
            )""",
            "CREATE INDEX _archstone_branches_age ON _archstone_branches (at)",
        ),
    ),
)

_NOTE: Final = "INSERT INTO _archstone_branches (id, state, at) VALUES (:id, :state, :at)"
_STATE: Final = "SELECT state FROM _archstone_branches WHERE id = :id"
_SWEEP: Final = (
    "DELETE FROM _archstone_branches"
    " WHERE substr(id, 1, CAST(:size AS INTEGER)) = :prefix AND at < :before AND state <> 'reserved'"
)

Settle: TypeAlias = Callable[[Transaction, str], Awaitable[None]]
"""Confirms or cancels the reservation of a transaction, given its id, in the transaction given."""


class Branch(Protocol):
    """A participant's part of one transaction: a block around its work, which prepares it when it is left."""

    async def __aenter__(self) -> Transaction:
        """Begin."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Prepare, or roll back if the block raised."""
        ...


class Participant(Protocol):
    """One database in a two-phase commit."""

    async def open(self) -> None:
        """Create what is missing."""
        ...

    def branch(self, id_: str, /) -> Branch:
        """Return the block of a new transaction."""
        ...

    async def settle(self, id_: str, /, *, commit: bool) -> bool:
        """Commit or abort what was prepared, once. False: somebody settled it otherwise by hand."""
        ...

    async def prepared(self, prefix: str, /) -> list[str]:
        """Return the ids with this prefix that are prepared and not settled."""
        ...

    async def sweep(self, prefix: str, before_us: int, /) -> None:
        """Drop notes older than an instant."""
        ...


class _Branch:
    """A transaction that notes itself when its block ends well."""

    def __init__(self, db: Database, id_: str, *, state: str, prepare: bool) -> None:
        self._tx = db.transaction()
        self._id = id_
        self._state = state
        self._prepare = prepare

    async def __aenter__(self) -> Transaction:
        tx = await self._tx.__aenter__()
        if self._prepare:
            tx.prepare_as(self._id)
        return tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            try:
                await self._tx.execute(_NOTE, id=self._id, state=self._state, at=world.now_us())
            except BaseException as failure:
                await self._tx.__aexit__(type(failure), failure, failure.__traceback__)
                raise
        await self._tx.__aexit__(kind, error, traceback)


class Prepared:
    """A PostgreSQL database, by its prepared transactions."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def open(self) -> None:
        """Create the table of notes.

        Raises:
            MisuseError: The database cannot prepare.
            ConfigError: The server is not allowed to.
        """
        await self._db.prepared()
        if await self._db.one(str, "SELECT current_setting('max_prepared_transactions')") == "0":
            raise ConfigError(
                f"database {self._db.label} prepares nothing: set max_prepared_transactions of the server"
            )
        await self._db.ensure(BRANCHES)

    def branch(self, id_: str, /) -> Branch:
        """Return the block of a new transaction."""
        return _Branch(self._db, id_, state="committed", prepare=True)

    async def settle(self, id_: str, /, *, commit: bool) -> bool:
        """Commit or roll back a prepared transaction. One that is gone is judged by its note."""
        if await self._db.settle_prepared(id_, commit=commit):
            return True
        noted = await self._db.first(str, _STATE, id=id_) is not None
        return noted == commit

    async def prepared(self, prefix: str, /) -> list[str]:
        """Return prepared transactions."""
        return [id_ for id_ in await self._db.prepared() if id_.startswith(prefix)]

    async def sweep(self, prefix: str, before_us: int, /) -> None:
        """Drop old notes."""
        await self._db.execute(_SWEEP, prefix=prefix, size=len(prefix), before=before_us)


class Reserving:
    """Any database, by reservations: try, confirm, cancel."""

    def __init__(self, db: Database, *, confirm: Settle, cancel: Settle) -> None:
        """Describe it.

        Args:
            db: An open database.
            confirm: Turns the reservation of an id into its effect, in the transaction given; called once in effect.
            cancel: Takes it back; likewise. It may find nothing, where the block did not come to its end.
        """
        self._db = db
        self._confirm = confirm
        self._cancel = cancel

    async def open(self) -> None:
        """Create the table of notes."""
        await self._db.ensure(BRANCHES)

    def branch(self, id_: str, /) -> Branch:
        """Return the block of a new transaction: its work is the reservation."""
        return _Branch(self._db, id_, state="reserved", prepare=False)

    async def settle(self, id_: str, /, *, commit: bool) -> bool:
        """Confirm or cancel a reservation, once."""

        async def work(tx: Transaction) -> bool:
            state = await tx.first(str, _STATE, id=id_)
            wanted = "committed" if commit else "aborted"
            if state != "reserved":
                return state == wanted or (state is None and not commit)
            await (self._confirm if commit else self._cancel)(tx, id_)
            await tx.execute("UPDATE _archstone_branches SET state = :state WHERE id = :id", state=wanted, id=id_)
            return True

        return await self._db.run(work)

    async def prepared(self, prefix: str, /) -> list[str]:
        """Return reservations that are neither confirmed nor cancelled."""
        # Not a range: how a server orders text is its own affair.
        text = (
            "SELECT id FROM _archstone_branches"
            " WHERE substr(id, 1, CAST(:size AS INTEGER)) = :prefix AND state = 'reserved'"
        )
        return await self._db.all(str, text, prefix=prefix, size=len(prefix))

    async def sweep(self, prefix: str, before_us: int, /) -> None:
        """Drop old notes."""
        await self._db.execute(_SWEEP, prefix=prefix, size=len(prefix), before=before_us)
