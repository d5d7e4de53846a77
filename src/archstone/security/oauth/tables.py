"""The tables of an OAuth server. Secrets, codes and tokens are in them as hashes only."""

import base64
import hashlib
from typing import Final

from archstone import world
from archstone.data import Schema

__all__ = ["MICROS", "OAUTH_SCHEMA", "chance", "digest"]

MICROS: Final = 1_000_000

OAUTH_SCHEMA: Final = Schema(
    "security.oauth",
    (
        (
            """CREATE TABLE _archstone_oauth_clients (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL,
                secret_hash BLOB,
                last_hash BLOB,
                last_until INTEGER,
                redirect_uris TEXT NOT NULL,
                grant_types TEXT NOT NULL,
                scopes TEXT NOT NULL,
                audiences TEXT NOT NULL,
                introspects INTEGER NOT NULL,
                created_at INTEGER NOT NULL
            )""",
            """CREATE TABLE _archstone_oauth_requests (
                hash BLOB PRIMARY KEY,
                client_id TEXT NOT NULL,
                asked TEXT NOT NULL,
                person TEXT,
                expires_at INTEGER NOT NULL
            ) WITHOUT ROWID""",
            "CREATE INDEX _archstone_oauth_requests_expiry ON _archstone_oauth_requests (expires_at)",
            """CREATE TABLE _archstone_oauth_grants (
                id TEXT PRIMARY KEY,
                client_id TEXT NOT NULL,
                person TEXT NOT NULL,
                scopes TEXT NOT NULL,
                signed_in_at INTEGER,
                created_at INTEGER NOT NULL,
                expires_at INTEGER NOT NULL,
                revoked_at INTEGER
            )""",
            "CREATE INDEX _archstone_oauth_grants_person ON _archstone_oauth_grants (person)",
            "CREATE INDEX _archstone_oauth_grants_client ON _archstone_oauth_grants (client_id)",
            "CREATE INDEX _archstone_oauth_grants_expiry ON _archstone_oauth_grants (expires_at)",
            """CREATE TABLE _archstone_oauth_codes (
                hash BLOB PRIMARY KEY,
                grant_id TEXT NOT NULL,
                client_id TEXT NOT NULL,
                redirect_uri TEXT NOT NULL,
                challenge TEXT NOT NULL,
                nonce TEXT,
                expires_at INTEGER NOT NULL,
                used_at INTEGER
            ) WITHOUT ROWID""",
            "CREATE INDEX _archstone_oauth_codes_expiry ON _archstone_oauth_codes (expires_at)",
            """CREATE TABLE _archstone_oauth_devices (
                hash BLOB PRIMARY KEY,
                user_code TEXT NOT NULL UNIQUE,
                client_id TEXT NOT NULL,
                scopes TEXT NOT NULL,
                state TEXT NOT NULL,
                grant_id TEXT,
                interval_us INTEGER NOT NULL,
                polled_at INTEGER,
                expires_at INTEGER NOT NULL
            ) WITHOUT ROWID""",
            "CREATE INDEX _archstone_oauth_devices_expiry ON _archstone_oauth_devices (expires_at)",
        ),
    ),
)


def chance() -> str:
    """Return 256 bits that nobody can guess, as 43 characters that are safe in an address."""
    return base64.urlsafe_b64encode(world.secret_bytes(32)).decode("ascii").rstrip("=")


def digest(text: str) -> bytes:
    """Return the hash under which something of `chance` is stored. It has 256 bits: no salt or stretching is needed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
