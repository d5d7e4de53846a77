"""Where orders are kept: their history in an event store, and a row per order that says how it stands now.

Both change in one transaction. An order is always rebuilt from its history; the row serves lists.
"""

from datetime import datetime
from typing import Final, cast

from archstone.data import Event
from archstone.eventsourcing import EventStore, Recorded, Unit
from archstone.systems.shop.orders.events import OrderCancelled, OrderConfirmed, OrderPlaced, OrderRefunded
from archstone.systems.shop.orders.order import Happening, Order

__all__ = ["OrderStore", "rebuilt"]

TOLD: Final[frozenset[type[Event]]] = frozenset({OrderPlaced, OrderConfirmed, OrderCancelled, OrderRefunded})
"""What other services hear of; the rest is in the history only."""
LONGEST: Final = 10_000
"""Events of one order that are ever shown: a few, and one more for each time that a refund is tried again."""

_PUT: Final = (
    "INSERT INTO orders (id, customer_id, recipient, state, version, amount, currency, pieces, placed_at)"
    " VALUES (:id, :customer_id, :recipient, :state, :version, :amount, :currency, :pieces, :placed_at)"
)
_CHANGE: Final = "UPDATE orders SET state = :state, version = :version, refunded = :refunded WHERE id = :id"


class OrderStore(EventStore):
    """The events of orders, and the rows that are made of them."""

    async def put(self, tx: Unit, order: Order) -> None:
        """Keep what an order has recorded, and tell other services what concerns them.

        Raises:
            StreamConflictError: Somebody else has changed the order since it was loaded; nothing was kept.
        """
        is_new = not order.stored_version
        await self.save(order, tx=tx, publish=TOLD)
        if is_new:
            await tx.execute(
                _PUT,
                id=order.id, customer_id=order.customer_id, recipient=order.address.name, state=order.state.value,
                version=order.version, amount=order.total.amount, currency=order.total.currency,
                pieces=sum(line.quantity for line in order.lines), placed_at=_microseconds(order.placed_at),
            )  # fmt: skip
        else:
            await tx.execute(
                _CHANGE, id=order.id, state=order.state.value, version=order.version, refunded=order.refunded.amount
            )

    async def history(self, order_id: str) -> list[Recorded[Happening]]:
        """Return what happened to an order, oldest first; empty: there is none."""
        found = await self.stream(Order.stream_of(order_id), limit=LONGEST)
        return cast("list[Recorded[Happening]]", found)


def rebuilt(order_id: str, history: list[Recorded[Happening]]) -> Order:
    """Return the order that its history has made."""
    return Order(order_id).replay(each.event for each in history)


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
