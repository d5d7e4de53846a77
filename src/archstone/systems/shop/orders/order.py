"""The order: all its states, all its legal moves, and what each event makes of it.

    placed ──> PENDING ──confirm──> CONFIRMED ──parcel shipped──> SHIPPED ──parcel delivered──> DELIVERED
                 │ ask                │ ask  ^
                 v                    v      │ refuse
               STOPPING             RETURNING
                 └──cancel──> CANCELLED <──cancel──┘     (cancel is also legal from PENDING and CONFIRMED)

Money of an order that stands can be given back in parts, which leaves it where it is: `ask-refund`, then `refund` or
`refuse-refund`, which can come after the order has moved on.

Pure: no clock, no database. A decision (`confirm`, `cancel`, ...) looks at the order and returns the event that says
what happened, or raises; `after` gives the order that follows an event. `MOVES` is the only place that says what is
legal, and a move that is not in it raises, when deciding and when replaying.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from archstone.errors import ConflictError
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

__all__ = ["MOVES", "SHOWN", "Happening", "IllegalMoveError", "Order", "Refund", "State", "Status", "rebuild"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it stands after `version` events."""

    id: str
    customer_id: str
    lines: tuple[OrderLine, ...]
    total: Money
    address: Address
    placed_at: datetime
    state: State = State.PENDING
    version: int = 1
    """Events so far, at least 1."""
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

    @staticmethod
    def placed(event: OrderPlaced) -> "Order":
        """Return the order that begins with `event`."""
        return Order(
            id=event.order_id,
            customer_id=event.customer_id,
            lines=event.lines,
            total=event.total,
            address=event.address,
            placed_at=event.at,
        )

    def can(self, move: Move) -> bool:
        """Return whether `move` is legal now."""
        return (self.state, move) in MOVES

    def confirm(self, at: datetime) -> OrderConfirmed:
        """Decide that the order stands."""
        self._check("confirm")
        return OrderConfirmed(order_id=self.id, customer_id=self.customer_id, lines=self.lines, total=self.total, at=at)

    def ask_to_cancel(self, reason: str, at: datetime) -> CancellationAsked:
        """Decide that the order is to be cancelled as soon as that can be done."""
        self._check("ask")
        return CancellationAsked(order_id=self.id, reason=reason, at=at)

    def refuse_to_cancel(self, reason: str, at: datetime) -> CancellationRefused:
        """Decide that the order stands although its cancellation was asked for."""
        self._check("refuse")
        return CancellationRefused(order_id=self.id, reason=reason, at=at)

    def cancel(self, reason: str, at: datetime) -> OrderCancelled:
        """Decide that the order is off: everything has been given back."""
        self._check("cancel")
        return OrderCancelled(
            order_id=self.id,
            customer_id=self.customer_id,
            lines=self.lines,
            total=self.total,
            reason=reason,
            was_confirmed=self.was_confirmed,
            at=at,
            refunded=self.refunded if self.refunded.amount else None,
        )

    def ask_refund(self, refund_id: str, amount: Money, *, reason: str, at: datetime) -> RefundAsked:
        """Decide that money is to be given back. Whether so much is left is the caller's question."""
        self._check("ask-refund")
        return RefundAsked(order_id=self.id, refund_id=refund_id, amount=amount, reason=reason, at=at)

    def tell_refunded(self, refund_id: str, at: datetime) -> OrderRefunded:
        """Decide that a refund that was asked for has been given back."""
        self._check("refund")
        found = self.refund(refund_id)
        return OrderRefunded(
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

    def refuse_refund(self, refund_id: str, at: datetime) -> RefundRefused:
        """Decide that a refund that was asked for cannot be given back."""
        self._check("refuse-refund")
        return RefundRefused(order_id=self.id, refund_id=refund_id, amount=self.refund(refund_id).amount, at=at)

    def fail_refund(self, refund_id: str, at: datetime) -> RefundFailed:
        """Decide that nobody waits any longer for what the bank says of a refund."""
        self._check("fail-refund")
        return RefundFailed(order_id=self.id, refund_id=refund_id, amount=self.refund(refund_id).amount, at=at)

    def retry_refund(self, refund_id: str, at: datetime) -> RefundAskedAgain:
        """Decide that the bank is asked once more about a refund that failed."""
        self._check("retry-refund")
        return RefundAskedAgain(order_id=self.id, refund_id=refund_id, amount=self.refund(refund_id).amount, at=at)

    def move_parcel(self, to: ParcelState, at: datetime) -> ParcelMoved:
        """Decide that the parcel is where shipping says it is."""
        self._check(to)
        return ParcelMoved(order_id=self.id, to=to, at=at)

    def after(self, event: Happening) -> "Order":
        """Return the order that follows `event`.

        Raises:
            IllegalMoveError: the history is wrong; no decision of this class leads there.
        """
        match event:
            case OrderConfirmed():
                return self._moved("confirm", was_confirmed=True)
            case CancellationAsked(reason=reason):
                return self._moved("ask", reason=reason)
            case CancellationRefused():
                return self._moved("refuse", reason=None)
            case OrderCancelled(reason=reason):
                return self._moved("cancel", reason=reason)
            case ParcelMoved(to=to):
                return self._moved(to, parcel=to)
            case RefundAsked() | OrderRefunded() | RefundRefused() | RefundFailed() | RefundAskedAgain():
                return self._after_refund(event)
            case OrderPlaced():
                raise IllegalMoveError(self.id, self.state.value, "place")

    def _after_refund(
        self, event: RefundAsked | OrderRefunded | RefundRefused | RefundFailed | RefundAskedAgain
    ) -> "Order":
        match event:
            case RefundAsked(refund_id=refund_id, amount=amount, reason=reason, at=at):
                asked = Refund(id=refund_id, amount=amount, reason=reason, asked_at=at)
                return self._moved("ask-refund", refunds=(*self.refunds, asked))
            case OrderRefunded(refund_id=refund_id, at=at):
                return self._moved("refund", refunds=self._ended(refund_id, "done", at))
            case RefundRefused(refund_id=refund_id, at=at):
                return self._moved("refuse-refund", refunds=self._ended(refund_id, "refused", at))
            case RefundFailed(refund_id=refund_id, at=at):
                return self._moved("fail-refund", refunds=self._ended(refund_id, "failed", at))
            case RefundAskedAgain(refund_id=refund_id, at=at):
                return self._moved("retry-refund", refunds=self._again(refund_id, at))

    def _refunds_that_are(self, states: set[str]) -> Money:
        amount = sum(each.amount.amount for each in self.refunds if each.state in states)
        return Money(amount=amount, currency=self.total.currency)

    def _ended(self, refund_id: str, state: Literal["done", "refused", "failed"], at: datetime) -> tuple[Refund, ...]:
        return tuple(replace(each, state=state, ended_at=at) if each.id == refund_id else each for each in self.refunds)

    def _again(self, refund_id: str, at: datetime) -> tuple[Refund, ...]:
        again = replace(self.refund(refund_id), state="asked", asked_at=at, ended_at=None)
        return tuple(again if each.id == refund_id else each for each in self.refunds)

    def _check(self, move: Move) -> State:
        found = MOVES.get((self.state, move))
        if found is None:
            raise IllegalMoveError(self.id, self.state.value, move)
        return found

    def _moved(self, move: Move, **changes: object) -> "Order":
        return replace(self, state=self._check(move), version=self.version + 1, **changes)  # pyright: ignore[reportArgumentType]


def rebuild(history: Iterable[Happening]) -> Order:
    """Return the order that its history, oldest first, has made.

    Raises:
        ValueError: the history is empty or does not begin with OrderPlaced.
        IllegalMoveError: it holds a move that is not legal.
    """
    events = iter(history)
    first = next(events, None)
    if not isinstance(first, OrderPlaced):
        raise ValueError(  # noqa: TRY004 - the value of the whole history is wrong, whatever its types
            f"an order's history begins with OrderPlaced, this one with {type(first).__name__}"
        )
    order = Order.placed(first)
    for event in events:
        order = order.after(event)
    return order
