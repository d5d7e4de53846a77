"""What must never be false of a shop at rest, whatever has crashed: checked over the files, when nothing runs.

    faults = check(Path(".archstone/shop"))      # empty: all is well

Each rule is a pure function from figures to the sentences that say what is wrong. A shop is at rest when every order
that was placed has ended and every event has been handled; before that, `unfinished` says what is still under way.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["Figures", "MailFigure", "OrderFigure", "RefundFigure", "StockFigure", "check", "faults_of", "read"]

MAX_TOLD: Final = 50
"""Faults told at most."""
_CONFIRMED: Final = frozenset({"confirmed", "returning", "shipped", "delivered"})


class StockFigure(NamedTuple):
    """A row of stock."""

    sku: str
    free: int
    held: int
    sold: int
    initial: int
    corrected: int = 0


class OrderFigure(NamedTuple):
    """An order as its row says."""

    id: str
    state: str
    amount: int
    version: int


_REFUND: Final = "json_extract(data, '$.refund_id')"
_TOLD: Final = (
    f"SELECT {_REFUND}, stream, json_extract(data, '$.amount.amount') FROM events"  # noqa: S608 - constants, as below
    " WHERE type = 'orders.order-refunded'"
)
_ASKED: Final = (
    f"SELECT {_REFUND}, stream FROM events WHERE {_REFUND} IS NOT NULL GROUP BY 1, 2"  # noqa: S608 - constants
    " HAVING sum(type LIKE 'orders.refund-asked%') > sum(type NOT LIKE 'orders.refund-asked%')"
)
_HAS_CHECKOUTS: Final = "SELECT 1 FROM sqlite_master WHERE name = 'checkouts'"
_CHECKOUTS: Final = "SELECT order_id, due_at IS NOT NULL, turns FROM checkouts"
_STOCK: Final = "SELECT sku, free, held, sold, initial, corrected FROM stock"


class RefundFigure(NamedTuple):
    """Money that was given back. Its id is the order's where all that was left was."""

    id: str
    order_id: str
    amount: int


class MailFigure(NamedTuple):
    """A mail that was sent."""

    file: str
    order_id: str
    about: str


class Figures(NamedTuple):
    """All that the rules look at."""

    orders: tuple[OrderFigure, ...] = ()
    histories: tuple[tuple[str, int, int], ...] = ()
    """Order, events, last version."""
    stock: tuple[StockFigure, ...] = ()
    corrections: tuple[tuple[str, int], ...] = ()
    """Product and the sum of its corrections, as they were written down."""
    reservations: tuple[tuple[str, str], ...] = ()
    """Order and state of each reservation."""
    ledger: int = 0
    """Sum of all entries."""
    shop_balance: int = 0
    captures: tuple[tuple[str, int], ...] = ()
    """Order and amount."""
    refunds: tuple[RefundFigure, ...] = ()
    """As the bank gave them back."""
    refunds_booked: tuple[RefundFigure, ...] = ()
    """The same as payments has written them down."""
    refunds_told: tuple[RefundFigure, ...] = ()
    """Those of orders that stand, as the orders' histories tell."""
    refunds_asked: tuple[tuple[str, str], ...] = ()
    """Id and order of refunds that have not ended."""
    payments: tuple[tuple[str, str], ...] = ()
    """Order and state, as payments has recorded them."""
    checkouts: tuple[tuple[str, int, int], ...] = ()
    """Order, whether it has a deadline still, and how often it was turned back, of those that go or went by events."""
    shipments: tuple[tuple[str, str], ...] = ()
    """Order and state."""
    mails: tuple[MailFigure, ...] = ()
    """About orders."""
    departed: frozenset[str] = frozenset()
    """Orders of customers who have deleted their account: what had not been written to them by then never is."""


def check(data_folder: Path) -> list[str]:
    """Return what is false about the shop in this data folder, empty when all is well. Nothing may run there."""
    return faults_of(read(data_folder))


def faults_of(figures: Figures) -> list[str]:
    """Return what is false about these figures, at most 50 sentences."""
    rules = (
        unfinished,
        histories_agree,
        stock_adds_up,
        reservations_fit,
        checkouts_fit,
        money_adds_up,
        refunds_are_recorded,
        parcels_fit,
        mails_fit,
    )
    return [fault for rule in rules for fault in rule(figures)][:MAX_TOLD]


def unfinished(figures: Figures) -> Iterator[str]:
    """An order that was acknowledged ends confirmed or cancelled, and a refund done or refused."""
    for order in figures.orders:
        if order.state in {"pending", "stopping", "returning"}:
            yield f"order {order.id} has not ended: it is {order.state}"
    for refund_id, order_id in figures.refunds_asked:
        yield f"refund {refund_id} of order {order_id} has not ended"


def histories_agree(figures: Figures) -> Iterator[str]:
    """The row of an order says what its history says, and no history has a gap."""
    histories = {order_id: (count, last) for order_id, count, last in figures.histories}
    for order in figures.orders:
        count, last = histories.pop(order.id, (0, 0))
        if not count == last == order.version:
            yield f"order {order.id}: its row is at version {order.version}, its {count} events end at {last}"
    for order_id in histories:
        yield f"order {order_id} has a history and no row"


def stock_adds_up(figures: Figures) -> Iterator[str]:
    """Nothing is below zero, and nothing appears or disappears but by a correction that was written down."""
    booked = dict(figures.corrections)
    for row in figures.stock:
        if min(row.free, row.held, row.sold) < 0:
            yield f"stock of {row.sku} is below zero: {row}"
        if row.free + row.held + row.sold != row.initial + row.corrected:
            counted = f"{row.free} free + {row.held} held + {row.sold} sold"
            yield f"stock of {row.sku}: {counted} is not {row.initial} and corrections of {row.corrected}"
        if row.corrected != booked.pop(row.sku, 0):
            yield f"stock of {row.sku} is corrected by {row.corrected}, which is not the sum of what was written down"
    for sku in booked:
        yield f"corrections of {sku} are written down, and it has no stock"


def reservations_fit(figures: Figures) -> Iterator[str]:
    """A confirmed order's goods are sold, a cancelled one's are not."""
    states = dict(figures.reservations)
    for order in figures.orders:
        state = states.get(order.id)
        if order.state in _CONFIRMED and state != "sold":
            yield f"order {order.id} is {order.state} and its goods are {state}"
        if order.state == "cancelled" and state in {"held", "sold"}:
            yield f"order {order.id} is cancelled and its goods are {state}"


def checkouts_fit(figures: Figures) -> Iterator[str]:
    """Of the orders that go by events, what was turned back is not confirmed, and a deadline ends with its order."""
    watched = {order_id: (bool(due), turns) for order_id, due, turns in figures.checkouts}
    for order in figures.orders:
        due, turns = watched.pop(order.id, (order.state in {"pending", "stopping"}, 0))
        if order.state in _CONFIRMED and turns:
            yield f"order {order.id} is {order.state} and its checkout was turned back"
        if due != (order.state in {"pending", "stopping"}):
            yield f"order {order.id} is {order.state} and {'has a deadline still' if due else 'nobody watches it'}"
    for order_id in watched:
        yield f"order {order_id} has a checkout by events and no row"


def money_adds_up(figures: Figures) -> Iterator[str]:
    """The books balance: what is kept is what the orders that stand cost, less what was refunded of them."""
    if figures.ledger:
        yield f"the ledger sums to {figures.ledger}, not to zero"
    captured = Counter(dict(figures.captures))
    told = _sums(figures.refunds_told)
    costs = {order.id: order.amount - told[order.id] for order in figures.orders if order.state in _CONFIRMED}
    kept = captured.total() - _sums(figures.refunds).total()
    if kept != sum(costs.values()):
        yield f"captures less refunds are {kept}, the confirmed orders cost {sum(costs.values())} less their refunds"
    if figures.shop_balance != kept:
        yield f"the shop's account holds {figures.shop_balance}, captures less refunds are {kept}"
    yield from _repeated("captures", (order_id for order_id, _ in figures.captures))
    yield from _each_is_paid(figures, captured, costs)


def _each_is_paid(figures: Figures, captured: Counter[str], costs: dict[str, int]) -> Iterator[str]:
    """A confirmed order is paid once, less its refunds; a cancelled one keeps no money."""
    refunded, recorded = _sums(figures.refunds), dict(figures.payments)
    for order in figures.orders:
        money, due = captured[order.id] - refunded[order.id], costs.get(order.id, 0)
        if order.state in _CONFIRMED | {"cancelled"} and money != due:
            yield f"order {order.id} is {order.state}: {money} of its money is kept, {due} is due"
        expected = "captured" if due or not refunded[order.id] else "refunded"
        if order.state in _CONFIRMED and recorded.get(order.id) != expected:
            yield f"order {order.id} is {order.state} and payments has it as {recorded.get(order.id)}"
        if order.state == "cancelled" and recorded.get(order.id) == "captured":
            yield f"order {order.id} is cancelled and payments has it as captured"


def refunds_are_recorded(figures: Figures) -> Iterator[str]:
    """Every refund of the bank is in the books of payments and, unless an order was cancelled, in its history."""
    yield from _repeated("refunds of one id", (refund.id for refund in figures.refunds))
    given, booked = set(figures.refunds), set(figures.refunds_booked)
    for refund in sorted(given ^ booked):
        where = "by the bank alone" if refund in given else "in the books of payments alone"
        yield f"refund {refund.id} of order {refund.order_id}: {refund.amount} were given back {where}"
    parts = {refund for refund in given if refund.id != refund.order_id}
    for refund in sorted(parts ^ set(figures.refunds_told)):
        where = "and its history does not tell" if refund in parts else "by its history alone"
        yield f"refund {refund.id} of order {refund.order_id}: {refund.amount} were given back {where}"


def _sums(refunds: tuple[RefundFigure, ...]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for refund in refunds:
        sums[refund.order_id] += refund.amount
    return sums


def parcels_fit(figures: Figures) -> Iterator[str]:
    """A confirmed order has one parcel, a cancelled one none that is sent."""
    states = dict(figures.shipments)
    yield from _repeated("parcels", (order_id for order_id, _ in figures.shipments))
    for order in figures.orders:
        state = states.get(order.id)
        if order.state in _CONFIRMED and state in {None, "cancelled"}:
            yield f"order {order.id} is {order.state} and its parcel is {state}"
        if order.state == "cancelled" and state not in {None, "cancelled"}:
            yield f"order {order.id} is cancelled and its parcel is {state}"


def mails_fit(figures: Figures) -> Iterator[str]:
    """Exactly one mail tells of each confirmation, of each cancellation, and of each refund of an order that stands.

    Of an order whose customer has left, one at most.
    """
    refunds = Counter(refund.order_id for refund in figures.refunds_told)
    sent = Counter((mail.order_id, mail.about) for mail in figures.mails)
    for order in figures.orders:
        confirmed, cancelled = sent.pop((order.id, "confirmed"), 0), sent.pop((order.id, "cancelled"), 0)
        refunded = sent.pop((order.id, "refunded"), 0)
        if order.id in figures.departed and max(confirmed, cancelled) <= 1 and refunded <= refunds[order.id]:
            continue
        if order.state in _CONFIRMED and (confirmed, cancelled) != (1, 0):
            yield f"order {order.id} is {order.state}: {confirmed} mails say confirmed and {cancelled} cancelled"
        if order.state == "cancelled" and (confirmed > 1 or cancelled != 1):
            yield f"order {order.id} is cancelled: {confirmed} mails say confirmed and {cancelled} cancelled"
        if refunded != refunds[order.id]:
            yield f"order {order.id} has {refunds[order.id]} refunds, and {refunded} mails that say so"
    for order_id, about in sent:
        yield f"a mail says {about} of order {order_id}, which is not there"


def _repeated(what: str, order_ids: Iterable[str]) -> Iterator[str]:
    for order_id, count in Counter(order_ids).items():
        if count > 1:
            yield f"order {order_id} has {count} {what}"


def read(data_folder: Path) -> Figures:
    """Return the figures in a data folder. Files that are not there yet count as empty."""

    def rows(name: str, sql: str) -> tuple[tuple[object, ...], ...]:
        return _rows(data_folder / f"{name}.db", sql)

    def pairs(name: str, sql: str) -> tuple[Any, ...]:
        return rows(name, sql)

    def refunds(name: str, sql: str) -> tuple[RefundFigure, ...]:
        return tuple(RefundFigure._make(row) for row in pairs(name, sql))

    balance = "SELECT coalesce(sum(amount), 0), coalesce(sum(amount) FILTER (WHERE account = 'shop'), 0) FROM ledger"
    ledger, shop_balance = next(iter(pairs("bank", balance)), (0, 0))
    return Figures(
        orders=tuple(map(OrderFigure._make, rows("orders", "SELECT id, state, amount, version FROM orders"))),
        histories=pairs("orders", "SELECT stream, count(*), max(version) FROM events GROUP BY stream"),
        stock=tuple(map(StockFigure._make, rows("inventory", _STOCK))),
        corrections=pairs("inventory", "SELECT sku, sum(delta) FROM corrections GROUP BY sku"),
        reservations=pairs("inventory", "SELECT order_id, state FROM reservations"),
        ledger=ledger,
        shop_balance=shop_balance,
        captures=pairs("bank", "SELECT key, amount FROM captures"),
        refunds=refunds("bank", "SELECT id, key, amount FROM refunds"),
        refunds_booked=refunds("payments", "SELECT id, order_id, amount FROM refunds WHERE state = 'done'"),
        refunds_told=refunds("orders", _TOLD),
        refunds_asked=pairs("orders", _ASKED),
        payments=pairs("payments", "SELECT order_id, state FROM payments"),
        checkouts=pairs("orders", _CHECKOUTS) if pairs("orders", _HAS_CHECKOUTS) else (),
        shipments=pairs("shipping", "SELECT order_id, state FROM shipments"),
        mails=tuple(filter(None, map(_mail, sorted((data_folder / "mails").glob("*.eml"))))),
        departed=_departed(
            pairs("orders", "SELECT id, customer_id FROM orders"),
            pairs("users", "SELECT id, 1 FROM users WHERE deleted_at IS NOT NULL"),
        ),
    )


def _rows(file: Path, sql: str) -> tuple[tuple[object, ...], ...]:
    if not file.exists():
        return ()
    # Not `immutable`: after a crash the newest commits are in the log beside the file, which must be read too.
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return tuple(db.execute(sql).fetchall())


def _departed(orders: tuple[tuple[str, str], ...], deleted: tuple[tuple[str, int], ...]) -> frozenset[str]:
    gone = {user_id for user_id, _ in deleted}
    return frozenset(order_id for order_id, customer_id in orders if customer_id in gone)


def _mail(file: Path) -> MailFigure | None:
    """Return what a mail says. None: it is about no order."""
    mail = message_from_bytes(file.read_bytes(), policy=policy.SMTPUTF8)
    if mail["X-Archstone-Order"] is None:
        return None
    return MailFigure(file.name, str(mail["X-Archstone-Order"]), str(mail["X-Archstone-About"]))
