"""Tables of the framework's own blocks, versioned apart from the user's migrations.

A block declares a `Schema` and calls `await db.ensure(SCHEMA)` when it opens; the ledger remembers which version the
file has. Forward only: what is released is never changed, a change is one more version.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from archstone import world
from archstone.data.errors import NewerSchemaError
from archstone.data.portable import alone, portable

if TYPE_CHECKING:
    from archstone.data.transaction import Transaction

__all__ = ["LEDGER", "Schema", "apply_schema", "make_ledger"]

LEDGER: Final = (
    """CREATE TABLE IF NOT EXISTS _archstone_ledger (
        block TEXT PRIMARY KEY, version INTEGER NOT NULL, at INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS _archstone_migrations (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, at INTEGER NOT NULL
    )""",
)


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one block."""

    block: str
    """Name of the block in the ledger, such as `sagas`."""
    versions: tuple[tuple[str, ...], ...]
    """The statements that lead to version 1, to version 2, and so on. Only ever appended to."""


async def make_ledger(tx: "Transaction") -> None:
    """Create the ledger inside `tx` where it is missing."""
    await alone(tx)
    for statement in LEDGER:
        await tx.execute(portable(statement, tx.db.dialect))


async def apply_schema(tx: "Transaction", schema: Schema, *, file: str) -> None:
    """Bring the tables of `schema` to its last version inside `tx`; nothing happens if they are there.

    Raises:
        NewerSchemaError: The file has a later version than `schema` knows.
    """
    await alone(tx)
    found = await tx.first(int, "SELECT version FROM _archstone_ledger WHERE block = :block", block=schema.block) or 0
    known = len(schema.versions)
    if found > known:
        raise NewerSchemaError(file, schema.block, found, known)
    if found == known:
        return
    for statements in schema.versions[found:]:
        for statement in statements:
            await tx.execute(portable(statement, tx.db.dialect))
    await tx.execute(
        "INSERT INTO _archstone_ledger (block, version, at) VALUES (:block, :version, :at)"
        " ON CONFLICT (block) DO UPDATE SET version = excluded.version, at = excluded.at",
        block=schema.block,
        version=known,
        at=world.now_us(),
    )
