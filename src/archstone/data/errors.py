"""What can go wrong with a database, by what the caller can do about it.

Every text names the file and, where there is one, the statement. Nothing was done unless the class says
otherwise: SQLite undoes a failed statement, and the engine undoes a failed transaction.
"""

from archstone.errors import BackendError, ConfigError, ConflictError, NotFoundError, RejectedError

__all__ = [
    "BrokenMigrationError",
    "CommitUnknownError",
    "ConnectionFailedError",
    "ConstraintError",
    "CorruptDatabaseError",
    "DatabaseClosedError",
    "DatabaseError",
    "DatabaseInUseError",
    "DatabaseLockedError",
    "DiskFailedError",
    "DiskFullError",
    "EventError",
    "LeaseLostError",
    "MisuseError",
    "NetworkFileSystemError",
    "NewerSchemaError",
    "NoRowError",
    "RowError",
    "SnapshotExpiredError",
    "StatementError",
    "TooManyWaitingError",
    "TransactionHeldError",
    "TransactionLostError",
    "UnknownEngineError",
    "excerpt",
]


def excerpt(statement: str, *, limit: int = 200) -> str:
    """Return `statement` on one line, at most `limit` characters and a mark where it was cut."""
    line = " ".join(statement.split())
    return line if len(line) <= limit else f"{line[:limit]}…"


class DatabaseError(BackendError, code="data.database"):
    """The database refused a statement for a reason of its own; the cause says which."""

    advice = "see the cause"

    def __init__(self, file: str, statement: str, reason: str) -> None:
        super().__init__(file, statement, reason)
        self.file = file
        self.statement = statement
        self.reason = reason

    def __str__(self) -> str:
        return f"database {self.file}: {self.reason}; statement: {excerpt(self.statement)}; {self.advice}"


class DiskFullError(DatabaseError, code="data.disk-full"):
    """There was no room left to write. Nothing was done."""

    advice = "nothing was done, make room and retry"


class DiskFailedError(DatabaseError, code="data.disk-failed"):
    """The disk did not confirm a commit. It is unknown whether it took effect, and the database stays shut."""

    advice = "the last commits may or may not be on disk, check the disk and open the database again"


class ConnectionFailedError(DatabaseError, code="data.connection-failed"):
    """The server of the database could not be reached, or had no connection to give. Nothing was done."""

    advice = "nothing was done, see that the server runs and retry"


class CommitUnknownError(DatabaseError, code="data.commit-unknown"):
    """The connection broke while the server was committing. It may have taken effect: look before doing it again."""

    advice = "it may or may not have taken effect, look (or use an idempotency key) before doing it again"


class DatabaseLockedError(DatabaseError, code="data.locked"):
    """A process that does not use Archstone holds a lock on the file. Nothing was done."""

    advice = "nothing was done, find the other program that has the file open"


class CorruptDatabaseError(DatabaseError, code="data.corrupt"):
    """The file is not a database, or is damaged."""

    advice = "restore a backup"


class BrokenMigrationError(BackendError, code="data.broken-migration"):
    """A migration cannot be applied. Migrations before it are applied, this one left nothing behind."""

    def __init__(self, migration: str, statement: str, reason: str) -> None:
        super().__init__(migration, statement, reason)
        self.migration = migration
        self.statement = statement
        self.reason = reason

    def __str__(self) -> str:
        statement = f"; statement: {excerpt(self.statement)}" if self.statement else ""
        return f"migration {self.migration}: {self.reason}{statement}; nothing of it was applied"


class NewerSchemaError(BackendError, code="data.newer-schema"):
    """The file was written by a later release than this one."""

    def __init__(self, file: str, block: str, found: int, known: int) -> None:
        super().__init__(file, block, found, known)
        self.file = file
        self.block = block
        self.found = found
        self.known = known

    def __str__(self) -> str:
        return (
            f"database {self.file}: tables of {self.block!r} have version {self.found}, this release knows "
            f"{self.known}; run the later release"
        )


class DatabaseInUseError(BackendError, code="data.in-use"):
    """Another process, or another Database of this one, has the file open for writing."""

    def __init__(self, file: str, pid: int | None, owner: str) -> None:
        super().__init__(file, pid, owner)
        self.file = file
        self.pid = pid
        self.owner = owner

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.pid is not None else "an unknown process"
        name = f" ({self.owner})" if self.owner else ""
        return f"database {self.file} is in use by {who}{name}: one process writes a file; stop that one first"


class DatabaseClosedError(BackendError, code="data.closed"):
    """The database is not open: not yet, or no longer."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return f"database {self.file} is not open; use it inside `async with Database(...)`"


class NetworkFileSystemError(ConfigError, code="data.network-file-system"):
    """The file lies on a network file system, where SQLite's locks and shared memory do not hold."""

    def __init__(self, file: str, kind: str) -> None:
        super().__init__(file, kind)
        self.file = file
        self.kind = kind

    def __str__(self) -> str:
        return f"database {self.file} lies on a network file system ({self.kind}); put it on a local disk"


class UnknownEngineError(ConfigError, code="data.unknown-engine"):
    """No engine is installed for the scheme of a URL, or the URL is malformed."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"database URL {self.url!r}: {self.reason}"


class StatementError(ConfigError, code="data.statement"):
    """The SQL text or its parameters are wrong, or the text is one that an engine may not run."""

    def __init__(self, statement: str, reason: str) -> None:
        super().__init__(statement, reason)
        self.statement = statement
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}; statement: {excerpt(self.statement)}"


class RowError(ConfigError, code="data.row"):
    """The columns of a result do not fit the type that was asked for."""

    def __init__(self, row: str, reason: str) -> None:
        super().__init__(row, reason)
        self.row = row
        self.reason = reason

    def __str__(self) -> str:
        return f"row type {self.row}: {self.reason}"


class EventError(ConfigError, code="data.event"):
    """An event class is defined wrongly."""

    def __init__(self, event: str, reason: str) -> None:
        super().__init__(event, reason)
        self.event = event
        self.reason = reason

    def __str__(self) -> str:
        return f"event {self.event}: {self.reason}"


class MisuseError(ConfigError, code="data.misuse"):
    """A database, transaction or snapshot was used where it may not be."""

    def __init__(self, thing: str, reason: str) -> None:
        super().__init__(thing, reason)
        self.thing = thing
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.thing}: {self.reason}"


class NoRowError(NotFoundError, code="data.no-row"):
    """`one` found nothing."""

    def __init__(self, row: str, statement: str) -> None:
        super().__init__(row, statement)
        self.row = row
        self.statement = statement

    def __str__(self) -> str:
        return f"no {self.row} found; statement: {excerpt(self.statement)}; use first() where that is expected"


class TransactionLostError(ConflictError, code="data.transaction-lost"):
    """The transaction is gone because its group was rolled back. Nothing was done: run it again."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"database {self.file}: transaction rolled back with its group, {self.reason}; run it again"


class LeaseLostError(ConflictError, code="data.lease-lost"):
    """Another process holds the lease now. Nothing was done: leave the rest to that one."""

    def __init__(self, lease: str, file: str) -> None:
        super().__init__(lease, file)
        self.lease = lease
        self.file = file

    def __str__(self) -> str:
        return f"lease {self.lease!r} in database {self.file} is held by another now; nothing was done"


class ConstraintError(ConflictError, code="data.constraint"):
    """A row breaks a constraint. The statement did nothing; the transaction can go on."""

    def __init__(self, file: str, statement: str, reason: str) -> None:
        super().__init__(file, statement, reason)
        self.file = file
        self.statement = statement
        self.reason = reason

    def __str__(self) -> str:
        return f"database {self.file}: {self.reason}; statement: {excerpt(self.statement)}"


class SnapshotExpiredError(ConflictError, code="data.snapshot-expired"):
    """A read held its snapshot too long. Read again, in smaller parts."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"database {self.file}: snapshot ended, {self.reason}; read again in smaller parts"


class TransactionHeldError(BackendError, code="data.transaction-held"):
    """A transaction stayed open too long and was rolled back, so that others could go on."""

    def __init__(self, file: str, limit_s: float, statement: str) -> None:
        super().__init__(file, limit_s, statement)
        self.file = file
        self.limit_s = limit_s
        self.statement = statement

    def __str__(self) -> str:
        return (
            f"database {self.file}: transaction held open for more than {self.limit_s:g} s and rolled back; last "
            f"statement: {excerpt(self.statement) or 'none'}; await nothing slow inside a transaction"
        )


class TooManyWaitingError(RejectedError, code="data.too-many-waiting"):
    """The waiting list for the writer or the readers of a database is full. Nothing was done."""

    def __init__(self, file: str, waiting: int, limit: int) -> None:
        super().__init__(file, waiting, limit)
        self.file = file
        self.waiting = waiting
        self.limit = limit
        self.retry_after_s = 1.0

    def __str__(self) -> str:
        return f"database {self.file}: {self.waiting} of at most {self.limit} are waiting; try later"
