"""The user's migrations: SQL files applied in order when a database opens, each in one transaction.

Files are named `0001_what.sql`, or `0001_what.sqlite.sql` and `0001_what.postgresql.sql` where the dialects differ.
A file without a variant is written in portable terms (`archstone.data.portable`), one for PostgreSQL is run as it is.
Numbers start at 1 and have no gap. Forward only: an applied file never changes, which its checksum holds.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from archstone import world
from archstone.data.errors import BrokenMigrationError, StatementError
from archstone.data.portable import alone, portable
from archstone.data.sql import split_script, tokens
from archstone.errors import ArchstoneError

if TYPE_CHECKING:
    from archstone.data.database import Database

__all__ = ["MID_MIGRATION", "Migration", "migrate", "read_migrations", "statements_of"]

MID_MIGRATION: Final = world.declare_point(
    "data.mid_migration", "some statements of a migration have run, none is committed: the file is as before it"
)

_NAME: Final = re.compile(r"(\d{4})_(\w+?)(?:\.(\w+))?\.sql")


class Migration(NamedTuple):
    """One file, read; it is split when it is applied."""

    number: int
    path: Path
    text: str
    """With line ends as `\\n`."""
    checksum: str
    """SHA-256 of the text, in hex."""


class Applied(NamedTuple):
    """A row of the ledger of migrations."""

    number: int
    name: str
    checksum: str


def read_migrations(folder: Path, dialect: str) -> list[Migration]:
    """Return the migrations of `folder` for `dialect`, by number.

    Raises:
        BrokenMigrationError: The folder is missing, a name is malformed, a number is missing or there twice.
    """
    if not folder.is_dir():
        raise BrokenMigrationError(str(folder), "", "there is no such folder")
    found: dict[int, Path] = {}
    for path in sorted(folder.glob("*.sql")):
        number, variant = _parse(path)
        if variant not in (None, dialect):
            continue
        twin = found.get(number)
        if twin is not None:
            raise BrokenMigrationError(str(path), "", f"number {number:04} is also {twin.name}")
        found[number] = path
    for expected, number in enumerate(sorted(found), start=1):
        if number != expected:
            raise BrokenMigrationError(str(found[number]), "", f"number {expected:04} is missing before it")
    return [_read(number, found[number]) for number in sorted(found)]


def _parse(path: Path) -> tuple[int, str | None]:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise BrokenMigrationError(str(path), "", "the name must be like 0001_what.sql or 0001_what.sqlite.sql")
    return int(match[1]), match[3]


def _read(number: int, path: Path) -> Migration:
    text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    return Migration(number, path, text, hashlib.sha256(text.encode()).hexdigest())


def statements_of(migration: Migration, dialect: str) -> tuple[str, ...]:
    """Return what a migration runs on `dialect`, in order.

    Raises:
        BrokenMigrationError: It has no statement, or one with a parameter.
    """
    statements = tuple(split_script(migration.text))
    if not statements:
        raise BrokenMigrationError(str(migration.path), "", "there is no statement in it")
    for statement in statements:
        if named := [token.text for token in tokens(statement) if token.kind == "parameter"]:
            reason = f"a migration has no parameters, but {named[0]} is there"
            raise BrokenMigrationError(str(migration.path), statement, reason)
    if _parse(migration.path)[1] is None:
        return tuple(portable(statement, dialect) for statement in statements)
    return statements


async def migrate(db: "Database", folder: Path, *, dialect: str) -> int:
    """Apply what is new in `folder`, each file in one transaction, and return how many were.

    Raises:
        BrokenMigrationError: A file is broken, changed since it was applied, or gone. Files before it stay applied.
    """
    migrations = read_migrations(folder, dialect)
    applied = await db.all(Applied, "SELECT number, name, checksum FROM _archstone_migrations ORDER BY number")
    for row, known in zip(applied, migrations, strict=False):
        if row.checksum != known.checksum:
            reason = f"changed since it was applied (as {row.name}); write a new migration instead"
            raise BrokenMigrationError(str(known.path), "", reason)
    if len(applied) > len(migrations):
        gone = applied[len(migrations)]
        raise BrokenMigrationError(str(folder / gone.name), "", "was applied to this database and is gone")
    # All are split before the first one runs: a file that cannot be read leaves the database as it was.
    new = [(migration, statements_of(migration, dialect)) for migration in migrations[len(applied) :]]
    for migration, statements in new:
        await _apply(db, migration, statements)
    return len(new)


async def _apply(db: "Database", migration: Migration, statements: Sequence[str]) -> None:
    statement = ""
    try:
        async with db.transaction() as tx:
            await alone(tx)
            if await tx.first(int, "SELECT number FROM _archstone_migrations WHERE number = :n", n=migration.number):
                return  # another process was faster
            for statement in statements:
                await tx.execute(statement)
                world.point(MID_MIGRATION)
            await tx.execute(
                "INSERT INTO _archstone_migrations (number, name, checksum, at)"
                " VALUES (:number, :name, :checksum, :at)",
                number=migration.number,
                name=migration.path.name,
                checksum=migration.checksum,
                at=world.now_us(),
            )
    except ArchstoneError as error:
        reason = error.reason if isinstance(error, StatementError) else _reason(error)
        raise BrokenMigrationError(str(migration.path), statement, reason) from error


def _reason(error: ArchstoneError) -> str:
    return str(getattr(error, "reason", error))
