"""The order as a state machine: only the moves of the table, whatever is tried, and history makes the order."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import booleans, integers

from archstone.systems.shop.orders.events import OrderLine, OrderPlaced
from archstone.systems.shop.orders.order import MOVES, SHOWN, Happening, IllegalMoveError, Order, State, rebuild
from archstone.systems.shop.values import Address, Money

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOME = Address(name="Ann", street="Mill Lane 1", city="Tarn", postcode="12345", country="DE")
LINE = OrderLine(sku="KIT-001", name="Pan", quantity=2, price=Money(amount=1000))
PLACED = OrderPlaced(order_id="0" * 32, customer_id="1" * 32, lines=(LINE,), total=LINE.total, address=HOME, at=NOON)
ALL_MOVES = (
    "confirm", "ask", "refuse", "cancel", "packed", "shipped", "delivered", "ask-refund", "refund", "refuse-refund",
    "fail-refund", "retry-refund",
)  # fmt: skip


def decide(order: Order, move: str, at: datetime) -> Happening:
    match move:
        case "confirm":
            return order.confirm(at)
        case "ask":
            return order.ask_to_cancel("changed my mind", at)
        case "refuse":
            return order.refuse_to_cancel("too late", at)
        case "cancel":
            return order.cancel("given back", at)
        case _:
            return order.move_parcel(move, at)  # type: ignore[arg-type]


class Orders(RuleBasedStateMachine):
    """Ten lines that know what an order may do, beside the order."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Happening] = [PLACED]
        self.order = rebuild(self.history)
        self.model = "pending"
        self.confirmations = self.cancellations = self.refunded = 0
        self.asked: list[tuple[str, int]] = []
        self.failed: list[tuple[str, int]] = []

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
        at = NOON + timedelta(seconds=len(self.history))
        if move not in legal:
            with pytest.raises(IllegalMoveError):
                decide(self.order, move, at)
            return False
        event = decide(self.order, move, at)
        self.history.append(event)
        self.order = self.order.after(event)
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
        at = NOON + timedelta(seconds=len(self.history))
        refund_id, money = f"{len(self.history):032x}", Money(amount=amount)
        if self.model not in {"confirmed", "shipped", "delivered"}:
            with pytest.raises(IllegalMoveError):
                self.order.ask_refund(refund_id, money, reason="scratched", at=at)
        elif amount <= self.order.refundable.amount:
            self.happened(self.order.ask_refund(refund_id, money, reason="scratched", at=at))
            self.asked.append((refund_id, amount))

    @precondition(lambda self: self.asked)
    @rule(given=booleans())
    def end_refund(self, given: bool) -> None:
        refund_id, amount = self.asked.pop(0)
        at = NOON + timedelta(seconds=len(self.history))
        if given:
            self.refunded += amount
            event = self.order.tell_refunded(refund_id, at)
            assert event.refunded.amount == self.refunded
            assert event.was_cancelled == (self.model == "cancelled")
            self.happened(event)
        else:
            self.happened(self.order.refuse_refund(refund_id, at))

    @precondition(lambda self: self.asked)
    @rule()
    def fail_refund(self) -> None:
        self.failed.append(self.asked.pop(0))
        self.happened(self.order.fail_refund(self.failed[-1][0], NOON + timedelta(seconds=len(self.history))))

    @precondition(lambda self: self.failed)
    @rule()
    def retry_refund(self) -> None:
        self.asked.append(self.failed.pop(0))
        self.happened(self.order.retry_refund(self.asked[-1][0], NOON + timedelta(seconds=len(self.history))))
        assert self.order.refund(self.asked[-1][0]).ended_at is None

    def happened(self, event: Happening) -> None:
        self.history.append(event)
        self.order = self.order.after(event)

    @invariant()
    def what_was_refunded_is_counted(self) -> None:
        assert self.order.refunded.amount == self.refunded
        perhaps = sum(amount for _, amount in (*self.asked, *self.failed))
        assert self.order.refundable.amount == 2000 - self.refunded - perhaps

    @invariant()
    def the_order_is_what_its_history_makes(self) -> None:
        assert rebuild(self.history) == self.order
        assert self.order.version == len(self.history)

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
    assert set(SHOWN) == set(State)
    assert set(MOVES) <= set(product(State, ALL_MOVES))


def test_an_illegal_move_says_what_would_be_legal() -> None:
    order = rebuild([PLACED])
    with pytest.raises(IllegalMoveError) as caught:
        order.move_parcel("shipped", NOON)
    assert str(caught.value) == f"order {'0' * 32} is pending: 'shipped' is not possible, only ask, cancel, confirm"


def test_a_history_that_does_not_begin_with_placing_is_refused() -> None:
    confirmed = rebuild([PLACED]).confirm(NOON)
    with pytest.raises(ValueError, match="begins with OrderPlaced"):
        rebuild([confirmed])
    with pytest.raises(ValueError, match="begins with OrderPlaced"):
        rebuild([])
    with pytest.raises(IllegalMoveError):
        rebuild([PLACED, PLACED])


def test_a_cancelled_order_says_whether_it_had_been_confirmed() -> None:
    order = rebuild([PLACED])
    confirmed = order.after(order.confirm(NOON))
    assert not order.cancel("no", NOON).was_confirmed
    assert confirmed.cancel("no", NOON).was_confirmed
