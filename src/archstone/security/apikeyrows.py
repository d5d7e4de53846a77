"""API keys as they are stored, and how making and changing one can fail."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from archstone import world
from archstone.context import Principal, Program
from archstone.data import Schema
from archstone.errors import NotFoundError, RejectedError

__all__ = ["API_KEY_SCHEMA", "COLUMNS", "ApiKey", "NewApiKey", "TooManyApiKeysError", "UnknownApiKeyError"]

API_KEY_SCHEMA: Final = Schema(
    "security.api_keys",
    (
        (
            """CREATE TABLE _archstone_api_keys (
                hash BLOB PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                owner TEXT NOT NULL,
                name TEXT NOT NULL,
                hint TEXT NOT NULL,
                scopes TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                expires_at INTEGER NOT NULL,
                revoked_at INTEGER,
                replaces TEXT,
                last_used_at INTEGER,
                uses INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID""",
            "CREATE INDEX _archstone_api_keys_owner ON _archstone_api_keys (owner)",
            "CREATE INDEX _archstone_api_keys_expiry ON _archstone_api_keys (expires_at)",
        ),
        ("ALTER TABLE _archstone_api_keys ADD COLUMN per_minute INTEGER",),
    ),
)
COLUMNS: Final = (
    "id, owner, name, hint, scopes, created_at AS created_us, expires_at AS expires_us, revoked_at AS revoked_us,"
    " replaces, last_used_at AS last_used_us, uses, per_minute"
)


class TooManyApiKeysError(RejectedError, code="security.too-many-api-keys", status=409):
    """Somebody has as many API keys as one may have. None was made."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"API keys: there are {self.limit} already, as many as one may have: revoke one that is not used"


class UnknownApiKeyError(NotFoundError, code="security.unknown-api-key", status=404):
    """There is no such API key, or it is somebody else's, or it has ended."""

    def __str__(self) -> str:
        return "there is no such API key that is still good"


class ApiKey(NamedTuple):
    """What is known of a key. Its text is not."""

    id: str
    owner: str
    name: str
    """What its owner calls it."""
    hint: str
    """How it begins."""
    scopes: str
    """Names, parted by blanks."""
    created_us: int
    """Microseconds since the epoch, as below."""
    expires_us: int
    """The first microsecond at which it is refused."""
    revoked_us: int | None
    replaces: str | None
    """The id of the key that this one is the successor of."""
    last_used_us: int | None
    """None: never. Late by `flush_s` at most."""
    uses: int
    per_minute: int | None = None
    """Requests a minute at most. None: as many as the front door lets a program."""

    @property
    def stands(self) -> bool:
        """Whether it has not been revoked and is not over."""
        return self.revoked_us is None and world.now_us() < self.expires_us

    def principal(self, roles: Iterable[str] = ()) -> Principal:
        """Return who asks with it: its owner, with these roles, for its scopes only, by this key."""
        by = Program(f"key:{self.id}", self.per_minute)
        return Principal(self.owner, frozenset(roles), frozenset(self.scopes.split()), by)


class NewApiKey(NamedTuple):
    """A key that has just been made; its text is stored nowhere."""

    text: str
    key: ApiKey
