"""The tables of an event store, and the statements on them.

`_archstone_events` has a row for the events of a save, for ever (`rows`); `position` is their order over all streams.
`_archstone_event_snapshots` keeps the last snapshot of a stream, `_archstone_person_keys` a key for each person of whom
events hold something personal.
"""

from typing import Final

from archstone.data import Schema

__all__ = ["EVENTS_SCHEMA"]

EVENTS_SCHEMA: Final = Schema(
    "eventsourcing",
    (
        (
            # Without AUTOINCREMENT, a page less in each commit: no row is ever deleted, so no position comes again.
            """CREATE TABLE _archstone_events (
                position INTEGER PRIMARY KEY,
                stream TEXT NOT NULL,
                version INTEGER NOT NULL,
                size INTEGER NOT NULL,
                kinds TEXT NOT NULL,
                payloads BLOB NOT NULL,
                headers BLOB NOT NULL,
                at INTEGER NOT NULL,
                UNIQUE (stream, version)
            )""",
            """CREATE TABLE _archstone_event_snapshots (
                stream TEXT PRIMARY KEY,
                version INTEGER NOT NULL,
                form TEXT NOT NULL,
                state BLOB NOT NULL,
                at INTEGER NOT NULL
            )""",
            """CREATE TABLE _archstone_event_snapshot_persons (
                person TEXT NOT NULL,
                stream TEXT NOT NULL,
                PRIMARY KEY (person, stream)
            )""",
            # A person who was erased keeps the row, without a key: nobody of that id ever gets another.
            """CREATE TABLE _archstone_person_keys (
                person TEXT PRIMARY KEY,
                key BLOB,
                at INTEGER NOT NULL
            )""",
        ),
    ),
)

STREAM_VERSION: Final = (
    "SELECT version + size - 1 FROM _archstone_events WHERE stream = :stream ORDER BY version DESC LIMIT 1"
)
_INTO: Final = "INTO _archstone_events (stream, version, size, kinds, payloads, headers, at)"
_NEXT: Final = (
    "COALESCE((SELECT version + size FROM _archstone_events WHERE stream = :stream ORDER BY version DESC LIMIT 1), 1)"
)
TAKE_TURN: Final = f"SELECT pg_advisory_xact_lock({int.from_bytes(b'archston') >> 1})::text"  # sql: a number
"""A number that nobody else's advisory lock is likely to have: "archstone" in ASCII, cut to 63 bits."""
# After the last event of the stream, or nowhere: of two who have read the same stream the second writes nothing.
APPEND: Final = {
    # A version that is not the next becomes NULL, which is ignored. A SELECT ... WHERE would say it better, and have
    # SQLite make a table for the one row, since it reads what it writes.
    "sqlite": "INSERT OR IGNORE {into} VALUES (:stream, CASE WHEN :version = {next} THEN :version END, :size, :kinds,"
    " :payloads, :headers, :at) RETURNING position".replace("{into}", _INTO).replace("{next}", _NEXT),
    # Positions are drawn from a sequence when rows are written, and seen when their transaction commits. Without the
    # lock: A draws 7, B draws 8, B commits, a reader goes on from 8, A commits, and 7 is never read. With it, whoever
    # draws a position commits before anybody draws the next (docs/decisions): the row is made of what waits for it.
    "postgresql": f"WITH turn AS MATERIALIZED ({TAKE_TURN}) INSERT {_INTO} SELECT :stream, :version, :size, :kinds,"  # noqa: S608 - constants
    f" :payloads, :headers, :at FROM turn WHERE :version = {_NEXT} ON CONFLICT (stream, version) DO NOTHING"
    " RETURNING position",
}
PUT_SNAPSHOT: Final = (
    "INSERT INTO _archstone_event_snapshots (stream, version, form, state, at)"
    " VALUES (:stream, :version, :form, :state, :at)"
    " ON CONFLICT (stream) DO UPDATE SET version = excluded.version, form = excluded.form, state = excluded.state,"
    " at = excluded.at"
)
PUT_SNAPSHOT_PERSON: Final = (
    "INSERT INTO _archstone_event_snapshot_persons (person, stream) VALUES (:person, :stream)"
    " ON CONFLICT (person, stream) DO NOTHING"
)
DROP_SNAPSHOTS_OF_PERSON: Final = (
    "DELETE FROM _archstone_event_snapshots WHERE stream IN"
    " (SELECT stream FROM _archstone_event_snapshot_persons WHERE person = :person)"
)
FORGET_SNAPSHOT_PERSON: Final = "DELETE FROM _archstone_event_snapshot_persons WHERE person = :person"
INSERT_KEY: Final = (
    "INSERT INTO _archstone_person_keys (person, key, at) VALUES (:person, :key, :at) ON CONFLICT (person) DO NOTHING"
)
KEYS_OF: Final = "SELECT person, key FROM _archstone_person_keys WHERE key IS NOT NULL AND person IN ({persons})"
ERASE_KEY: Final = (
    "INSERT INTO _archstone_person_keys (person, key, at) VALUES (:person, NULL, :at)"
    " ON CONFLICT (person) DO UPDATE SET key = NULL, at = excluded.at WHERE _archstone_person_keys.key IS NOT NULL"
)
# The snapshot, as a piece of no events, and the pieces from the one on that holds the event after it.
LOAD: Final = (
    "SELECT version, 0 AS size, form AS kinds, state AS payloads FROM _archstone_event_snapshots"
    " WHERE stream = :stream UNION ALL SELECT version, size, kinds, payloads FROM ("
    "SELECT version, size, kinds, payloads FROM _archstone_events WHERE stream = :stream AND version >="
    " COALESCE((SELECT MAX(version) FROM _archstone_events WHERE stream = :stream AND version <="
    " (SELECT version + 1 FROM _archstone_event_snapshots WHERE stream = :stream)), 0)"
    " ORDER BY version LIMIT :rows) AS pieces"
)
# From the row on that holds the event after `after`: it may be in the midst of it.
REBUILD: Final = (
    "SELECT version, size, kinds, payloads FROM _archstone_events WHERE stream = :stream AND version >="
    " COALESCE((SELECT MAX(version) FROM _archstone_events"
    " WHERE stream = :stream AND version <= CAST(:after AS BIGINT) + 1), 0)"
    " ORDER BY version LIMIT :rows"
)
READ_STREAM: Final = (
    "SELECT position AS row, stream, version, size, kinds, payloads, headers, at FROM _archstone_events"
    " WHERE stream = :stream AND version + size > CAST(:after AS BIGINT) + 1"
    " AND version <= CAST(:after AS BIGINT) + CAST(:limit AS BIGINT)"
    " ORDER BY version LIMIT CAST(:limit AS BIGINT)"
)
# As many rows as hold `limit` events. The inner statement looks at sizes alone: rows that are left out are not read.
READ_ALL: Final = (
    "SELECT position AS row, stream, version, size, kinds, payloads, headers, at FROM _archstone_events"
    " WHERE position >= :row AND position <= (SELECT MAX(position) FROM ("
    "SELECT position, SUM(size) OVER (ORDER BY position) - size AS before FROM ("
    "SELECT position, size FROM _archstone_events WHERE position >= :row"
    " ORDER BY position LIMIT CAST(:limit AS BIGINT)"
    ") AS ahead) AS summed WHERE before < CAST(:limit AS BIGINT))"
    " ORDER BY position"
)
RECORDED: Final = (
    "SELECT at FROM _archstone_events WHERE position > :row OR (position = :row AND size > :place)"
    " ORDER BY position LIMIT 1"
)
LAST_ROW: Final = "SELECT position, size FROM _archstone_events ORDER BY position DESC LIMIT 1"
