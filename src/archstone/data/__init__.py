"""Durable data: a Database with plain SQL, typed rows and group commit, events with an outbox, migrations.

Start with `Database`. `Event` and `tx.publish` announce a change in the transaction that makes it; `Schema` is for
blocks that bring tables of their own. A single file that is there whole or not at all: `archstone.disk`.
"""

from archstone.data.database import Database, Paused
from archstone.data.engine import Engine, EngineOptions, Member, Pin, Statistics, View, register_engine
from archstone.data.errors import (
    BrokenMigrationError,
    CommitUnknownError,
    ConnectionFailedError,
    ConstraintError,
    CorruptDatabaseError,
    DatabaseClosedError,
    DatabaseError,
    DatabaseInUseError,
    DatabaseLockedError,
    DiskFailedError,
    DiskFullError,
    EventError,
    LeaseLostError,
    MisuseError,
    NetworkFileSystemError,
    NewerSchemaError,
    NoRowError,
    RowError,
    SnapshotExpiredError,
    StatementError,
    TooManyWaitingError,
    TransactionHeldError,
    TransactionLostError,
    UnknownEngineError,
)
from archstone.data.event import Event, event_class, event_classes
from archstone.data.immutable import mutable_parts
from archstone.data.lease import LEASES, Lease, Standing, standings
from archstone.data.outbox import OUTBOX, Envelope, Outbox, OutboxRow, envelope, headers_of
from archstone.data.schema import Schema
from archstone.data.snapshot import Snapshot
from archstone.data.sql import Statement, compile_statement, split_script
from archstone.data.transaction import Savepoint, Transaction

__all__ = [
    "LEASES",
    "OUTBOX",
    "BrokenMigrationError",
    "CommitUnknownError",
    "ConnectionFailedError",
    "ConstraintError",
    "CorruptDatabaseError",
    "Database",
    "DatabaseClosedError",
    "DatabaseError",
    "DatabaseInUseError",
    "DatabaseLockedError",
    "DiskFailedError",
    "DiskFullError",
    "Engine",
    "EngineOptions",
    "Envelope",
    "Event",
    "EventError",
    "Lease",
    "LeaseLostError",
    "Member",
    "MisuseError",
    "NetworkFileSystemError",
    "NewerSchemaError",
    "NoRowError",
    "Outbox",
    "OutboxRow",
    "Paused",
    "Pin",
    "RowError",
    "Savepoint",
    "Schema",
    "Snapshot",
    "SnapshotExpiredError",
    "Standing",
    "Statement",
    "StatementError",
    "Statistics",
    "TooManyWaitingError",
    "Transaction",
    "TransactionHeldError",
    "TransactionLostError",
    "UnknownEngineError",
    "View",
    "compile_statement",
    "envelope",
    "event_class",
    "event_classes",
    "headers_of",
    "mutable_parts",
    "register_engine",
    "split_script",
    "standings",
]
