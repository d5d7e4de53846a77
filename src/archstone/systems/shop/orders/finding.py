"""Finding orders for administrators: one index leads, the other conditions are tested on what it brings.

The most selective condition leads: words, then product, then customer, then state, then time alone. With several
states each leads a query of its own, and the results are merged, so that a rare state costs as little as a common one.
By words the order is that in which orders were placed, else it is their time; both are newest first.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple, cast

from archstone.data import Database
from archstone.eventsourcing import live_version
from archstone.systems.shop.orders.administration import ListedOrder, OrderList, OrderState
from archstone.systems.shop.orders.indexing import OrderIndex, expression_of
from archstone.systems.shop.orders.order import SHOWN, State, Status
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.values import Money

__all__ = ["Found", "Wanted", "find", "page", "states_of"]

_COLUMNS: Final = "o.id, o.customer_id, o.recipient, o.state, o.amount, o.currency, o.refunded, o.pieces, o.placed_at"
_LEADING: Final = {
    "words": (
        "f.rowid", "{words} f CROSS JOIN orders o ON o.id = f.order_id",
        "{matches} AND f.rowid < :position", "f.rowid DESC",
    ),
    "sku": (
        "0", "{lines} l CROSS JOIN orders o ON o.id = l.order_id",
        "l.sku = :sku AND (l.placed_at, l.order_id) < (:at, :id)", "l.placed_at DESC, l.order_id DESC",
    ),
    "customer_id": (
        "0", "orders o", "o.customer_id = :customer_id AND (o.placed_at, o.id) < (:at, :id)",
        "o.placed_at DESC, o.id DESC",
    ),
    "state": ("0", "orders o", "o.state = :state AND (o.placed_at, o.id) < (:at, :id)", "o.placed_at DESC, o.id DESC"),
    "time": ("0", "orders o", "(o.placed_at, o.id) < (:at, :id)", "o.placed_at DESC, o.id DESC"),
}  # fmt: skip
"""What leads: position, tables, condition, order. CROSS JOIN says to SQLite that it does lead."""
_MATCHES: Final = {
    "sqlite": "{words} MATCH :expression",
    "postgresql": "f.words @@ CAST(:expression AS TSQUERY)",
}
_TESTED: Final = {
    "sku": "EXISTS (SELECT 1 FROM {lines} l WHERE l.sku = :sku AND l.placed_at = o.placed_at AND l.order_id = o.id)",
    "customer_id": "o.customer_id = :customer_id",
    "since": "o.placed_at >= :since",
    "until": "o.placed_at < :until",
    "at_least": "o.amount >= :at_least",
    "at_most": "o.amount <= :at_most",
}
_INDEX: Final = OrderIndex()


class Wanted(NamedTuple):
    """What is looked for; None: anything."""

    words: tuple[str, ...] | None = None
    """As `words_in` gives them, the last one also as a beginning. At least one."""
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
        if self.words is not None:
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
    position, tables, condition, order = _LEADING[leads]
    given: dict[str, object] = {"position": before[0]} if leads == "words" else {"at": before[0], "id": before[1]}
    if wanted.words is not None:
        given["expression"] = expression_of(wanted.words, db.dialect)
    if leads == "state":
        given["state"] = state
    elif wanted.states is not None:
        given |= {f"state{number}": each for number, each in enumerate(wanted.states)}
        condition += f" AND o.state IN ({', '.join(f':state{number}' for number in range(len(wanted.states)))})"
    tests = [condition]
    for name, value in _conditions(wanted):
        given[name] = value
        if name != leads:
            tests.append(_TESTED[name])
    sql = (
        f"SELECT {position} AS position, {_COLUMNS} FROM {tables}"  # noqa: S608 - constants
        f" WHERE {' AND '.join(tests)} ORDER BY {order} LIMIT :limit"
    )
    return await db.all(Found, await _named(db, sql), limit=limit, **given)


async def _named(db: Database, sql: str) -> str:
    """Return a query with the names of the tables that readers use now, as the database wants it."""
    if "{" in sql:
        version = await live_version(db, _INDEX.projection_name)
        sql = sql.replace("{matches}", _MATCHES[db.dialect])
        sql = sql.format(**{name: _INDEX.table(name, version=version) for name in ("lines", "words")})
    return sql if db.dialect == "sqlite" else sql.replace("CROSS JOIN", "JOIN")


def _conditions(wanted: Wanted) -> Iterator[tuple[str, object]]:
    """Yield what is tested by one value, and the value."""
    for name in ("sku", "customer_id", "since", "until", "at_least", "at_most"):
        value = getattr(wanted, name)
        if value is not None:
            yield name, _microseconds(value) if isinstance(value, datetime) else value


def _microseconds(at: datetime) -> int:
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)
