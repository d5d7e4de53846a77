"""The columns of the files, and how batches become them: array by array, nothing one by one."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archstone.systems.exchange.matching import Reason, Side, Told
from archstone.systems.exchange.sequencer import Batch

__all__ = ["EVENTS", "KINDS", "TRADES", "Column", "Rows", "rows_of"]

Array = npt.NDArray[Any]
Rows = dict[str, Array]
"""Columns by name, each of shape (n,), with `day` (days since 1970) and `book`, by which files are made."""
_DAY_NS: Final = 86_400_000_000_000
_NUMBER: Final = 0xFFFF_FFFF


class Column(NamedTuple):
    """One column of a kind of files."""

    name: str
    type: str
    """As pyarrow calls it; `dictionary` is text with few values."""
    about: str


class _Part(NamedTuple):
    """What a column is made from: some events of a batch, their commands, and when."""

    events: Array
    commands: Array
    sequence: Array
    number: Array
    at_ns: int


TRADES: Final = (
    Column("sequence", "int64", "Number of the command that made the trade."),
    Column("number", "int64", "Which of its trades, from 0. With `sequence` it names the trade."),
    Column("at", "timestamp", "When, nanoseconds, UTC."),
    Column("book", "int64", "Number of the book."),
    Column("price", "int64", "Ticks."),
    Column("lots", "int64", "How many."),
    Column("buyer", "int64", "Account."),
    Column("buy_order", "int64", "The number that the buyer gave to the order."),
    Column("seller", "int64", "Account."),
    Column("sell_order", "int64", "The number that the seller gave to the order."),
    Column("aggressor", "dictionary", "Who came second: `buyer` or `seller`; null in an auction."),
)
"""One row for each trade."""

EVENTS: Final = (
    Column("sequence", "int64", "Number of the command."),
    Column("number", "int64", "Which of its events, trades counted too, from 0. With `sequence` it names the event."),
    Column("at", "timestamp", "When, nanoseconds, UTC."),
    Column("book", "int64", "Number of the book; 0 where it is of none."),
    Column("kind", "dictionary", "`accepted`, `rejected`, `rested`, `canceled`, ...: `matching/events.py` has them."),
    Column("account", "int64", "Whose order; 0 where it is nobody's."),
    Column("order", "int64", "The number that the account gave to it; 0 where it is of no order."),
    Column("side", "dictionary", "`buy` or `sell`; null where it has none."),
    Column("price", "int64", "Ticks; 0 where it has none."),
    Column("lots", "int64", "What `quantity` of the event is; 0 where it has none."),
    Column("left", "int64", "Lots that are still open, or that were cancelled; 0 where it has none."),
    Column("other", "int64", "As `matching/events.py` says for the kind: whether a replaced order kept its place, ..."),
    Column("other_left", "int64", "Likewise."),
    Column("reason", "dictionary", "Why it was refused or cancelled, such as `user`; null where there is none."),
)
"""One row for each event that is no trade, of books and of accounts; those of accounts are in book 0."""

KINDS: Final = {"trades": TRADES, "events": EVENTS}

_SIDES: Final = np.array([None, "buy", "sell"], object)
_ROLES: Final = np.array([None, "buyer", "seller"], object)


def _names(enum: type[Told] | type[Reason], *, none: int | None = None) -> Array:
    """Return the names of an enumeration by number, in lower case."""
    names = np.full(256, None, object)
    for each in enum:
        names[each] = None if each == none else each.name.lower()
    return names


_TOLD: Final = _names(Told)
_REASONS: Final = _names(Reason, none=Reason.NONE)


def _first_buys(part: _Part) -> Array:
    return part.events["side"] != Side.SELL


def _of_buyer(one: str, other: str) -> Callable[[_Part], Array]:
    return lambda part: np.where(_first_buys(part), part.events[one], part.events[other])


def _of_seller(one: str, other: str) -> Callable[[_Part], Array]:
    return lambda part: np.where(_first_buys(part), part.events[other], part.events[one])


def _numbered(ids: Callable[[_Part], Array]) -> Callable[[_Part], Array]:
    return lambda part: ids(part) & _NUMBER


def _book(part: _Part) -> Array:
    """Return the book of each event: that of its command, unless a kill switch has cancelled in all of them."""
    events = part.events
    killed = (events["kind"] == Told.CANCELED) & (events["reason"] == Reason.KILL)
    return np.where(killed, events["other"], part.commands["book"])


def _event(name: str) -> Callable[[_Part], Array]:
    return lambda part: part.events[name]


_COMMON: Final[dict[str, Callable[[_Part], Array]]] = {
    "sequence": lambda part: part.sequence,
    "number": lambda part: part.number,
    "at": lambda part: np.full(len(part.events), part.at_ns),
    "price": _event("price"),
    "lots": _event("quantity"),
    "day": lambda part: np.full(len(part.events), part.at_ns // _DAY_NS),
    "book": lambda part: part.commands["book"],
}
_MAKERS: Final[dict[str, dict[str, Callable[[_Part], Array]]]] = {
    "trades": {
        **_COMMON,
        "buyer": _of_buyer("account", "other_account"),
        "buy_order": _numbered(_of_buyer("id", "other")),
        "seller": _of_seller("account", "other_account"),
        "sell_order": _numbered(_of_seller("id", "other")),
        "aggressor": lambda part: _ROLES[part.events["side"]],
    },
    "events": {
        **_COMMON,
        "kind": lambda part: _TOLD[part.events["kind"]],
        "account": _event("account"),
        "order": _numbered(_event("id")),
        "side": lambda part: _SIDES[part.events["side"]],
        "left": _event("left"),
        "other": _event("other"),
        "other_left": _event("other_left"),
        "book": _book,
        "reason": lambda part: _REASONS[part.events["reason"]],
    },
}


def rows_of(kind: str, batches: Sequence[Batch]) -> Rows:
    """Return the rows of a kind that batches make, in order.

    Args:
        kind: `trades` or `events`.
        batches: At least one.
    """
    parts = [_part(kind, batch) for batch in batches]
    return {name: np.concatenate([make(part) for part in parts]) for name, make in _MAKERS[kind].items()}


def _part(kind: str, batch: Batch) -> _Part:
    events = batch.events
    wanted = (events["kind"] == Told.TRADED) == (kind == "trades")
    command = events["command"].astype(np.int64)
    if kind == "trades":
        events, command = events[wanted], command[wanted]
    number = np.arange(len(events)) - np.searchsorted(command, command)
    if kind == "events":
        events, command, number = events[wanted], command[wanted], number[wanted]
    return _Part(events, batch.commands[command], batch.first + command, number, batch.at_ns)
