"""Orders: what a customer asks for, and the two sagas that carry it out.

`place` writes the order down and starts its checkout, in one transaction: once it has answered, the checkout ends,
after however many crashes. Every step names the order wherever it arrives, so it can be repeated.
"""

from datetime import datetime
from functools import cached_property
from typing import Final

from pydantic import TypeAdapter, ValidationError

from archstone import world
from archstone.eventsourcing import EVENTS_SCHEMA, Projector
from archstone.observability import get_logger
from archstone.resilience import Exponential, Retry
from archstone.sagas import saga
from archstone.services import Service, on
from archstone.systems.shop.catalog.contract import Catalog, Product
from archstone.systems.shop.inventory.administration import StockAdmin
from archstone.systems.shop.inventory.contract import Inventory
from archstone.systems.shop.notifications.contract import Mails
from archstone.systems.shop.orders import finding, refunding
from archstone.systems.shop.orders.administration import OrderAdmin, OrderDossier, OrderList, OrderState
from archstone.systems.shop.orders.contract import (
    CancellationAskedError,
    CannotCancelError,
    CannotOrderError,
    History,
    NoOrdersError,
    OrderPage,
    Orders,
    OrderStatus,
    OrderUnknownError,
    OrderView,
    RefundView,
    Status,
)
from archstone.systems.shop.orders.dossier import Witnesses, dossier_of
from archstone.systems.shop.orders.endings import Endings
from archstone.systems.shop.orders.events import OrderLine, Reason
from archstone.systems.shop.orders.indexing import INDEXING, MAX_WORDS, OrderIndex, words_in
from archstone.systems.shop.orders.order import SHOWN, Order, State
from archstone.systems.shop.orders.partners import Partners
from archstone.systems.shop.orders.reading import (
    SUMMARY_COLUMNS,
    SummaryRow,
    recorded_of,
    refund_view,
    summary_of,
    view_of,
)
from archstone.systems.shop.orders.store import OrderStore, rebuilt
from archstone.systems.shop.paging import decode_cursor, encode_cursor
from archstone.systems.shop.payments.administration import PaymentAdmin
from archstone.systems.shop.payments.contract import ANSWER_S, ASKING, FORWARD, Payments
from archstone.systems.shop.payments.provider import PaymentToken
from archstone.systems.shop.roles import CANCELLABLE_ORDER, OWN_ORDER
from archstone.systems.shop.shipping.administration import ShippingAdmin
from archstone.systems.shop.shipping.contract import Shipping
from archstone.systems.shop.shipping.events import ShipmentMoved
from archstone.systems.shop.users.contract import User, UserAdmin
from archstone.systems.shop.values import (
    MAX_MINOR_UNITS,
    Address,
    Email,
    Line,
    Lines,
    Money,
    OrderId,
    RefundId,
    UserId,
    merged,
)

__all__ = ["OrdersService"]

_log = get_logger("archstone.shop.orders")

PAYMENT_TIMEOUT_S: Final = ANSWER_S
"""Seconds that a payment has before it is asked how far it is."""
PATIENT: Final = Retry(100, backoff=Exponential(0.1, cap_s=60.0), on=(Exception,))
"""A parcel is stopped: from there a cancellation only goes forward, for more than an hour if it must."""
BY_CUSTOMER: Final = "cancelled by the customer"
PARCEL_LEFT: Final = "the parcel had left"


class OrdersService(Service, Orders, OrderAdmin, name="orders"):
    """Keeps `Orders` and `OrderAdmin`."""

    catalog: Catalog
    inventory: Inventory
    payments: Payments
    shipping: Shipping
    money: PaymentAdmin
    parcels: ShippingAdmin
    stock: StockAdmin
    mails: Mails
    users: UserAdmin

    schemas = (EVENTS_SCHEMA,)
    undo_retry = FORWARD

    @cached_property
    def kept(self) -> OrderStore:
        """Where orders are kept."""
        return OrderStore(self.db)

    def projectors(self) -> tuple[Projector, ...]:
        """Make orders findable by product and by words."""
        return (Projector(self.kept, OrderIndex(), settings=INDEXING),)

    @cached_property
    def partners(self) -> Partners:
        """What the steps of the sagas call."""
        return Partners(
            self.kept, endings=self.endings, inventory=self.inventory, payments=self.payments, shipping=self.shipping
        )

    @cached_property
    def endings(self) -> Endings:
        """Who waits for the end of an order."""
        return Endings()

    async def place(self, lines: Lines, address: Address, payment_token: PaymentToken) -> OrderStatus:
        wanted = merged(lines)
        # Before the transaction, which begins with its first statement, below: nothing is held while others are asked.
        products = await self.catalog.pick(tuple(line.sku for line in wanted))
        order = _placed(self.principal.id, zip(wanted, products, strict=True), address)
        await self.kept.put(self.tx, order)
        await self.begin_checkout(order, wanted, payment_token)
        return _status(order)

    async def begin_checkout(self, order: Order, lines: Lines, token: PaymentToken) -> None:
        """Begin what carries a new order to its end, in the transaction that writes it down."""
        await self.tx.start(
            self.checkout, order.id, order.customer_id, lines, order.total, order.address, token, id=order.id
        )

    @saga(version=1)
    async def checkout(  # noqa: PLR0917 - a saga's arguments are journaled by position
        self,
        order_id: OrderId,
        customer_id: UserId,
        lines: Lines,
        total: Money,
        address: Address,
        token: PaymentToken,
    ) -> None:
        """Carry an order to `confirmed`, or back to `cancelled` with everything given back."""
        ask = self.partners
        await self.step(ask.hold_goods, order_id, lines, undo=(ask.give_up, order_id))
        await self.step(
            ask.take_money, order_id, customer_id, total, token,
            undo=(self.payments.refund, order_id), retry=ASKING, timeout_s=PAYMENT_TIMEOUT_S,
        )  # fmt: skip
        await self.step(ask.make_out_parcel, order_id, address, undo=(self.shipping.cancel, order_id))
        await self.step(ask.sell_goods, order_id)  # giving up puts back what is sold as well as what is held
        await self.step(self.confirm, order_id)

    async def confirm(self, order_id: OrderId) -> None:
        """Step: the order stands, unless its customer has asked for the opposite meanwhile."""
        order = await self._load(order_id)
        if order.was_confirmed:
            return
        if not order.can("confirm"):
            raise CancellationAskedError(order_id)
        order.confirm(world.now())
        await self.kept.put(self.tx, order)
        self.tx.after_commit(lambda: self.endings.tell(order_id))

    async def cancel(self, order_id: OrderId) -> OrderStatus:
        order = await self.kept.find(Order, order_id, tx=self.tx)
        if order is None or not self.allows(CANCELLABLE_ORDER, order.customer_id, name=order_id):
            raise OrderUnknownError(order_id)
        if order.state in {State.SHIPPED, State.DELIVERED}:
            raise CannotCancelError(order_id, order.state.value)
        if order.can("ask"):
            was_confirmed = order.state is State.CONFIRMED
            order.ask_to_cancel(BY_CUSTOMER, world.now())
            await self.kept.put(self.tx, order)
            if was_confirmed:
                # The version tells this attempt from one that came too late for an earlier parcel.
                await self.tx.start(self.call_off, order_id, id=f"call-off-{order_id}-{order.version}")
            # Otherwise its checkout is under way, and turns back when it comes to `confirm`.
        return _status(order)

    @saga(version=1)
    async def call_off(self, order_id: OrderId) -> None:
        """Cancel a confirmed order: stop the parcel, which alone can fail, then give everything back."""
        if not await self.step(self.partners.stop_parcel, order_id, retry=PATIENT):
            await self.step(self.keep, order_id)
            return
        await self.step(self.payments.refund, order_id, retry=PATIENT, timeout_s=PAYMENT_TIMEOUT_S)
        await self.step(self.inventory.release, order_id, retry=PATIENT)
        await self.step(self.close, order_id, retry=PATIENT)

    async def keep(self, order_id: OrderId) -> None:
        """Step: the parcel was faster than the cancellation."""
        order = await self._load(order_id)
        order.refuse_to_cancel(PARCEL_LEFT, world.now())
        await self.kept.put(self.tx, order)

    async def close(self, order_id: OrderId) -> None:
        """Step: everything is given back."""
        order = await self._load(order_id)
        if order.state is not State.CANCELLED:
            order.cancel(order.reason or BY_CUSTOMER, world.now())
            await self.kept.put(self.tx, order)

    async def refund(self, order_id: OrderId, reason: str, amount: int | None = None) -> RefundView:
        asked = await refunding.ask(self.kept, self.tx, order_id, amount=amount, reason=reason)
        await self.tx.start(
            self.give_money_back, order_id, asked.id, asked.amount, asked.reason, id=f"refund-{asked.id}"
        )
        return refund_view(asked)

    async def retry_refund(self, order_id: OrderId, refund_id: RefundId) -> RefundView:
        found, version = await refunding.again(self.kept, self.tx, order_id, refund_id)
        if version is not None:
            await self.tx.start(
                self.give_money_back, order_id, found.id, found.amount, found.reason, id=f"refund-{found.id}-{version}"
            )
        return refund_view(found)

    @saga(version=1)
    async def give_money_back(self, order_id: OrderId, refund_id: RefundId, amount: Money, reason: Reason) -> None:
        """Carry a refund to its end: payments decides whether so much is left. A silent bank is asked for days."""
        pauses = iter(refunding.PAUSES_S)
        while True:
            given = await self.step(
                self.partners.give_money_back, order_id, refund_id, amount, reason,
                retry=PATIENT, timeout_s=PAYMENT_TIMEOUT_S,
            )  # fmt: skip
            pause_s = next(pauses, None)
            if given is not None or pause_s is None:
                break
            await self.step.sleep(pause_s)
        tell = self.fail_refund if given is None else self.tell_refunded if given else self.refuse_refund
        await self.step(tell, order_id, refund_id, retry=PATIENT)

    async def tell_refunded(self, order_id: OrderId, refund_id: RefundId) -> None:
        """Step: the money has gone back."""
        order = await self._load(order_id)
        if order.refund(refund_id).state == "asked":
            order.tell_refunded(refund_id, world.now())
            await self.kept.put(self.tx, order)

    async def refuse_refund(self, order_id: OrderId, refund_id: RefundId) -> None:
        """Step: a cancellation was faster, so less was left."""
        order = await self._load(order_id)
        if order.refund(refund_id).state == "asked":
            order.refuse_refund(refund_id, world.now())
            await self.kept.put(self.tx, order)

    async def fail_refund(self, order_id: OrderId, refund_id: RefundId) -> None:
        """Step: nobody knows what the bank has done, and an administrator has to look."""
        order = await self._load(order_id)
        if order.refund(refund_id).state == "asked":
            order.fail_refund(refund_id, world.now())
            await self.kept.put(self.tx, order)
            _log.error("a refund failed: the bank did not answer for days", order=order_id, refund=refund_id)

    @on(ShipmentMoved)
    async def follow_parcel(self, event: ShipmentMoved) -> None:
        """Write down how far the parcel is."""
        order = await self._load(event.order_id)
        if order.state is State.CANCELLED and event.to == "packed":
            return  # it was packed and then stopped, and the news was slower than the cancellation
        order.move_parcel(event.to, event.at)
        await self.kept.put(self.tx, order)

    async def order(self, order_id: OrderId, wait_s: float = 0.0) -> OrderView:
        with self.endings.of(order_id) as ended:
            history = await self.kept.history(order_id)
            if not history or not self._may_see((order := rebuilt(order_id, history)).customer_id, order_id):
                raise OrderUnknownError(order_id)
            if not wait_s or SHOWN[order.state] != "pending":
                return view_of(order, history)
            await ended.within(wait_s)
        history = await self.kept.history(order_id)
        return view_of(rebuilt(order_id, history), history)

    async def history(self, order_id: OrderId) -> History:
        owner = await self.db.first(str, "SELECT customer_id FROM orders WHERE id = :id", id=order_id)
        if owner is None or not self._may_see(owner, order_id):
            raise OrderUnknownError(order_id)
        return History(id=order_id, items=tuple(map(recorded_of, await self.kept.history(order_id))))

    async def mine(self, limit: int = 20, cursor: str | None = None) -> OrderPage:
        return await self.orders_of(self.principal.id, limit, cursor)

    async def orders_of(self, user_id: UserId, limit: int = 20, cursor: str | None = None) -> OrderPage:
        if not self._may_see(user_id, f"orders of {user_id}"):
            raise NoOrdersError(user_id)
        question = f"orders|{user_id}"
        before: tuple[object, ...] = (2**62, "")
        if cursor is not None:
            before = decode_cursor(question, cursor, like=(0, ""))
        rows = await self.db.all(
            SummaryRow,
            f"SELECT {SUMMARY_COLUMNS} FROM orders WHERE customer_id = :user_id"  # noqa: S608 - a constant
            " AND (placed_at, id) < (:at, :id) ORDER BY placed_at DESC, id DESC LIMIT :limit",
            user_id=user_id, at=before[0], id=before[1], limit=limit + 1,
        )  # fmt: skip
        page, more = rows[:limit], rows[limit:]
        next_cursor = encode_cursor(question, (page[-1].placed_at, page[-1].id)) if more else None
        return OrderPage(items=tuple(summary_of(row) for row in page), next_cursor=next_cursor)

    async def orders(  # noqa: PLR0913, PLR0917 - as the contract has it
        self,
        status: Status | None = None,
        state: OrderState | None = None,
        customer: str | None = None,
        sku: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        search: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> OrderList:
        words = None if search is None else tuple(words_in(search)[:MAX_WORDS])
        states = finding.states_of(status, state)
        if words == () or states == ():
            return OrderList(items=(), next_cursor=None)
        customer_id = customer
        if customer is not None and "@" in customer:
            found = await self._with_address(customer)
            if found is None:
                return OrderList(items=(), next_cursor=None)
            customer_id = found.id
        wanted = finding.Wanted(
            words=words, sku=sku, customer_id=customer_id, states=states, since=since, until=until,
            at_least=at_least, at_most=at_most,
        )  # fmt: skip
        return await finding.page(self.db, wanted, limit=limit, cursor=cursor)

    async def _with_address(self, text: str) -> User | None:
        try:
            return await self.users.user_with(TypeAdapter(Email).validate_python(text))
        except ValidationError:
            return None  # nobody can have registered with it

    async def dossier(self, order_id: OrderId) -> OrderDossier:
        return await dossier_of(self.kept, order_id, ask=Witnesses(self.money, self.parcels, self.stock, self.mails))

    def _may_see(self, customer_id: str, what: str) -> bool:
        return self.allows(OWN_ORDER, customer_id, name=what)

    async def _load(self, order_id: OrderId) -> Order:
        return await self.kept.load(Order, order_id, tx=self.tx)


def _placed(customer_id: str, chosen: "zip[tuple[Line, Product]]", address: Address) -> Order:
    """Return a new order, with the prices of this moment."""
    lines = tuple(
        OrderLine(sku=product.sku, name=product.name, quantity=line.quantity, price=product.price)
        for line, product in chosen
    )
    order = Order(world.new_id())
    order.place(customer_id, lines, total=_total(lines), address=address, at=world.now())
    return order


def _total(lines: tuple[OrderLine, ...]) -> Money:
    currencies = {line.price.currency for line in lines}
    if len(currencies) > 1:
        raise CannotOrderError(f"the prices are in {' and '.join(sorted(currencies))}")
    amount = sum(line.price.amount * line.quantity for line in lines)
    if amount > MAX_MINOR_UNITS:
        raise CannotOrderError(f"together it costs {amount} minor units, the limit of an order is {MAX_MINOR_UNITS}")
    return Money(amount=amount, currency=currencies.pop())


def _status(order: Order) -> OrderStatus:
    return OrderStatus(id=order.id, status=SHOWN[order.state])
