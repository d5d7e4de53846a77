"""Refresh tokens: what keeps a user signed in, good for one use, stored only as a hash.

Each use gives the next one of its family. A token that comes a second time has been copied, by whom nobody can
tell, so the whole family is revoked: the thief is out, and so is the user, who signs in again. The same happens to
a client that did not get the answer to its own use. Given `Revocations`, the access tokens that name a family as
their grant end with it, in the same transaction.

Source: RFC 9700 (OAuth 2.0 security best practice), section 4.14.2.
"""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar

from archstone import context, world
from archstone.context import Call
from archstone.data import Database, Schema
from archstone.security.errors import RefreshTokenError
from archstone.security.revocations import Revocations

__all__ = ["REFRESH_SCHEMA", "Looked", "RefreshToken", "RefreshTokens", "Rotated", "Statements"]

T = TypeVar("T")

_SECRET_BYTES: Final = 32
_SWEEP_ROWS: Final = 1_000
_MICROS: Final = 1_000_000

_TABLE: Final = """
CREATE TABLE _archstone_refresh_tokens (
    hash BLOB PRIMARY KEY,
    family TEXT NOT NULL,
    user_id TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER
) WITHOUT ROWID"""

REFRESH_SCHEMA: Final = Schema(
    "security.refresh",
    (
        (
            _TABLE,
            "CREATE INDEX _archstone_refresh_tokens_family ON _archstone_refresh_tokens (family)",
            "CREATE INDEX _archstone_refresh_tokens_user ON _archstone_refresh_tokens (user_id)",
            "CREATE INDEX _archstone_refresh_tokens_expiry ON _archstone_refresh_tokens (expires_at)",
        ),
    ),
)


class Statements(Protocol):
    """An open transaction, as far as it is needed here: `Transaction` of data, or a service's `self.tx`."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...

    def first(self, row: type[T], sql: str, /, **params: object) -> Awaitable[T | None]:
        """Return the first row, or None."""
        ...

    def all(self, row: type[T], sql: str, /, **params: object) -> Awaitable[list[T]]:
        """Return all rows."""
        ...

    def many(self, sql: str, rows: Iterable[Mapping[str, object]]) -> Awaitable[int]:
        """Run a statement once per mapping of parameters."""
        ...

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once this is durable; never if it is rolled back."""
        ...


class RefreshToken(NamedTuple):
    """A refresh token that has just been issued; its text is stored nowhere."""

    text: str
    family: str
    """The sign-in that it goes back to."""
    expires_us: int
    """Microseconds since the epoch."""


class Rotated(NamedTuple):
    """What a used refresh token gives: whose it was, and the next one."""

    user_id: str
    token: RefreshToken


class Looked(NamedTuple):
    """What is known of a token."""

    family: str
    expires_us: int
    """Microseconds since the epoch."""
    good: bool
    """Whether it could be used now."""


class _Row(NamedTuple):
    family: str
    user_id: str
    expires_at: int
    used_at: int | None
    revoked_at: int | None


_REVOKE: Final = "UPDATE _archstone_refresh_tokens SET revoked_at = :now WHERE revoked_at IS NULL"
_SELECT: Final = (
    "SELECT family, user_id, expires_at, used_at, revoked_at FROM _archstone_refresh_tokens WHERE hash = :hash"
)


class RefreshTokens:
    """Issues, rotates and revokes refresh tokens in a database.

    Call `open` once before use, `sweep` now and then, and `close` at the end.
    """

    def __init__(self, db: Database, *, lifetime_s: float = 7 * 86_400, revocations: Revocations | None = None) -> None:
        """Take the database of the service that owns the users.

        Args:
            db: Where the tokens' hashes are kept.
            lifetime_s: Seconds for which a token can be used, above 0. Each rotation begins anew.
            revocations: Hears of each family that ends. None: access tokens live on until they expire.
        """
        self._db = db
        self._revocations = revocations
        self._lifetime_us = round(lifetime_s * _MICROS)
        self._revoking: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Create the table if it is not there."""
        await self._db.ensure(REFRESH_SCHEMA)

    async def close(self) -> None:
        """Wait until every revocation that a reuse has caused is on disk."""
        await asyncio.gather(*self._revoking.values())

    async def issue(self, user_id: str, tx: Statements, *, family: str | None = None) -> RefreshToken:
        """Return the first token of a new family: the user has signed in.

        Args:
            user_id: Whose it is.
            tx: The transaction.
            family: Its name, such as the id of a consent; no other family has it. None: a new id.
        """
        return await self._insert(user_id, world.new_id() if family is None else family, tx)

    async def look(self, token: str, tx: Statements | Database) -> Looked | None:
        """Return what is known of a token, without using it. None: it is unknown."""
        row = await tx.first(_Row, _SELECT, hash=_digest(token))
        if row is None:
            return None
        good = row.used_at is None and row.revoked_at is None and world.now_us() < row.expires_at
        return Looked(row.family, row.expires_at, good)

    async def rotate(self, token: str, tx: Statements) -> Rotated:
        """Use up `token` and return its successor.

        A reuse revokes the family in a transaction of its own, since the caller's one is likely to be rolled back
        by the error. Within this process the family is refused at once; a crash before that other transaction
        commits forgets the reuse, not the use.

        Raises:
            RefreshTokenError: The token is unknown, expired, revoked or reused; `fault` says which. The response
                to a client should not.
        """
        digest = _digest(token)
        row = await tx.first(_Row, _SELECT, hash=digest)
        if row is None:
            raise RefreshTokenError("unknown")
        now_us = world.now_us()
        if row.revoked_at is not None or row.family in self._revoking:
            raise RefreshTokenError("revoked")
        if now_us >= row.expires_at:
            raise RefreshTokenError("expired")
        used = row.used_at is None and await tx.execute(
            "UPDATE _archstone_refresh_tokens SET used_at = :now WHERE hash = :hash AND used_at IS NULL",
            now=now_us,
            hash=digest,
        )
        if not used:
            self._begin_revoking(row.family)
            raise RefreshTokenError("reused", row.user_id)
        return Rotated(row.user_id, await self._insert(row.user_id, row.family, tx))

    async def revoke(self, tx: Statements, *, token: str) -> int:
        """Sign out: revoke the family of `token`; return how many tokens that ended. An unknown token ends none."""
        return await self._revoke(
            tx,
            f"{_REVOKE} AND family = (SELECT family FROM _archstone_refresh_tokens WHERE hash = :hash)"
            " RETURNING family",
            hash=_digest(token),
        )

    async def revoke_family(self, tx: Statements, *, family: str) -> int:
        """Revoke every token of a sign-in; return how many that ended."""
        return await self._revoke(tx, f"{_REVOKE} AND family = :family RETURNING family", family=family)

    async def revoke_user(self, tx: Statements, *, user_id: str, but: str | None = None) -> int:
        """Sign a user out everywhere; return how many tokens that ended.

        Args:
            tx: The transaction.
            user_id: Whose tokens.
            but: A token whose family goes on. None, or one that is unknown: none does.
        """
        return await self._revoke(
            tx,
            f"{_REVOKE} AND user_id = :user_id"
            " AND family <> coalesce((SELECT family FROM _archstone_refresh_tokens WHERE hash = :kept), '')"
            " RETURNING family",
            user_id=user_id,
            kept=None if but is None else _digest(but),
        )

    async def sweep(self, tx: Statements, *, limit: int = _SWEEP_ROWS) -> int:
        """Delete at most `limit` expired tokens and return how many. Used and revoked ones stay until they expire."""
        return await tx.execute(
            "DELETE FROM _archstone_refresh_tokens WHERE hash IN"
            " (SELECT hash FROM _archstone_refresh_tokens WHERE expires_at <= :now LIMIT :limit)",
            now=world.now_us(),
            limit=limit,
        )

    async def _revoke(self, tx: Statements, statement: str, **params: object) -> int:
        """Run a statement that revokes, and have access tokens of the families end with it."""
        families = await tx.all(str, statement, now=world.now_us(), **params)
        if self._revocations is not None:
            await self._revocations.revoke_grants(dict.fromkeys(families), tx=tx)
        return len(families)

    async def _insert(self, user_id: str, family: str, tx: Statements) -> RefreshToken:
        secret = base64.urlsafe_b64encode(world.secret_bytes(_SECRET_BYTES)).decode("ascii").rstrip("=")
        now_us = world.now_us()
        token = RefreshToken(f"rt_{secret}", family, now_us + self._lifetime_us)
        await tx.execute(
            "INSERT INTO _archstone_refresh_tokens (hash, family, user_id, issued_at, expires_at)"
            " VALUES (:hash, :family, :user_id, :now, :expires_at)",
            hash=_digest(token.text),
            family=family,
            user_id=user_id,
            now=now_us,
            expires_at=token.expires_us,
        )
        return token

    def _begin_revoking(self, family: str) -> None:
        task = asyncio.get_running_loop().create_task(self._revoke_apart(family), name="revoke refresh token family")
        self._revoking[family] = task
        task.add_done_callback(lambda _task: self._revoking.pop(family, None))

    async def _revoke_apart(self, family: str) -> None:
        # The task was started inside the caller's transaction and has inherited its call.
        context.set_current(Call())
        await self._db.run(partial(self.revoke_family, family=family))


def _digest(token: str) -> bytes:
    """Return the hash under which a token is stored.

    SHA-256 without salt or stretching is enough: the token has 256 bits of chance, so nothing can be guessed.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
