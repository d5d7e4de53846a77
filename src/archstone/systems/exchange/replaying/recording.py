"""From what an exchange of ours has done to what a historical file would tell of it: samples of both formats."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from archstone.systems.exchange.matching import Phase, Side, Told
from archstone.systems.exchange.replaying.lobster import row_of
from archstone.systems.exchange.replaying.messages import MESSAGE, Happened, Messages
from archstone.systems.exchange.replaying.rebuilt import Rebuilt, Resting
from archstone.systems.exchange.sequencer import Batch

__all__ = ["Recorder", "with_rows"]

_DAY_NS: Final = 86_400 * 10**9
_STATES: Final = {Phase.CONTINUOUS: "T", Phase.AUCTION: "Q", Phase.HALTED: "H", Phase.CLOSED: "H"}

Fields = Mapping[str, Any]
"""Of an event, by name, and `book` and `at_ns`."""


@dataclass(slots=True)
class _Shown:
    book: int
    side: Side
    price: int
    lots: int
    ref: int = 0
    """As files call it: no number comes twice in a day."""


class Recorder:
    """Follows a stream of batches, each once and in order, and says what all could see of it.

    What an iceberg hides is not told: each part that it shows is an order of its own, added when the one before has
    been executed. A replace that loses its place is told as DELETED and ADDED, so that LOBSTER can tell it too. Orders
    are numbered from 1 as they come into view.
    """

    def __init__(self) -> None:
        self._orders: dict[int, _Shown] = {}
        self._side_of: dict[int, tuple[int, Side]] = {}
        """Book and side of orders that are known and not seen yet."""
        self._refs = 0
        self._out: list[tuple[int, ...]] = []
        self._verbs: Mapping[int, Callable[[Fields], None]] = {
            Told.ACCEPTED: self._accepted,
            Told.RESTED: self._rested,
            Told.REFRESHED: self._rested,
            Told.TRADED: self._traded,
            Told.CANCELED: self._canceled,
            Told.REPLACED: self._replaced,
            Told.OPENED: self._opened,
            Told.PHASED: self._phased,
        }

    def recorded(self, batch: Batch) -> Messages:
        """Return what a batch makes visible."""
        self._out = []
        books = batch.commands["book"][batch.events["command"]].tolist()
        names = batch.events.dtype.names or ()
        for row, book in zip(batch.events.tolist(), books, strict=True):
            fields = dict(zip(names, row, strict=True))
            if (verb := self._verbs.get(fields["kind"])) is not None:
                verb(fields | {"book": book, "at_ns": batch.at_ns % _DAY_NS})
        return np.array(self._out, MESSAGE)

    def _accepted(self, fields: Fields) -> None:
        self._side_of[fields["id"]] = (fields["book"], Side(fields["side"]))

    def _rested(self, fields: Fields) -> None:
        book, side = self._side_of.get(fields["id"], (fields["book"], Side(fields["side"])))
        if (known := self._orders.pop(fields["id"], None)) is not None:
            # An auction has left a part of what an iceberg showed, and it shows a whole one again.
            self._tell(fields, Happened.DELETED, known)
        if fields["price"]:
            self._refs += 1
            shown = _Shown(book, side, fields["price"], fields["quantity"], self._refs)
            self._orders[fields["id"]] = shown
            self._tell(fields, Happened.ADDED, shown, quantity=shown.lots)

    def _traded(self, fields: Fields) -> None:
        for order, left in ((fields["id"], fields["left"]), (fields["other"], fields["other_left"])):
            if (shown := self._orders.get(order)) is not None:
                lots = min(shown.lots, fields["quantity"])
                kind = Happened.EXECUTED if shown.price == fields["price"] else Happened.PRICED
                self._tell(fields, kind, shown, quantity=lots, price=fields["price"])
                self._reduce(order, lots)
            if not left:
                self._side_of.pop(order, None)

    def _canceled(self, fields: Fields) -> None:
        self._side_of.pop(fields["id"], None)
        if (shown := self._orders.pop(fields["id"], None)) is not None:
            self._tell(fields, Happened.DELETED, shown)

    def _replaced(self, fields: Fields) -> None:
        if (shown := self._orders.get(fields["id"])) is None:
            return
        if not fields["other"]:
            del self._orders[fields["id"]]
            self._tell(fields, Happened.DELETED, shown)
        elif (lots := shown.lots - fields["quantity"]) > 0:
            self._tell(fields, Happened.REDUCED, shown, quantity=lots)
            self._reduce(fields["id"], lots)

    def _opened(self, fields: Fields) -> None:
        self._tell(fields, Happened.LISTED, _Shown(fields["book"], Side.BUY, 0, 0), side=0)

    def _phased(self, fields: Fields) -> None:
        state = ord(_STATES[Phase(fields["quantity"])])
        self._tell(fields, Happened.ACTION, _Shown(fields["book"], Side.BUY, 0, 0), side=0, state=state)

    def _reduce(self, order: int, lots: int) -> None:
        self._orders[order].lots -= lots
        if not self._orders[order].lots:
            del self._orders[order]

    def _tell(self, fields: Fields, kind: Happened, shown: _Shown, **more: int) -> None:
        given = {"kind": kind, "id": shown.ref, "side": shown.side, "book": shown.book, "price": shown.price}
        given["at_ns"] = fields["at_ns"]
        # A DELETED has the rest of the order in LOBSTER.
        given |= {"quantity": shown.lots} if kind == Happened.DELETED else {}
        given |= more
        self._out.append(tuple(given.get(name, 0) for name in MESSAGE.names or ()))


def with_rows(messages: Messages, *, levels: int) -> tuple[Messages, list[list[int]]]:
    """Return what LOBSTER keeps of the messages of one book: those that change its best levels, and the row after each.

    Args:
        messages: Of one book, from its beginning, as a `Recorder` tells them.
        levels: Prices of each side, at least 1.
    """
    book, kept, rows = Rebuilt(), list[int](), list[list[int]]()
    before = row_of(book, levels)
    for index, message in enumerate(messages):
        _apply(book, message)
        row = row_of(book, levels)
        if row != before or message["kind"] in {Happened.HIDDEN, Happened.CROSSED, Happened.ACTION}:
            kept.append(index)
            rows.append(row)
        before = row
    return messages[kept], rows


def _apply(book: Rebuilt, message: Messages) -> None:
    kind, key, lots = (int(message[name]) for name in ("kind", "id", "quantity"))
    if kind == Happened.ADDED:
        book.add(Resting(key, Side(int(message["side"])), int(message["price"]), lots))
    elif kind in {Happened.REDUCED, Happened.EXECUTED, Happened.PRICED}:
        book.reduce(book.orders[key], lots)
    elif kind == Happened.DELETED:
        book.reduce(book.orders[key], book.orders[key].left)
