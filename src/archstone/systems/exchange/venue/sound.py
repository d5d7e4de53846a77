"""What the records of a dump can be: what commands can have made, and no more. Both venues refuse the rest.

A checksum tells what was damaged by chance; this keeps out what would break rules of the venue, or of the language that
it is written in, long after it was loaded.
"""

from collections.abc import Mapping
from typing import Any, Final

from archstone.systems.exchange.matching import (
    MAX_PRICE,
    MAX_QUANTITY,
    Flag,
    SelfTrade,
    Side,
    TimeInForce,
    Type,
)
from archstone.systems.exchange.matching.book import Order
from archstone.systems.exchange.venue.accounts import Account
from archstone.systems.exchange.venue.breaker import BASIS, SLICES, Breaker, Slice
from archstone.systems.exchange.venue.market import Market
from archstone.systems.exchange.venue.port import MAX_NS

__all__ = ["adds_up", "is_account", "is_book", "is_order", "is_slice"]

_SECOND_NS: Final = 1_000_000_000
_LONGEST_NS: Final = 255 * _SECOND_NS
"""That OPEN can say."""
_SIDES: Final = tuple(Side)
_CODES: Final = {
    "type": frozenset(Type),
    "tif": frozenset(TimeInForce),
    "flags": frozenset({Flag.NONE, Flag.POST_ONLY, Flag.PROTECTED}),
    "stp": frozenset(SelfTrade),
}
_MOST_LOTS: Final = 2**62
_MOST_MONEY: Final = 2**125
"""What is held or owed is less than these: so many trades there cannot be."""
_MOST_BOUND: Final = 2**94
"""And so is what an account's lots come to, by value and margin: at the highest price, of 31 bits, that is 2**125, and
no sum that the rules ask for leaves the 128 bits that the venue in C++ has."""


def is_book(fields: Mapping[str, Any]) -> bool:
    """Return whether there can be a book with these fields of its record; its phase is the caller's to check."""
    prices = [fields[name] for name in ("most", "collar", "halt", "last", "reference", "band_low", "band_high")]
    times = [fields[name] for name in ("window_ns", "pause_ns", "auction_ns")]
    return (
        fields["book"] > 0
        and 0 < fields["value"] <= MAX_PRICE
        and all(0 <= each <= MAX_PRICE for each in prices)
        and fields["band_low"] <= fields["band_high"]
        and fields["margin"] <= BASIS
        and times[0] >= _SECOND_NS
        and all(0 <= each <= _LONGEST_NS for each in times)
        and 0 <= fields["due_ns"] <= MAX_NS + _LONGEST_NS
        and fields["slices"] <= SLICES + 1
    )


def is_slice(slice: Slice, breaker: Breaker) -> bool:
    """Return whether a breaker's window can have that slice."""
    last = MAX_NS // (breaker.window_ns // SLICES)
    return 0 <= slice.number <= last and 0 < slice.low <= slice.high <= MAX_PRICE


def is_order(order: Order, queue: int) -> bool:
    """Return whether an order can be in that of the four queues: buys, sells, buy stops, sell stops."""
    sleeps = queue >= len(_SIDES)
    if order.display and not sleeps:
        shows = 0 < order.shown <= order.left
    else:
        shows = order.shown == (0 if sleeps else order.left)
    return (
        order.id > 0
        and order.account > 0
        and order.side == _SIDES[queue % len(_SIDES)]
        and all(getattr(order, name) in codes for name, codes in _CODES.items())
        and order.price <= MAX_PRICE
        and 0 < order.left <= MAX_QUANTITY
        and order.display <= MAX_QUANTITY
        and order.trigger <= MAX_PRICE
        and bool(order.trigger) == sleeps
        and shows
    )


def is_account(account: Account) -> bool:
    """Return whether there can be such an account."""
    return (
        account.number > 0
        and min(account.limits.values()) >= 0
        and all(-_MOST_MONEY <= each < _MOST_MONEY for each in (account.cash, account.paid_in))
        and all(-_MOST_LOTS <= each.position < _MOST_LOTS for each in account.holdings.values())
    )


def adds_up(account: Account, markets: Mapping[int, Market]) -> bool:
    """Return whether an account can hold, owe and have in open orders as much as it does, all books together."""
    bound = sum(
        (abs(each.position) + each.buying + each.selling) * markets[book].value * max(1, markets[book].margin)
        for book, each in account.holdings.items()
    )
    return bound < _MOST_BOUND
