"""Typed rows."""

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NewType

import pytest
from pydantic import BaseModel

from archstone.data import Database, NoRowError, RowError

Sku = NewType("Sku", str)


class State(enum.Enum):
    OPEN = "open"


class Line(BaseModel, frozen=True):
    sku: str
    quantity: int


class Named(NamedTuple):
    id: int
    name: str
    note: str | None = None


@dataclass(frozen=True)
class Plain:
    name: str
    id: int


@dataclass(frozen=True, kw_only=True)
class Rich:
    id: Annotated[int, "key"]
    sku: Sku
    open: bool
    ratio: float
    state: State
    lines: tuple[Line, ...]
    parent: Line | None = None
    extra: list[int] = field(default_factory=list)


class Model(BaseModel, frozen=True):
    id: int
    lines: tuple[Line, ...] = ()


@pytest.fixture
async def db(tmp_path: Path):
    async with Database(f"sqlite:///{tmp_path}/x.db") as db:
        yield db


ONE = "SELECT 1 AS id, 'a' AS name"
RICH = (
    """SELECT 1 AS id, 'x' AS sku, 1 AS open, 2 AS ratio, 'open' AS state, 7 AS ignored,"""
    """ '[{"sku": "s", "quantity": 2}]' AS lines"""
)


@pytest.mark.parametrize(
    ("row", "sql", "expected"),
    [
        (int, "SELECT 1", 1),
        (str, "SELECT 'a'", "a"),
        (bytes, "SELECT x'00ff'", b"\x00\xff"),
        (float, "SELECT 2", 2.0),
        (bool, "SELECT 1", True),
        (tuple, ONE, (1, "a")),
        (tuple[int, str], ONE, (1, "a")),
        (tuple[bool, ...], "SELECT 0, 1", (False, True)),
        (tuple[int | None], "SELECT NULL", (None,)),
        (tuple[int, tuple[Line, ...]], """SELECT 1, '[{"sku":"s","quantity":2}]'""", (1, (Line(sku="s", quantity=2),))),
        (dict, ONE, {"id": 1, "name": "a"}),
        (Named, ONE, Named(1, "a")),
        (Named, "SELECT 'n' AS note, 'a' AS name, 1 AS id", Named(1, "a", "n")),
        (Plain, ONE, Plain("a", 1)),
        (Model, ONE, Model(id=1)),
        (
            Model,
            """SELECT 1 AS id, '[{"sku":"s","quantity":2}]' AS lines""",
            Model(id=1, lines=(Line(sku="s", quantity=2),)),
        ),
        (
            Rich,
            RICH,
            Rich(id=1, sku=Sku("x"), open=True, ratio=2.0, state=State.OPEN, lines=(Line(sku="s", quantity=2),)),
        ),
    ],
)
async def test_a_row_becomes_the_type_asked_for(db: Database, row: Any, sql: str, expected: object):
    found = await db.one(row, sql)
    assert found == expected
    assert type(found) is type(expected)
    assert await db.all(row, sql) == [expected]


@pytest.mark.parametrize(
    ("row", "sql", "text"),
    [
        (int, "SELECT 'a' AS n", "row type int: column n holds str"),
        (int, "SELECT NULL AS n", "row type int: column n holds NoneType; use coalesce or tuple[... | None]"),
        (int, ONE, "row type int: wants one column, the statement gives 2: id, name"),
        (tuple[int], ONE, "row type tuple[int]: wants 1 columns, the statement gives 2"),
        (Named, "SELECT 1 AS id", "row type Named: no column for name; the statement gives id"),
        (set, ONE, "row type set: is no scalar, tuple, NamedTuple, dataclass, pydantic model or dict"),
    ],
)
async def test_columns_that_do_not_fit_are_named(db: Database, row: Any, sql: str, text: str):
    with pytest.raises(RowError) as caught:
        await db.one(row, sql)
    assert str(caught.value) == text


async def test_a_statement_without_rows_says_what_to_use(db: Database):
    with pytest.raises(RowError, match=r"the statement gives no rows; use execute\(\)"):
        async with db.transaction() as tx:
            await tx.all(int, "CREATE TABLE t (a)")


async def test_nothing_found_is_an_error_for_one_and_none_for_first(db: Database):
    sql = "SELECT 1 AS id, 'a' AS name WHERE 0"
    with pytest.raises(NoRowError, match="no Named found; statement: SELECT 1 AS id"):
        await db.one(Named, sql)
    assert await db.first(Named, sql) is None
    assert await db.all(Named, sql) == []


async def test_a_changed_table_is_seen_through_the_cache(db: Database):
    await db.execute("CREATE TABLE t (id INTEGER, name TEXT)")
    await db.execute("INSERT INTO t VALUES (1, 'a')")
    assert await db.one(Named, "SELECT * FROM t") == Named(1, "a")
    await db.execute("ALTER TABLE t ADD COLUMN note TEXT DEFAULT 'n'")
    assert await db.one(Named, "SELECT * FROM t") == Named(1, "a", "n")
