"""What a stored order looks like to those who ask: pure functions from rows to the contract's values."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple, assert_never

from archstone import eventsourcing
from archstone.systems.shop.orders.contract import Entry, OrderSummary, OrderView, Recorded, RefundView
from archstone.systems.shop.orders.events import (
    CancellationAsked,
    CancellationRefused,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderRefunded,
    ParcelMoved,
    RefundAsked,
    RefundAskedAgain,
    RefundFailed,
    RefundRefused,
)
from archstone.systems.shop.orders.order import SHOWN, Happening, Order, Refund, State
from archstone.systems.shop.values import Money

__all__ = ["SummaryRow", "entry_of", "recorded_of", "refund_view", "summary_of", "view_of"]

SUMMARY_COLUMNS: Final = "id, state, amount, currency, pieces, placed_at"


class SummaryRow(NamedTuple):
    """An order in a list, as stored."""

    id: str
    state: str
    amount: int
    currency: str
    pieces: int
    placed_at: int


def view_of(order: Order, history: Iterable[eventsourcing.Recorded[Happening]]) -> OrderView:
    """Return an order with its timeline."""
    return OrderView(
        id=order.id,
        status=SHOWN[order.state],
        reason=order.reason if order.state is State.CANCELLED else None,
        timeline=tuple(entry_of(each.event) for each in history),
        total=order.total,
        lines=order.lines,
        address=order.address,
        placed_at=order.placed_at,
        parcel=order.parcel,
        refunds=tuple(refund_view(each) for each in order.refunds),
        refunded=order.refunded if order.refunded.amount else None,
    )


def refund_view(refund: Refund) -> RefundView:
    """Return a refund as the customer sees it."""
    return RefundView(
        id=refund.id,
        amount=refund.amount,
        reason=refund.reason,
        status="pending" if refund.state == "asked" else refund.state,
        asked_at=refund.asked_at,
        ended_at=refund.ended_at,
    )


def entry_of(event: Happening) -> Entry:
    """Return what the timeline says of an event."""
    match event:
        case OrderPlaced():
            what = "placed"
        case OrderConfirmed():
            what = "confirmed"
        case OrderCancelled(reason=reason):
            what = f"cancelled: {reason}"
        case CancellationAsked():
            what = "cancellation asked for"
        case CancellationRefused(reason=reason):
            what = f"not cancelled: {reason}"
        case ParcelMoved(to=to):
            what = to
        case RefundAsked() | OrderRefunded() | RefundRefused() | RefundFailed() | RefundAskedAgain():
            what = _refund_words(event)
        case _:
            assert_never(event)
    return Entry(at=event.at, what=what)


def _refund_words(event: RefundAsked | OrderRefunded | RefundRefused | RefundFailed | RefundAskedAgain) -> str:
    match event:
        case RefundAsked():
            return f"refund of {event.amount} asked for: {event.reason}"
        case OrderRefunded():
            return f"refunded {event.amount}"
        case RefundRefused():
            return f"refund of {event.amount} not possible: less is left"
        case RefundFailed():
            return f"refund of {event.amount} failed: the bank does not answer"
        case RefundAskedAgain():
            return f"refund of {event.amount} asked for again"


def summary_of(row: SummaryRow) -> OrderSummary:
    """Return an order of a list."""
    return OrderSummary(
        id=row.id,
        status=SHOWN[State(row.state)],
        total=Money(amount=row.amount, currency=row.currency),
        pieces=row.pieces,
        placed_at=datetime.fromtimestamp(row.placed_at / 1_000_000, UTC),
    )


def recorded_of(stored: eventsourcing.Recorded[Happening]) -> Recorded:
    """Return an event of the history, without its data."""
    event = stored.event
    return Recorded(version=stored.version, type=event.event_name, at=event.at, caused_by=stored.caused_by)
