"""What readers of the exchange's stream share: the facts in a batch, a reader that goes on where it was, and the tape.

    Following           reads the stream for a `Reader`, which keeps how far it is together with what it made of it
    trades_of, ...      the facts of a batch
    TapeService         tells trades and payments as events of the library: what moves money goes by outbox and inbox
    Symbols             how books are called

Whoever reads orders by the thousand a second reads the stream itself; what moves money hears it from the tape.
"""

from archstone.systems.exchange.tape.errors import OtherStreamError, StreamGapError, UnknownBookError
from archstone.systems.exchange.tape.events import FactsTold
from archstone.systems.exchange.tape.facts import (
    Carried,
    Payment,
    Trade,
    books_of,
    carried_of,
    payments_of,
    rest_of,
    trades_of,
)
from archstone.systems.exchange.tape.following import Following, FollowingStatistics, Reader
from archstone.systems.exchange.tape.service import TapeService
from archstone.systems.exchange.tape.symbols import Symbols

__all__ = [
    "Carried",
    "FactsTold",
    "Following",
    "FollowingStatistics",
    "OtherStreamError",
    "Payment",
    "Reader",
    "StreamGapError",
    "Symbols",
    "TapeService",
    "Trade",
    "UnknownBookError",
    "books_of",
    "carried_of",
    "payments_of",
    "rest_of",
    "trades_of",
]
