"""API keys: for programs that act for somebody, found by scanners when they leak, stored only as a hash.

    async with ApiKeys(db, pepper=KeyFile(data / "api-keys.json").load()) as keys:
        made = await keys.create("ann", name="nightly export", scopes=["orders:read"])
        made.text                                  # ask_… shown once
        key = await keys.verify(text)              # or ApiKeyError

A key is `ask_`, 38 letters and digits of chance (226 bits), and 6 that are a checksum: `LEAKED` is the expression by
which scanners find them, and the checksum tells a real one from what merely looks like one, without asking anybody.

Stored is an HMAC-SHA-256 under a key that is kept outside the database. A slow hash, as for passwords, would protect
nothing more: there is nothing to guess in 226 bits, and each request would pay for it. The outside key is for who can
write into the database, and could otherwise put a key of their own there.

A key is looked up at each use, so that one that is revoked opens nothing from that moment on, in every process. Uses
are counted in memory and written every `flush_s`: a process that dies forgets the counts of that time, nothing else.
"""

import asyncio
import hmac
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self

from archstone import world
from archstone.data import Database, Transaction
from archstone.errors import ConfigError
from archstone.observability import get_logger
from archstone.resilience import RateLimit, RateLimitedError
from archstone.security.apikeyform import new_key, well_formed
from archstone.security.apikeyrows import (
    API_KEY_SCHEMA,
    COLUMNS,
    ApiKey,
    NewApiKey,
    TooManyApiKeysError,
    UnknownApiKeyError,
)
from archstone.security.audit import AuditLog
from archstone.security.errors import ApiKeyError
from archstone.security.keys import SigningKeys

__all__ = ["ApiKeys"]

_HINT: Final = 4
_MICROS: Final = 1_000_000
_MOST_PER_MINUTE: Final = 6_000
_REFUSALS: Final = RateLimit(1 / 60)
"""A key that has ended and is sent again and again: one record of it a minute."""
_log = get_logger(__name__)


class ApiKeys:
    """Makes, checks, rotates and revokes keys in a database. Open it by `async with`."""

    LEAKED: Final = r"\bask_[0-9A-Za-z]{44}\b"
    """What a scanner for leaked secrets looks for, with the prefix `ask`; `well_formed` then knows the real ones."""

    def __init__(
        self,
        db: Database,
        *,
        pepper: SigningKeys,
        prefix: str = "ask",
        longest_s: float = 365 * 86_400.0,
        most_each: int = 20,
        audit: AuditLog | None = None,
        flush_s: float = 10.0,
        most_counted: int = 10_000,
    ) -> None:
        """Take the database; nothing is read or written.

        Args:
            db: Where the hashes are kept.
            pepper: What the hashes are made with: the first makes, all are tried. Kept outside the database.
            prefix: What a key begins with: 2 to 10 small letters.
            longest_s: Seconds that a key lives at most, and by default. Above 0.
            most_each: Keys of one owner that are good at the same time. At least 1.
            audit: Where keys that are made, replaced and revoked are recorded with the change, and those that have
                ended and are sent all the same: a log in `db`. None: nowhere.
            flush_s: Seconds for which uses are counted in memory. Above 0.
            most_counted: Keys whose uses wait to be written; more are written at once. At least 1.
        """
        if not re.fullmatch("[a-z]{2,10}", prefix):
            raise ConfigError(f"ApiKeys: prefix={prefix!r} must be 2 to 10 small letters")
        if not (longest_s > 0 and most_each >= 1 and flush_s > 0 and most_counted >= 1):
            raise ConfigError(
                f"ApiKeys: longest_s={longest_s} and flush_s={flush_s} must be above 0, most_each={most_each} and "
                f"most_counted={most_counted} at least 1"
            )
        self._db = db
        self._peppers = pepper.keys
        self._prefix = prefix
        self._longest_us = round(longest_s * _MICROS)
        self._most_each = most_each
        self._audit = audit
        self._refusals = _REFUSALS.bind("refused API keys")
        self._flush_s = flush_s
        self._most_counted = most_counted
        self._uses: dict[str, tuple[int, int]] = {}
        self._used = asyncio.Event()
        self._full = asyncio.Event()
        self._flushing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Create the table if it is not there, and write down uses from now on."""
        await self._db.ensure(API_KEY_SCHEMA)
        if self._audit is not None:
            await self._audit.open()
        self._flushing = asyncio.create_task(self._flush_now_and_then(), name="uses of API keys")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Write down the uses that are not yet."""
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait([self._flushing])
        await self.flush()

    async def create(
        self,
        owner: str,
        *,
        name: str,
        scopes: Iterable[str],
        lifetime_s: float | None = None,
        per_minute: int | None = None,
    ) -> NewApiKey:
        """Make a key.

        Args:
            owner: Whose it is; whoever has the key acts as them.
            name: What the owner calls it: 1 to 100 characters.
            scopes: All that may be done with it: at most 50, none with a blank. The caller checks that they exist.
            lifetime_s: Seconds. None, or more than `longest_s`: that.
            per_minute: Requests a minute that the front door lets it make, in [1, 6000]. None: as many as any
                program.

        Raises:
            ConfigError: A name, scope or limit that cannot be.
            TooManyApiKeysError: The owner has as many as one may have.
        """
        wanted = sorted(set(scopes))
        if not 1 <= len(name) <= 100 or len(wanted) > 50 or any(not each or " " in each for each in wanted):
            raise ConfigError("ApiKeys.create: a name of 1 to 100 characters, and at most 50 scopes without blanks")
        if per_minute is not None and not 1 <= per_minute <= _MOST_PER_MINUTE:
            raise ConfigError(f"ApiKeys.create: per_minute={per_minute} must be in [1, {_MOST_PER_MINUTE}]")
        lives_us = self._longest_us if lifetime_s is None else min(round(lifetime_s * _MICROS), self._longest_us)
        expires_us = world.now_us() + lives_us
        await self.sweep()  # so that the table does not grow with what has ended

        async def work(tx: Transaction) -> NewApiKey:
            count = await tx.one(
                int,
                "SELECT count(*) FROM _archstone_api_keys WHERE owner = :owner AND revoked_at IS NULL"
                " AND expires_at > :now",
                owner=owner,
                now=world.now_us(),
            )
            if count >= self._most_each:
                raise TooManyApiKeysError(self._most_each)
            made = self._made(owner, name, " ".join(wanted), expires_us, per_minute=per_minute)
            await self._insert(tx, made)
            await self._record(tx, "keys.made", made.key)
            return made

        return await self._db.run(work)

    async def verify(self, text: str) -> ApiKey:
        """Return the key, and count the use.

        Raises:
            ApiKeyError: It opens nothing; `fault` says why. The answer to a client should not.
        """
        if not well_formed(text, prefix=self._prefix):
            raise ApiKeyError("malformed")
        for pepper in self._peppers:
            key = await self._db.first(
                ApiKey,
                f"SELECT {COLUMNS} FROM _archstone_api_keys WHERE hash = :hash",
                hash=_digest(pepper, text),
            )
            if key is not None:
                break
        else:
            raise ApiKeyError("unknown")
        now_us = world.now_us()
        if key.revoked_us is not None:
            raise self._refused(key, "revoked")
        if now_us >= key.expires_us:
            raise self._refused(key, "expired")
        self._count(key.id, now_us)
        return key

    async def rotate(self, key_id: str, *, owner: str, overlap_s: float = 86_400.0) -> NewApiKey:
        """Make the successor of a key: the same name, scopes and limit, and a whole life again.

        Args:
            key_id: Of the key.
            owner: Whose it is.
            overlap_s: Seconds for which the old one goes on, so that programs can change over. At least 0.

        Raises:
            UnknownApiKeyError: The owner has no such key that is still good.
        """
        now_us = world.now_us()

        async def work(tx: Transaction) -> NewApiKey:
            old = await tx.first(
                ApiKey,
                f"SELECT {COLUMNS} FROM _archstone_api_keys WHERE id = :id AND owner = :owner"
                " AND revoked_at IS NULL AND expires_at > :now",
                id=key_id,
                owner=owner,
                now=now_us,
            )
            if old is None:
                raise UnknownApiKeyError
            await tx.execute(
                "UPDATE _archstone_api_keys SET expires_at = :ends WHERE id = :id",
                ends=min(old.expires_us, now_us + round(max(0.0, overlap_s) * _MICROS)),
                id=key_id,
            )
            ends_us = now_us + self._longest_us
            made = self._made(owner, old.name, old.scopes, ends_us, per_minute=old.per_minute, replaces=key_id)
            await self._insert(tx, made)
            await self._record(tx, "keys.rotated", made.key)
            return made

        return await self._db.run(work)

    async def revoke(self, key_id: str, *, owner: str) -> bool:
        """End a key at once, in every process; False if the owner has no such key, or it has ended."""
        return await self._revoke("id = :id AND owner = :owner", id=key_id, owner=owner) > 0

    async def revoke_text(self, text: str) -> bool:
        """End a key whose text has been found where it must not be; False if it is none of ours, or has ended."""
        revoked = 0
        for pepper in self._peppers:
            revoked += await self._revoke("hash = :hash", hash=_digest(pepper, text))
        return revoked > 0

    async def revoke_all(self, owner: str) -> int:
        """End every key of an owner; return how many that were."""
        return await self._revoke("owner = :owner", owner=owner)

    async def keys_of(self, owner: str) -> list[ApiKey]:
        """Return the keys of an owner, at most 200: those that are good, newest first, then those that have ended.

        In this order, so that nobody hides a key that is good behind many that they have made and revoked.
        """
        return await self._db.all(
            ApiKey,
            f"SELECT {COLUMNS} FROM _archstone_api_keys WHERE owner = :owner"
            " ORDER BY CASE WHEN revoked_at IS NULL AND expires_at > :now THEN 0 ELSE 1 END,"
            " created_at DESC, id DESC LIMIT 200",
            owner=owner,
            now=world.now_us(),
        )

    async def flush(self) -> None:
        """Write down the uses that were counted. Called by itself."""
        uses, self._uses = self._uses, {}
        self._full.clear()
        if not uses:
            return
        rows = [{"id": key_id, "count": count, "last": last_us} for key_id, (count, last_us) in uses.items()]
        await self._db.many(
            "UPDATE _archstone_api_keys SET uses = uses + :count, last_used_at ="
            " CASE WHEN last_used_at > :last THEN last_used_at ELSE :last END WHERE id = :id",
            rows,
        )

    async def sweep(self, *, keep_s: float = 30 * 86_400.0, limit: int = 1_000) -> int:
        """Delete at most `limit` keys that ended `keep_s` seconds ago, or longer; return how many."""
        return await self._db.execute(
            "DELETE FROM _archstone_api_keys WHERE id IN (SELECT id FROM _archstone_api_keys"
            " WHERE expires_at <= :gone OR revoked_at <= :gone LIMIT :limit)",
            gone=world.now_us() - round(keep_s * _MICROS),
            limit=limit,
        )

    def _count(self, key_id: str, now_us: int) -> None:
        self._uses[key_id] = self._uses.get(key_id, (0, 0))[0] + 1, now_us
        self._used.set()
        if len(self._uses) >= self._most_counted:
            self._full.set()

    def _made(
        self,
        owner: str,
        name: str,
        scopes: str,
        expires_us: int,
        *,
        per_minute: int | None,
        replaces: str | None = None,
    ) -> NewApiKey:
        text = new_key(self._prefix)
        hint = text[: len(self._prefix) + 1 + _HINT]
        made_us = world.now_us()
        key = ApiKey(
            world.new_id(), owner, name, hint, scopes, made_us, expires_us, None, replaces, None, 0, per_minute
        )
        return NewApiKey(text, key)

    async def _insert(self, tx: Transaction, made: NewApiKey) -> None:
        key = made.key
        await tx.execute(
            "INSERT INTO _archstone_api_keys"
            " (hash, id, owner, name, hint, scopes, created_at, expires_at, replaces, per_minute)"
            " VALUES (:hash, :id, :owner, :name, :hint, :scopes, :created, :expires, :replaces, :per_minute)",
            hash=_digest(self._peppers[0], made.text),
            id=key.id,
            owner=key.owner,
            name=key.name,
            hint=key.hint,
            scopes=key.scopes,
            created=key.created_us,
            expires=key.expires_us,
            replaces=key.replaces,
            per_minute=key.per_minute,
        )

    async def _revoke(self, which: str, **values: object) -> int:
        """End the keys that a condition chooses, and record each; return how many."""

        async def work(tx: Transaction) -> int:
            stands = f"{which} AND revoked_at IS NULL"
            keys: Sequence[ApiKey] = []
            if self._audit is not None:
                said = f"SELECT {COLUMNS} FROM _archstone_api_keys WHERE {stands}"  # sql: a text of this class
                keys = await tx.all(ApiKey, said, **values)
            ended = f"UPDATE _archstone_api_keys SET revoked_at = :now WHERE {stands}"  # sql: the same
            changed = await tx.execute(ended, now=world.now_us(), **values)
            for key in keys:
                await self._record(tx, "keys.revoked", key)
            return changed

        return await self._db.run(work)

    async def _record(self, tx: Transaction, action: str, key: ApiKey) -> None:
        if self._audit is not None:
            told = {"owner": key.owner, "scopes": key.scopes, "per_minute": key.per_minute, "replaces": key.replaces}
            await self._audit.record(action, subject=key.id, details=told, tx=tx)

    def _refused(self, key: ApiKey, fault: Literal["revoked", "expired"]) -> ApiKeyError:
        """Take note of a key that has ended and is sent all the same: a leak, or a program that was forgotten."""
        if self._audit is not None:
            with suppress(RateLimitedError):
                self._refusals.take(key.id)
                told = {"owner": key.owner, "why": fault}
                self._audit.note("keys.refused", outcome="denied", subject=key.id, who="", details=told)
        return ApiKeyError(fault)

    async def _flush_now_and_then(self) -> None:
        while True:
            await self._used.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._flush_s):
                    await self._full.wait()
            self._used.clear()
            kept = self._uses
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - counts are worth no more than another try
                _log.warning("uses of API keys are not written yet", exc_info=error)
                self._add_again(kept)

    def _add_again(self, uses: dict[str, tuple[int, int]]) -> None:
        for key_id, (count, last_us) in uses.items():
            later, at_us = self._uses.get(key_id, (0, 0))
            self._uses[key_id] = count + later, max(last_us, at_us)
        self._used.set()


def _digest(pepper: bytes, text: str) -> bytes:
    return hmac.digest(pepper, b"archstone api key " + text.encode("utf-8", "surrogatepass"), "sha256")
