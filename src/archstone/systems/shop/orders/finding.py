"""Finding orders for administrators: one index leads, the other conditions are tested on what it brings.

The most selective condition leads: words, then product, then customer, then state, then time alone. With several
states each leads a query of its own, and the results are merged, so that a rare state costs as little as a common one.
By words the order is that in which orders were placed, else it is their time; both are newest first.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple, cast

from archstone.data import Database
from archstone.services import Tx
from archstone.systems.shop.catalog.indexes.tsvector import folded_words
from archstone.systems.shop.orders.administration import ListedOrder, OrderList, OrderState
from archstone.systems.shop.orders.order import SHOWN, State, Status
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.values import Money

__all__ = ["BEHIND", "Found", "Wanted", "find", "index_some", "page", "states_of"]

BATCH: Final = 500
"""Events that are looked through in one transaction."""
BEHIND: Final = "SELECT position, coalesce((SELECT max(position) FROM events), 0) FROM indexed"
"""Finds up to where orders are indexed, and up to where there are any."""

_COLUMNS: Final = "o.id, o.customer_id, o.recipient, o.state, o.amount, o.currency, o.refunded, o.pieces, o.placed_at"
_LEADING: Final = {
    "words": (
        "e.position",
        "order_search f CROSS JOIN events e ON e.position = f.rowid CROSS JOIN orders o ON o.id = e.stream",
        "order_search MATCH :expression AND f.rowid < :position", "f.rowid DESC",
    ),
    "sku": (
        "0", "order_lines l CROSS JOIN orders o ON o.id = l.order_id",
        "l.sku = :sku AND (l.placed_at, l.order_id) < (:at, :id)", "l.placed_at DESC, l.order_id DESC",
    ),
    "customer_id": (
        "0", "orders o", "o.customer_id = :customer_id AND (o.placed_at, o.id) < (:at, :id)",
        "o.placed_at DESC, o.id DESC",
    ),
    "state": ("0", "orders o", "o.state = :state AND (o.placed_at, o.id) < (:at, :id)", "o.placed_at DESC, o.id DESC"),
    "time": ("0", "orders o", "(o.placed_at, o.id) < (:at, :id)", "o.placed_at DESC, o.id DESC"),
}  # fmt: skip
"""What leads: position, tables, condition, order."""
_WORDS_ON_POSTGRESQL: Final = (
    "e.position", "order_search f JOIN events e ON e.position = f.position JOIN orders o ON o.id = e.stream",
    "f.words @@ CAST(CAST(:expression AS TEXT) AS tsquery) AND f.position < :position", "f.position DESC",
)  # fmt: skip
_STATES_ON_POSTGRESQL: Final = "o.state IN (SELECT json_array_elements_text(CAST(CAST(:states AS TEXT) AS json)))"
_INDEX_LINE: Final = (
    "INSERT INTO order_lines (sku, placed_at, order_id) VALUES (:sku, :placed_at, :id) ON CONFLICT DO NOTHING"
)
_INDEX_ORDER: Final = (
    "INSERT INTO order_search (position, words) VALUES (:position, CAST(CAST(:words AS TEXT) AS tsvector))"
)
_TESTED: Final = {
    "sku": "(:sku, o.placed_at, o.id) IN (SELECT sku, placed_at, order_id FROM order_lines)",
    "customer_id": "o.customer_id = :customer_id",
    "states": "o.state IN (SELECT value FROM json_each(:states))",
    "since": "o.placed_at >= :since",
    "until": "o.placed_at < :until",
    "at_least": "o.amount >= :at_least",
    "at_most": "o.amount <= :at_most",
}
_NEW: Final = "FROM events e JOIN orders o ON o.id = e.stream WHERE e.position > :after AND e.position <= :to"
_PLACED: Final = "AND e.type = 'orders.order-placed'"
_INDEX_LINES: Final = (
    "INSERT INTO order_lines (sku, placed_at, order_id)"  # noqa: S608 - constants
    " SELECT json_extract(l.value, '$.sku'), o.placed_at, o.id FROM events e JOIN orders o ON o.id = e.stream,"
    f" json_each(e.data, '$.lines') l WHERE e.position > :after AND e.position <= :to {_PLACED}"
    " ON CONFLICT DO NOTHING"
)
_INDEX_WORDS: Final = (
    "INSERT INTO order_search (rowid, words)"  # noqa: S608 - constants
    " SELECT e.position, o.id || ' ' || substr(o.id, -8) || ' ' || o.customer_id || ' ' || o.recipient || ' ' ||"
    " (SELECT group_concat(json_extract(value, '$.name') || ' ' || json_extract(value, '$.sku'), ' ')"
    f" FROM json_each(e.data, '$.lines')) {_NEW} {_PLACED}"
)


class Wanted(NamedTuple):
    """What is looked for; None: anything."""

    expression: str | None = None
    """Of the full-text index."""
    sku: str | None = None
    customer_id: str | None = None
    states: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    at_least: int | None = None
    at_most: int | None = None

    @property
    def leads(self) -> str:
        """Which condition leads."""
        if self.expression is not None:
            return "words"
        if self.sku is not None:
            return "sku"
        if self.customer_id is not None:
            return "customer_id"
        return "time" if self.states is None else "state"


class Found(NamedTuple):
    """An order that was found, as stored."""

    position: int
    id: str
    customer_id: str
    recipient: str
    state: str
    amount: int
    currency: str
    refunded: int
    pieces: int
    placed_at: int

    def listed(self) -> ListedOrder:
        """Return it as the contract has it."""
        return ListedOrder(
            id=self.id, customer_id=self.customer_id, recipient=self.recipient, status=SHOWN[State(self.state)],
            state=cast("OrderState", self.state), total=Money(amount=self.amount, currency=self.currency),
            refunded=Money(amount=self.refunded, currency=self.currency) if self.refunded else None,
            pieces=self.pieces, placed_at=datetime.fromtimestamp(self.placed_at / 1_000_000, UTC),
        )  # fmt: skip


def states_of(status: Status | None, state: OrderState | None) -> tuple[str, ...] | None:
    """Return the states that are wanted; None: all; empty: no order can be both."""
    if status is None:
        return None if state is None else (state,)
    shown = tuple(each.value for each, told in SHOWN.items() if told == status)
    if state is None:
        return shown
    return (state,) if state in shown else ()


async def page(db: Database, wanted: Wanted, *, limit: int, cursor: str | None) -> OrderList:
    """Return a page of what is found.

    Raises:
        BadCursorError: the cursor is of another search.
    """
    question = f"order-list|{wanted}"
    by_words = wanted.leads == "words"
    before: tuple[object, ...] = (2**62, "")
    if cursor is not None:
        before = decode_cursor(question, cursor, like=(0, ""))
    rows = await find(db, wanted, before=cast("tuple[int, str]", before), limit=limit + 1)
    shown = rows[:limit]
    key = (0, "") if not shown else (shown[-1].position if by_words else shown[-1].placed_at, shown[-1].id)
    return OrderList(
        items=tuple(row.listed() for row in shown),
        next_cursor=encode_cursor(question, key) if len(rows) > limit else None,
    )


async def find(db: Database, wanted: Wanted, *, before: tuple[int, str], limit: int) -> list[Found]:
    """Return orders, newest first, from behind `before`.

    Args:
        db: Of orders.
        wanted: What they must fit.
        before: Position and nothing where words lead, else time in microseconds and id, of the last one known.
        limit: Most that are wanted.
    """
    leads = wanted.leads
    if leads != "words" and wanted.until is not None:
        # Said as a place in the order, so that the leading index begins there.
        before = min(before, (_microseconds(wanted.until), ""))
        wanted = wanted._replace(until=None)
    if leads != "state":
        return await _query(db, wanted, leads, before=before, limit=limit)
    found = [await _query(db, wanted, leads, before=before, limit=limit, state=state) for state in wanted.states or ()]
    newest = merge(*found, key=lambda each: (each.placed_at, each.id), reverse=True)
    return list(islice(newest, limit))


async def _query(
    db: Database, wanted: Wanted, leads: str, *, before: tuple[int, str], limit: int, state: str | None = None
) -> list[Found]:
    on_postgresql = db.dialect == "postgresql"
    position, tables, condition, order = _WORDS_ON_POSTGRESQL if on_postgresql and leads == "words" else _LEADING[leads]
    if on_postgresql:
        tables = tables.replace("CROSS JOIN", "JOIN")
    given: dict[str, object] = {}
    tests: list[str] = []
    for name, value in _conditions(wanted):
        if name == leads or (name == "states" and leads == "state"):
            continue
        tests.append(_STATES_ON_POSTGRESQL if on_postgresql and name == "states" else _TESTED[name])
        given[name] = value
    match leads:
        case "words":
            expression = _tsquery(wanted.expression or "") if on_postgresql else wanted.expression
            given |= {"expression": expression, "position": before[0]}
        case "sku" | "customer_id":
            given |= {leads: getattr(wanted, leads), "at": before[0], "id": before[1]}
        case "state":
            given |= {"state": state, "at": before[0], "id": before[1]}
        case _:
            given |= {"at": before[0], "id": before[1]}
    where = " AND ".join((condition, *tests))
    sql = f"SELECT {position} AS position, {_COLUMNS} FROM {tables} WHERE {where} ORDER BY {order} LIMIT :limit"  # noqa: S608 - constants
    return await db.all(Found, sql, limit=limit, **given)


def _conditions(wanted: Wanted) -> Sequence[tuple[str, object]]:
    return [
        (name, value)
        for name, value in (
            ("sku", wanted.sku),
            ("customer_id", wanted.customer_id),
            ("states", None if wanted.states is None else json.dumps(wanted.states)),
            ("since", wanted.since and _microseconds(wanted.since)),
            ("until", wanted.until and _microseconds(wanted.until)),
            ("at_least", wanted.at_least),
            ("at_most", wanted.at_most),
        )
        if value is not None
    ]


async def index_some(tx: Tx) -> None:
    """Put the next placed orders into the indexes of products and words, as many as a transaction should hold."""
    after, newest = await tx.one(tuple[int, int], BEHIND)
    to = min(newest, after + BATCH)
    if to > after:
        if tx.dialect == "postgresql":
            await _index_on_postgresql(tx, after, to)
        else:
            await tx.execute(_INDEX_LINES, after=after, to=to)
            await tx.execute(_INDEX_WORDS, after=after, to=to)
        await tx.execute("UPDATE indexed SET position = :to", to=to)


class _New(NamedTuple):
    position: int
    data: str
    id: str
    customer_id: str
    recipient: str
    placed_at: int


async def _index_on_postgresql(tx: Tx, after: int, to: int) -> None:
    columns = "e.position, e.data, o.id, o.customer_id, o.recipient, o.placed_at"
    for row in await tx.all(_New, f"SELECT {columns} {_NEW} {_PLACED}", after=after, to=to):
        lines = json.loads(row.data)["lines"]
        for line in lines:
            await tx.execute(_INDEX_LINE, sku=line["sku"], placed_at=row.placed_at, id=row.id)
        text = [
            row.id,
            row.id[-8:],
            row.customer_id,
            row.recipient,
            *(f"{each['name']} {each['sku']}" for each in lines),
        ]
        words = " ".join(f"'{word}'" for word in folded_words(" ".join(text)))
        await tx.execute(_INDEX_ORDER, position=row.position, words=words)


def _tsquery(expression: str) -> str:
    words = re.findall(r'"([^"]*)"(\*?)', expression)
    return " & ".join(f"'{''.join(folded_words(word))}'{':*' if star else ''}" for word, star in words)


def _microseconds(at: datetime) -> int:
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)
