"""The tables of audit logs, and what is asked of them."""

from typing import Final

from archstone.data import Schema

__all__ = ["AUDIT_SCHEMA"]

AUDIT_SCHEMA: Final = Schema(
    "security.audit",
    (
        (
            """CREATE TABLE _archstone_audit (
                log TEXT NOT NULL,
                number INTEGER NOT NULL,
                at INTEGER NOT NULL,
                who TEXT NOT NULL,
                action TEXT NOT NULL,
                subject TEXT NOT NULL,
                whence TEXT NOT NULL,
                outcome TEXT NOT NULL,
                details TEXT NOT NULL,
                before BLOB NOT NULL,
                hash BLOB NOT NULL,
                PRIMARY KEY (log, number)
            ) WITHOUT ROWID""",
            """CREATE TABLE _archstone_audit_head (
                log TEXT PRIMARY KEY,
                number INTEGER NOT NULL,
                hash BLOB NOT NULL,
                base_number INTEGER NOT NULL,
                base_hash BLOB NOT NULL
            ) WITHOUT ROWID""",
        ),
    ),
)

COLUMNS: Final = "number, at, who, action, subject, whence, outcome, details, before, hash"
MAKE_HEAD: Final = (
    "INSERT INTO _archstone_audit_head (log, number, hash, base_number, base_hash)"
    " VALUES (:log, 0, :zero, 0, :zero) ON CONFLICT DO NOTHING"
)
# First of all: whoever comes second waits here, before it has read a head that is about to be an old one.
TAKE_HEAD: Final = (
    "UPDATE _archstone_audit_head SET number = number + :count WHERE log = :log"
    " RETURNING number - :count AS number, hash"
)
SET_HEAD: Final = "UPDATE _archstone_audit_head SET hash = :hash WHERE log = :log"
INSERT: Final = (
    f"INSERT INTO _archstone_audit (log, {COLUMNS}) VALUES (:log, :number, :at, :who, :action, :subject, :whence,"
    " :outcome, :details, :before, :hash)"
)
ENDS: Final = "SELECT number, hash, base_number, base_hash FROM _archstone_audit_head WHERE log = :log"
ONWARD: Final = (
    f"SELECT {COLUMNS} FROM _archstone_audit WHERE log = :log AND number > :after AND number <= :until"
    " ORDER BY number LIMIT :limit"
)
NEWEST: Final = (
    f"SELECT {COLUMNS} FROM _archstone_audit WHERE log = :log AND number < :before"
    " AND (CAST(:who AS TEXT) IS NULL OR who = :who) AND (CAST(:outcome AS TEXT) IS NULL OR outcome = :outcome)"
    " AND (CAST(:subject AS TEXT) IS NULL OR subject = :subject)"
    " AND (CAST(:action AS TEXT) IS NULL OR action = :action"
    " OR substr(action, 1, length(:action) + 1) = :action || '.')"
    " ORDER BY number DESC LIMIT :limit"
)
HASH_OF: Final = "SELECT number, hash FROM _archstone_audit WHERE log = :log AND number = :number"
OLD: Final = "SELECT max(number) FROM _archstone_audit WHERE log = :log AND at < :before AND number <= :most"
DELETE: Final = "DELETE FROM _archstone_audit WHERE log = :log AND number <= :number"
SET_BASE: Final = "UPDATE _archstone_audit_head SET base_number = :number, base_hash = :hash WHERE log = :log"
