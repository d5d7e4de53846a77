"""The tables of the SQLite broker, and every statement that touches them.

A message is stored once per channel that wants it, as one row whose primary key, the slot, holds channel number and
position: no index, so one tree to insert into and delete from. Storing the envelope once for several groups would save
bytes and cost a join, a counter and a second delete.
"""

from typing import Final, NamedTuple

from archstone.data import Envelope, Schema
from archstone.messaging.brokers.window import SLOT_BITS

__all__ = ["SCHEMA", "Dead", "Registered", "Stored", "columns"]

SCHEMA: Final = Schema(
    "bus",
    (
        (
            """CREATE TABLE _archstone_bus_channels (
                number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, group_name TEXT NOT NULL,
                names TEXT, at INTEGER NOT NULL, UNIQUE (topic, group_name))""",
            """CREATE TABLE _archstone_bus_messages (
                slot INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
                key TEXT NOT NULL, payload BLOB NOT NULL, headers BLOB NOT NULL, at INTEGER NOT NULL,
                attempts INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
                due INTEGER NOT NULL DEFAULT 0)""",
            """CREATE TABLE _archstone_bus_dead (
                dead_id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL, id TEXT NOT NULL,
                name TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, payload BLOB NOT NULL,
                headers BLOB NOT NULL, at INTEGER NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL,
                buried INTEGER NOT NULL)""",
        ),
        # A page about one order asks for the letters of its key. There are few letters, so the index costs nothing.
        ("CREATE INDEX _archstone_bus_dead_by_key ON _archstone_bus_dead (key)",),
    ),
)

_MESSAGE: Final = "slot, id, name, version, key, payload, headers, at, attempts, deaths, due"
_DEAD: Final = (
    "dead_id, topic, group_name, id, name, version, key, payload, headers, d.at AS at, attempts, error, buried "
    "FROM _archstone_bus_dead d JOIN _archstone_bus_channels c ON c.number = d.number"
)

REGISTER: Final = (
    "INSERT INTO _archstone_bus_channels (topic, group_name, names, at) VALUES (:topic, :group, :names, :at) "
    "ON CONFLICT (topic, group_name) DO UPDATE SET names = excluded.names"
)
CHANNELS: Final = f"""
    SELECT number, topic, group_name, names,
        (SELECT COUNT(*) FROM _archstone_bus_messages
            WHERE slot BETWEEN number << {SLOT_BITS} AND (number + 1) << {SLOT_BITS}) AS depth,
        (SELECT MAX(slot) FROM _archstone_bus_messages
            WHERE slot BETWEEN number << {SLOT_BITS} AND (number + 1) << {SLOT_BITS}) AS last
    FROM _archstone_bus_channels"""
CHANNEL_NUMBER: Final = "SELECT number FROM _archstone_bus_channels WHERE topic = :topic AND group_name = :group"
UNREGISTER: Final = "DELETE FROM _archstone_bus_channels WHERE number = :number"
UNWANTED: Final = (
    "DELETE FROM _archstone_bus_messages WHERE slot BETWEEN :first AND :last "
    "AND name NOT IN (SELECT value FROM json_each(:names))"
)

INSERT: Final = (
    "INSERT INTO _archstone_bus_messages (slot, id, name, version, key, payload, headers, at) "
    "VALUES (:slot, :id, :name, :version, :key, :payload, :headers, :at)"
)
DELETE: Final = "DELETE FROM _archstone_bus_messages WHERE slot = :slot"
DELETE_SOME: Final = (
    "DELETE FROM _archstone_bus_messages WHERE slot IN "
    "(SELECT slot FROM _archstone_bus_messages WHERE slot BETWEEN :first AND :last LIMIT :limit)"
)
POSTPONE: Final = "UPDATE _archstone_bus_messages SET attempts = :attempts, deaths = 0, due = :due WHERE slot = :slot"
COUNT_DEATHS: Final = "UPDATE _archstone_bus_messages SET deaths = :deaths WHERE slot = :slot"
READ: Final = (
    f"SELECT {_MESSAGE} FROM _archstone_bus_messages WHERE slot BETWEEN :first AND :last ORDER BY slot LIMIT :limit"
)
READ_KEY: Final = (
    f"SELECT {_MESSAGE} FROM _archstone_bus_messages WHERE slot BETWEEN :first AND :last AND key = :key "
    "ORDER BY slot LIMIT :limit"
)

BURY: Final = (
    "INSERT INTO _archstone_bus_dead "
    "(number, id, name, version, key, payload, headers, at, attempts, error, buried) "
    "VALUES (:number, :id, :name, :version, :key, :payload, :headers, :at, :attempts, :error, :buried)"
)
DEAD: Final = f"SELECT {_DEAD} WHERE (:group IS NULL OR group_name = :group) ORDER BY dead_id LIMIT :limit"
_NEWEST: Final = "dead_id < :before AND (:group IS NULL OR group_name = :group) ORDER BY dead_id DESC LIMIT :limit"
DEAD_NEWEST: Final = f"SELECT {_DEAD} WHERE {_NEWEST}"
DEAD_OF_KEY: Final = f"SELECT {_DEAD} WHERE key = :key AND {_NEWEST}"
DROP_DEAD: Final = "DELETE FROM _archstone_bus_dead WHERE dead_id IN (SELECT value FROM json_each(:ids))"
DEAD_BY_ID: Final = f"SELECT {_DEAD} WHERE dead_id IN (SELECT value FROM json_each(:ids)) ORDER BY dead_id"
DEAD_COUNTS: Final = "SELECT number, COUNT(*) AS dead FROM _archstone_bus_dead GROUP BY number"
EXHUME: Final = "DELETE FROM _archstone_bus_dead WHERE dead_id = :dead_id"
FORGET_DEAD: Final = (
    "DELETE FROM _archstone_bus_dead WHERE dead_id IN "
    "(SELECT dead_id FROM _archstone_bus_dead WHERE number = :number LIMIT :limit)"
)
SWEEP_OLD: Final = "DELETE FROM _archstone_bus_dead WHERE buried < :before"
SWEEP_MANY: Final = (
    "DELETE FROM _archstone_bus_dead WHERE dead_id <= "
    "(SELECT dead_id FROM _archstone_bus_dead ORDER BY dead_id DESC LIMIT 1 OFFSET :keep)"
)


def columns(envelope: Envelope) -> dict[str, object]:
    """Return the columns in which a message is stored."""
    return {
        "id": envelope.id,
        "name": envelope.name,
        "version": envelope.version,
        "key": envelope.key,
        "payload": envelope.payload,
        "headers": envelope.headers,
        "at": envelope.at,
    }


class Registered(NamedTuple):
    """A row of `CHANNELS`."""

    number: int
    topic: str
    group_name: str
    names: str | None
    depth: int
    last: int | None


class Stored(NamedTuple):
    """A row of `READ`."""

    slot: int
    id: str
    name: str
    version: int
    key: str
    payload: bytes
    headers: bytes
    at: int
    attempts: int
    deaths: int
    due: int

    def envelope(self, topic: str) -> Envelope:
        """Return the message as it was sent."""
        return Envelope(self.id, topic, self.name, self.version, self.key, self.payload, self.headers, self.at)


class Dead(NamedTuple):
    """A row of `DEAD`."""

    dead_id: int
    topic: str
    group_name: str
    id: str
    name: str
    version: int
    key: str
    payload: bytes
    headers: bytes
    at: int
    attempts: int
    error: str
    buried: int

    def envelope(self) -> Envelope:
        """Return the message as it was sent."""
        return Envelope(self.id, self.topic, self.name, self.version, self.key, self.payload, self.headers, self.at)
