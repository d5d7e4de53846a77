"""What must never be false of a shop at rest, whatever has crashed: checked over its databases, when nothing runs.

    faults = check(Path(".archstone/shop"))      # empty: all is well

Each rule is a pure function from figures to the sentences that say what is wrong. A shop is at rest when every order
that was placed has ended and every event has been handled; before that, `unfinished` says what is still under way.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from email import message_from_bytes, policy
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from archstone import runtime
from archstone.data import Database

__all__ = ["Figures", "MailFigure", "OrderFigure", "RefundFigure", "StockFigure", "check", "faults_of", "read"]

T = TypeVar("T")

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


_SERVICES: Final = ("users", "inventory", "payments", "shipping", "orders")
_MIGRATED: Final = "SELECT count(*) FROM _archstone_migrations"
_REFUNDS: Final = "SELECT type, stream, data FROM events WHERE type LIKE 'orders.%refund%' ORDER BY position"
_CHECKOUTS: Final = (
    "SELECT order_id, CASE WHEN due_at IS NULL THEN 0 ELSE 1 END AS due, turns FROM checkouts ORDER BY order_id"
)
_LEDGER: Final = "SELECT account, sum(amount) AS amount FROM ledger GROUP BY account"
_STOCK: Final = "SELECT sku, free, held, sold, initial, corrected FROM stock"

_Amount: TypeAlias = tuple[str, int]
_State: TypeAlias = tuple[str, str]
_Three: TypeAlias = tuple[str, int, int]


class _Placed(NamedTuple):
    id: str
    state: str
    amount: int
    version: int
    customer_id: str


class _Happened(NamedTuple):
    type: str
    stream: str
    data: str
    """JSON."""


class _Balance(NamedTuple):
    account: str
    amount: int


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


def check(data_folder: Path, database_url: str = "") -> list[str]:
    """Return what is false about the shop in this data folder, empty when all is well. Nothing may run there.

    Args:
        data_folder: Where the bank, the mails and, if nothing else is said, the services are.
        database_url: The setting of the shop: where the services are; empty: in the folder.
    """
    with ThreadPoolExecutor(1) as thread:  # on a loop of its own, whoever asks
        return faults_of(thread.submit(asyncio.run, read(data_folder, database_url)).result())


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


async def read(data_folder: Path, database_url: str = "") -> Figures:
    """Return the figures of a shop; see `check`. What has not been made yet counts as empty."""
    folder = runtime.DataFolder(data_folder, "shop")
    urls = {name: runtime.database_url(database_url, folder, name) for name in _SERVICES}
    urls["bank"] = folder.database_url("bank")
    async with AsyncExitStack() as stack:
        opened = {
            name: await stack.enter_async_context(Database(url, name=f"shop/{name}"))
            for name, url in urls.items()
            if not url.startswith("sqlite:") or (data_folder / f"{name}.db").exists()
        }
        made = {name: db for name, db in opened.items() if await db.one(int, _MIGRATED)}
        return await _figures(made, data_folder / "mails")


async def _figures(databases: Mapping[str, Database], mails: Path) -> Figures:
    async def rows(row: type[T], name: str, sql: str) -> tuple[T, ...]:
        return tuple(await databases[name].all(row, sql)) if name in databases else ()

    orders = await rows(_Placed, "orders", "SELECT id, state, amount, version, customer_id FROM orders")
    happened = await rows(_Happened, "orders", _REFUNDS)
    balance = await rows(_Balance, "bank", _LEDGER)
    gone = await rows(str, "users", "SELECT id FROM users WHERE deleted_at IS NOT NULL")
    return Figures(
        orders=tuple(OrderFigure._make(order[:4]) for order in orders),
        histories=await rows(_Three, "orders", "SELECT stream, count(*), max(version) FROM events GROUP BY stream"),
        stock=await rows(StockFigure, "inventory", _STOCK),
        corrections=await rows(_Amount, "inventory", "SELECT sku, sum(delta) FROM corrections GROUP BY sku"),
        reservations=await rows(_State, "inventory", "SELECT order_id, state FROM reservations"),
        ledger=sum(entry.amount for entry in balance),
        shop_balance=sum(entry.amount for entry in balance if entry.account == "shop"),
        captures=await rows(_Amount, "bank", "SELECT key, amount FROM captures"),
        refunds=await rows(RefundFigure, "bank", "SELECT id, key AS order_id, amount FROM refunds"),
        refunds_booked=await rows(
            RefundFigure, "payments", "SELECT id, order_id, amount FROM refunds WHERE state = 'done'"
        ),
        refunds_told=_told(happened),
        refunds_asked=_asked(happened),
        payments=await rows(_State, "payments", "SELECT order_id, state FROM payments"),
        checkouts=await rows(_Three, "orders", _CHECKOUTS),
        shipments=await rows(_State, "shipping", "SELECT order_id, state FROM shipments"),
        mails=tuple(filter(None, map(_mail, sorted(mails.glob("*.eml"))))),
        departed=frozenset(order.id for order in orders if order.customer_id in set(gone)),
    )


def _told(happened: Iterable[_Happened]) -> tuple[RefundFigure, ...]:
    """Return the refunds that histories tell of."""
    told = [(each, json.loads(each.data)) for each in happened if each.type == "orders.order-refunded"]
    return tuple(RefundFigure(data["refund_id"], each.stream, data["amount"]["amount"]) for each, data in told)


def _asked(happened: Iterable[_Happened]) -> tuple[tuple[str, str], ...]:
    """Return the refunds that were asked for more often than they ended."""
    open_: Counter[tuple[str, str]] = Counter()
    for each in happened:
        open_[json.loads(each.data)["refund_id"], each.stream] += 1 if "refund-asked" in each.type else -1
    return tuple(refund for refund, count in open_.items() if count > 0)


def _mail(file: Path) -> MailFigure | None:
    """Return what a mail says. None: it is about no order."""
    mail = message_from_bytes(file.read_bytes(), policy=policy.SMTPUTF8)
    if mail["X-Archstone-Order"] is None:
        return None
    return MailFigure(file.name, str(mail["X-Archstone-Order"]), str(mail["X-Archstone-About"]))
