"""The tables of an event store, and the statements on them.

`_archstone_streams` has a row per stream with the number of its events: a save moves it on, and finds out there whether
somebody else was first. `_archstone_events` has a row per event, for ever; `position` is their order over all streams.
`_archstone_event_snapshots` keeps the last snapshot of a stream, `_archstone_person_keys` a key for each person of whom
events hold something personal.
"""

from typing import Final

from archstone.data import Schema

__all__ = ["EVENTS"]

EVENTS: Final = Schema(
    "eventsourcing",
    (
        (
            """CREATE TABLE _archstone_streams (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                version INTEGER NOT NULL
            )""",
            # The number of the stream, not its name: an index of small keys that grows at its end.
            """CREATE TABLE _archstone_events (
                position INTEGER PRIMARY KEY AUTOINCREMENT,
                stream INTEGER NOT NULL,
                version INTEGER NOT NULL,
                name TEXT NOT NULL,
                form INTEGER NOT NULL,
                sealed INTEGER NOT NULL,
                payload BLOB NOT NULL,
                headers BLOB NOT NULL,
                at INTEGER NOT NULL,
                UNIQUE (stream, version)
            )""",
            """CREATE TABLE _archstone_event_snapshots (
                stream INTEGER PRIMARY KEY,
                version INTEGER NOT NULL,
                form TEXT NOT NULL,
                state BLOB NOT NULL,
                at INTEGER NOT NULL
            )""",
            """CREATE TABLE _archstone_event_snapshot_persons (
                person TEXT NOT NULL,
                stream INTEGER NOT NULL,
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

CREATE_STREAM: Final = (
    "INSERT INTO _archstone_streams (name, version) VALUES (:name, :version) ON CONFLICT (name) DO NOTHING"
    " RETURNING number"
)
ADVANCE_STREAM: Final = (
    "UPDATE _archstone_streams SET version = :version WHERE name = :name AND version = :expected RETURNING number"
)
STREAM_VERSION: Final = "SELECT version FROM _archstone_streams WHERE name = :name"
INSERT_EVENT: Final = (
    "INSERT INTO _archstone_events (stream, version, name, form, sealed, payload, headers, at)"
    " VALUES (:stream, :version, :name, :form, :sealed, :payload, :headers, :at)"
)
INSERT_LAST_EVENT: Final = INSERT_EVENT + " RETURNING position"
FIND_STREAM: Final = (
    "SELECT stream.number, snapshot.version, snapshot.form, snapshot.state"
    " FROM _archstone_streams AS stream"
    " LEFT JOIN _archstone_event_snapshots AS snapshot ON snapshot.stream = stream.number"
    " WHERE stream.name = :name"
)
PUT_SNAPSHOT: Final = (
    "INSERT INTO _archstone_event_snapshots (stream, version, form, state, at)"
    " SELECT number, CAST(:version AS BIGINT), CAST(:form AS TEXT), :state, CAST(:at AS BIGINT) FROM _archstone_streams"
    " WHERE name = :name AND version >= :version"
    " ON CONFLICT (stream) DO UPDATE SET version = excluded.version, form = excluded.form, state = excluded.state,"
    " at = excluded.at"
)
PUT_SNAPSHOT_PERSON: Final = (
    "INSERT INTO _archstone_event_snapshot_persons (person, stream)"
    " SELECT CAST(:person AS TEXT), number FROM _archstone_streams WHERE name = :name"
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
KEYS_OF: Final = "SELECT person, key FROM _archstone_person_keys WHERE key IS NOT NULL AND person IN "
ERASE_KEY: Final = (
    "INSERT INTO _archstone_person_keys (person, key, at) VALUES (:person, NULL, :at)"
    " ON CONFLICT (person) DO UPDATE SET key = NULL, at = excluded.at WHERE _archstone_person_keys.key IS NOT NULL"
)
REBUILD: Final = (
    "SELECT version, name, form, sealed, payload FROM _archstone_events"
    " WHERE stream = :stream AND version > :after ORDER BY version LIMIT :limit"
)
_COLUMNS: Final = (
    "SELECT event.position, stream.name, event.version, event.name, event.form, event.sealed, event.payload,"
    " event.headers, event.at FROM _archstone_events AS event"
    " JOIN _archstone_streams AS stream ON stream.number = event.stream"
)
READ_ALL: Final = _COLUMNS + " WHERE event.position > :after ORDER BY event.position LIMIT :limit"
READ_STREAM: Final = (
    _COLUMNS + " WHERE stream.name = :stream AND event.version > :after ORDER BY event.version LIMIT :limit"
)
RECORDED: Final = "SELECT at FROM _archstone_events WHERE position > :after ORDER BY position LIMIT 1"
LAST_POSITION: Final = "SELECT COALESCE(MAX(position), 0) FROM _archstone_events"
