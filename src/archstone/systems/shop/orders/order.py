"""The order: all its states, all its legal moves, and what each event makes of it.

    place ───> PENDING ──confirm──> CONFIRMED ──parcel shipped──> SHIPPED ──parcel delivered──> DELIVERED
                 │ ask                │ ask  ^
                 v                    v      │ refuse
               STOPPING             RETURNING
                 └──cancel──> CANCELLED <──cancel──┘     (cancel is also legal from PENDING and CONFIRMED)

Money of an order that stands can be given back in parts, which leaves it where it is: `ask-refund`, then `refund` or
`refuse-refund`, which can come after the order has moved on.

No clock, no database: an `Aggregate`. A decision (`confirm`, `cancel`, ...) records the event that says what happened,
or raises and leaves the order as it was. `MOVES` is the only place that says what is legal, and a move that is not in
it raises, when deciding and when replaying.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from archstone.data import Event
from archstone.errors import ConflictError
from archstone.eventsourcing import Aggregate, apply
from archstone.systems.shop.orders.events import (
    CancellationAsked,
    CancellationRefused,
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderPlaced,
    OrderRefunded,
    ParcelMoved,
    ParcelState,
    RefundAsked,
    RefundAskedAgain,
    RefundFailed,
    RefundRefused,
)
from archstone.systems.shop.values import Address, Money

__all__ = ["MOVES", "SHOWN", "Happening", "IllegalMoveError", "Order", "Refund", "State", "Status"]

Status = Literal["pending", "confirmed", "cancelled"]
Happening: TypeAlias = (
    OrderPlaced
    | OrderConfirmed
    | OrderCancelled
    | CancellationAsked
    | CancellationRefused
    | ParcelMoved
    | RefundAsked
    | OrderRefunded
    | RefundRefused
    | RefundFailed
    | RefundAskedAgain
)
Move = Literal[
    "place",
    "confirm",
    "ask",
    "refuse",
    "cancel",
    "packed",
    "shipped",
    "delivered",
    "ask-refund",
    "refund",
    "refuse-refund",
    "fail-refund",
    "retry-refund",
]


class State(Enum):
    """Where an order stands."""

    NEW = "new"
    """Before anything has happened: nobody is ever shown one."""
    PENDING = "pending"
    STOPPING = "stopping"
    """Pending, and the customer wants it cancelled: the checkout turns back at its last step."""
    CONFIRMED = "confirmed"
    RETURNING = "returning"
    """Confirmed, and being cancelled: money and goods are on their way back."""
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


MOVES: Final = MappingProxyType(
    {
        (State.NEW, "place"): State.PENDING,
        (State.PENDING, "confirm"): State.CONFIRMED,
        (State.PENDING, "ask"): State.STOPPING,
        (State.PENDING, "cancel"): State.CANCELLED,
        (State.STOPPING, "cancel"): State.CANCELLED,
        (State.CONFIRMED, "ask"): State.RETURNING,
        # The checkout confirms in its last step; if the answer of that step is lost for good, it turns back from here.
        (State.CONFIRMED, "cancel"): State.CANCELLED,
        (State.CONFIRMED, "packed"): State.CONFIRMED,
        (State.CONFIRMED, "shipped"): State.SHIPPED,
        (State.RETURNING, "cancel"): State.CANCELLED,
        (State.RETURNING, "refuse"): State.CONFIRMED,
        # Shipping decides the race between a parcel that leaves and a cancellation; its news can come before the
        # cancellation learns that it lost.
        (State.RETURNING, "packed"): State.RETURNING,
        (State.RETURNING, "shipped"): State.SHIPPED,
        (State.SHIPPED, "refuse"): State.SHIPPED,
        (State.SHIPPED, "delivered"): State.DELIVERED,
        (State.DELIVERED, "refuse"): State.DELIVERED,
        (State.CONFIRMED, "ask-refund"): State.CONFIRMED,
        (State.SHIPPED, "ask-refund"): State.SHIPPED,
        (State.DELIVERED, "ask-refund"): State.DELIVERED,
        # The order may be cancelled while the bank is asked; what it said is written down all the same.
        (State.CONFIRMED, "refund"): State.CONFIRMED,
        (State.RETURNING, "refund"): State.RETURNING,
        (State.SHIPPED, "refund"): State.SHIPPED,
        (State.DELIVERED, "refund"): State.DELIVERED,
        (State.CANCELLED, "refund"): State.CANCELLED,
        (State.CONFIRMED, "refuse-refund"): State.CONFIRMED,
        (State.RETURNING, "refuse-refund"): State.RETURNING,
        (State.SHIPPED, "refuse-refund"): State.SHIPPED,
        (State.DELIVERED, "refuse-refund"): State.DELIVERED,
        (State.CANCELLED, "refuse-refund"): State.CANCELLED,
        **{
            (state, move): state
            for state in (State.CONFIRMED, State.RETURNING, State.SHIPPED, State.DELIVERED, State.CANCELLED)
            for move in ("fail-refund", "retry-refund")
        },
    }
)
"""Every legal move. What is not here cannot happen."""

SHOWN: Final[MappingProxyType[State, Status]] = MappingProxyType(
    {
        State.PENDING: "pending",
        State.STOPPING: "pending",
        State.CONFIRMED: "confirmed",
        State.RETURNING: "confirmed",
        State.SHIPPED: "confirmed",
        State.DELIVERED: "confirmed",
        State.CANCELLED: "cancelled",
    }
)
"""What a customer is shown: an order is under way, stands, or is off. How far the parcel is stands beside it."""


class IllegalMoveError(ConflictError, code="orders.illegal-move"):
    """The order is not in a state from which that is possible."""

    def __init__(self, order_id: str, state: str, move: str) -> None:
        super().__init__(order_id, state, move)
        self.order_id = order_id
        self.state = state
        self.move = move

    def __str__(self) -> str:
        legal = ", ".join(sorted(move for state, move in MOVES if state.value == self.state)) or "nothing"
        return f"order {self.order_id} is {self.state}: {self.move!r} is not possible, only {legal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money of an order that is given back, or was asked to be."""

    id: str
    amount: Money
    reason: str
    asked_at: datetime
    state: Literal["asked", "done", "refused", "failed"] = "asked"
    """`failed`: the bank never answered, so it is not known whether the money has moved."""
    ended_at: datetime | None = None


_ENDS: Final[Mapping[type[Event], tuple[Move, Literal["done", "refused", "failed"]]]] = {
    OrderRefunded: ("refund", "done"),
    RefundRefused: ("refuse-refund", "refused"),
    RefundFailed: ("fail-refund", "failed"),
}


class Order(Aggregate, name="order"):
    """An order as what has happened to it made it."""

    customer_id: str
    lines: tuple[OrderLine, ...]
    total: Money
    address: Address
    placed_at: datetime
    state: State = State.NEW
    reason: str | None = None
    """Why it was cancelled or is to be; None while nobody wants that."""
    was_confirmed: bool = False
    """Whether it ever was confirmed."""
    parcel: ParcelState | None = None
    """How far the parcel is; None before it is packed."""
    refunds: tuple[Refund, ...] = ()
    """What was given back of an order that stands, oldest first; what a cancellation gives back is not among it."""

    @property
    def refunded(self) -> Money:
        """What has been given back in refunds."""
        return self._refunds_that_are({"done"})

    @property
    def refundable(self) -> Money:
        """What can still be given back: neither given back, nor asked to be, nor perhaps given back."""
        spoken_for = self._refunds_that_are({"done", "asked", "failed"})
        return Money(amount=self.total.amount - spoken_for.amount, currency=self.total.currency)

    def refund(self, refund_id: str) -> Refund:
        """Return one of the refunds.

        Raises:
            KeyError: there is none with this id.
        """
        for each in self.refunds:
            if each.id == refund_id:
                return each
        raise KeyError(refund_id)

    def can(self, move: Move) -> bool:
        """Return whether `move` is legal now."""
        return (self.state, move) in MOVES

    def place(
        self, customer_id: str, lines: tuple[OrderLine, ...], *, total: Money, address: Address, at: datetime
    ) -> None:
        """Decide that there is such an order."""
        self.record(
            OrderPlaced(
                order_id=self.id, customer_id=customer_id, lines=lines, total=total, address=address, at=at
            )
        )  # fmt: skip

    def confirm(self, at: datetime) -> None:
        """Decide that the order stands."""
        self.record(
            OrderConfirmed(
                order_id=self.id, customer_id=self.customer_id, lines=self.lines, total=self.total, at=at
            )
        )  # fmt: skip

    def ask_to_cancel(self, reason: str, at: datetime) -> None:
        """Decide that the order is to be cancelled as soon as that can be done."""
        self.record(CancellationAsked(order_id=self.id, reason=reason, at=at))

    def refuse_to_cancel(self, reason: str, at: datetime) -> None:
        """Decide that the order stands although its cancellation was asked for."""
        self.record(CancellationRefused(order_id=self.id, reason=reason, at=at))

    def cancel(self, reason: str, at: datetime) -> None:
        """Decide that the order is off: everything has been given back."""
        self.record(
            OrderCancelled(
                order_id=self.id,
                customer_id=self.customer_id,
                lines=self.lines,
                total=self.total,
                reason=reason,
                was_confirmed=self.was_confirmed,
                at=at,
                refunded=self.refunded if self.refunded.amount else None,
            )
        )

    def ask_refund(self, refund_id: str, amount: Money, *, reason: str, at: datetime) -> None:
        """Decide that money is to be given back. Whether so much is left is the caller's question."""
        self.record(RefundAsked(order_id=self.id, refund_id=refund_id, amount=amount, reason=reason, at=at))

    def tell_refunded(self, refund_id: str, at: datetime) -> None:
        """Decide that a refund that was asked for has been given back."""
        found = self.refund(refund_id)
        self.record(
            OrderRefunded(
                order_id=self.id,
                customer_id=self.customer_id,
                refund_id=refund_id,
                amount=found.amount,
                refunded=self.refunded + found.amount,
                total=self.total,
                reason=found.reason,
                was_cancelled=self.state is State.CANCELLED,
                at=at,
            )
        )

    def refuse_refund(self, refund_id: str, at: datetime) -> None:
        """Decide that a refund that was asked for cannot be given back."""
        amount = self.refund(refund_id).amount
        self.record(RefundRefused(order_id=self.id, refund_id=refund_id, amount=amount, at=at))

    def fail_refund(self, refund_id: str, at: datetime) -> None:
        """Decide that nobody waits any longer for what the bank says of a refund."""
        amount = self.refund(refund_id).amount
        self.record(RefundFailed(order_id=self.id, refund_id=refund_id, amount=amount, at=at))

    def retry_refund(self, refund_id: str, at: datetime) -> None:
        """Decide that the bank is asked once more about a refund that failed."""
        amount = self.refund(refund_id).amount
        self.record(RefundAskedAgain(order_id=self.id, refund_id=refund_id, amount=amount, at=at))

    def move_parcel(self, to: ParcelState, at: datetime) -> None:
        """Decide that the parcel is where shipping says it is."""
        self.record(ParcelMoved(order_id=self.id, to=to, at=at))

    @apply
    def _placed(self, event: OrderPlaced) -> None:
        self._move("place")
        self.customer_id, self.lines, self.total = event.customer_id, event.lines, event.total
        self.address, self.placed_at = event.address, event.at

    @apply
    def _confirmed(self, _event: OrderConfirmed) -> None:
        self._move("confirm")
        self.was_confirmed = True

    @apply
    def _asked(self, event: CancellationAsked) -> None:
        self._move("ask")
        self.reason = event.reason

    @apply
    def _refused(self, _event: CancellationRefused) -> None:
        self._move("refuse")
        self.reason = None

    @apply
    def _cancelled(self, event: OrderCancelled) -> None:
        self._move("cancel")
        self.reason = event.reason

    @apply
    def _parcel_moved(self, event: ParcelMoved) -> None:
        self._move(event.to)
        self.parcel = event.to

    @apply
    def _refund_asked(self, event: RefundAsked) -> None:
        self._move("ask-refund")
        asked = Refund(id=event.refund_id, amount=event.amount, reason=event.reason, asked_at=event.at)
        self.refunds = (*self.refunds, asked)

    @apply
    def _refund_ended(self, event: OrderRefunded | RefundRefused | RefundFailed) -> None:
        move, state = _ENDS[type(event)]
        self._move(move)
        self._replace(replace(self.refund(event.refund_id), state=state, ended_at=event.at))

    @apply
    def _refund_asked_again(self, event: RefundAskedAgain) -> None:
        self._move("retry-refund")
        self._replace(replace(self.refund(event.refund_id), state="asked", asked_at=event.at, ended_at=None))

    def _refunds_that_are(self, states: set[str]) -> Money:
        amount = sum(each.amount.amount for each in self.refunds if each.state in states)
        return Money(amount=amount, currency=self.total.currency)

    def _replace(self, refund: Refund) -> None:
        self.refunds = tuple(refund if each.id == refund.id else each for each in self.refunds)

    def _move(self, move: Move) -> None:
        found = MOVES.get((self.state, move))
        if found is None:
            raise IllegalMoveError(self.id, self.state.value, move)
        self.state = found
