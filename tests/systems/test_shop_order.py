"""The order as a state machine: only the moves of the table, whatever is tried, and history makes the order."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import booleans, integers

from archstone.systems.shop.orders.events import OrderLine, OrderPlaced, OrderRefunded
from archstone.systems.shop.orders.order import MOVES, SHOWN, Happening, IllegalMoveError, Order, State
from archstone.systems.shop.values import Address, Money

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME = Address(name="Ann", street="Mill Lane 1", city="Tarn", postcode="12345", country="DE")
LINE = OrderLine(sku="KIT-001", name="Pan", quantity=2, price=Money(amount=1000))
PLACED = OrderPlaced(order_id="0" * 32, customer_id="1" * 32, lines=(LINE,), total=LINE.total, address=HOME, at=NOON)
ALL_MOVES = (
    "place", "confirm", "ask", "refuse", "cancel", "packed", "shipped", "delivered", "ask-refund", "refund",
    "refuse-refund", "fail-refund", "retry-refund",
)  # fmt: skip


def rebuild(*history: Happening) -> Order:
    return Order(PLACED.order_id).replay(history)


def decide(order: Order, move: str, at: datetime) -> None:
    match move:
        case "confirm":
            order.confirm(at)
        case "ask":
            order.ask_to_cancel("changed my mind", at)
        case "refuse":
            order.refuse_to_cancel("too late", at)
        case "cancel":
            order.cancel("given back", at)
        case _:
            order.move_parcel(move, at)  # type: ignore[arg-type]


class Orders(RuleBasedStateMachine):
    """Ten lines that know what an order may do, beside the order."""

    def __init__(self) -> None:
        super().__init__()
        self.order = Order(PLACED.order_id)
        self.order.place(PLACED.customer_id, PLACED.lines, total=PLACED.total, address=HOME, at=NOON)
        self.model = "pending"
        self.confirmations = self.cancellations = self.refunded = 0
        self.asked: list[tuple[str, int]] = []
        self.failed: list[tuple[str, int]] = []

    @property
    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.order.version)

    def try_move(self, move: str) -> bool:
        legal = {
            "pending": {"confirm": "confirmed", "ask": "stopping", "cancel": "cancelled"},
            "stopping": {"cancel": "cancelled"},
            "confirmed": {"ask": "returning", "cancel": "cancelled", "packed": "confirmed", "shipped": "shipped"},
            "returning": {
                "cancel": "cancelled", "refuse": "confirmed", "packed": "returning", "shipped": "shipped"
            },
            "shipped": {"refuse": "shipped", "delivered": "delivered"},
            "delivered": {"refuse": "delivered"},
            "cancelled": {},
        }[self.model]  # fmt: skip
        if move not in legal:
            with pytest.raises(IllegalMoveError):
                decide(self.order, move, self.now)
            return False
        decide(self.order, move, self.now)
        self.model = legal[move]
        return True

    @rule()
    def confirm(self) -> None:
        self.confirmations += self.try_move("confirm")

    @rule()
    def ask(self) -> None:
        self.try_move("ask")

    @rule()
    def refuse(self) -> None:
        self.try_move("refuse")

    @rule()
    def cancel(self) -> None:
        self.cancellations += self.try_move("cancel")

    @rule()
    def pack(self) -> None:
        self.try_move("packed")

    @rule()
    def ship(self) -> None:
        self.try_move("shipped")

    @rule()
    def deliver(self) -> None:
        self.try_move("delivered")

    @rule(amount=integers(1, 500))
    def ask_refund(self, amount: int) -> None:
        refund_id, money = f"{self.order.version:032x}", Money(amount=amount)
        if self.model not in {"confirmed", "shipped", "delivered"}:
            with pytest.raises(IllegalMoveError):
                self.order.ask_refund(refund_id, money, reason="scratched", at=self.now)
        elif amount <= self.order.refundable.amount:
            self.order.ask_refund(refund_id, money, reason="scratched", at=self.now)
            self.asked.append((refund_id, amount))

    @precondition(lambda self: self.asked)
    @rule(given=booleans())
    def end_refund(self, given: bool) -> None:
        refund_id, amount = self.asked.pop(0)
        if given:
            self.refunded += amount
            self.order.tell_refunded(refund_id, self.now)
            event = self.order.pending[-1]
            assert isinstance(event, OrderRefunded)
            assert event.refunded.amount == self.refunded
            assert event.was_cancelled == (self.model == "cancelled")
        else:
            self.order.refuse_refund(refund_id, self.now)

    @precondition(lambda self: self.asked)
    @rule()
    def fail_refund(self) -> None:
        self.failed.append(self.asked.pop(0))
        self.order.fail_refund(self.failed[-1][0], self.now)

    @precondition(lambda self: self.failed)
    @rule()
    def retry_refund(self) -> None:
        self.asked.append(self.failed.pop(0))
        self.order.retry_refund(self.asked[-1][0], self.now)
        assert self.order.refund(self.asked[-1][0]).ended_at is None

    @invariant()
    def what_was_refunded_is_counted(self) -> None:
        assert self.order.refunded.amount == self.refunded
        perhaps = sum(amount for _, amount in (*self.asked, *self.failed))
        assert self.order.refundable.amount == 2000 - self.refunded - perhaps

    @invariant()
    def the_order_is_what_its_history_makes(self) -> None:
        again = rebuild(*self.order.pending)  # type: ignore[arg-type]
        assert vars(again) | {"pending": self.order.pending} == vars(self.order)

    @invariant()
    def it_is_where_the_model_is(self) -> None:
        assert self.order.state.value == self.model

    @invariant()
    def it_is_confirmed_and_cancelled_at_most_once(self) -> None:
        assert self.confirmations <= 1
        assert self.cancellations <= 1
        assert self.order.was_confirmed == (self.confirmations == 1)


TestOrders = Orders.TestCase
TestOrders.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_a_shipped_or_cancelled_order_can_never_be_cancelled() -> None:
    for state in (State.SHIPPED, State.DELIVERED, State.CANCELLED):
        assert (state, "cancel") not in MOVES
        assert (state, "ask") not in MOVES


def test_every_state_is_shown_and_every_move_leads_from_a_state_to_a_state() -> None:
    assert set(SHOWN) == set(State) - {State.NEW}
    assert set(MOVES) <= set(product(State, ALL_MOVES))


def test_an_illegal_move_says_what_would_be_legal() -> None:
    order = rebuild(PLACED)
    with pytest.raises(IllegalMoveError) as caught:
        order.move_parcel("shipped", NOON)
    assert order.pending == []
    assert str(caught.value) == f"order {'0' * 32} is pending: 'shipped' is not possible, only ask, cancel, confirm"


def test_a_history_that_does_not_begin_with_placing_is_refused() -> None:
    order = rebuild(PLACED)
    order.confirm(NOON)
    with pytest.raises(IllegalMoveError, match="is new: 'confirm' is not possible, only place"):
        Order(PLACED.order_id).replay(order.pending)
    with pytest.raises(IllegalMoveError):
        rebuild(PLACED, PLACED)


def test_a_cancelled_order_says_whether_it_had_been_confirmed() -> None:
    for was_confirmed in (False, True):
        order = rebuild(PLACED)
        if was_confirmed:
            order.confirm(NOON)
        order.cancel("no", NOON)
        assert order.pending[-1].was_confirmed is was_confirmed  # type: ignore[attr-defined]
