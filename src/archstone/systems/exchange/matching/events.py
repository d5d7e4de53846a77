"""What a matching engine says: facts, in the order in which they happened.

    ACCEPTED    id account side price quantity              the order is known; what became of it follows
    REJECTED    id account reason                           nothing has changed
    TRADED      id other price quantity left other_left     taker and maker; in an auction buyer and seller
    RESTED      id price quantity left                      now at the end of its queue; `quantity` of it is shown
    REFRESHED   id price quantity left                      an iceberg shows its next part, at the end of its queue
    CANCELED    id price left reason                        `left` lots of it will not trade
    REPLACED    id price quantity other                     `quantity` is open now; other is 1 if it kept its place
    TRIGGERED   id price                                    a stop woke; price is its trigger
    UNCROSSED   price quantity left                         an auction's price, its volume, and what was left over there
    PHASED      quantity                                    the `Phase` that was entered
    BANDED      price left                                  lowest and highest price
    REFERRED    price                                       the reference price
    SWEPT       account quantity                            a mass cancel is through; so many orders

and a venue besides

    OPENED      other price quantity left other_left    a book: its `Phase`, a lot's worth per tick, lots of an order at
                id                                      most, collar and halt; `id`: the margin of short sales
    LIMITED     account other quantity                  the `Limit` `other` is `quantity` now
    DEPOSITED   account quantity                        money came in; below 0: went out
    KILLED      account quantity                        1: the kill switch is on, 0: off; account 0: everybody's

An event concerns the book of its command; CANCELED with the reason KILL says its book in `other`. The price of a market
order that a venue accepts is the worst that it takes. PHASED with the reason BREAKER is the circuit breaker's doing.

All that orders and trades became can be rebuilt from these alone.
"""

from enum import IntEnum
from typing import NamedTuple

__all__ = ["Event", "Reason", "Told"]


class Told(IntEnum):
    """What has happened."""

    ACCEPTED = 1
    REJECTED = 2
    TRADED = 3
    RESTED = 4
    REFRESHED = 5
    CANCELED = 6
    REPLACED = 7
    TRIGGERED = 8
    UNCROSSED = 9
    PHASED = 10
    BANDED = 11
    REFERRED = 12
    SWEPT = 13
    OPENED = 16
    LIMITED = 17
    DEPOSITED = 18
    KILLED = 19


class Reason(IntEnum):
    """Why an order was refused or cancelled."""

    NONE = 0
    FIELD = 1
    """A field is out of its range, or two do not go together."""
    PHASE = 2
    """The book is in no phase for it."""
    DUPLICATE = 3
    """An order with that id is live."""
    UNKNOWN = 4
    """That account has no such live order."""
    BAND = 5
    """The price is outside the band."""
    POST_ONLY = 6
    """It would have traded on arrival."""
    USER = 7
    MASS = 8
    UNFILLED = 9
    """The rest of a market or IOC order found nobody."""
    NOT_IN_FULL = 10
    """FOK."""
    SELF_TRADE = 11
    DAY = 12
    """The book closed."""
    NO_BOOK = 16
    NO_ACCOUNT = 17
    KILL = 18
    """The kill switch is on."""
    NUMBER = 19
    """The account has used this number of an order, or a higher one; or its last one is too far below."""
    QUANTITY = 20
    VALUE = 21
    COLLAR = 22
    """The price is too far from the last one."""
    CREDIT = 23
    POSITION = 24
    RATE = 25
    BREAKER = 26
    """The price has moved too far: trading halts."""
    ORDERS = 27
    """The account has as many live orders as it may."""


class Event(NamedTuple):
    """One fact. What a kind does not use is 0."""

    kind: int
    id: int = 0
    other: int = 0
    account: int = 0
    other_account: int = 0
    side: int = 0
    """Of the order `id`; of a trade the taker's, and 0 in an auction."""
    reason: int = 0
    price: int = 0
    quantity: int = 0
    left: int = 0
    other_left: int = 0
