"""Where orders are kept: their history as events, and a row per order that says how it stands now.

Both change in one transaction. An order is always rebuilt from its history; the row serves lists. `version` is unique
per order, so of two changes made from the same version one fails.
"""

import json
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeVar, cast

from archstone import context
from archstone.data import event_class
from archstone.systems.shop.orders.order import Happening, Order, rebuild

__all__ = ["Reads", "Writes", "history_of", "load", "record"]

T = TypeVar("T")

_HISTORY: Final = "SELECT type, type_version, data FROM events WHERE stream = :id ORDER BY version"
_APPEND: Final = (
    "INSERT INTO events (stream, version, type, type_version, data, metadata, at)"
    " VALUES (:stream, :version, :type, :type_version, :data, :metadata, :at)"
)
_INSERT: Final = (
    "INSERT INTO orders (id, customer_id, recipient, state, version, amount, currency, pieces, placed_at)"
    " VALUES (:id, :customer_id, :recipient, :state, :version, :amount, :currency, :pieces, :placed_at)"
)
_UPDATE: Final = "UPDATE orders SET state = :state, version = :version, refunded = :refunded WHERE id = :id"


class Reads(Protocol):
    """A transaction, or a database that is only read."""

    def all(self, row: type[T], sql: str, /, **params: object) -> Awaitable[Sequence[T]]:
        """Return all rows."""
        ...


class Writes(Protocol):
    """An open transaction, as far as it is needed here."""

    def execute(self, sql: str, /, **params: object) -> Awaitable[int]:
        """Run a statement and return how many rows it changed."""
        ...


class _Stored(NamedTuple):
    type: str
    type_version: int
    data: str


async def history_of(source: Reads, order_id: str) -> tuple[Happening, ...]:
    """Return what happened to an order, oldest first; empty: there is none."""
    rows = await source.all(_Stored, _HISTORY, id=order_id)
    return tuple(cast("Happening", event_class(row.type, row.type_version).decode(row.data.encode())) for row in rows)


async def load(source: Reads, order_id: str) -> Order | None:
    """Return the order that its history makes. None: there is none."""
    history = await history_of(source, order_id)
    return rebuild(history) if history else None


async def record(tx: Writes, order: Order | None, event: Happening) -> Order:
    """Append what happened to an order (None: it is new) and return the order that follows.

    Raises:
        ConstraintError: somebody else has changed the order since it was loaded; nothing was recorded.
    """
    changed = rebuild((event,)) if order is None else order.after(event)
    if order is None:
        await tx.execute(
            _INSERT,
            id=changed.id, customer_id=changed.customer_id, recipient=changed.address.name, state=changed.state.value,
            version=changed.version,
            amount=changed.total.amount, currency=changed.total.currency,
            pieces=sum(line.quantity for line in changed.lines), placed_at=_microseconds(changed.placed_at),
        )  # fmt: skip
    else:
        await tx.execute(
            _UPDATE, id=changed.id, state=changed.state.value, version=changed.version,
            refunded=changed.refunded.amount if changed.refunds else 0,
        )  # fmt: skip
    await _append(tx, changed, event)
    return changed


async def _append(tx: Writes, order: Order, event: Happening) -> None:
    call = context.current()
    metadata = {"caused_by": call.principal.id or None, "correlation_id": call.correlation_id}
    await tx.execute(
        _APPEND,
        stream=order.id, version=order.version, type=event.event_name, type_version=event.event_version,
        data=event.model_dump_json(), metadata=json.dumps(metadata), at=_microseconds(event.at),
    )  # fmt: skip


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
