"""From what a file tells to what an exchange is told, so that it comes to the same book and the same trades.

All orders of a file are those of one account, whoever had them; another one takes. What becomes what:

    ADDED       a new order, for as long as it is open, which must not trade on arrival: a visible order of a file never
                does, since its trades have been told before it
    REDUCED     a replace to fewer lots, which keeps its place
    DELETED     a cancel
    EXECUTED    an order of the other account that takes at once just so many lots at that price, if the order that the
                file names is next to trade; else, as in an auction, those lots are cancelled
    PRICED      the same if the price is that of the order; else its lots are cancelled: no trade of ours is at a price
                at which nobody stood
    REPLACED    a cancel and a new order
    ACTION      trading: continuous; all else: an auction, in which orders gather and nothing trades

HIDDEN and CROSSED touch no visible order and become nothing. What cannot be done is left out and counted in `lost`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archstone.systems.exchange.matching import (
    COMMAND,
    MAX_PRICE,
    MAX_QUANTITY,
    Commands,
    Flag,
    Kind,
    Limit,
    Phase,
    Side,
    TimeInForce,
    rows_of,
)
from archstone.systems.exchange.matching import Command as _Command
from archstone.systems.exchange.replaying.lobster import NOBODY
from archstone.systems.exchange.replaying.messages import Happened, Messages
from archstone.systems.exchange.replaying.rebuilt import Rebuilt, Resting
from archstone.systems.exchange.venue import order_id

__all__ = ["MAKER", "TAKER", "Mapped", "Mapper"]

MAKER: Final = 1
"""Whose all orders of a file are."""
TAKER: Final = 2
_NO_LIMIT: Final = 2**62
_MOST_TOLD: Final = 20
_TOLD: Final = ("kind", "book", "account", "id", "side", "price", "quantity", "type", "tif", "flags")
_SIDES: Final = (Side.BUY, Side.BUY, Side.SELL)
"""By number, for those of a message."""
_OTHER: Final = (Side.BUY, Side.SELL, Side.BUY)
"""The other side, by number."""


class Mapped(NamedTuple):
    """What some messages have become."""

    commands: Commands
    makers: npt.NDArray[np.uint64]
    """For each command: the order with which it must trade in full, or 0."""


@dataclass(slots=True)
class _Book:
    rebuilt: Rebuilt = field(default_factory=Rebuilt)
    trading: bool = True
    edges: dict[Side, float] = field(default_factory=lambda: dict.fromkeys(Side, -math.inf))
    """How far the last row of an orderbook file was complete; infinite: to the end."""


class _Message(NamedTuple):
    """A row of `MESSAGE`."""

    kind: int
    side: int
    state: int
    spare: int
    book: int
    at_ns: int
    id: int
    other: int
    price: int
    quantity: int


class Mapper:
    """Keeps the books of a file as its messages say, and says what an exchange must be told."""

    def __init__(self) -> None:
        self.books: dict[int, _Book] = {}
        self.counts: Counter[Happened] = Counter()
        self.lost: Counter[str] = Counter()
        """What could not be done, and why."""
        self.adopted = 0
        """Prices with orders of which the file has not told, taken from its rows when they came into view."""
        self.faults = 0
        self.told: list[str] = []
        """The first faults: where messages and rows of a file do not agree."""
        self._numbers = {MAKER: 0, TAKER: 0}
        self._priors = 0
        self._seen = 0
        self._out: list[tuple[int, ...]] = []
        self._makers: list[int] = []
        self._verbs: Mapping[int, Callable[[_Book, _Message], None]] = {
            Happened.ADDED: self._added,
            Happened.REDUCED: self._reduced,
            Happened.DELETED: self._deleted,
            Happened.EXECUTED: self._executed,
            Happened.PRICED: self._executed,
            Happened.REPLACED: self._replaced,
            Happened.ACTION: self._action,
        }

    def begin(self) -> Commands:
        """Return what makes both accounts, without limits that bite."""
        limits = {kind: MAX_QUANTITY if kind == Limit.QUANTITY else _NO_LIMIT for kind in Limit}
        return rows_of(
            _Command(Kind.LIMIT, account=account, type=kind, quantity=most)
            for account in (MAKER, TAKER)
            for kind, most in limits.items()
        )

    def mapped(self, messages: Messages, rows: npt.NDArray[np.int64] | None = None) -> Mapped:
        """Take in messages, shape (n,), with the row of the orderbook file after each, shape (n, 4 * levels).

        Returns:
            What they have become, m commands; none for some, several for others.
        """
        self._out, self._makers = [], []
        for kind, count in zip(*np.unique(messages["kind"], return_counts=True), strict=True):
            self.counts[Happened(int(kind))] += int(count)
        told: Sequence[list[int] | None] = rows.tolist() if rows is not None else [None] * len(messages)
        for each, row in zip(messages.tolist(), told, strict=True):
            self._take_in(_Message._make(each), row)
        commands = np.zeros(len(self._out), COMMAND)
        for name, column in zip(_TOLD, zip(*self._out, strict=True), strict=False):
            commands[name] = column
        return Mapped(commands, np.array(self._makers, np.uint64))

    def _take_in(self, message: _Message, row: list[int] | None) -> None:
        self._seen += 1
        if message.kind == Happened.OTHER:
            return
        book = self.books.get(message.book) or self._opened(message.book)
        begins = row is not None and book.edges[Side.BUY] == -math.inf
        if row is not None and begins:
            # The row is of the time after the first message; what it has added comes last in its queue.
            self._agree(book, message, _without(row, message))
        verb = self._verbs.get(message.kind)
        if verb is not None and (not begins or message.kind in {Happened.ADDED, Happened.ACTION}):
            verb(book, message)
        if row is not None:
            self._agree(book, message, row)

    def _opened(self, number: int) -> _Book:
        book = self.books[number] = _Book()
        self._tell(Kind.OPEN, number, (0, 0, 0, 1, MAX_QUANTITY), type=Phase.CONTINUOUS)
        return book

    # What each kind becomes

    def _added(self, book: _Book, message: _Message) -> None:
        order = Resting(message.id, _SIDES[message.side], message.price, message.quantity)
        self._place(book, message, order)

    def _place(self, book: _Book, message: _Message, order: Resting) -> None:
        facing = book.rebuilt.best(_OTHER[order.side]) if book.trading else None
        if not 0 < order.price <= MAX_PRICE or not 0 < order.left <= MAX_QUANTITY:
            self.lost["added out of range"] += 1
        elif order.key in book.rebuilt.orders:
            self.lost["added twice"] += 1
        elif facing is not None and (facing - order.price) * (1 if order.side == Side.SELL else -1) >= 0:
            self.lost["added across the book"] += 1
        else:
            order.id = self._numbered(MAKER)
            book.rebuilt.add(order)
            fields = (MAKER, order.id, order.side, order.price, order.left)
            self._tell(Kind.NEW, message.book, fields, flags=Flag.POST_ONLY)

    def _reduced(self, book: _Book, message: _Message) -> None:
        for order, lots in self._of(book, message):
            self._take_out(book, message, order, lots)

    def _deleted(self, book: _Book, message: _Message) -> None:
        known = book.rebuilt.orders.get(message.id)
        left = 0 if known is None else known.left
        self._reduced(book, message._replace(quantity=max(left, message.quantity)))

    def _executed(self, book: _Book, message: _Message) -> None:
        for order, lots in self._of(book, message):
            if message.kind == Happened.PRICED and message.price != order.price:
                self.lost["traded at another price: cancelled"] += 1
                self._take_out(book, message, order, lots)
            elif not book.trading or not book.rebuilt.is_next(order):
                self.lost["traded out of turn: cancelled"] += 1
                self._take_out(book, message, order, lots)
            else:
                book.rebuilt.reduce(order, lots)
                fields = (TAKER, self._numbered(TAKER), _OTHER[order.side], order.price, lots)
                self._tell(Kind.NEW, message.book, fields, tif=TimeInForce.IOC, maker=order.id)

    def _replaced(self, book: _Book, message: _Message) -> None:
        order = book.rebuilt.orders.get(message.id)
        if order is None:
            self.lost["of an unknown order"] += 1
            return
        self._take_out(book, message, order, order.left)
        self._place(book, message, Resting(message.other, order.side, message.price, message.quantity))

    def _action(self, book: _Book, message: _Message) -> None:
        trading = message.state == ord("T")
        if trading != book.trading:
            book.trading = trading
            self._tell(Kind.PHASE, message.book, type=Phase.CONTINUOUS if trading else Phase.AUCTION)

    def _of(self, book: _Book, message: _Message) -> Iterator[tuple[Resting, int]]:
        """Give the orders of which a message speaks, and how many lots of each.

        It is the one that it names. If that one is not known, it came and perhaps others went while its price was out
        of view: then it is whoever was there first, of those of which the file has not told if there are any.
        """
        named, lots = book.rebuilt.orders.get(message.id), message.quantity
        if named is not None:
            part = min(lots, named.left)
            lots -= part
            yield named, part
        if lots and message.side and book.edges[_SIDES[message.side]] > -math.inf:
            there = [*book.rebuilt.at(_SIDES[message.side], message.price)]
            for order in sorted(there, key=lambda each: each.key >= 0):
                part = min(lots, order.left)
                if part:
                    lots -= part
                    yield order, part
        if lots:
            self.lost["more than was open" if named is not None else "of an unknown order"] += 1

    def _take_out(self, book: _Book, message: _Message, order: Resting, lots: int) -> None:
        book.rebuilt.reduce(order, lots)
        if order.left:
            self._tell(Kind.REPLACE, message.book, (MAKER, order.id, 0, order.price, order.left))
        else:
            self._tell(Kind.CANCEL, message.book, (MAKER, order.id, 0, 0, 0))

    # Rows of an orderbook file

    def _agree(self, book: _Book, message: _Message, row: list[int]) -> None:
        """Compare a book with a row, and take over what has just come into view."""
        levels = len(row) // 4
        for side, first in ((Side.SELL, 0), (Side.BUY, 2)):
            there = [(row[at], row[at + 1]) for at in range(first, len(row), 4) if abs(row[at]) != NOBODY]
            shown = [level for level in there if level[1]]
            edge = math.inf if len(there) < levels else _rank(side, there[-1][0])
            if book.rebuilt.depth(side, levels) != shown:
                self._settle(book, message, side, dict(shown), edge)
            book.edges[side] = edge

    def _settle(self, book: _Book, message: _Message, side: Side, shown: dict[int, int], edge: float) -> None:
        ours = [each for each in book.rebuilt.prices(side) if _rank(side, each) <= edge]
        for price in sorted({*ours, *shown}, key=lambda each: _rank(side, each)):
            has, wanted = book.rebuilt.lots_at(side, price), shown.get(price, 0)
            if has == wanted:
                continue
            if _rank(side, price) <= book.edges[side]:
                self.fault(f"message {self._seen:,}: {side.name} {price}: {has} lots by messages, {wanted} by the row")
            else:
                self.adopted += 1
            self._adopt(book, message, side, price, wanted - has)

    def _adopt(self, book: _Book, message: _Message, side: Side, price: int, lots: int) -> None:
        if lots > 0:
            self._priors += 1
            self._place(book, message, Resting(-self._priors, side, price, lots))
            return
        # Of which order is not known: of those that the file has not told of, then of the oldest.
        for order in sorted(book.rebuilt.at(side, price), key=lambda each: each.key >= 0):
            part = min(-lots, order.left)
            lots += part
            if part:
                self._take_out(book, message, order, part)

    def fault(self, text: str) -> None:
        """Count a fault, and keep its text if it is one of the first."""
        self.faults += 1
        if len(self.told) < _MOST_TOLD:
            self.told.append(text)

    # What all of them need

    def _numbered(self, account: int) -> int:
        self._numbers[account] += 1
        return order_id(account, self._numbers[account])

    def _tell(
        self, kind: Kind, book: int, order: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0), *,
        type: int = 0, tif: int = 0, flags: int = 0, maker: int = 0,
    ) -> None:  # fmt: skip
        """Have a command sent; `order` is account, id, side, price and quantity."""
        self._out.append((kind, book, *order, type, tif, flags))
        self._makers.append(maker)


def _rank(side: Side, price: int) -> int:
    return -price if side == Side.BUY else price


def _without(row: list[int], message: _Message) -> list[int]:
    """Return a row as it was before an order was added."""
    if message.kind != Happened.ADDED:
        return row
    before = [*row]
    for at in range(0 if message.side == Side.SELL else 2, len(row), 4):
        if row[at] == message.price:
            before[at + 1] -= message.quantity
    return before
