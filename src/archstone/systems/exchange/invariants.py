"""What must never be false of an exchange, asked of its stream alone, and of a venue that stands at the end of it.

    watch = Watch()
    async for batch in sequencer.follow(0):
        watch.note(batch)
    assert not watch.faults
    assert not disagreements(watch, venue)

By the stream: numbers and times go on; no lot appears or is lost; nobody trades at a worse price than they named; a
book that trades is not crossed; no order and no position passes a limit. With a venue: its books, positions and cash
are those of the stream, positions of a book sum to zero, and cash to what was paid in.

It keeps every open order and every account in memory, and takes some microseconds for an event: for tests, drills and
audits, not for the way of an order.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from archstone.systems.exchange.matching import Limit, Phase, Side, Told
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.venue import Standing, Venue

__all__ = ["Watch", "disagreements"]

MAX_TOLD: Final = 50
_LEVELS: Final = 1_000_000

Fields = Mapping[str, Any]
"""Of an event, by name."""


@dataclass(slots=True)
class _Order:
    book: int
    account: int
    side: Side
    price: int
    left: int
    shown: int = 0
    """In the book; 0: not there, or not yet."""


class Watch:
    """Follows a stream from its beginning, each batch once and in order."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        """What is false, the first 50 sentences."""
        self.last = 0
        """The last command that was seen."""
        self.orders: dict[int, _Order] = {}
        self.positions: Counter[tuple[int, int]] = Counter()
        """By book and account, lots."""
        self.cash: Counter[int] = Counter()
        """By account: what was paid in, and what trades have brought and cost."""
        self.deposits = 0
        self.shown: dict[tuple[int, Side], Counter[int]] = defaultdict(Counter)
        """By book and side: lots shown at each price."""
        self._open: Counter[tuple[int, int, Side]] = Counter()
        self._live: Counter[int] = Counter()
        self._phases: dict[int, int] = {}
        self._values: dict[int, int] = {}
        self._limits: dict[tuple[int, int], int] = {}
        self._at_ns = 0
        self._verbs: Mapping[int, Callable[[Fields], None]] = {
            Told.ACCEPTED: self._accepted,
            Told.TRADED: self._traded,
            Told.RESTED: self._rested,
            Told.REFRESHED: self._rested,
            Told.CANCELED: self._canceled,
            Told.REPLACED: self._replaced,
            Told.OPENED: self._opened,
            Told.PHASED: self._phased,
            Told.LIMITED: self._limited,
            Told.DEPOSITED: self._deposited,
        }

    def note(self, batch: Batch) -> None:
        """Take in the next batch."""
        if batch.first != self.last + 1 or [*batch.commands["sequence"]] != [*range(batch.first, batch.last + 1)]:
            self._fault(f"after command {self.last} come those from {batch.first} to {batch.last}")
        if batch.at_ns < self._at_ns:
            self._fault(f"command {batch.first} is {self._at_ns - batch.at_ns} ns before the one before it")
        self.last, self._at_ns = batch.last, batch.at_ns
        names = (*(batch.events.dtype.names or ()), "asked")
        books: set[int] = set()
        commands = batch.commands[batch.events["command"]]
        for row, asked in zip(batch.events.tolist(), commands, strict=True):
            fields = dict(zip(names, (*row, asked), strict=True))
            books.add(int(asked["book"]))
            if (verb := self._verbs.get(fields["kind"])) is not None:
                verb(fields)
        for book in books:
            self._is_uncrossed(book)

    def _accepted(self, fields: Fields) -> None:
        book, side = int(fields["asked"]["book"]), Side(fields["side"])
        if fields["id"] in self.orders:
            self._fault(f"order {fields['id']} is accepted, and is open already")
        order = _Order(book, fields["account"], side, fields["price"], fields["quantity"])
        self.orders[fields["id"]] = order
        self._open[book, order.account, side] += order.left
        self._live[order.account] += 1
        if (live := self._live[order.account]) > self._limits.get((order.account, Limit.ORDERS), live):
            self._fault(f"account {order.account} has {live} open orders: more than its limit")
        bids = self.shown.get((book, Side.BUY), ()) if side == Side.SELL else ()
        self._is_within_limits(fields["id"], order, max(order.price, *bids, 0))

    def _traded(self, fields: Fields) -> None:
        price, aggressor = fields["price"], fields["side"]
        buyer = aggressor or Side.BUY
        for name, rest, side in (("id", "left", buyer), ("other", "other_left", Side(3 - buyer))):
            self._has_traded(fields, fields[name], fields[rest], side)
        maker = self.orders.get(fields["other"])
        if aggressor and maker is not None and maker.price != price:
            self._fault(f"order {fields['other']} was there first at {maker.price}, and trades at {price}")

    def _has_traded(self, fields: Fields, id: int, left: int, side: Side) -> None:
        order, lots, price = self.orders.get(id), fields["quantity"], fields["price"]
        if order is None or order.side != side or order.left - lots != left or left < 0 or lots <= 0:
            self._fault(f"order {id} trades {lots} lots and has {left} left: before it was {order}")
            return
        toward = 1 if side == Side.BUY else -1
        if order.price and (price - order.price) * toward > 0:
            self._fault(f"order {id} names {order.price} and trades at {price}")
        self._moved(order, lots, price)
        if not left:
            self._close(id, order)

    def _moved(self, order: _Order, lots: int, price: int) -> None:
        """Book one side of a trade."""
        toward = 1 if order.side == Side.BUY else -1
        order.left -= lots
        self._open[order.book, order.account, order.side] -= lots
        self.positions[order.book, order.account] += toward * lots
        self.cash[order.account] -= toward * lots * price * self._values.get(order.book, 1)
        if order.shown:
            self._show(order, max(0, order.shown - lots))

    def _rested(self, fields: Fields) -> None:
        order = self.orders.get(fields["id"])
        if order is None or not 0 < fields["quantity"] <= fields["left"] == order.left:
            self._fault(f"order {fields['id']} rests with {fields['left']} lots: before it was {order}")
            return
        self._show(order, fields["quantity"])

    def _canceled(self, fields: Fields) -> None:
        order = self.orders.get(fields["id"])
        if order is None or order.left != fields["left"]:
            self._fault(f"order {fields['id']} is cancelled with {fields['left']} lots: before it was {order}")
            return
        self._close(fields["id"], order)

    def _replaced(self, fields: Fields) -> None:
        order = self.orders.get(fields["id"])
        if order is None:
            self._fault(f"order {fields['id']} is replaced, and is not open")
            return
        # One that kept its place shows no more than it has; one that lost it rests anew.
        self._show(order, min(order.shown, fields["quantity"]) if fields["other"] else 0)
        self._open[order.book, order.account, order.side] += fields["quantity"] - order.left
        order.price, order.left = fields["price"], fields["quantity"]
        self._is_within_limits(fields["id"], order, order.price)

    def _opened(self, fields: Fields) -> None:
        self._phases[int(fields["asked"]["book"])] = fields["other"]
        self._values[int(fields["asked"]["book"])] = fields["price"]

    def _phased(self, fields: Fields) -> None:
        self._phases[int(fields["asked"]["book"])] = fields["quantity"]

    def _limited(self, fields: Fields) -> None:
        self._limits[fields["account"], fields["other"]] = fields["quantity"]

    def _deposited(self, fields: Fields) -> None:
        self.cash[fields["account"]] += fields["quantity"]
        self.deposits += fields["quantity"]

    def _close(self, id: int, order: _Order) -> None:
        self._show(order, 0)
        self._open[order.book, order.account, order.side] -= order.left
        self._live[order.account] -= 1
        del self.orders[id]

    def _show(self, order: _Order, lots: int) -> None:
        """Let an order show so many lots at its price."""
        prices = self.shown[order.book, order.side]
        prices[order.price] += lots - order.shown
        if not prices[order.price]:
            del prices[order.price]
        order.shown = lots

    def _is_uncrossed(self, book: int) -> None:
        buys, sells = ([price for price in self.shown.get((book, side), ()) if price] for side in (Side.BUY, Side.SELL))
        if self._phases.get(book) == Phase.CONTINUOUS and buys and sells and max(buys) >= min(sells):
            self._fault(f"after command {self.last} book {book} is crossed: {max(buys)} is bid, {min(sells)} asked")

    def _is_within_limits(self, id: int, order: _Order, price: int) -> None:
        """Look at an order that may trade at `price`: its own, and of a new sale the best bid's."""
        open_lots = self._open[order.book, order.account, order.side]
        toward = 1 if order.side == Side.BUY else -1
        for limit, has in (
            (Limit.QUANTITY, order.left),
            (Limit.VALUE, order.left * price * self._values.get(order.book, 1)),
            (Limit.POSITION, toward * self.positions[order.book, order.account] + open_lots),
        ):
            most = self._limits.get((order.account, limit))
            if most is not None and has > most:
                self._fault(f"order {id} of account {order.account} comes to {has}: its limit {limit.name} is {most}")

    def _fault(self, text: str) -> None:
        if len(self.faults) < MAX_TOLD:
            self.faults.append(text)


def disagreements(watch: Watch, venue: Venue) -> list[str]:
    """Return where a venue is not what the stream up to its last command makes it, at most 50 sentences."""
    rules = (books_agree, accounts_agree, sums_are_right)
    return [fault for rule in rules for fault in rule(watch, venue)][:MAX_TOLD]


def books_agree(watch: Watch, venue: Venue) -> Iterator[str]:
    """The venue has the orders that the stream leaves open, and shows what it shows."""
    if len(venue) != len(watch.orders):
        yield f"the venue has {len(venue)} open orders, the stream {len(watch.orders)}"
    for (book, side), prices in watch.shown.items():
        ours = sorted(((price, lots) for price, lots in prices.items() if price), reverse=side == Side.BUY)
        theirs = [(price, lots) for price, lots, _ in venue.depth(book, side, _LEVELS)]
        if ours != theirs:
            yield f"book {book} {side.name}: the venue shows {theirs[:3]}, the stream {ours[:3]}"


def accounts_agree(watch: Watch, venue: Venue) -> Iterator[str]:
    """Each account holds what its trades have brought."""
    books = {book for book, _ in watch.positions}
    for standing in _standings(watch, venue):
        account = standing.account
        for book in books:
            ours, theirs = watch.positions[book, account], standing.positions.get(book, 0)
            if ours != theirs:
                yield f"account {account} holds {theirs} of book {book}, by its trades {ours}"
        if standing.cash != watch.cash[account]:
            yield f"account {account} has cash {standing.cash}, by its trades {watch.cash[account]}"


def sums_are_right(watch: Watch, venue: Venue) -> Iterator[str]:
    """What one holds another owes, and money only comes in by deposits."""
    held: Counter[int] = Counter()
    for standing in (found := [*_standings(watch, venue)]):
        held.update(standing.positions)
    for book, lots in held.items():
        if lots:
            yield f"positions of book {book} sum to {lots}"
    cash = sum(standing.cash for standing in found)
    if cash != watch.deposits:
        yield f"cash of all accounts sums to {cash}, deposits to {watch.deposits}"


def _standings(watch: Watch, venue: Venue) -> Iterator[Standing]:
    for account in sorted({*watch.cash, *(account for _, account in watch.positions)}):
        try:
            yield venue.standing(account)
        except KeyError:
            yield Standing(account=account)
