"""Forward-only migrations."""

from pathlib import Path

import pytest

from archstone.data import BrokenMigrationError, Database

ONE = "CREATE TABLE a (n INTEGER);\nCREATE TABLE b (n INTEGER);\n"
TWO = "ALTER TABLE a ADD COLUMN m INTEGER;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    return folder


def database(folder: Path) -> Database:
    return Database(f"sqlite:///{folder.parent}/x.db", migrations=folder)


async def opened(folder: Path) -> list[str]:
    async with database(folder) as db:
        return await db.all(str, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('a', 'b', 'c')")


async def broken(folder: Path) -> str:
    with pytest.raises(BrokenMigrationError) as caught:
        await opened(folder)
    return str(caught.value).replace(str(folder), "F").replace(str(folder.parent), "P")


async def test_migrations_are_applied_in_order_and_once(folder: Path):
    (folder / "0001_tables.sql").write_text(ONE)
    assert await opened(folder) == ["a", "b"]
    (folder / "0002_column.sql").write_text(TWO)
    (folder / "README.md").write_text("not a migration")
    assert await opened(folder) == ["a", "b"]
    async with database(folder) as db:
        assert await db.all(str, "SELECT name FROM _archstone_migrations") == ["0001_tables.sql", "0002_column.sql"]
        assert await db.all(str, "SELECT name FROM pragma_table_info('a')") == ["n", "m"]


async def test_the_variant_of_the_dialect_is_taken(folder: Path):
    (folder / "0001_tables.sqlite.sql").write_text("CREATE TABLE a (n INTEGER)")
    (folder / "0001_tables.postgresql.sql").write_text("CREATE TABLE b (n BIGSERIAL)")
    assert await opened(folder) == ["a"]


async def test_a_broken_statement_undoes_its_whole_file_and_keeps_those_before(folder: Path):
    (folder / "0001_tables.sql").write_text(ONE)
    (folder / "0002_wrong.sql").write_text("CREATE TABLE c (n INTEGER);\nINSERT INTO nowhere VALUES (1);")
    assert await broken(folder) == (
        "migration F/0002_wrong.sql: database P/x.db: no such table: nowhere; statement: INSERT INTO nowhere VALUES "
        "(1); nothing of it was applied"
    )
    (folder / "0002_wrong.sql").unlink()
    assert await opened(folder) == ["a", "b"]


async def test_a_changed_file_is_refused_but_not_for_its_line_ends(folder: Path):
    path = folder / "0001_tables.sql"
    path.write_text(ONE)
    await opened(folder)
    path.write_bytes(ONE.replace("\n", "\r\n").encode())
    await opened(folder)
    path.write_text(ONE + "-- changed")
    assert await broken(folder) == (
        "migration F/0001_tables.sql: changed since it was applied (as 0001_tables.sql); write a new migration "
        "instead; nothing of it was applied"
    )
    path.unlink()
    assert "0001_tables.sql: was applied to this database and is gone" in await broken(folder)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"0002_b.sql": ONE}, "0002_b.sql: number 0001 is missing before it"),
        ({"0001_a.sql": ONE, "0001_b.sql": ONE}, "0001_b.sql: number 0001 is also 0001_a.sql"),
        ({"1_a.sql": ONE}, "1_a.sql: the name must be like 0001_what.sql or 0001_what.sqlite.sql"),
        ({"0001_a.sql": "-- nothing"}, "0001_a.sql: there is no statement in it"),
        ({"0001_a.sql": "SELECT :p"}, "a migration has no parameters, but :p is there; statement: SELECT :p"),
        ({"0001_a.sql": "BEGIN; CREATE TABLE a (n); COMMIT"}, "BEGIN is for the engine to say, not for a statement"),
        ({"0001_a.sql": "CREATE TABLE a (n REFERENCES a INITIALLY DEFERRED)"}, "INITIALLY DEFERRED constraints are"),
    ],
)
async def test_malformed_folders_are_refused_with_nothing_applied(folder: Path, files: dict[str, str], text: str):
    for name, content in files.items():
        (folder / name).write_text(content)
    assert text in await broken(folder)
    for path in folder.iterdir():
        path.unlink()
    assert await opened(folder) == []


async def test_a_missing_folder_is_told(tmp_path: Path):
    assert await broken(tmp_path / "nowhere") == "migration F: there is no such folder; nothing of it was applied"
