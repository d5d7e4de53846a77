"""Revocations in a database: durable, and told to other processes at once where it can tell."""

from collections.abc import Callable, Sequence
from typing import Final

from archstone import world
from archstone.data import Database, Schema
from archstone.security.revocations import RevocationTransaction, Revoked

__all__ = ["REVOCATION_SCHEMA", "DatabaseRevocations"]

_WORD: Final = "archstone.security.revoked"
_SWEEP_ROWS: Final = 1_000

REVOCATION_SCHEMA: Final = Schema(
    "security.revocations",
    (
        (
            """CREATE TABLE _archstone_revocations (
                key TEXT PRIMARY KEY,
                before_at INTEGER NOT NULL,
                expires_at INTEGER NOT NULL,
                added_at INTEGER NOT NULL
            )""",
            "CREATE INDEX _archstone_revocations_added ON _archstone_revocations (added_at)",
            "CREATE INDEX _archstone_revocations_expiry ON _archstone_revocations (expires_at)",
        ),
    ),
)


_ADD: Final = (
    "INSERT INTO _archstone_revocations (key, before_at, expires_at, added_at)"
    " VALUES (:key, :before_at, :expires_at, :now) ON CONFLICT (key) DO UPDATE SET"
    " before_at = CASE WHEN excluded.before_at > _archstone_revocations.before_at"
    " THEN excluded.before_at ELSE _archstone_revocations.before_at END,"
    " expires_at = CASE WHEN excluded.expires_at > _archstone_revocations.expires_at"
    " THEN excluded.expires_at ELSE _archstone_revocations.expires_at END, added_at = excluded.added_at"
)


class DatabaseRevocations:
    """A `RevocationStore` in a table. `REVOCATION_SCHEMA` belongs among the schemas of the database, or call `open`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @property
    def shared(self) -> bool:
        """Whether other processes may have the database open."""
        return self._db.shared

    async def open(self) -> None:
        """Create the table if it is not there."""
        await self._db.ensure(REVOCATION_SCHEMA)

    async def add(self, entries: Sequence[Revoked], *, tx: RevocationTransaction | None = None) -> None:
        """Keep entries; when this returns they are on disk, or will be when `tx`, of the same database, is."""
        now_us = world.now_us()
        rows = [
            {"key": each.key, "before_at": each.before_us, "expires_at": each.expires_us, "now": now_us}
            for each in entries
        ]
        if tx is None:
            await self._db.many(_ADD, rows)
            self._db.signal(_WORD)
        else:
            await tx.many(_ADD, rows)
            tx.after_commit(lambda: self._db.signal(_WORD))

    async def since(self, at_us: int) -> Sequence[Revoked]:
        """Return what was added at `at_us` or later, and has not expired."""
        return await self._db.all(
            Revoked,
            "SELECT key, before_at AS before_us, expires_at AS expires_us FROM _archstone_revocations"
            " WHERE added_at >= :at AND expires_at > :now",
            at=at_us,
            now=world.now_us(),
        )

    def listen(self, news: Callable[[], None]) -> Callable[[], None]:
        """Call `news` when this or another process has added something."""
        return self._db.listen(_WORD, news)

    async def sweep(self, *, tx: RevocationTransaction | None = None, limit: int = _SWEEP_ROWS) -> int:
        """Delete at most `limit` entries that have expired, in `tx` or alone; return how many."""
        return await (tx or self._db).execute(
            "DELETE FROM _archstone_revocations WHERE key IN"
            " (SELECT key FROM _archstone_revocations WHERE expires_at <= :now LIMIT :limit)",
            now=world.now_us(),
            limit=limit,
        )
