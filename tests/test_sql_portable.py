"""Every SQL text in the source is prepared on a PostgreSQL, on the tables of its block or service.

What must be another text there is listed, with the reason. That a text can be prepared does not say that it means the
same: PostgreSQL sorts NULL last, LIKE there knows upper from lower case, and texts sort as the database was told to.
"""

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import asyncpg
import pytest

from archstone.data import Schema, compile_statement, split_script
from archstone.data.portable import portable
from archstone.data.schema import LEDGER

SOURCE = Path(__file__).parents[1] / "src" / "archstone"
SYSTEMS = SOURCE / "systems"

NOT_THE_SAME: dict[str, str] = {}
"""Files, or folders of migrations, with texts that need a variant for PostgreSQL and have none, and why."""
ENGINES = (
    "cache/stores/sqlite.py", "data/engines/", "data/testing/", "data/portable.py", "data/lease.py",
    "messaging/brokers/", "resilience/stores/sqlite.py",
    "observability/spanstore.py", "systems/shop/catalog/indexes/fts5.py", "systems/shop/invariants.py",
)  # fmt: skip
"""What runs on one database only, says itself what it says to which, or asks the databases of several services."""
_FIRST = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")

pytestmark = [pytest.mark.real_time, pytest.mark.slow]


def sources() -> Iterator[tuple[Path, ModuleType]]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if not name.startswith(ENGINES) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE) ", path.read_text()):
            dotted = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
            yield path, importlib.import_module(f"archstone.{dotted}")


def schemas() -> dict[str, Schema]:
    """Return the framework's tables by their block."""
    found = [value for _, module in sources() for value in vars(module).values() if isinstance(value, Schema)]
    return {schema.block: schema for schema in found}


def texts(path: Path, module: ModuleType) -> dict[str, int]:
    """Return the statements that stand in a file, or that its constants make, with their lines."""
    tree = ast.parse(path.read_text())
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr | ast.BinOp)
        for part in ast.walk(node)
        if part is not node
    }
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if id(node) in parts or not isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
            continue
        try:
            value = eval(compile(ast.Expression(node), str(path), "eval"), vars(module))
        except Exception:
            continue
        if isinstance(value, str) and _FIRST.match(value) and "{" not in value:
            found[value] = node.lineno
    return found


def folder_of(path: Path) -> Path | None:
    """Return the migrations of the service of a system to which a file belongs."""
    if not path.is_relative_to(SYSTEMS) or len(path.relative_to(SYSTEMS).parts) < 3:
        return None
    folder = SYSTEMS.joinpath(*path.relative_to(SYSTEMS).parts[:2])
    return folder / ("bank_migrations" if path.name == "bank.py" else "migrations")


class Databases:
    """A database per service, made when it is first asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.refused: dict[str, list[str]] = {}
        self._made: dict[Path | None, asyncpg.Connection] = {}

    async def of(self, folder: Path | None) -> asyncpg.Connection:
        if folder not in self._made:
            connection = self._made[folder] = await asyncpg.connect(self.url)
            schema = f"s{len(self._made)}"
            await connection.execute(f"CREATE SCHEMA {schema}; SET search_path TO {schema}")
            for statement in framework():
                await connection.execute(portable(statement, "postgresql"))
            if folder is not None:
                await self._migrate(connection, folder)
        return self._made[folder]

    async def _migrate(self, connection: asyncpg.Connection, folder: Path) -> None:
        for file in sorted(folder.glob("*.sql")):
            if ".sqlite." in file.name:
                continue
            for statement in split_script(file.read_text()):
                try:
                    await connection.execute(portable(statement, "postgresql"))
                except asyncpg.PostgresError as error:
                    told = f"{file.name}: {error}: {' '.join(statement.split())[-120:]}"
                    self.refused.setdefault(str(folder.relative_to(SOURCE)), []).append(told)

    async def close(self) -> None:
        for connection in self._made.values():
            await connection.close()


def framework() -> list[str]:
    """Return the statements that make the framework's tables."""
    made = [statement for schema in schemas().values() for statements in schema.versions for statement in statements]
    return [*LEDGER, *made]


@pytest.fixture
async def refused(postgres_url: str) -> Mapping[str, list[str]]:
    """Give what PostgreSQL refuses, by file or folder of migrations."""
    databases = Databases(postgres_url)
    run_once = set(framework())  # each is run where the tables are made, and some only there
    for path, module in sources():
        connection = await databases.of(folder_of(path))
        for text, line in texts(path, module).items():
            if text in run_once:
                continue
            try:
                await connection.prepare(compile_statement(text).dollars)
            except asyncpg.PostgresError as error:
                told = f"line {line}: {error}: {' '.join(text.split())}"
                databases.refused.setdefault(str(path.relative_to(SOURCE)), []).append(told)
    await databases.close()
    return databases.refused


async def test_every_text_can_be_run_on_postgresql_but_those_that_are_listed(refused: Mapping[str, list[str]]) -> None:
    assert {name: why for name, why in refused.items() if name not in NOT_THE_SAME} == {}
    assert sorted(refused) == sorted(NOT_THE_SAME)  # what has become the same is taken from the list
