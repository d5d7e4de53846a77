"""What finds orders by product and by words: a read model, made from the history a moment after an order was placed.

lines    a row per product of an order
words    a full-text index: FTS5 on SQLite, a `tsvector` on PostgreSQL
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, cast

from archstone.data import Event, Transaction
from archstone.eventsourcing import Projection, ProjectorSettings, Recorded
from archstone.systems.shop.orders.events import OrderPlaced

__all__ = ["INDEXING", "MAX_WORDS", "OrderIndex", "expression_of", "words_in"]

INDEXING: Final = ProjectorSettings(batch=500, gather_s=0.25)
"""Some hundred orders at a time: it must not get into the way of those who order."""

MAX_WORDS: Final = 8
"""Words of a search that count; those after them are dropped."""
_WORD: Final = re.compile(r"[^\W_]+")
_LINES: Final = (
    "CREATE TABLE {lines} (sku TEXT NOT NULL, placed_at BIGINT NOT NULL, order_id TEXT NOT NULL,"
    " PRIMARY KEY (sku, placed_at, order_id))"
)
_TABLES: Final = {
    "sqlite": (
        f"{_LINES} WITHOUT ROWID",
        "CREATE VIRTUAL TABLE {words} USING fts5 (words, order_id UNINDEXED, columnsize = 0, prefix = '2 3 8')",
    ),
    "postgresql": (
        _LINES,
        "CREATE TABLE {words} (rowid BIGINT PRIMARY KEY, words TSVECTOR NOT NULL, order_id TEXT NOT NULL)",
        "CREATE INDEX {words}_index ON {words} USING gin (words)",
    ),
}
_ADD_WORDS: Final = {
    "sqlite": "INSERT INTO {words} (rowid, words, order_id) VALUES (:position, :words, :order_id)",
    # Not to_tsvector, whose parser knows addresses, signs and hyphens: they are words already.
    "postgresql": "INSERT INTO {words} (rowid, words, order_id)"
    " VALUES (:position, array_to_tsvector(string_to_array(CAST(:words AS TEXT), ' ')), :order_id)",
}


class OrderIndex(Projection, name="order-index", version=1, together=(OrderPlaced,)):
    """Orders by product and by words."""

    async def create(self, tx: Transaction) -> None:
        """Make both tables."""
        for statement in _TABLES[tx.db.dialect]:
            await tx.execute(statement.format(lines=self.table("lines"), words=self.table("words")))

    async def drop(self, tx: Transaction) -> None:
        """Drop both tables."""
        for name in ("lines", "words"):
            await tx.execute(f"DROP TABLE {self.table(name)}")  # sql: one of the two above

    async def write_together(self, tx: Transaction, events: Sequence[Recorded[Event]]) -> None:
        """Index orders that were placed."""
        placed = cast("Sequence[Recorded[OrderPlaced]]", events)
        await tx.many(
            f"INSERT INTO {self.table('lines')} (sku, placed_at, order_id) VALUES (:sku, :placed_at, :order_id)"  # noqa: S608 - a constant
            " ON CONFLICT DO NOTHING",
            [row for each in placed for row in _lines(each.event)],
        )
        await tx.many(
            _ADD_WORDS[tx.db.dialect].format(words=self.table("words")),
            [
                {"position": each.position, "order_id": each.event.order_id, "words": " ".join(_words(each.event))}
                for each in placed
            ],
        )


def words_in(text: str) -> list[str]:
    """Return the words of a text as they are indexed: in lower case, without accents."""
    text = text.lower()
    if not text.isascii():
        text = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return _WORD.findall(text)


def expression_of(words: Sequence[str], dialect: str) -> str:
    """Return the expression that finds rows with all `words` (at least one), the last one also as a beginning."""
    if dialect == "postgresql":
        return " & ".join(f"'{word}'" for word in words) + ":*"
    return " ".join(f'"{word}"' for word in words) + "*"


def _lines(order: OrderPlaced) -> list[dict[str, object]]:
    placed_at = round(order.at.timestamp() * 1_000_000)
    skus = dict.fromkeys(line.sku for line in order.lines)
    return [{"sku": sku, "placed_at": placed_at, "order_id": order.order_id} for sku in skus]


def _words(order: OrderPlaced) -> list[str]:
    texts = [order.order_id, order.order_id[-8:], order.customer_id, order.address.name]
    texts += [text for line in order.lines for text in (line.name, line.sku)]
    return words_in(" ".join(texts))
