"""The tables of an event store, and the statements on them.

`_archstone_streams` has a row per stream with the number of its events: a save moves it on, and finds out there whether
somebody else was first. `_archstone_events` has a row for the events of a save, for ever (`rows`); `position` is their
order over all streams.
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
                size INTEGER NOT NULL,
                kinds TEXT NOT NULL,
                payloads BLOB NOT NULL,
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
INSERT_EVENTS: Final = (
    "INSERT INTO _archstone_events (stream, version, size, kinds, payloads, headers, at)"
    " VALUES (:stream, :version, :size, :kinds, :payloads, :headers, :at) RETURNING position"
)
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
# From the row on that holds the event after `after`: it may be in the midst of it.
REBUILD: Final = (
    "SELECT version, size, kinds, payloads FROM _archstone_events WHERE stream = :stream AND version >="
    " COALESCE((SELECT MAX(version) FROM _archstone_events"
    " WHERE stream = :stream AND version <= CAST(:after AS BIGINT) + 1), 0)"
    " ORDER BY version LIMIT :rows"
)
READ_STREAM: Final = (
    "SELECT event.position AS row, stream.name AS stream, event.version, event.size, event.kinds, event.payloads,"
    " event.headers, event.at"
    " FROM _archstone_events AS event JOIN _archstone_streams AS stream ON stream.number = event.stream"
    " WHERE stream.name = :stream AND event.version + event.size > CAST(:after AS BIGINT) + 1"
    " AND event.version <= CAST(:after AS BIGINT) + CAST(:limit AS BIGINT)"
    " ORDER BY event.version LIMIT CAST(:limit AS BIGINT)"
)
# As many rows as hold `limit` events. The inner statement looks at sizes alone: rows that are left out are not read.
READ_ALL: Final = (
    "SELECT event.position AS row, stream.name AS stream, event.version, event.size, event.kinds, event.payloads,"
    " event.headers, event.at"
    " FROM _archstone_events AS event JOIN _archstone_streams AS stream ON stream.number = event.stream"
    " WHERE event.position >= :row AND event.position <= (SELECT MAX(position) FROM ("
    "SELECT position, SUM(size) OVER (ORDER BY position) - size AS before FROM ("
    "SELECT position, size FROM _archstone_events WHERE position >= :row"
    " ORDER BY position LIMIT CAST(:limit AS BIGINT)"
    ") AS ahead) AS summed WHERE before < CAST(:limit AS BIGINT))"
    " ORDER BY event.position"
)
RECORDED: Final = (
    "SELECT at FROM _archstone_events WHERE position > :row OR (position = :row AND size > :place)"
    " ORDER BY position LIMIT 1"
)
LAST_ROW: Final = "SELECT position, size FROM _archstone_events ORDER BY position DESC LIMIT 1"
