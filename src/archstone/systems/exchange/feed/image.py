"""All books as the public sees them, made of batches alone: prices, lots shown, number of orders.

The image knows of each live order where it waits and how much of it is shown; nothing of whose it is goes out. It is
equal to what `Venue.depth` says after the same command. It can be put down as bytes and taken up again, so that a
reader goes on from the last sequence that it has kept.
"""

import struct
import zlib
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple, cast

import numpy as np

from archstone.systems.exchange.feed.values import Changes, Depth, Level, Phased, Trade
from archstone.systems.exchange.matching import Commands, Phase, Side, Told
from archstone.systems.exchange.sequencer import Batch
from archstone.systems.exchange.venue.state import State

__all__ = ["BookImage", "ImageError"]

_HEAD: Final = struct.Struct("<4sIQQII")
"""Magic, version, sequence, nanoseconds, number of books, number of orders."""
_MAGIC: Final = b"ARIM"
_VERSION: Final = 1
_BOOK: Final = np.dtype([("book", "<u4"), ("phase", "<u4"), ("last", "<i8")])
_ORDER: Final = np.dtype(
    [("id", "<u8"), ("price", "<i8"), ("shown", "<i8"), ("book", "<u4"), ("side", "u1"), ("spare", "u1", 3)]
)
_BOTH: Final = (Side.BUY, Side.SELL)


class ImageError(ValueError):
    """Bytes that are no image, or a damaged one."""


class _Half:
    """One side of one book: prices and what is shown there."""

    def __init__(self, side: int) -> None:
        self._toward = -1 if side == Side.BUY else 1
        self._keys: list[int] = []
        self._levels: dict[int, list[int]] = {}

    def add(self, price: int, quantity: int, orders: int) -> None:
        level = self._levels.get(price)
        if level is None:
            level = self._levels[price] = [0, 0]
            insort(self._keys, price * self._toward)
        level[0] += quantity
        level[1] += orders
        if not level[1]:
            del self._levels[price]
            del self._keys[bisect_left(self._keys, price * self._toward)]

    def at(self, price: int) -> tuple[int, int]:
        quantity, orders = self._levels.get(price, (0, 0))
        return quantity, orders

    def best(self, levels: int | None) -> tuple[tuple[int, int, int], ...]:
        prices = [key * self._toward for key in self._keys[:levels]]
        return tuple((price, quantity, orders) for price in prices for quantity, orders in (self._levels[price],))


class _Book:
    def __init__(self, phase: int) -> None:
        self.phase = phase
        self.last = 0
        self.halves = {side: _Half(side) for side in _BOTH}


class _Order(NamedTuple):
    """Never changed: a later one takes its place, so that what `kept` has is what was there then."""

    book: int
    side: int
    price: int
    shown: int = 0
    waits: bool = False
    """Whether it is in a queue: not while it arrives, and not as a stop that sleeps."""


class BookImage:
    """All books. Not for two threads at once."""

    def __init__(self) -> None:
        self.sequence = 0
        """Of the last command that is in it."""
        self.at_ns = 0
        self._books: dict[int, _Book] = {}
        self._orders: dict[int, _Order] = {}
        self._touched: dict[tuple[int, int, int], None] = {}
        self._trades: list[Trade] = []
        self._phases: list[Phased] = []

    @property
    def books(self) -> tuple[int, ...]:
        """The books that there are, in the order in which they were opened."""
        return tuple(self._books)

    def __len__(self) -> int:
        """Count the live orders, sleeping stops too."""
        return len(self._orders)

    def depth(self, book: int, levels: int | None = None) -> Depth:
        """Return the best `levels` prices of each side; None: all. KeyError: there is no such book."""
        found = self._books[book]
        buys, sells = (found.halves[side].best(levels) for side in _BOTH)
        return Depth(book, self.sequence, self.at_ns, found.phase, found.last, buys, sells)

    def levels(self, book: int) -> tuple[Level, ...]:
        """Return all that waits in a book, buys first, the best first. KeyError: there is no such book."""
        halves = self._books[book].halves
        return tuple(Level(book, side, *each) for side in _BOTH for each in halves[side].best(None))

    # What happens

    def apply(self, batch: Batch) -> Changes:
        """Take in what came of a batch, and return what has changed for all to see.

        ValueError if commands before it are missing; those that are in it already are skipped.
        """
        if batch.first > self.sequence + 1:
            raise ValueError(f"image at {self.sequence}: the next batch begins with {batch.first}, some are missing")
        self._touched, self._trades, self._phases = {}, [], []
        rows = batch.commands
        books, types = _ints(rows, "book"), _ints(rows, "type")
        columns = [_ints(batch.events, name) for name in _FIELDS]
        before, part = -1, 0
        events = cast("Iterable[tuple[int, ...]]", zip(*columns, strict=True))
        for event in events:
            command = event[0]
            part = part + 1 if command == before else 0
            before = command
            sequence = batch.first + command
            if sequence > self.sequence:
                self._note(event, (books[command], types[command]), (sequence, part, batch.at_ns))
        self.sequence, self.at_ns = max(self.sequence, batch.last), max(self.at_ns, batch.at_ns)
        levels = tuple(self._level(key) for key in self._touched)
        return Changes(self.sequence, self.at_ns, levels, tuple(self._trades), tuple(self._phases))

    def _level(self, key: tuple[int, int, int]) -> Level:
        book, side, price = key
        return Level(book, side, price, *self._books[book].halves[Side(side)].at(price))

    def _note(self, event: tuple[int, ...], place: tuple[int, int], moment: tuple[int, int, int]) -> None:
        _, told, order, other, side, price, quantity, left, other_left = event
        match told:
            case Told.ACCEPTED:
                self._orders[order] = _Order(place[0], side, price)
            case Told.TRADED:
                book = self._orders[other].book
                self._books[book].last = price
                self._trades.append(Trade(*moment, book, price, quantity, side))
                self._reduce(order, quantity, left)
                self._reduce(other, quantity, other_left)
            case Told.RESTED | Told.REFRESHED:
                self._queue(order, price, quantity)
            case Told.CANCELED:
                self._take_out(self._orders.pop(order))
            case Told.REPLACED:
                self._replace(order, price, quantity, kept=bool(other))
            case Told.OPENED:
                self._books[place[0]] = _Book(place[1] or Phase.CONTINUOUS)
                self._enter(place[0], self._books[place[0]].phase)
            case Told.PHASED:
                self._enter(place[0], quantity)
            case _:
                pass

    def _reduce(self, key: int, quantity: int, left: int) -> None:
        order = self._orders[key]
        if order.waits:
            # In an auction more than is shown can trade: the sum is right again when the rest shows, or is gone.
            order = self._orders[key] = _Order(order.book, order.side, order.price, order.shown - quantity, waits=True)
            self._add(order, -quantity, 0)
        if not left:
            self._take_out(self._orders.pop(key))

    def _queue(self, key: int, price: int, shown: int) -> None:
        before = self._orders[key]
        self._take_out(before)
        order = self._orders[key] = _Order(before.book, before.side, price, shown, waits=True)
        self._add(order, shown, 1)

    def _replace(self, key: int, price: int, quantity: int, *, kept: bool) -> None:
        order = self._orders[key]
        if not kept or not order.waits:
            self._take_out(order)
            self._orders[key] = _Order(order.book, order.side, price)
        elif quantity < order.shown:
            self._add(order, quantity - order.shown, 0)
            self._orders[key] = _Order(order.book, order.side, order.price, quantity, waits=True)

    def _take_out(self, order: _Order) -> None:
        if order.waits:
            self._add(order, -order.shown, -1)

    def _add(self, order: _Order, quantity: int, orders: int) -> None:
        if order.price:  # an order without one waits for an auction unseen
            self._books[order.book].halves[Side(order.side)].add(order.price, quantity, orders)
            self._touched[order.book, order.side, order.price] = None

    def _enter(self, book: int, phase: int) -> None:
        self._books[book].phase = phase
        self._phases.append(Phased(book, phase))

    @classmethod
    def begun(cls, state: State, *, sequence: int) -> "BookImage":
        """Return the image of a venue as it is after command number `sequence`."""
        image = cls()
        image.sequence, image.at_ns = sequence, state.now_ns
        for number, market in state.markets.items():
            image._books[number] = _Book(market.engine.phase)
            image._books[number].last = market.engine.last
            buys, sells, *stops = market.engine.queues()
            for each in (*buys, *sells, *chain(*stops)):
                image._orders[each.id] = _Order(number, each.side, each.price)
            for each in (*buys, *sells):
                image._queue(each.id, each.price, each.shown)
        return image

    # Kept as bytes

    def dump(self) -> bytes:
        """Return the image as bytes: a header, books, orders, and a CRC-32 of all before it; little-endian."""
        return self.kept()()

    def kept(self) -> Callable[[], bytes]:
        """Return what makes the bytes of `dump` of the image as it is now: later, and in any thread."""
        books = [(key, each.phase, each.last) for key, each in self._books.items()]
        return partial(_bytes_of, self.sequence, self.at_ns, books, self._orders.copy())

    @classmethod
    def load(cls, kept: bytes) -> "BookImage":
        """Return the image that `dump` made bytes of. ImageError: they are something else, or damaged."""
        books, orders, sequence, at_ns = _read(kept)
        image = cls()
        image.sequence, image.at_ns = sequence, at_ns
        for book, phase, last in books.tolist():
            image._books[book] = _Book(phase)
            image._books[book].last = last
        for key, price, shown, book, side, _ in orders.tolist():
            if book not in image._books or side not in _BOTH:
                raise ImageError(
                    f"image of {len(kept)} bytes: order {key} is of book {book}, side {side}: there is none"
                )
            image._orders[key] = _Order(book, side, price)
            if shown >= 0:
                image._queue(key, price, shown)
        return image


_FIELDS: Final = ("command", "kind", "id", "other", "side", "price", "quantity", "left", "other_left")


def _ints(rows: Commands, name: str) -> list[int]:
    return rows[name].tolist()


def _bytes_of(sequence: int, at_ns: int, books: list[tuple[int, int, int]], live: dict[int, _Order]) -> bytes:
    orders = np.zeros(len(live), _ORDER)
    orders["id"] = [*live]
    for name in ("book", "side", "price"):
        orders[name] = [getattr(each, name) for each in live.values()]
    orders["shown"] = [each.shown if each.waits else -1 for each in live.values()]
    head = _HEAD.pack(_MAGIC, _VERSION, sequence, at_ns, len(books), len(orders))
    body = head + np.array(books, _BOOK).tobytes() + orders.tobytes()
    return body + zlib.crc32(body).to_bytes(4, "little")


def _read(kept: bytes) -> tuple[Any, Any, int, int]:
    if len(kept) < _HEAD.size + 4 or zlib.crc32(kept[:-4]) != int.from_bytes(kept[-4:], "little"):
        raise ImageError(f"image of {len(kept)} bytes: it is damaged; begin with an older one, or at the first command")
    magic, version, sequence, at_ns, books, orders = _HEAD.unpack_from(kept)
    if magic != _MAGIC or version != _VERSION:
        raise ImageError(f"image of version {version}, magic {magic!r}: this reads version {_VERSION} of {_MAGIC!r}")
    start = _HEAD.size + books * _BOOK.itemsize
    if len(kept) != start + orders * _ORDER.itemsize + 4:
        raise ImageError(f"image of {len(kept)} bytes: {books} books and {orders} orders need another number")
    found = np.frombuffer(kept, _BOOK, books, _HEAD.size)
    return found, np.frombuffer(kept, _ORDER, orders, start), sequence, at_ns
