"""What nobody else keeps of the stream of batches: orders, fills, money and positions of each account; a book's day.

Promise: after the same batches it shows the same; it asks the venue nothing, so it can stand in another process. What
is kept is bounded for each account, see `ledger`; live orders are as many as the venue has. Depth, trades and candles
are the feed's, what accounts are told is the reports'.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from pydantic import TypeAdapter

from archstone.systems.exchange.clearing import FeeSchedule
from archstone.systems.exchange.desk.ledger import KEEP_ENDED, KEEP_FILLS, Account, Fill, Order, Position, Role, Status
from archstone.systems.exchange.matching import Limit, Phase, Told
from archstone.systems.exchange.reading import Reader
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.venue import accounts, market, order_of
from archstone.systems.exchange.venue.state import State

__all__ = ["Board", "Book", "day_of"]

_DAY_NS: Final = 86_400 * 1_000_000_000
_VERSION: Final = 2
_MARK: Final = b"exchange board %d %08x\n"
_SLICE: Final = 1_000
"""Orders and fills that are put into bytes before others get a turn: some milliseconds' worth."""

Row = dict[str, int]


@dataclass(slots=True)
class Book:
    """One book's figures."""

    value: int
    """Cents a lot is worth per tick."""
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

    def begin(self, day: int) -> None:
        """Begin the figures of a day."""
        self.first, self.high, self.low, self.lots, self.day = self.last, 0, 0, 0, day

    def trade(self, price: int, lots: int) -> None:
        """Take note of a trade."""
        self.last = price
        self.first = self.first or price
        self.high, self.low = max(self.high, price), min(self.low or price, price)
        self.lots += lots


@dataclass(frozen=True, slots=True)
class _Head:
    sequence: int
    at_ns: int
    killed: bool
    books: dict[int, Book]


_HEAD: Final = TypeAdapter(_Head)
_ACCOUNT: Final = TypeAdapter(Account)


class Board(Reader):
    """What the batches so far have come to."""

    def __init__(self, *, fees: FeeSchedule | None = None) -> None:
        """Begin before the first command.

        Args:
            fees: What trading costs: those of clearing, which books them. None: what they are by default.
        """
        super().__init__()
        self.at_ns = 0
        self.killed = False
        """Whether nobody's orders are taken."""
        self.books: dict[int, Book] = {}
        self.accounts: dict[int, Account] = {}
        self.orders: dict[int, Order] = {}
        """Live ones, by id."""
        self.fees = fees = fees or FeeSchedule()
        self._rates: Mapping[Role, int] = {
            "taker": fees.taker_ppm, "maker": fees.maker_ppm, "auction": fees.auction_ppm,
        }  # fmt: skip
        self._at = 0
        """The number of the command that is being read."""
        self._acts: Mapping[int, Callable[[Row, Row], None]] = {
            Told.ACCEPTED: self._accepted,
            Told.TRADED: self._traded,
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

    def take(self, batch: Batch) -> None:
        """Take in a batch. Commands that are in it already are skipped."""
        if batch.last <= self.sequence:
            return
        self.at_ns = batch.at_ns
        commands, events = _rows(batch.commands), _rows(batch.events)
        for event in events:
            self._at = batch.first + event["command"]
            if self._at > self.sequence and (act := self._acts.get(event["kind"])) is not None:
                act(event, commands[event["command"]])
        self.sequence = batch.last

    # Orders

    def _accepted(self, event: Row, command: Row) -> None:
        if (owner := self._account(order_of(event["id"])[0])) is None:
            return
        order = Order(
            event["id"], command["book"], event["side"], command["type"], command["tif"], command["flags"],
            event["price"], event["quantity"], command["display"], command["trigger"], self.at_ns,
            left=event["quantity"], status="sleeping" if command["trigger"] else "working",
        )  # fmt: skip
        self.orders[order.id] = owner.live[order.number] = order

    def _traded(self, event: Row, command: Row) -> None:
        taker, price, lots = event["side"], event["price"], event["quantity"]
        roles: tuple[Role, Role] = ("taker", "maker") if taker else ("auction", "auction")
        book_number = command["book"]
        sides = zip((event["id"], event["other"]), (event["left"], event["other_left"]), roles, strict=True)
        for key, left, role in sides:
            order = self.orders.get(key)
            if order is None:  # its beginning is older than all that was read
                continue
            book_number = order.book
            if (owner := self._account(order_of(key)[0])) is None:
                continue
            worth = price * self.books[order.book].value
            owner.trade(order, lots=lots, worth=worth, fee=self.fees.fee(lots * worth, self._rates[role]))
            owner.fills.append(Fill(self._at, self.at_ns, order.book, order.number, order.side, price, lots, role))
            order.left = left
            if not left:
                self._end(owner, order, "filled")
        self.books[book_number].trade(price, lots)

    def _canceled(self, event: Row, command: Row) -> None:
        if (found := self._live(event)) is not None:
            owner, order = found
            order.reason = event["reason"]
            self._end(owner, order, "canceled")

    def _replaced(self, event: Row, command: Row) -> None:
        if (found := self._live(event)) is not None:
            _, order = found
            order.price, order.left = event["price"], event["quantity"]
            order.quantity = order.filled + order.left

    def _triggered(self, event: Row, command: Row) -> None:
        if (found := self._live(event)) is not None:
            _, order = found
            order.trigger, order.status = 0, "working"

    def _live(self, event: Row) -> tuple[Account, Order] | None:
        order = self.orders.get(event["id"])
        owner = None if order is None else self._account(order_of(order.id)[0])
        return None if order is None or owner is None else (owner, order)

    def _end(self, owner: Account, order: Order, how: Status) -> None:
        order.status = how
        del self.orders[order.id]
        owner.live.pop(order.number, None)
        owner.ended.append(order)

    # Books

    def _opened(self, event: Row, command: Row) -> None:
        self.books[command["book"]] = Book(command["price"], day=day_of(self.at_ns))

    def _phased(self, event: Row, command: Row) -> None:
        if event["quantity"] == Phase.CLOSED:
            self.books[command["book"]].begin(day_of(self.at_ns))

    def _referred(self, event: Row, command: Row) -> None:
        book = self.books[command["book"]]
        book.last = book.last or event["price"]
        book.first = book.first or event["price"]

    # Accounts

    def _account(self, number: int) -> Account | None:
        """Return an account. None: what is being read is in it already, see `dump`."""
        owner = self.accounts.get(number)
        if owner is None:
            owner = self.accounts[number] = Account(number)
        return owner if self._at > owner.sequence else None

    def _limited(self, event: Row, command: Row) -> None:
        if (owner := self._account(command["account"])) is not None:
            owner.limits[command["type"]] = command["quantity"]

    def _deposited(self, event: Row, command: Row) -> None:
        if (owner := self._account(command["account"])) is not None:
            owner.cash += command["quantity"]
            owner.paid_in += command["quantity"]

    def _killed(self, event: Row, command: Row) -> None:
        if not command["account"]:
            self.killed = bool(command["type"])
        elif (owner := self._account(command["account"])) is not None:
            owner.killed = bool(command["type"])

    # Kept as bytes

    async def dump(self) -> bytes:
        """Return it as bytes: a line with version and CRC-32, one of the books, one of each account; JSON.

        All else goes on meanwhile: each account is as it was when its turn came, and says after which command that was.
        """
        lines = [_HEAD.dump_json(_Head(self.sequence, self.at_ns, self.killed, self.books))]
        done = 0
        for owner in [*self.accounts.values()]:
            owner.sequence = self.sequence
            lines.append(_ACCOUNT.dump_json(owner))
            done += 1 + len(owner.live) + len(owner.ended) + len(owner.fills)
            if done >= _SLICE:
                done = 0
                await asyncio.sleep(0)
        kept = b"\n".join(lines)
        return _MARK % (_VERSION, zlib.crc32(kept)) + kept

    def load(self, kept: bytes) -> None:
        """Take up what `dump` has made; see `Reader.load`."""
        mark, _, lines = kept.partition(b"\n")
        if mark + b"\n" != _MARK % (_VERSION, zlib.crc32(lines)):
            raise ValueError(f"board of {len(kept)} bytes: it is damaged, or of another version")
        first, *others = lines.split(b"\n")
        head = _HEAD.validate_json(first)
        self.sequence, self.at_ns, self.killed, self.books = head.sequence, head.at_ns, head.killed, head.books
        for owner in map(_ACCOUNT.validate_json, others):
            # A file does not say how much of what is bounded is kept.
            owner.ended, owner.fills = deque(owner.ended, KEEP_ENDED), deque(owner.fills, KEEP_FILLS)
            self.accounts[owner.number] = owner
            self.orders |= {order.id: order for order in owner.live.values()}

    def begin(self, state: State, *, sequence: int) -> None:
        """Begin with a venue: money, positions, limits and live orders are as they are there.

        What a venue does not keep is not there: fills, fees, and orders that have ended. What was paid for a position
        is not known either, so it is taken to be what the position is worth at the last price.
        """
        self.sequence, self.at_ns, self.killed = sequence, state.now_ns, state.killed
        for number, found in state.accounts.items():
            self.accounts[number] = _account_of(found, state.markets)
        for number, each in state.markets.items():
            last = each.engine.last or each.engine.reference
            self.books[number] = Book(each.value, last, last, day=day_of(state.now_ns))
            for order in _orders_of(each, self.at_ns):
                self.orders[order.id] = self.accounts[order_of(order.id)[0]].live[order.number] = order


def _account_of(found: accounts.Account, markets: Mapping[int, market.Market]) -> Account:
    owner = Account(found.number, found.cash, found.paid_in, killed=found.killed)
    if any(found.limits[each] != accounts.NO_LIMIT for each in Limit if each != Limit.CREDIT):
        owner.limits = {int(which): at for which, at in found.limits.items()}
    for book, held in found.holdings.items():
        if held.position:
            owner.positions[book] = Position(held.position, held.position * markets[book].worth)
    return owner


def _orders_of(found: market.Market, at_ns: int) -> list[Order]:
    return [
        Order(
            each.id, found.book, each.side, each.type, each.tif, each.flags, each.price, each.left, each.display,
            each.trigger, at_ns, left=each.left, status="sleeping" if each.trigger else "working",
        )
        for each in chain(*found.engine.queues())
    ]  # fmt: skip


def day_of(at_ns: int) -> int:
    """Return the day of an instant, UTC: days since 1970."""
    return at_ns // _DAY_NS


def _rows(array: Any) -> list[Row]:
    names: tuple[str, ...] = array.dtype.names
    columns: list[list[int]] = [array[name].tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
