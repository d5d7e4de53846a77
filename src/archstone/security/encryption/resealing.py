"""Seal what is stored again under the newest key, in the background, in batches.

    async for progress in reseal(db, phone, ring):
        log.info("resealing", seen=progress.seen, resealed=progress.resealed)

Each batch is one transaction and no longer than `limit` rows, so the service goes on meanwhile. A row that somebody
changes between reading and writing keeps the change: it is written only if it still holds what was read. Interrupted at
any point nothing is lost; begun again it goes through the table once more and finds less to do, or goes on after
`progress.after`.

A value that does not open is left as it is, counted, and named: one broken row does not hold up a rotation. Do not
retire the old key while `broken` is above 0.
"""

from collections.abc import AsyncGenerator
from typing import NamedTuple, TypeVar

from archstone.data import Database
from archstone.security.encryption.column import SealedColumn
from archstone.security.encryption.errors import BrokenSealError
from archstone.security.encryption.ring import SealRing

__all__ = ["Resealed", "reseal"]

T = TypeVar("T")


class Resealed(NamedTuple):
    """How far a resealing is."""

    seen: int
    """Rows looked at so far."""
    resealed: int
    """Rows sealed again so far."""
    broken: tuple[str, ...]
    """Rows whose value does not open, at most the first 100."""
    after: str
    """The last row that was looked at: where to go on."""


async def reseal(
    db: Database, column: SealedColumn[T], ring: SealRing, *, after: str = "", limit: int = 200
) -> AsyncGenerator[Resealed]:
    """Seal every value of a column again that is under another key than the one that seals now.

    Args:
        db: Where the table is.
        column: Its rows are named by text.
        ring: Opens all of them; from `DataKeys.ring`, after the new key has begun to seal.
        after: Where to go on. Empty: from the beginning.
        limit: Rows in one transaction, at least 1.

    Yields:
        How far it is, after each batch.
    """
    name, key = column.column, column.key
    rows_after = (
        # sql: names that the column was declared with, here and below
        f"SELECT {key}, {name} FROM {column.table} WHERE {name} IS NOT NULL AND {key} > :after"
        f" ORDER BY {key} LIMIT :limit"
    )
    write = f"UPDATE {column.table} SET {name} = :new WHERE {key} = :row AND {name} = :old"  # sql: the same
    seen = resealed = 0
    broken: list[str] = []
    while rows := await db.all(tuple[str, bytes], rows_after, after=after, limit=limit):
        async with db.transaction() as tx:
            for row, old in rows:
                if not ring.stale(old):
                    continue
                try:
                    new = column.seal(column.open(old, row=row, ring=ring), row=row, ring=ring)
                except BrokenSealError:
                    broken.append(row)
                    continue
                resealed += await tx.execute(write, new=new, row=row, old=old)
        seen, after = seen + len(rows), rows[-1][0]
        yield Resealed(seen, resealed, tuple(broken[:100]), after)
