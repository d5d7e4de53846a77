"""Driver errors as errors of this package, each naming file and statement."""

import sqlite3
from typing import Final

from archstone.data.errors import (
    ConstraintError,
    CorruptDatabaseError,
    DatabaseError,
    DatabaseLockedError,
    DiskFullError,
    StatementError,
)
from archstone.errors import ArchstoneError

__all__ = ["FAULTS", "INTERRUPTED", "is_busy", "primary_code", "translated"]

FAULTS: Final = (sqlite3.Error, OverflowError, UnicodeEncodeError)
"""What the driver raises: an integer above 64 bits and text that is no Unicode come as Python's own errors."""
INTERRUPTED: Final = sqlite3.SQLITE_INTERRUPT
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_STATEMENT: Final = frozenset(
    # A missing column is SCHEMA where another connection has changed the schema since this one looked.
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_SCHEMA}
)
_CLASSES: Final[dict[int, type[DatabaseError]]] = {
    sqlite3.SQLITE_FULL: DiskFullError,
    sqlite3.SQLITE_BUSY: DatabaseLockedError,
    sqlite3.SQLITE_LOCKED: DatabaseLockedError,
    sqlite3.SQLITE_CORRUPT: CorruptDatabaseError,
    sqlite3.SQLITE_NOTADB: CorruptDatabaseError,
}


def primary_code(error: Exception) -> int | None:
    """Return SQLite's primary result code of `error`, or None where the driver itself complained."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_busy(error: Exception) -> bool:
    """Return whether somebody else holds a lock."""
    return primary_code(error) in _BUSY


def translated(error: Exception, file: str, statement: str) -> ArchstoneError:
    """Return what to raise `from error`."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return ConstraintError(file, statement, str(error))
    if code is None or code in _STATEMENT:
        # No result code: the driver could not bind a value, or the text is not one statement.
        return StatementError(statement, f"database {file}: {error}")
    return _CLASSES.get(code, DatabaseError)(file, statement, str(error))
