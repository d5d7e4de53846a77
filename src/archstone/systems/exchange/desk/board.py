"""All that people look at, read from the stream of batches alone: depth, trades, candles, orders, accounts.

Promise: after the same batches it shows the same; it asks the venue nothing, so it can stand in another process. What
is kept is bounded for each book and account, see `candles` and `ledger`; live orders are as many as the venue has.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from archstone.systems.exchange.desk.candles import Candles
from archstone.systems.exchange.desk.ledger import Account, Fill, Order, Report
from archstone.systems.exchange.matching import Kind, Phase, Reason, Side, Told
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.venue import order_of

__all__ = ["KEEP_TRADES", "Board", "Book", "Level", "News", "Trade", "day_of"]

KEEP_TRADES: Final = 1_000
"""Trades of a book that can still be asked for."""

_DAY_NS: Final = 86_400 * 1_000_000_000

Row = dict[str, int]


class Trade(NamedTuple):
    """A trade, as everybody sees it."""

    sequence: int
    at_ns: int
    price: int
    lots: int
    side: int
    """Of who came; 0: an auction."""


class Level(NamedTuple):
    """One price of one side."""

    price: int
    lots: int
    """That are shown."""
    orders: int


@dataclass(slots=True)
class Book:
    """One book."""

    value: int
    """Cents a lot is worth per tick."""
    phase: int = Phase.CONTINUOUS
    last: int = 0
    """Price of the newest trade, or what stands for it before there was one."""
    first: int = 0
    """Price that changes are measured from: the last one of the day before."""
    high: int = 0
    """Of the day's trades, as the lowest and the lots. 0: there was none."""
    low: int = 0
    lots: int = 0
    day: int = 0
    """Whose figures these are: days since 1970. It ends when the book closes."""
    levels: dict[int, dict[int, Level]] = field(default_factory=lambda: {Side.BUY: {}, Side.SELL: {}})
    trades: deque[Trade] = field(default_factory=lambda: deque[Trade](maxlen=KEEP_TRADES))
    candles: Candles = field(default_factory=Candles)

    def depth(self, side: int, levels: int) -> list[Level]:
        """Return the best `levels` prices of a side, the best first."""
        found = sorted(self.levels[side].values(), reverse=side == Side.BUY)
        return found[:levels]

    def count(self, side: int, price: int, lots: int, orders: int = 0) -> None:
        """Count lots and orders in or out at a price. Orders without a price are in no level."""
        if not price:
            return
        side_levels = self.levels[side]
        _, had_lots, had_orders = side_levels.get(price, (price, 0, 0))
        level = Level(price, had_lots + lots, had_orders + orders)
        if level.orders:
            side_levels[price] = level
        else:
            side_levels.pop(price, None)

    def begin(self, day: int) -> None:
        """Begin the figures of a day."""
        self.first, self.high, self.low, self.lots, self.day = self.last, 0, 0, 0, day

    def trade(self, trade: Trade) -> None:
        """Take note of a trade."""
        self.last = trade.price
        self.first = self.first or trade.price
        self.high, self.low = max(self.high, trade.price), min(self.low or trade.price, trade.price)
        self.lots += trade.lots
        self.trades.append(trade)
        self.candles.add(trade.at_ns, trade.price, trade.lots)


class News(NamedTuple):
    """What a batch has changed."""

    sequence: int
    """Of its last command."""
    books: set[int]
    """Whose depth, phase or last price may be another."""
    trades: dict[int, list[Trade]]
    """By book, oldest first."""
    reports: dict[int, list[Report]]
    """By account, oldest first."""


class Board:
    """What the batches so far have come to."""

    def __init__(self) -> None:
        self.sequence = 0
        """Of the last command that was read."""
        self.at_ns = 0
        self.killed = False
        """Whether nobody's orders are taken."""
        self.books: dict[int, Book] = {}
        self.accounts: dict[int, Account] = {}
        self.orders: dict[int, Order] = {}
        """Live ones, by id."""
        self._at = 0
        """The number of the command that is being read."""
        self._news = News(0, set(), {}, {})
        self._acts: Mapping[int, Callable[[Row, Row], None]] = {
            Told.ACCEPTED: self._accepted,
            Told.REJECTED: self._rejected,
            Told.TRADED: self._traded,
            Told.RESTED: self._rested,
            Told.REFRESHED: self._rested,
            Told.CANCELED: self._canceled,
            Told.REPLACED: self._replaced,
            Told.TRIGGERED: self._triggered,
            Told.PHASED: self._phased,
            Told.REFERRED: self._referred,
            Told.OPENED: self._opened,
            Told.LIMITED: self._limited,
            Told.DEPOSITED: self._deposited,
            Told.KILLED: self._killed,
        }

    def read(self, batch: Batch) -> News:
        """Take in the next batch and return what it has changed. One that was read already changes nothing."""
        self._news = News(batch.last, set(), {}, {})
        if batch.last <= self.sequence:
            return self._news
        self.at_ns = batch.at_ns
        commands, events = _rows(batch.commands), _rows(batch.events)
        for event in events:
            command = commands[event["command"]]
            self._at = batch.first + event["command"]
            if (act := self._acts.get(event["kind"])) is not None:
                act(event, command)
        self.sequence = batch.last
        return self._news

    # Orders

    def _accepted(self, event: Row, command: Row) -> None:
        account, number = order_of(event["id"])
        order = Order(
            event["id"], command["book"], event["side"], command["type"], command["tif"], command["flags"],
            event["price"], event["quantity"], command["display"], command["trigger"], self.at_ns,
            left=event["quantity"], status="sleeping" if command["trigger"] else "working",
        )  # fmt: skip
        self.orders[order.id] = order
        owner = self._account(account)
        owner.live[number] = order
        owner.last_number = max(owner.last_number, number)
        self._report(event, order.book)

    def _rejected(self, event: Row, command: Row) -> None:
        if command["kind"] not in {Kind.NEW, Kind.CANCEL, Kind.REPLACE}:
            return
        self._report({**event, "id": command["id"]}, command["book"], account=command["account"])
        account, number = order_of(command["id"])
        if command["kind"] == Kind.NEW and account == command["account"] and event["reason"] != Reason.NO_ACCOUNT:
            # Whether a refused order has used up its number is the venue's to say: nobody here gives it again.
            owner = self._account(account)
            owner.last_number = max(owner.last_number, number)

    def _traded(self, event: Row, command: Row) -> None:
        pair = ((event["id"], event["left"]), (event["other"], event["other_left"]))
        taker, price, lots = event["side"], event["price"], event["quantity"]
        book_number = command["book"]
        for place, (key, left) in enumerate(pair):
            order = self.orders.get(key)
            if order is None:  # its beginning is older than all that was read
                continue
            book_number = order.book
            role = "auction" if not taker else ("taker", "maker")[place]
            owner = self._account(order_of(key)[0])
            owner.trade(order, lots=lots, price=price, value=self.books[book_number].value)
            owner.fills.append(Fill(self._at, self.at_ns, book_number, order.number, order.side, price, lots, role))
            self._show(order, max(0, order.shown - lots))
            order.left = left
            self._report({**event, "id": key, "side": order.side, "left": left}, book_number)
            if not left:
                self._end(order, "filled")
        trade = Trade(self._at, self.at_ns, price, lots, taker)
        self.books[book_number].trade(trade)
        self._news.books.add(book_number)
        self._news.trades.setdefault(book_number, []).append(trade)

    def _rested(self, event: Row, command: Row) -> None:
        if (order := self.orders.get(event["id"])) is not None:
            order.left = event["left"]
            if not order.rests:
                order.rests = True
                self.books[order.book].count(order.side, order.price, 0, 1)
            self._show(order, event["quantity"])
            self._report(event, order.book)

    def _canceled(self, event: Row, command: Row) -> None:
        if (order := self.orders.get(event["id"])) is not None:
            order.reason = event["reason"]
            self._report(event, order.book)
            self._end(order, "canceled")

    def _replaced(self, event: Row, command: Row) -> None:
        order = self.orders.get(event["id"])
        if order is None:
            return
        if not event["other"]:
            self._take_out(order)
        order.price, order.left = event["price"], event["quantity"]
        order.quantity = order.filled + order.left
        if order.rests:
            self._show(order, min(order.shown, order.left))
        self._report({**event, "left": order.left}, order.book)

    def _triggered(self, event: Row, command: Row) -> None:
        if (order := self.orders.get(event["id"])) is not None:
            order.trigger, order.status = 0, "working"
            self._report(event, order.book)

    def _end(self, order: Order, how: Any) -> None:
        self._take_out(order)
        order.status = how
        del self.orders[order.id]
        owner = self._account(order_of(order.id)[0])
        owner.live.pop(order.number, None)
        owner.ended.append(order)

    def _show(self, order: Order, lots: int) -> None:
        if order.rests:
            self.books[order.book].count(order.side, order.price, lots - order.shown)
            order.shown = lots
            self._news.books.add(order.book)

    def _take_out(self, order: Order) -> None:
        if order.rests:
            self.books[order.book].count(order.side, order.price, -order.shown, -1)
            order.shown, order.rests = 0, False
            self._news.books.add(order.book)

    def _report(self, event: Row, book: int, *, account: int | None = None) -> None:
        """Tell whose order it is; a refusal goes to the `account` that asked, whatever its command called the order."""
        owner, number = order_of(event["id"])
        account = owner if account is None else account
        report = Report(
            self._at, self.at_ns, Told(event["kind"]).name.lower(), book, number, event["side"], event["price"],
            event["quantity"], event["left"], event["reason"],
        )  # fmt: skip
        self._account(account).tell(report)
        self._news.reports.setdefault(account, []).append(report)

    # Books

    def _opened(self, event: Row, command: Row) -> None:
        self.books[command["book"]] = Book(command["price"], command["type"], day=day_of(self.at_ns))
        self._news.books.add(command["book"])

    def _phased(self, event: Row, command: Row) -> None:
        book = self.books[command["book"]]
        book.phase = event["quantity"]
        if book.phase == Phase.CLOSED:
            book.begin(day_of(self.at_ns))
        self._news.books.add(command["book"])

    def _referred(self, event: Row, command: Row) -> None:
        book = self.books[command["book"]]
        book.last = book.last or event["price"]
        book.first = book.first or event["price"]
        self._news.books.add(command["book"])

    # Accounts

    def _account(self, number: int) -> Account:
        if number not in self.accounts:
            self.accounts[number] = Account(number)
        return self.accounts[number]

    def _limited(self, event: Row, command: Row) -> None:
        self._account(command["account"]).limits[command["type"]] = command["quantity"]

    def _deposited(self, event: Row, command: Row) -> None:
        owner = self._account(command["account"])
        owner.cash += command["quantity"]
        owner.paid_in += command["quantity"]

    def _killed(self, event: Row, command: Row) -> None:
        if command["account"]:
            self._account(command["account"]).killed = bool(command["type"])
        else:
            self.killed = bool(command["type"])


def day_of(at_ns: int) -> int:
    """Return the day of an instant, UTC: days since 1970."""
    return at_ns // _DAY_NS


def _rows(array: Any) -> list[Row]:
    names: tuple[str, ...] = array.dtype.names
    columns: list[list[int]] = [array[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
