"""Driver errors as errors of this package, each naming database and statement."""

from typing import Final

from archstone.data.engines.postgresql.driver import (
    VALUE_FAULTS,
    InterfaceError,
    OutdatedError,
    PostgresError,
)
from archstone.data.errors import (
    CommitUnknownError,
    ConnectionFailedError,
    ConstraintError,
    DatabaseError,
    DatabaseLockedError,
    DiskFullError,
    SnapshotExpiredError,
    StatementError,
    TransactionLostError,
)
from archstone.errors import ArchstoneError

__all__ = ["FAULTS", "is_broken", "is_lost", "is_outdated", "translated", "unknown"]

FAULTS: Final = (PostgresError, InterfaceError, OutdatedError, OSError, OverflowError, UnicodeEncodeError, EOFError)
"""What the driver raises. Cancellation is none of them."""

_LOST: Final = frozenset({"40001", "40P01", "55P03"})
"""Serialisation failure, deadlock, a lock that was not to be had: nothing was done, run it again."""
_BROKEN: Final = ("08", "57P")
"""The connection failed, or the server shuts down, starts up or was told to end this session."""


def is_broken(error: BaseException) -> bool:
    """Return whether the connection is of no more use: gone, or with statements prepared for tables that changed."""
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_BROKEN) or state in {"25P03", "25P04"}
    return isinstance(error, (OSError, EOFError, InterfaceError, OutdatedError)) and not isinstance(error, VALUE_FAULTS)


def is_lost(error: BaseException) -> bool:
    """Return whether nothing was done and the whole may be run again."""
    return getattr(error, "sqlstate", None) in _LOST


def is_outdated(error: BaseException) -> bool:
    """Return whether a table has changed since the statement was prepared, and the server refused to run it."""
    # "cached plan must not change result type"
    return getattr(error, "sqlstate", None) == "0A000" and "cached" in str(error)


def translated(error: Exception, label: str, statement: str) -> ArchstoneError:
    """Return what to raise `from error`."""
    state = str(getattr(error, "sqlstate", None) or "")
    if is_lost(error):
        return TransactionLostError(label, f"because {error}")
    if state.startswith("23"):
        return ConstraintError(label, statement, " ".join(str(error).split()))
    if state.startswith("53"):
        kind = DiskFullError if state == "53100" else ConnectionFailedError if state == "53300" else DatabaseError
        return kind(label, statement, str(error))
    if state == "57014":
        return SnapshotExpiredError(label, "it took too long")
    if isinstance(error, (*VALUE_FAULTS, OverflowError, UnicodeEncodeError)) or state[:2] in {"42", "22", "0A"}:
        return StatementError(statement, f"database {label}: {error}")
    if state == "25P02":
        reason = "an earlier statement of it failed; put what may fail into `async with tx.savepoint()`"
        return TransactionLostError(label, f"because {reason}")
    if is_broken(error):
        return ConnectionFailedError(label, statement, str(error) or type(error).__name__)
    return (DatabaseLockedError if state == "55006" else DatabaseError)(label, statement, str(error))


def unknown(error: Exception, label: str) -> ArchstoneError:
    """Return what to raise when the connection broke while a COMMIT was under way."""
    return CommitUnknownError(label, "COMMIT", str(error) or type(error).__name__)
