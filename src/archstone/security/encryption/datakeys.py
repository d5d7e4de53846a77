"""Data keys in the database, wrapped by a root key that is elsewhere: rotation, time limits, destruction.

    keys = DataKeys(db, RootKeys.from_file(data / "encryption.json"))
    await keys.open()
    ring = await keys.ring("customers")             # from memory, nearly always
    ring.seal(b"...", context="customers.phone/42")

A scope has keys of its own: a table, a tenant, a person. The first use of a scope makes its first key.

**Rotation without downtime**: `rotate` adds a key, which opens at once and seals only after `keep_s`: by then every
process has asked again and knows it, so nobody meets a value whose key is new to them. Then `reseal` moves what is
stored over, and `retire` ends the old key. **Erasing**: `destroy` ends all keys of a scope, and with them whatever they
sealed.

Keys are kept in memory for `keep_s` at most, for at most `kept` scopes. So a process that did not destroy a key itself
opens with it no longer than that, and so a key service that is away is noticed no sooner.

What erasing cannot do: a backup from before holds the wrapped key, and the root key opens it. Let backups end, or take
the root key of person keys from a service that can destroy it. SQLite and PostgreSQL keep deleted bytes in their files
and logs for a while; they are wrapped keys, of no use without the root key.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from archstone import context, world
from archstone.context import Call
from archstone.data import ConstraintError, Database, Schema, Transaction
from archstone.resilience import check
from archstone.security.encryption.errors import KeysDestroyedError
from archstone.security.encryption.ring import KEY_BYTES, SealRing, key_id
from archstone.security.encryption.service import KeyService

__all__ = ["DATA_KEYS_SCHEMA", "DataKeys", "KeyState"]

_MICROS: Final = 1_000_000
_REWRAP_ROWS: Final = 100

DATA_KEYS_SCHEMA: Final = Schema(
    "security.data-keys",
    (
        (
            """CREATE TABLE _archstone_data_keys (
                scope TEXT NOT NULL,
                number INTEGER NOT NULL,
                name TEXT NOT NULL,
                wrapped BLOB,
                made_at INTEGER NOT NULL,
                ended_at INTEGER,
                PRIMARY KEY (scope, number)
            ) WITHOUT ROWID""",
        ),
    ),
)

_ALL: Final = "SELECT number, wrapped, made_at, ended_at FROM _archstone_data_keys WHERE scope = :scope"
_INSERT: Final = (
    "INSERT INTO _archstone_data_keys (scope, number, name, wrapped, made_at)"
    " VALUES (:scope, :number, :name, :wrapped, :at)"
)
_END: Final = "UPDATE _archstone_data_keys SET wrapped = NULL, ended_at = :at WHERE scope = :scope AND ended_at IS NULL"
_UNDER_OLD: Final = (
    "SELECT scope, number, wrapped FROM _archstone_data_keys"
    " WHERE ended_at IS NULL AND substr(scope, 1, :length) = :prefix"
    " AND (scope > :scope OR (scope = :scope AND number > :number))"
    " ORDER BY scope, number LIMIT :limit"
)


class KeyState(NamedTuple):
    """A data key, as far as people may know of it."""

    name: str
    """Hex, 16 digits, as in the header of what it sealed."""
    made_at: int
    """Microseconds since the epoch."""
    ended_at: int | None
    """When it was retired or destroyed. None: it opens."""


class _Row(NamedTuple):
    number: int
    wrapped: bytes | None
    made_at: int
    ended_at: int | None


class _Kept(NamedTuple):
    ring: SealRing
    until_s: float


class DataKeys:
    """The data keys of one database. Call `open` once before use."""

    def __init__(self, db: Database, service: KeyService, *, keep_s: float = 300.0, kept: int = 1_000) -> None:
        """Take where they are kept and what wraps them.

        Args:
            db: The database of the service whose data they seal.
            service: Keeps the root key.
            keep_s: Seconds that an unwrapped key is used before it is asked for again, above 0.
            kept: Scopes whose keys are in memory at the same time, at least 1.
        """
        self.keep_s = keep_s
        self.kept = kept
        check(self, keep_s=(keep_s > 0, "above 0"), kept=(kept >= 1, "at least 1"))
        self.db = db
        self._service = service
        self._rings: dict[str, _Kept] = {}
        self._loading: dict[str, asyncio.Task[SealRing]] = {}

    async def open(self) -> None:
        """Create the table if it is not there."""
        await self.db.ensure(DATA_KEYS_SCHEMA)

    async def close(self) -> None:
        """Wait until nothing is being asked of the database and the service any more, and forget all keys."""
        await asyncio.gather(*self._loading.values(), return_exceptions=True)
        self._rings.clear()

    async def ring(self, scope: str) -> SealRing:
        """Return the ring of a scope, whose first key is made if it has none.

        However many ask, the service is asked once. Ask before a transaction begins, and ask each time: a ring that is
        held on to misses rotations and destruction.

        Raises:
            KeysDestroyedError: The keys of the scope were destroyed.
            KeyServiceError: The service failed or refused.
            KeyServiceBusyError: The service throttles.
            BrokenSealError: The root key is another one than wrapped them, or the table was changed.
        """
        found = self._rings.get(scope)
        if found is not None and world.monotonic() < found.until_s:
            return found.ring
        loading = self._loading.get(scope)
        if loading is None:
            loading = asyncio.get_running_loop().create_task(self._load(scope), name="unwrap data keys")
            self._loading[scope] = loading
            loading.add_done_callback(partial(self._loaded, scope))
        # Shielded: who asked first and is cancelled must not fail the others.
        return await asyncio.shield(loading)

    async def rotate(self, scope: str) -> str:
        """Add a key to a scope and return its name. It seals after `keep_s`, when every process knows it."""
        await self.ring(scope)
        name = await self._add(scope, first=False)
        self._forget(scope)
        return name

    async def states(self, scope: str) -> list[KeyState]:
        """Return the keys of a scope, newest first, ended ones too."""
        return await self.db.all(
            KeyState,
            "SELECT name, made_at, ended_at FROM _archstone_data_keys WHERE scope = :scope ORDER BY number DESC",
            scope=scope,
        )

    async def retire(self, scope: str, name: str) -> bool:
        """End one key, for good; return whether it did: never one that a process may still seal with.

        That is so until its successor is twice `keep_s` old. What is still sealed under it is gone: reseal first, and
        see with `SealedColumn.keys_in` that nothing is left.
        """
        now_us = world.now_us()
        ended = await self.db.execute(
            f"{_END} AND name = :name AND number <"
            " (SELECT max(number) FROM _archstone_data_keys WHERE scope = :scope AND made_at <= :settled)",
            scope=scope, name=name, at=now_us, settled=now_us - 2 * round(self.keep_s * _MICROS),
        )  # fmt: skip
        self._forget(scope)
        return bool(ended)

    async def destroy(self, scope: str) -> None:
        """End all keys of a scope, for good: nobody opens what they sealed, and nothing new is sealed for it.

        A scope without a key gets one that has ended, so that it is remembered. Other processes follow within `keep_s`.
        """
        await self.db.run(partial(self._destroy, scope))
        self._forget(scope)

    def service(self, scope: str) -> KeyService:
        """Return what wraps keys under the ring of a scope: for other `DataKeys`, such as those of many persons.

        Then the root key's service is asked for one key, however many persons there are.
        """
        return _RingService(self, scope)

    def stale(self, scope: str, wrapped: bytes) -> bool:
        """Return whether it was sealed under another key of a scope than the one that seals now, as far as is known."""
        kept = self._rings.get(scope)
        return kept is None or kept.ring.stale(wrapped)

    async def rewrap(self, *, prefix: str = "") -> int:
        """Wrap again what an older root key has wrapped, and return how many keys that were.

        Afterwards the old root key opens nothing here. Interrupted, it goes on where it is called again.

        Args:
            prefix: Only scopes that begin with it: where the keys of several services lie in one table.
        """
        place, done = ("", -1), 0
        while rows := await self.db.all(
            tuple[str, int, bytes], _UNDER_OLD, scope=place[0], number=place[1], limit=_REWRAP_ROWS, prefix=prefix,
            length=len(prefix),
        ):  # fmt: skip
            for scope, number, wrapped in rows:
                done += await self._rewrapped(scope, number, wrapped)
            place = rows[-1][:2]
        return done

    async def _rewrapped(self, scope: str, number: int, wrapped: bytes) -> int:
        if not self._service.stale(wrapped):
            return 0
        bound = _place(scope)
        again = await self._service.wrap(await self._service.unwrap(wrapped, context=bound), context=bound)
        return await self.db.execute(
            "UPDATE _archstone_data_keys SET wrapped = :again WHERE scope = :scope AND number = :number"
            " AND wrapped = :wrapped",
            again=again, scope=scope, number=number, wrapped=wrapped,
        )  # fmt: skip

    async def _load(self, scope: str) -> SealRing:
        # The task was started inside somebody's call, perhaps with a deadline, and serves others too.
        context.set_current(Call())
        asked_s = world.monotonic()
        rows = await self._rows(scope)
        if not rows:
            await self._add(scope, first=True)
            rows = await self._rows(scope)
        alive = [row for row in rows if row.wrapped is not None]
        if not alive:
            raise KeysDestroyedError(scope)
        bound = _place(scope)
        keys = [await self._service.unwrap(row.wrapped or b"", context=bound) for row in alive]
        if self._loading.get(scope) is not asyncio.current_task():
            # The keys were destroyed or rotated after they were read, while the service was asked.
            return await self.ring(scope)
        ring = SealRing(keys, sealing=self._sealing(alive))
        if len(self._rings) >= self.kept:
            self._rings.pop(next(iter(self._rings)))
        # Counted from before the question: what was destroyed meanwhile is noticed no later than promised.
        self._rings[scope] = _Kept(ring, asked_s + self.keep_s)
        return ring

    def _loaded(self, scope: str, task: asyncio.Task[SealRing]) -> None:
        if self._loading.get(scope) is task:
            del self._loading[scope]
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; nobody may

    def _forget(self, scope: str) -> None:
        """Use neither the ring in memory nor one that is being made: both are from before."""
        self._rings.pop(scope, None)
        self._loading.pop(scope, None)

    def _sealing(self, rows: Sequence[_Row]) -> int:
        """Return the newest that every process knows, else the oldest: there is no other that more of them know."""
        known_us = world.now_us() - round(self.keep_s * _MICROS)
        return next((at for at, row in enumerate(rows) if row.made_at <= known_us), len(rows) - 1)

    async def _rows(self, scope: str) -> list[_Row]:
        return await self.db.all(_Row, f"{_ALL} ORDER BY number DESC", scope=scope)

    async def _add(self, scope: str, *, first: bool) -> str:
        key = world.secret_bytes(KEY_BYTES)
        wrapped = await self._service.wrap(key, context=_place(scope))
        name = key_id(key).hex()
        try:
            await self.db.run(partial(self._insert, scope, name, wrapped, first=first))
        except ConstraintError:
            if not first:
                raise
        return name

    async def _insert(self, scope: str, name: str, wrapped: bytes, tx: Transaction, *, first: bool) -> None:
        newest = await tx.first(_Row, f"{_ALL} ORDER BY number DESC LIMIT 1", scope=scope)
        if newest is not None and first:
            return  # another process was faster
        if newest is not None and newest.ended_at is not None:
            raise KeysDestroyedError(scope)
        number = 0 if newest is None else newest.number + 1
        await tx.execute(_INSERT, scope=scope, number=number, name=name, wrapped=wrapped, at=world.now_us())

    async def _destroy(self, scope: str, tx: Transaction) -> None:
        now_us = world.now_us()
        if not await tx.first(int, "SELECT count(*) FROM _archstone_data_keys WHERE scope = :scope", scope=scope):
            await tx.execute(_INSERT, scope=scope, number=0, name="", wrapped=None, at=now_us)
        await tx.execute(_END, scope=scope, at=now_us)


class _RingService:
    """A KeyService over the ring of a scope."""

    def __init__(self, keys: DataKeys, scope: str) -> None:
        self._keys = keys
        self._scope = scope

    async def wrap(self, key: bytes, *, context: str) -> bytes:
        return (await self._keys.ring(self._scope)).seal(key, context=context)

    async def unwrap(self, wrapped: bytes, *, context: str) -> bytes:
        return (await self._keys.ring(self._scope)).open(wrapped, context=context)

    def stale(self, wrapped: bytes) -> bool:
        return self._keys.stale(self._scope, wrapped)


def _place(scope: str) -> str:
    """Return what a wrapped key is bound to, so that it cannot be moved to another scope."""
    return f"archstone data key/{scope}"
