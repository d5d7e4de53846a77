"""The dead letters in the file of a SQLite broker."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from archstone import world
from archstone.data import Database
from archstone.messaging.broker import Channel, DeadLetter
from archstone.messaging.brokers import tables
from archstone.messaging.brokers.tables import Dead

__all__ = ["Graveyard"]

_HIGHEST: Final = 1 << 62
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Graveyard:
    """Lists, counts and sweeps dead letters. Burying and replaying move messages, so the broker does them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def oldest(self, *, group: str | None, limit: int) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first, at most `limit`."""
        return [_letter(dead) for dead in await self._database.all(Dead, tables.DEAD, group=group, limit=limit)]

    async def newest(
        self, *, group: str | None, key: str | None, before: int | None, limit: int
    ) -> Sequence[DeadLetter]:
        """Return dead letters below `before`, newest first, at most `limit`."""
        below = _HIGHEST if before is None else before
        if key is not None:
            found = await self._database.all(Dead, tables.DEAD_OF_KEY, key=key, group=group, before=below, limit=limit)
        else:
            found = await self._database.all(Dead, tables.DEAD_NEWEST, group=group, before=below, limit=limit)
        return [_letter(dead) for dead in found]

    async def drop(self, ids: Collection[int]) -> int:
        """Delete these for good."""
        return await self._database.execute(tables.DROP_DEAD, ids=orjson.dumps(sorted(ids)).decode())

    async def by_id(self, ids: Collection[int]) -> Sequence[DeadLetter]:
        """Return those of these ids that are there, oldest first."""
        wanted = orjson.dumps(sorted(ids)).decode()
        return [_letter(dead) for dead in await self._database.all(Dead, tables.DEAD_BY_ID, ids=wanted)]

    async def counts(self) -> dict[int, int]:
        """Return how many dead letters there are, by channel number."""
        return dict(await self._database.all(tuple[int, int], tables.DEAD_COUNTS))

    async def sweep(self, *, retention_s: float, limit: int) -> int:
        """Drop what is older than `retention_s`, and the oldest above `limit`."""
        before = world.now_us() - int(retention_s * 1_000_000)
        async with self._database.transaction() as tx:
            old = await tx.execute(tables.SWEEP_OLD, before=before)
            return old + await tx.execute(tables.SWEEP_MANY, keep=limit)


def _letter(dead: Dead) -> DeadLetter:
    channel = Channel(dead.topic, dead.group_name)
    buried_at = _EPOCH + timedelta(microseconds=dead.buried)
    return DeadLetter(dead.dead_id, channel, dead.envelope(), dead.attempts, dead.error, buried_at)
