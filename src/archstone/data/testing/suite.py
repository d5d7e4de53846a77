"""What the tests of the suite share: a table, and events to publish."""

from typing import ClassVar, NamedTuple

from archstone.data.database import Database
from archstone.data.event import Event
from archstone.data.portable import portable

__all__ = ["Item", "Noted", "Suite", "expect", "ids", "table"]


class Noted(Event, name="conformance.noted", version=1, key="id"):
    """An event to test with."""

    id: int


class Item(NamedTuple):
    """A row of the table."""

    id: int
    n: int
    word: str | None = None
    data: bytes | None = None
    part: float | None = None


class Suite:
    """Inherited by each part."""

    hold_limit_s: ClassVar[float] = 0.5
    """Seconds that a transaction of `db` may stay open."""
    shared: ClassVar[bool] = False
    """Whether several processes may open the database at once."""


def expect(held: object, sentence: str) -> None:
    """Raise AssertionError with `sentence` unless it holds; asserts of a library are not rewritten by pytest."""
    if not held:
        raise AssertionError(sentence)


async def table(db: Database, *numbers: int) -> None:
    """Create the table with a row for each number."""
    text = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0, word TEXT, data BLOB, part REAL)"
    await db.execute(portable(text, db.dialect))
    await db.many("INSERT INTO t (id) VALUES (:id)", [{"id": number} for number in numbers])


async def ids(db: Database) -> list[int]:
    """Return the ids that are committed."""
    return await db.all(int, "SELECT id FROM t ORDER BY id")
