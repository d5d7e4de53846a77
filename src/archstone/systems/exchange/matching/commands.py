"""What a matching engine is told: one kind of record for all, so that a million of them are one array.

Which fields a command uses; all others are 0:

    NEW          id account side  type tif flags stp  price quantity display trigger
    CANCEL       id account
    REPLACE      id account  price quantity            what is to be open from now on; of a venue also `trigger`: what
                                                       its sender believes to be open (0: not said). What has been
                                                       filled since then is taken off `quantity`
    MASS_CANCEL  account side                          side 0: both
    PHASE        type                                  the `Phase` to enter; of a venue also the one it is in, while its
                                                       breaker would end that: then nothing but PHASE does
    BAND         price trigger                         lowest and highest price; 0 and 0: none
    REFERENCE    price                                 what an auction stays near when nothing else decides

and those that a venue does by itself, before any book (an engine refuses them):

    OPEN         book  type price quantity display trigger  tif flags stp  id
                                                       a new book: the `Phase` it begins with, what a lot is worth per
                                                       tick, lots of an order at most, collar and halt in basis points
                                                       (0: none); and seconds of the breaker: its window, how long it
                                                       halts, how long the auction gathers after that (0: 60, 30, 30);
                                                       `id`: margin of short sales in basis points, at most 10,000
    LIMIT        account  type quantity                 the `Limit`, and what it is from now on; a new account is made
    DEPOSIT      account  quantity  id                  money comes in; below 0: goes out. `id`: 0, or a number that
                                                       rises with each that is done: what is sent twice is done once
    KILL         account  type                          1: orders are refused and all that rest are cancelled; 0: again;
                                                       account 0: everybody's
    TICK         book                                  nothing but that time passes: what is due in the book happens

Prices are whole ticks, quantities whole lots: nothing here is rounded.
"""

from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

__all__ = [
    "MAX_PRICE",
    "MAX_QUANTITY",
    "Command",
    "Flag",
    "Kind",
    "Limit",
    "Phase",
    "SelfTrade",
    "Side",
    "TimeInForce",
    "Type",
]

MAX_PRICE: Final = 2**31 - 1
"""The highest price, in ticks; the lowest is 1."""
MAX_QUANTITY: Final = 2**31 - 1
"""The largest quantity of an order, in lots; the smallest is 1."""


class Kind(IntEnum):
    """What is to be done."""

    NEW = 1
    CANCEL = 2
    REPLACE = 3
    MASS_CANCEL = 4
    PHASE = 5
    BAND = 6
    REFERENCE = 7
    OPEN = 16
    LIMIT = 17
    DEPOSIT = 18
    KILL = 19
    TICK = 20


class Side(IntEnum):
    """Which side of the book."""

    BUY = 1
    SELL = 2


class Type(IntEnum):
    """How an order is priced. With a trigger it is a stop: it sleeps until a trade touches the trigger."""

    LIMIT = 0
    MARKET = 1


class TimeInForce(IntEnum):
    """How long an order is good for."""

    GTC = 0
    """Until it is done."""
    DAY = 1
    """Until the book closes."""
    IOC = 2
    """What is not filled at once is cancelled."""
    FOK = 3
    """Filled at once in full, or not at all."""


class Flag(IntFlag):
    """What else an order wants."""

    NONE = 0
    POST_ONLY = 1
    """Refused rather than filled on arrival."""
    PROTECTED = 2
    """Of a market order: it has a price, and takes no worse one. What is not filled is cancelled all the same."""


class SelfTrade(IntEnum):
    """What happens instead of a trade of an account with itself. The arriving order chooses; auctions ignore it."""

    NONE = 0
    """They trade."""
    CANCEL_TAKER = 1
    """What is left of the arriving order is cancelled."""
    CANCEL_MAKER = 2
    """The resting order is cancelled, and the arriving one goes on."""
    CANCEL_BOTH = 3


class Phase(IntEnum):
    """What a book does with orders. See `MOVES` of the engine for what may follow what."""

    CONTINUOUS = 1
    """Orders match when they arrive."""
    AUCTION = 2
    """Orders gather. When the phase ends for CONTINUOUS or CLOSED all that can trade does so, at one price."""
    HALTED = 3
    """Only cancelling."""
    CLOSED = 4
    """Only cancelling; orders for the day are gone."""


class Limit(IntEnum):
    """What an account is bound to."""

    CREDIT = 1
    """Money that may be missing, in the smallest unit."""
    QUANTITY = 2
    """Lots of one order."""
    VALUE = 3
    """Of one order, in the smallest unit of money."""
    POSITION = 4
    """Lots of one book that are held, or owed, once all that is open were done."""
    RATE = 5
    """New orders and replaces within a second of the clock. Cancelling is free."""
    ORDERS = 6
    """Live orders in all books together, sleeping stops too."""


class Command(NamedTuple):
    """One command."""

    kind: int
    id: int = 0
    """Of the order, chosen by who sends it. Above 0; free again when the order is done."""
    account: int = 0
    """Whose order. Above 0."""
    side: int = 0
    type: int = 0
    tif: int = 0
    flags: int = 0
    stp: int = 0
    price: int = 0
    """The worst price that is taken, in ticks; 0 for market orders that are not PROTECTED."""
    quantity: int = 0
    """Lots."""
    display: int = 0
    """Lots shown at a time (an iceberg). 0: all."""
    trigger: int = 0
    """A buy wakes when a trade is at it or above, a sell when one is at it or below. 0: no stop."""
