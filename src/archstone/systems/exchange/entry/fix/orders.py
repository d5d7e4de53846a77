"""Orders in FIX's words: requests into commands, reports into execution reports.

The number of an order is its ClOrdID, which therefore is a decimal number from 1 to 4,294,967,295, and above those that
the account has used before. Requests to cancel or replace may be called anything.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from archstone.systems.exchange.entry.fix.codec import FieldError, Message, instant
from archstone.systems.exchange.entry.reports import Flags, Report
from archstone.systems.exchange.matching import (
    MAX_PRICE,
    MAX_QUANTITY,
    Command,
    Flag,
    Kind,
    Reason,
    Side,
    TimeInForce,
    Told,
    Type,
)
from archstone.systems.exchange.venue.port import MAX_NUMBER

__all__ = ["Listed", "Orders", "Outgoing", "Request"]

Outgoing = tuple[str, list[tuple[int, object]]]
"""Type and fields of a message, without what every message has."""

_SIDES: Final = {"1": Side.BUY, "2": Side.SELL}
_TYPES: Final = {
    "1": (Type.MARKET, False),
    "2": (Type.LIMIT, False),
    "3": (Type.MARKET, True),
    "4": (Type.LIMIT, True),
}
_TIMES: Final = {"0": TimeInForce.DAY, "1": TimeInForce.GTC, "3": TimeInForce.IOC, "4": TimeInForce.FOK}
_WISHES: Final = {"": Flag.NONE, "6": Flag.POST_ONLY}
_SCOPES: Final = {"1": True, "7": False}
_REASONS: Final = {Reason.DUPLICATE: 6, Reason.NUMBER: 6, Reason.NO_BOOK: 1, Reason.UNKNOWN: 5, Reason.CREDIT: 3}
_EXPIRED: Final = frozenset({Reason.UNFILLED, Reason.NOT_IN_FULL, Reason.DAY})
_ANSWERS: Final = {"D": Told.ACCEPTED, "F": Told.CANCELED, "G": Told.REPLACED, "q": Told.SWEPT}
"""What answers a request that is not refused."""
_REMEMBERED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Listed:
    """How a book is called and counted in FIX."""

    symbol: str
    book: int
    tick: Decimal = Decimal(1)
    """What one tick is worth as a price."""
    lot: int = 1
    """How much one lot is."""


@dataclass(slots=True)
class Request:
    """What was asked for, until it is answered."""

    kind: str
    name: str
    """Its ClOrdID (11)."""
    original: str | None
    """The OrigClOrdID (41) of a cancel or a replace."""
    order: int
    listed: Listed
    command: Command
    fault: str = ""
    """Why it cannot go to the exchange. Empty: it can."""


@dataclass(slots=True)
class _Order:
    """An order as execution reports show it."""

    listed: Listed
    side: int
    name: str
    price: int = 0
    left: int = 0
    done: int = 0
    paid: int = 0
    """Lots times ticks of what is done."""
    status: str = "0"
    is_whole: bool = False
    """Whether all that became of it is known: not if its beginning is older than the reports that are kept."""

    @property
    def fields(self) -> list[tuple[int, object]]:
        lot, average = self.listed.lot, Decimal(self.paid) / self.done * self.listed.tick if self.done else Decimal(0)
        return [
            (55, self.listed.symbol),
            (54, self.side or None),
            (38, (self.left + self.done) * lot),
            (44, _plain(self.price * self.listed.tick) if self.price else None),
            (151, self.left * lot if self.status in "01" else 0),
            (14, self.done * lot),
            (6, _plain(average)),
        ]


class Orders:
    """The orders of one account."""

    def __init__(self, listed: Mapping[str, Listed]) -> None:
        """Begin without any; books by symbol."""
        self._listed = listed
        self._symbols = {each.book: each for each in listed.values()}
        self._orders: OrderedDict[int, _Order] = OrderedDict()
        self._names: OrderedDict[str, int] = OrderedDict()
        self._asked: OrderedDict[int, Request] = OrderedDict()
        self._tells: dict[int, Callable[[Report, _Order, Request | None], Outgoing]] = {
            Told.ACCEPTED: self._accepted,
            Told.TRADED: self._traded,
            Told.CANCELED: self._canceled,
            Told.REPLACED: self._replaced,
            Told.TRIGGERED: lambda report, order, _: self._execution(report, order, "L"),
        }

    # Requests into commands

    def read(self, message: Message) -> Request:
        """Return what a message asks for. FieldError: it cannot be meant so."""
        read = {"D": self._new, "F": self._cancel, "G": self._replace, "q": self._mass_cancel}[message.kind]
        return read(message)

    def ask(self, request: Request, tag: int) -> None:
        """Remember a request until a report answers it."""
        self._asked[tag] = request
        _bound(self._asked)

    def _book(self, message: Message) -> Listed:
        if (listed := self._listed.get(message.text(55))) is None:
            raise FieldError(55, 5, "no such symbol")
        return listed

    def _new(self, message: Message) -> Request:
        number, listed = message.number(11, least=1, most=MAX_NUMBER), self._book(message)
        kind, is_stop = message.choice(40, _TYPES)
        command = Command(
            Kind.NEW,
            number,
            side=message.choice(54, _SIDES),
            type=kind,
            tif=message.choice(59, _TIMES, "0"),
            flags=message.choice(18, _WISHES, ""),
            price=_ticks(message, 44, listed) if kind == Type.LIMIT else 0,
            quantity=_lots(message, 38, listed),
            display=_lots(message, 111, listed) if message.get(111) else 0,
            trigger=_ticks(message, 99, listed) if is_stop else 0,
        )
        return Request("D", message.text(11), None, number, listed, command)

    def _cancel(self, message: Message) -> Request:
        order, listed = self._target(message), self._book(message)
        return Request("F", message.text(11), message.text(41), order, listed, Command(Kind.CANCEL, order))

    def _replace(self, message: Message) -> Request:
        order, listed = self._target(message), self._book(message)
        known = self._orders.get(order)
        is_whole = known is not None and known.is_whole
        done, left = (0, 0) if known is None else (known.done, known.left)
        quantity = _lots(message, 38, listed) - done
        price = _ticks(message, 44, listed) if message.choice(40, _TYPES)[0] == Type.LIMIT else 0
        command = Command(Kind.REPLACE, order, price=price, quantity=max(0, quantity), trigger=left)
        # 38 counts what was done already: without it more would be open than was asked for.
        fault = "how much of it was done is not known here any more: cancel it" if order and not is_whole else ""
        return Request("G", message.text(11), message.text(41), order, listed, command, fault)

    def _mass_cancel(self, message: Message) -> Request:
        if not message.choice(530, _SCOPES):
            raise FieldError(530, 5, "only the orders of one symbol (1) are cancelled together")
        side = message.choice(54, _SIDES | {"": 0}, "")
        listed = self._book(message)
        return Request("q", message.text(11), None, 0, listed, Command(Kind.MASS_CANCEL, side=side))

    def _target(self, message: Message) -> int:
        """Return the number of the order that a request is about: 37, or what 41 was called once. 0: none is known."""
        original = message.text(41)
        if message.get(37):
            return message.number(37, least=1, most=MAX_NUMBER)
        number = int(original) if re.fullmatch(r"\d{1,10}", original, re.ASCII) else 0
        return self._names.get(original, number if number <= MAX_NUMBER else 0)

    # Reports into messages

    def told(self, report: Report) -> Outgoing | None:
        """Return what a report says in FIX's words. None: FIX has no word for it, or the book is not listed."""
        asked = self._asked_by(report)
        if report.kind == Told.REJECTED:
            return self._rejected(report, asked)
        if report.kind == Told.SWEPT:
            return _swept(report, asked)
        tell = self._tells.get(report.kind)
        order = self._order(report, asked) if tell is not None else None
        return tell(report, order, asked) if tell is not None and order is not None else None

    def _asked_by(self, report: Report) -> Request | None:
        """Return the request that a report is about. With its answer it is forgotten: its tag comes again."""
        asked = self._asked.get(report.tag) if report.flags & Flags.OWN else None
        if asked is None or (asked.kind != "q" and asked.order != report.order):
            return None
        if report.kind in {_ANSWERS[asked.kind], Told.REJECTED}:
            del self._asked[report.tag]
        return asked

    def _order(self, report: Report, asked: Request | None) -> _Order | None:
        order = self._orders.get(report.order)
        if order is None and report.book in self._symbols:
            name = asked.name if asked is not None and asked.kind == "D" else str(report.order)
            order = self._orders[report.order] = _Order(self._symbols[report.book], report.side, name)
            _bound(self._orders)
            self._call(order, name, report.order)
        return order

    def _accepted(self, report: Report, order: _Order, asked: Request | None) -> Outgoing:
        order.price, order.left, order.is_whole = report.price, report.quantity, True
        return self._execution(report, order, "0")

    def _traded(self, report: Report, order: _Order, asked: Request | None) -> Outgoing:
        order.left = report.left
        order.done += report.quantity
        order.paid += report.quantity * report.price
        order.status = "1" if report.left else "2"
        price = _plain(report.price * order.listed.tick)
        sequence, part = report.trade
        last = [(31, price), (32, report.quantity * order.listed.lot), (527, f"{sequence}-{part}")]
        return self._execution(report, order, "F", *last)

    def _canceled(self, report: Report, order: _Order, asked: Request | None) -> Outgoing:
        order.left = report.left  # OrderQty (38) stays what it was
        order.status = "C" if report.reason in _EXPIRED else "4"
        original = order.name
        if asked is not None and asked.kind == "F":
            self._call(order, asked.name, report.order)
        more: list[tuple[int, object]] = [(41, original if order.name != original else None)]
        return self._execution(report, order, order.status, *more, (58, Reason(report.reason).name))

    def _replaced(self, report: Report, order: _Order, asked: Request | None) -> Outgoing:
        original = order.name
        order.price, order.left = report.price, report.quantity
        order.status = "1" if order.done else "0"
        if asked is not None:
            self._call(order, asked.name, report.order)
        return self._execution(report, order, "5", (41, original))

    def _call(self, order: _Order, name: str, number: int) -> None:
        """Call an order what the last request called itself; its older names go on to mean it."""
        order.name = name
        self._names[name] = number
        _bound(self._names)

    def _execution(self, report: Report, order: _Order, kind: str, *more: tuple[int, object]) -> Outgoing:
        return "8", [
            (37, report.order),
            (11, order.name),
            (17, f"{report.sequence}-{report.part}"),
            (150, kind),
            (39, order.status),
            *order.fields,
            *more,
            (60, instant(report.at_ns // 1_000)),
        ]

    def _rejected(self, report: Report, asked: Request | None) -> Outgoing | None:
        if asked is None:
            return None
        return self.refused(asked, Reason(report.reason).name, _REASONS.get(Reason(report.reason), 99), report)

    def refused(self, asked: Request, text: str, reason: int = 99, report: Report | None = None) -> Outgoing:
        """Return that a request was not done, and why; without a report it never came to the exchange."""
        at: list[tuple[int, object]] = [(58, text)]
        if report is not None:
            at.append((60, instant(report.at_ns // 1_000)))
        if asked.kind == "D":
            order = _Order(asked.listed, asked.command.side, asked.name, asked.command.price, status="8")
            order.left = asked.command.quantity
            name = f"{report.sequence}-{report.part}" if report is not None else f"refused-{asked.name}"
            head: list[tuple[int, object]] = [(37, asked.order), (11, asked.name), (17, name), (150, "8"), (39, "8")]
            return "8", [*head, *order.fields, (103, reason), *at]
        if asked.kind == "q":
            return "r", [(37, asked.name), (11, asked.name), (530, 1), (531, 0), (532, 99), *at]
        known = self._orders.get(asked.order)
        status, kind = known.status if known is not None else "8", 1 if asked.kind == "F" else 2
        head = [(37, asked.order if known else "NONE"), (11, asked.name), (41, asked.original), (39, status)]
        return "9", [*head, (434, kind), (102, 1 if text == Reason.UNKNOWN.name else 99), *at]

    def status(self, message: Message) -> Outgoing:
        """Return how an order is (35=H), as far as it is known since the reports that are kept."""
        number = self._names.get(message.text(11))
        if number is None or (order := self._orders.get(number)) is None:
            listed = self._book(message)
            side = message.choice(54, _SIDES)
            head: list[tuple[int, object]] = [(37, "NONE"), (11, message.text(11)), (17, 0), (150, "I"), (39, "8")]
            return "8", [*head, *_Order(listed, side, "", status="8").fields, (103, 5), (58, Reason.UNKNOWN.name)]
        head = [(37, number), (11, order.name), (17, 0), (150, "I"), (39, order.status)]
        return "8", [*head, *order.fields]


def _swept(report: Report, asked: Request | None) -> Outgoing | None:
    if asked is None or asked.kind != "q":
        return None
    more = [(533, report.quantity), (60, instant(report.at_ns // 1_000))]
    return "r", [(37, asked.name), (11, asked.name), (530, 1), (531, 1), (55, asked.listed.symbol), *more]


def _bound(kept: "OrderedDict[int, _Order] | OrderedDict[str, int] | OrderedDict[int, Request]") -> None:
    """Forget the oldest."""
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)


def _ticks(message: Message, tag: int, listed: Listed) -> int:
    return _whole(message.decimal(tag) / listed.tick, tag, MAX_PRICE, f"a multiple of {listed.tick}")


def _lots(message: Message, tag: int, listed: Listed) -> int:
    return _whole(message.decimal(tag) / listed.lot, tag, MAX_QUANTITY, f"a multiple of {listed.lot}")


def _whole(value: Decimal, tag: int, most: int, wanted: str) -> int:
    if value != value.to_integral_value() or not 0 < value <= most:
        raise FieldError(tag, 5, f"{wanted} is wanted, above 0 and at most {most} of them")
    return int(value)


def _plain(value: Decimal) -> str:
    """Return a number without an exponent and without zeros at its end."""
    text = f"{value.quantize(Decimal('1.00000000')):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
