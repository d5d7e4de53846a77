"""Shipping: a parcel is made out during checkout, waits for the confirmed order, and is then moved by a clock.

The clock stands for the people and lorries of a real house. Between `cancel` and a parcel that leaves, this table
decides: both are conditional updates of the same row.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from archstone import world
from archstone.resilience import check
from archstone.security import DataKeys
from archstone.services import Service, every, on
from archstone.systems.shop.orders.events import OrderConfirmed, ParcelState
from archstone.systems.shop.shipping import addresses
from archstone.systems.shop.shipping.administration import ParcelOfOrder, ShippingAdmin
from archstone.systems.shop.shipping.contract import (
    NoShipmentError,
    ParcelLeftError,
    Shipment,
    ShipmentClosedError,
    ShipmentState,
    Shipping,
)
from archstone.systems.shop.shipping.events import ShipmentCancelled, ShipmentCreated, ShipmentMoved
from archstone.systems.shop.values import Address

__all__ = ["Pace", "ShippingService"]

MOVES_LIMIT: Final = 200
"""Parcels moved in one transaction."""
_NEXT: Final[dict[str, ParcelState]] = {"ready": "packed", "packed": "shipped", "shipped": "delivered"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast parcels come along. Each figure in seconds, at least 0."""

    packed_after_s: float = 60.0
    """From the confirmed order to the packed parcel."""
    shipped_after_s: float = 240.0
    """From packing to leaving; until then an order can be cancelled."""
    delivered_after_s: float = 900.0
    """From leaving to the customer's door."""

    def __post_init__(self) -> None:
        check(
            self,
            packed_after_s=(self.packed_after_s >= 0, "at least 0"),
            shipped_after_s=(self.shipped_after_s >= 0, "at least 0"),
            delivered_after_s=(self.delivered_after_s >= 0, "at least 0"),
        )

    def after(self, state: str) -> float | None:
        """Return the seconds that a parcel stays in `state`. None: for ever."""
        stays = {"ready": self.packed_after_s, "packed": self.shipped_after_s, "shipped": self.delivered_after_s}
        return stays.get(state)


class _Row(NamedTuple):
    order_id: str
    state: str
    moved_at: int

    def shipment(self) -> Shipment:
        return Shipment(
            order_id=self.order_id,
            state=cast("ShipmentState", self.state),
            moved_at=_instant(self.moved_at),
        )


class _Progress(NamedTuple):
    state: str
    moved_at: int
    due_at: int | None


_FIND: Final = "SELECT order_id, state, moved_at FROM shipments WHERE order_id = :order_id"
_INSERT: Final = (
    "INSERT INTO shipments (order_id, state, address, sealed, moved_at) VALUES (:order_id, :state, '', :sealed, :at)"
)
_MOVE: Final = (
    "UPDATE shipments SET state = :to, moved_at = :at, due_at = :due WHERE order_id = :order_id AND state = :state"
)


class ShippingService(Service, Shipping, ShippingAdmin, name="shipping"):
    """Keeps `Shipping` and `ShippingAdmin`."""

    pace: Pace
    """How fast parcels come along."""
    keys: DataKeys
    """Seal the addresses of parcels."""

    async def create(self, order_id: str, address: Address) -> Shipment:
        known = await self.tx.first(_Row, _FIND, order_id=order_id)
        if known is not None and known.state == "cancelled":
            raise ShipmentClosedError(order_id)
        if known is None:
            known = _Row(order_id, "created", world.now_us())
            sealed = await addresses.sealed(self.keys, order_id, address)
            await self.tx.execute(_INSERT, order_id=order_id, state="created", sealed=sealed, at=known.moved_at)
            self.tx.publish(ShipmentCreated(order_id=order_id, at=world.now()))
        return known.shipment()

    async def cancel(self, order_id: str) -> None:
        known = await self.tx.first(_Row, _FIND, order_id=order_id)
        if known is None:
            # Remembered, so that a parcel that is still to be made out finds its order given up.
            await self.tx.execute(_INSERT, order_id=order_id, state="cancelled", sealed=None, at=world.now_us())
        elif known.state in {"shipped", "delivered"}:
            raise ParcelLeftError(order_id, known.state)
        elif known.state != "cancelled":
            await self._move(known, "cancelled")
            self.tx.publish(ShipmentCancelled(order_id=order_id, at=world.now()))

    async def shipment(self, order_id: str) -> Shipment:
        row = await self.db.first(_Row, _FIND, order_id=order_id)
        if row is None:
            raise NoShipmentError(order_id)
        return row.shipment()

    async def parcel_of(self, order_id: str) -> ParcelOfOrder | None:
        row = await self.db.first(
            _Progress, "SELECT state, moved_at, due_at FROM shipments WHERE order_id = :order_id", order_id=order_id
        )
        if row is None:
            return None
        due_at = None if row.due_at is None else _instant(row.due_at)
        state = cast("ShipmentState", row.state)
        return ParcelOfOrder(order_id=order_id, state=state, moved_at=_instant(row.moved_at), due_at=due_at)

    @on(OrderConfirmed)
    async def let_go(self, event: OrderConfirmed) -> None:
        """Let the parcel of a confirmed order be packed. One that was cancelled meanwhile stays where it is."""
        known = await self.tx.first(_Row, _FIND, order_id=event.order_id)
        if known is not None and known.state == "created":
            await self._move(known, "ready")

    @every(1.0)
    async def move_parcels(self) -> None:
        """Move every parcel whose time has come one state on, at most 200 in one transaction."""
        due = await self.tx.all(
            _Row,
            "SELECT order_id, state, moved_at FROM shipments WHERE due_at <= :now ORDER BY due_at LIMIT :limit",
            now=world.now_us(),
            limit=MOVES_LIMIT,
        )
        for row in due:
            to = _NEXT[row.state]
            await self._move(row, to)
            self.tx.publish(ShipmentMoved(order_id=row.order_id, to=to, at=world.now()))

    @every(60.0)
    async def seal_addresses(self) -> None:
        """Seal addresses that an older release has written in the clear, at most 200 in one transaction."""
        await addresses.seal_old(self.keys, self.tx)

    async def _move(self, row: _Row, to: ShipmentState) -> None:
        at = world.now_us()
        stays_s = self.pace.after(to)
        due = None if stays_s is None else at + int(stays_s * 1_000_000)
        await self.tx.execute(_MOVE, order_id=row.order_id, state=row.state, to=to, at=at, due=due)


def _instant(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
